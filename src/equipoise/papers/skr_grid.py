"""What the sorted-recycling reproduction runs at each scale: families, preconditioners, tolerances, systems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from equipoise.solvers.linear import BlockJacobi

__all__ = ["GRIDS", "PRECONDITIONERS", "PUBLISHED", "Grid", "Row"]

Families: TypeAlias = Mapping[str, tuple[str, Mapping[str, Any]]]

PRECONDITIONERS: dict[str, Any] = {
    "none": None,
    "Jacobi": "jacobi",
    "BJacobi": BlockJacobi(72),
    "SSOR": "ssor",
    "ASM": BlockJacobi(72, overlap=1),
    "IC(0)": "ic",
    "ILU(0)": "ilu",
}
"""The paper's; blocks are 72 runs of rows, ASM adds one layer of neighbours to each."""


@dataclass(frozen=True)
class Row:
    """One line of the table: a family with a preconditioner and a tolerance.

    Attributes:
        systems: solved by the recycling methods. restarted: solved by GMRES(40) and GMRES(400), whose means stand for
            all; marked in the table.
    """

    family: str
    preconditioner: str
    rtol: float
    systems: int
    restarted: int


@dataclass(frozen=True)
class Grid:
    """One scale.

    Attributes:
        families: what makes each, by the name of the family: its name in `problems.registry` and options.
        rows: of the table. inclusions: options of the family on which every rival is measured, or none.
        rival_systems, recycled_systems: numbers of its systems.
    """

    families: Families
    rows: tuple[Row, ...]
    inclusions: Mapping[str, Any] = field(default_factory=dict)
    rival_systems: int = 3
    recycled_systems: int = 12


_SMALL: Families = {
    "darcy-published": ("darcy-published", {"resolution": 32}),
    "darcy": ("darcy", {"resolution": 32, "coefficient": "smooth"}),
}
_FAMILIES: Families = {
    "helmholtz-published": ("helmholtz-published", {"resolution": 100}),
    "darcy-published": ("darcy-published", {"resolution": 100}),
    "darcy": ("darcy", {"resolution": 100, "coefficient": "smooth"}),
    "helmholtz-medium": ("helmholtz-medium", {"resolution": 100, "wavenumber": 25.0}),
    "thermal": ("thermal", {"resolution": 81}),
    "poisson": ("poisson", {"resolution": 101, "data": "chebyshev"}),
}
# The paper's sizes: 6400, 10000, 11063 and 71313 unknowns, nearly.
_PAPER: Families = {
    **_FAMILIES,
    "darcy-published": ("darcy-published", {"resolution": 80}),
    "poisson": ("poisson", {"resolution": 269, "data": "chebyshev"}),
}
_LOOSE, _MIDDLE, _TIGHT = 1e-2, 1e-5, 1e-7

_CPU_ROWS = (
    # All preconditioners at the tightest tolerance, all tolerances with the best preconditioner.
    Row("helmholtz-published", "BJacobi", _TIGHT, 20, 3),
    Row("helmholtz-published", "ASM", _TIGHT, 10, 3),
    Row("helmholtz-published", "BJacobi", _MIDDLE, 10, 3),
    Row("helmholtz-published", "BJacobi", _LOOSE, 4, 1),
    *(Row("helmholtz-published", name, _TIGHT, 4, 1) for name in ("none", "Jacobi", "SSOR", "ILU(0)")),
    Row("darcy-published", "BJacobi", _MIDDLE, 4, 1),
    Row("darcy", "SSOR", _TIGHT, 20, 3),
    *(Row("darcy", name, _TIGHT, 20, 3) for name in PRECONDITIONERS if name != "SSOR"),
    *(Row("darcy", "SSOR", rtol, 20, 3) for rtol in (_LOOSE, _MIDDLE)),
    Row("helmholtz-medium", "ILU(0)", _TIGHT, 3, 1),
    Row("thermal", "SSOR", 1e-8, 8, 2),
    Row("poisson", "SSOR", 1e-8, 8, 2),
)
_TOLERANCES = {
    "helmholtz-published": (1e-2, 1e-5, 1e-7),
    "darcy-published": (1e-2, 1e-5, 1e-8),
    "darcy": (1e-2, 1e-5, 1e-7),
    "helmholtz-medium": (1e-2, 1e-5, 1e-7),
    "thermal": (1e-5, 1e-8, 1e-11),
    "poisson": (1e-5, 1e-8, 1e-11),
}

GRIDS: dict[str, Grid] = {
    "smoke": Grid(_SMALL, tuple(Row(name, "SSOR", 1e-6, 6, 6) for name in _SMALL)),
    "cpu": Grid(_FAMILIES, _CPU_ROWS, {"resolution": 50}, rival_systems=2, recycled_systems=12),
    "gpu": Grid(
        _PAPER,
        tuple(
            Row(family, name, rtol, 100, 100)
            for family, tolerances in _TOLERANCES.items()
            for name in PRECONDITIONERS
            for rtol in tolerances
        ),
        {"resolution": 66},
        rival_systems=5,
        recycled_systems=100,
    ),
}
"""By scale. At `"gpu"` every cell of the paper's table runs with its 100 systems; a machine of many cores does."""

PUBLISHED = {
    "helmholtz-published, ASM, 1e-7": {"time ratio": 13.9, "iteration ratio": 30.0, "GMRES": 5448, "SKR": 182},
    "helmholtz-published, BJacobi, 1e-7": {"time ratio": 11.3, "iteration ratio": 26.2},
    "helmholtz-published, none, 1e-7": {"time ratio": 6.47, "iteration ratio": 13.68, "GMRES": 9713, "SKR": 710},
    "helmholtz-published, ILU, 1e-7": {"time ratio": 6.34, "iteration ratio": 28.0, "GMRES": 4401, "SKR": 157},
    "darcy-published, BJacobi, 1e-5": {"time ratio": 4.07, "iteration ratio": 28.6},
    "thermal, SOR, 1e-8": {"time ratio": 2.34, "iteration ratio": 9.30},
    "poisson, SOR, 1e-8": {"time ratio": 1.35, "iteration ratio": 4.45},
}
"""Ratios GMRES(40) over SKR in the paper's tables, with 72 processes on one system (ILU: one)."""
