"""Small-strain mechanics of a periodic unit cell: materials, the cell, its solver, and its reduced problems.

Start reading at `cell.py`."""

from equipoise.problems.mechanics.bases import ReducedBases
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.cell_solver import CellSolution, CellSolver
from equipoise.problems.mechanics.cubature import Cubature, empirical_cubature
from equipoise.problems.mechanics.materials import (
    LinearIsotropic,
    Material,
    NeoHookean,
    PlaneStress,
    SaturatingShear,
    paper_materials,
)
from equipoise.problems.mechanics.reduced import ReducedProblem

__all__ = [
    "CellSolution",
    "CellSolver",
    "Cubature",
    "LinearIsotropic",
    "Material",
    "NeoHookean",
    "PeriodicCell",
    "PlaneStress",
    "ReducedBases",
    "ReducedProblem",
    "SaturatingShear",
    "empirical_cubature",
    "paper_materials",
]
