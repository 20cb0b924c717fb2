"""The methods by which a linear system can be solved, as small values with their options.

`state.py` builds the working parts from them; nothing here computes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

__all__ = [
    "CG",
    "GCRODR",
    "GMRES",
    "MINRES",
    "BiCGStab",
    "DeflatedCG",
    "DeflatedMINRES",
    "Direct",
    "FlexibleGMRES",
    "Method",
    "MethodLike",
    "Recycling",
    "method_from",
]


@dataclass(frozen=True)
class Direct:
    """Sparse factorisation, PARDISO where installed and SuperLU otherwise.

    Attributes:
        backend: `"auto"`, `"pardiso"` or `"superlu"`. structure: `"auto"`, `"positive_definite"`, `"symmetric"` or
            `"general"`.
    """

    backend: str = "auto"
    structure: str = "auto"


@dataclass(frozen=True)
class CG:
    """Conjugate gradients, for Hermitian positive definite matrices."""


@dataclass(frozen=True)
class DeflatedCG:
    """Conjugate gradients with a deflation space carried from system to system.

    Attributes:
        recycle: k, vectors carried. stored: first search directions of each system from which the next space is drawn;
            `None`: 40 to 200, within 128 MiB beyond the first 40.
    """

    recycle: int = 20
    stored: int | None = None

    def __post_init__(self) -> None:
        if self.recycle < 0 or (self.stored is not None and self.stored < 1):
            raise ValueError(f"{self} is not usable: recycle >= 0 and stored >= 1.")


@dataclass(frozen=True)
class MINRES:
    """Minimal residuals for Hermitian, possibly indefinite matrices; SciPy's."""


@dataclass(frozen=True)
class DeflatedMINRES:
    """Minimal residuals with a deflation space carried from system to system, for Hermitian indefinite matrices.

    The preconditioner is Hermitian positive definite.

    Attributes:
        recycle: k, vectors carried. stored: Lanczos vectors of each system from which the next space is drawn.
    """

    recycle: int = 20
    stored: int = 100

    def __post_init__(self) -> None:
        if self.recycle < 0 or self.stored < 1:
            raise ValueError(f"{self} is not usable: recycle >= 0 and stored >= 1.")


@dataclass(frozen=True)
class BiCGStab:
    """Stabilised biconjugate gradients; SciPy's."""


@dataclass(frozen=True)
class GMRES:
    """GMRES(m), right-preconditioned.

    Attributes:
        restart: m.
    """

    restart: int = 40

    def __post_init__(self) -> None:
        if self.restart < 1:
            raise ValueError(f"restart={self.restart} must be at least 1.")


@dataclass(frozen=True)
class FlexibleGMRES:
    """GMRES(m) whose preconditioner may change from step to step; PyAMG's (extra `amg`).

    Attributes:
        restart: m.
    """

    restart: int = 40

    def __post_init__(self) -> None:
        if self.restart < 1:
            raise ValueError(f"restart={self.restart} must be at least 1.")


@dataclass(frozen=True)
class GCRODR:
    """GCRO-DR(m, k): GMRES with a space carried over restarts and from system to system.

    Attributes:
        restart: m, dimension of one cycle's space. recycle: k < m, the part of it that is carried.
    """

    restart: int = 40
    recycle: int = 20

    def __post_init__(self) -> None:
        if not 0 <= self.recycle < self.restart:
            raise ValueError(f"recycle={self.recycle} must lie between 0 and restart - 1 = {self.restart - 1}.")


Recycling: TypeAlias = DeflatedCG | DeflatedMINRES | GCRODR
Method: TypeAlias = Direct | CG | MINRES | BiCGStab | GMRES | FlexibleGMRES | Recycling
MethodLike: TypeAlias = Method | str

_BY_NAME: dict[str, type[Method]] = {
    "direct": Direct,
    "cg": CG,
    "deflated_cg": DeflatedCG,
    "minres": MINRES,
    "deflated_minres": DeflatedMINRES,
    "bicgstab": BiCGStab,
    "gmres": GMRES,
    "fgmres": FlexibleGMRES,
    "gcrodr": GCRODR,
}


def method_from(source: MethodLike) -> Method:
    """The method that a name or a value means.

    Raises:
        ValueError: for an unknown name. TypeError: for anything else.
    """
    if isinstance(source, str):
        if source not in _BY_NAME:
            raise ValueError(f"method {source!r} is unknown; use one of {', '.join(_BY_NAME)}.")
        return _BY_NAME[source]()
    if isinstance(source, tuple(_BY_NAME.values())):
        return source
    raise TypeError(f"{type(source).__name__} is no method; give a name or one of the classes in methods.py.")
