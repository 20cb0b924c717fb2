"""Ingredients of isotropic laws: trace, deviator and its norm, and the linear law.

Everything is written by components: over the last axis of a strain, with its 3 or 6 entries, reductions and small
products cost several times more than sums of slices.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from equipoise.problems.mechanics.conjugate import Conjugate, work
from equipoise.problems.mechanics.material import Material, positive

__all__ = ["Deviator", "LinearIsotropic", "deviator", "excess_over_logarithm"]


class Deviator(NamedTuple):
    """Parts of a strain.

    Attributes:
        trace: `tr eps`, `(...)`. normals: number of normal components of the Voigt vector.
        components: of the deviator, tensor shear, in Voigt order, `(...)` each.
        square: squared Frobenius norm of the three-dimensional deviator, `(...)`.
    """

    trace: torch.Tensor
    normals: int
    components: list[torch.Tensor]
    square: torch.Tensor


def deviator(strain: torch.Tensor, *, out_of_plane: bool = True) -> Deviator:
    """Trace and deviator of strains `(..., v)`.

    Args:
        out_of_plane: whether the norm counts the out-of-plane component `-tr/3` of plane strain, as it has to for an
            energy to exist.

    Raises:
        ValueError: for strains of other than 3 or 6 components.
    """
    size = strain.shape[-1] if strain.ndim else 0
    if size not in (3, 6):
        raise ValueError(f"strains of shape {tuple(strain.shape)} have {size} components; expected 3 or 6.")
    normals = 2 if size == 3 else 3
    parts = strain.unbind(-1)
    trace = parts[0] + parts[1] if normals == 2 else parts[0] + parts[1] + parts[2]
    third = trace / 3
    components = [part - third for part in parts[:normals]] + [part / 2 for part in parts[normals:]]
    square = components[0].square()
    for number, part in enumerate(components[1:], start=1):
        square = torch.addcmul(square, part, part, value=1 if number < normals else 2)
    if normals == 2 and out_of_plane:
        square = torch.addcmul(square, third, third)
    return Deviator(trace, normals, components, square)


def excess_over_logarithm(value: torch.Tensor) -> torch.Tensor:
    """`x - ln(1 + x)` for x > -1 to full relative accuracy, also where both terms nearly cancel."""
    # With t = x/(2 + x), ln(1 + x) = 2 artanh t and x - 2t = x t, which leaves a series without cancellation.
    is_small = value.abs() < 0.15
    small = torch.where(is_small, value, torch.zeros_like(value))
    ratio = small / (2 + small)
    square = ratio.square()
    series = square.new_full((), 1 / 13)
    for divisor in (11, 9, 7, 5, 3):
        series = series * square + 1 / divisor
    series = small * ratio - 2 * ratio * square * series
    large = torch.where(is_small, torch.ones_like(value), value)
    return torch.where(is_small, series, large - torch.log1p(large))


class LinearIsotropic(Material):
    """Linear isotropic elasticity, `sigma = K tr(eps) I + 2 G dev(eps)`; plane strain where v = 3.

    Args:
        bulk: bulk modulus K, MPa. shear: shear modulus G, MPa. name: for reports.

    Raises:
        ValueError: for a modulus that is not positive and finite.
    """

    is_linear = True
    is_odd = True

    def __init__(self, *, bulk: float, shear: float, name: str = "linear") -> None:
        self.bulk, self.shear = positive("linear_isotropic", "bulk", bulk), positive("linear_isotropic", "shear", shear)
        self.name = name
        self._stiffness = {size: _stiffness(size, self.bulk, self.shear) for size in (3, 6)}
        self._compliance = {size: torch.linalg.inv(matrix) for size, matrix in self._stiffness.items()}

    @classmethod
    def from_young(cls, *, young: float, poisson: float, name: str = "linear") -> LinearIsotropic:
        """From Young's modulus, MPa, and Poisson's ratio between -1 and 0.5."""
        young = positive("linear_isotropic", "young", young)
        if isinstance(poisson, bool | str) or not -1 < poisson < 0.5:
            raise ValueError(f"linear_isotropic: poisson={poisson!r} must lie between -1 and 0.5.")
        return cls(bulk=young / (3 * (1 - 2 * poisson)), shear=young / (2 * (1 + poisson)), name=name)

    def energy(self, strain: torch.Tensor) -> torch.Tensor:
        parts = deviator(strain)
        return torch.addcmul(self.shear * parts.square, parts.trace, parts.trace, value=self.bulk / 2)

    def stress(self, strain: torch.Tensor) -> torch.Tensor:
        return strain @ self._matrix(self._stiffness, strain)

    def tangent(self, strain: torch.Tensor) -> torch.Tensor:
        """Tangent `(..., v, v)`: one matrix, expanded without a copy, so not to be written to."""
        return self._matrix(self._stiffness, strain).expand(*strain.shape, strain.shape[-1])

    def stress_and_tangent(self, strain: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.stress(strain), self.tangent(strain)

    def compliance(self, strain: torch.Tensor) -> torch.Tensor:
        return self._matrix(self._compliance, strain).expand(*strain.shape, strain.shape[-1])

    def conjugate(self, stress: torch.Tensor, start: torch.Tensor | None = None) -> Conjugate:
        strain = stress @ self._matrix(self._compliance, stress)
        energy = work(stress, strain) / 2
        is_finite = torch.isfinite(energy)
        return Conjugate(
            torch.where(is_finite[..., None], strain, torch.zeros_like(strain)),
            torch.where(is_finite, energy, torch.full_like(energy, torch.inf)),
            is_finite,
        )

    def config(self) -> dict[str, Any]:
        return {"law": "linear_isotropic", "bulk": self.bulk, "shear": self.shear, "name": self.name}

    @staticmethod
    def _matrix(matrices: dict[int, torch.Tensor], like: torch.Tensor) -> torch.Tensor:
        size = like.shape[-1] if like.ndim else 0
        if size not in matrices:
            raise ValueError(f"a vector of shape {tuple(like.shape)} has {size} components; expected 3 or 6.")
        return matrices[size].to(like)


def _stiffness(size: int, bulk: float, shear: float) -> torch.Tensor:
    """`K m m^T + 2 G D` in Voigt form, `(v, v)`."""
    normals = 2 if size == 3 else 3
    matrix = torch.diag(torch.full((size,), shear, dtype=torch.float64))
    matrix[:normals, :normals] = bulk - 2 * shear / 3
    matrix.diagonal()[:normals] = bulk + 4 * shear / 3
    return matrix
