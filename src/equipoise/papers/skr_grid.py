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
_TOLERANCES = {
    "helmholtz-published": (1e-2, 1e-5, 1e-7),
    "darcy-published": (1e-2, 1e-5, 1e-8),
    "darcy": (1e-2, 1e-5, 1e-7),
    "helmholtz-medium": (1e-2, 1e-5, 1e-7),
    "thermal": (1e-5, 1e-8, 1e-11),
    "poisson": (1e-5, 1e-8, 1e-11),
}
"""The paper's, and for the families that are ours those of the matrices they correct."""

_CPU_SYSTEMS = {
    "helmholtz-published": (4, 1),
    "darcy-published": (4, 1),
    "darcy": (20, 3),
    "helmholtz-medium": (3, 1),
    "thermal": (8, 2),
    "poisson": (8, 2),
}
"""Systems and restarted ones of a cell at scale cpu; the published matrices and indefinite ones are slow."""

_CPU_MORE_SYSTEMS = {
    # GMRES takes between 2000 and 10^4 iterations on these: the cells that the criterion judges have three of each.
    ("helmholtz-published", "BJacobi", 1e-5): (10, 3),
    ("helmholtz-published", "BJacobi", 1e-7): (20, 3),
    ("helmholtz-published", "ASM", 1e-7): (10, 3),
}


def _cpu_row(family: str, preconditioner: str, rtol: float) -> Row:
    cell = (family, preconditioner, rtol)
    return Row(*cell, *_CPU_MORE_SYSTEMS.get(cell, _CPU_SYSTEMS[family]))


_CELLS = tuple(
    (family, preconditioner, rtol)
    for family, tolerances in _TOLERANCES.items()
    for rtol in tolerances
    for preconditioner in PRECONDITIONERS
)

GRIDS: dict[str, Grid] = {
    "smoke": Grid(_SMALL, tuple(Row(name, "SSOR", 1e-6, 6, 6) for name in _SMALL)),
    "cpu": Grid(
        _FAMILIES,
        tuple(_cpu_row(*cell) for cell in _CELLS),
        {"resolution": 50},
        rival_systems=2,
        recycled_systems=12,
    ),
    "gpu": Grid(
        _PAPER,
        tuple(Row(*cell, 100, 100) for cell in _CELLS),
        {"resolution": 66},
        rival_systems=5,
        recycled_systems=100,
    ),
}
"""By scale. Every cell of the paper's table runs at `"cpu"` with a few systems and at `"gpu"` with its 100; the latter
needs a machine of many cores."""

_PAPER_TABLE = """
darcy-published 1e-2 2.62/19.2 2.88/22.6 3.21/23.6 2.69/23.3 2.23/13.4 1.97/9.55 1.93/9.44
darcy-published 1e-5 2.92/21.1 3.42/24.5 4.07/28.6 3.45/27.9 3.66/22.2 3.18/14.9 3.08/14.4
darcy-published 1e-8 2.70/19.1 3.09/22.9 4.00/27.5 3.54/27.5 4.53/25.8 4.11/18.9 3.70/17.2
thermal 1e-5 4.53/20.8 3.32/15.0 2.38/10.3 1.96/8.76 2.46/10.3 2.40/10.3 2.35/10.3
thermal 1e-8 5.35/23.6 3.06/13.5 2.73/11.1 2.34/9.30 2.83/11.1 2.77/11.1 2.69/11.1
thermal 1e-11 5.47/24.9 2.93/12.8 3.05/11.7 2.62/10.2 3.14/11.7 3.08/11.7 3.01/11.7
poisson 1e-5 1.27/4.69 1.28/4.68 1.13/3.87 1.19/4.05 1.46/3.93 0.99/3.92 0.98/3.92
poisson 1e-8 1.74/6.29 1.75/6.30 1.19/3.97 1.35/4.45 1.94/4.83 1.32/4.83 1.30/4.87
poisson 1e-11 1.90/6.83 1.91/6.82 1.19/3.95 1.33/4.35 2.12/5.11 1.42/5.13 1.38/5.13
helmholtz-published 1e-2 7.74/17.3 8.44/20.3 8.83/21.5 8.37/22.3 10.6/25.4 4.77/21.4 3.88/17.6
helmholtz-published 1e-5 7.61/16.5 8.62/20.0 11.4/26.5 10.5/26.2 13.1/29.3 6.38/28.3 6.13/27.2
helmholtz-published 1e-7 6.47/13.68 7.96/18.1 11.3/26.2 10.6/25.9 13.9/30.0 6.72/29.3 6.34/28.0
"""


def _published() -> dict[str, dict[str, dict[str, float]]]:
    table: dict[str, dict[str, dict[str, float]]] = {}
    for line in _PAPER_TABLE.split("\n")[1:-1]:
        family, rtol, *cells = line.split()
        for preconditioner, cell in zip(PRECONDITIONERS, cells, strict=True):
            seconds, iterations = (float(ratio) for ratio in cell.split("/"))
            row = table.setdefault(f"{family}, {float(rtol):g}", {})
            row[preconditioner] = {"time_ratio": seconds, "iteration_ratio": iterations}
    return table


PUBLISHED = _published()
"""Ratios GMRES(40) over SKR in the paper's tables, by family and tolerance and by preconditioner, with 72 processes on
one system (IC and ILU: one); its SSOR is called SOR. Helmholtz at 1e-7 with ASM: 5448 iterations and 182."""
