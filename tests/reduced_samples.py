"""Small unit cells with snapshots, shared by the tests of reduced bases, reduced problems and certificates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch

from equipoise.problems.mechanics.bases import ReducedBases
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.cell_solver import CellSolution, CellSolver
from equipoise.problems.mechanics.materials import LinearIsotropic, Material, paper_materials
from equipoise.spaces.cells import fibre_cell, random_sphere_cell

BOX = 0.04


@dataclass(frozen=True)
class Sample:
    """A cell, its solver, snapshots and bases of all of them."""

    cell: PeriodicCell
    solver: CellSolver
    solution: CellSolution
    stress: torch.Tensor
    bases: ReducedBases


def strains(cell: PeriodicCell, count: int, seed: int) -> torch.Tensor:
    """Uniform strains in the box."""
    generator = torch.Generator().manual_seed(seed)
    return BOX * (2 * torch.rand(count, cell.n_strain, dtype=torch.float64, generator=generator) - 1)


def linear_materials() -> dict[int, Material]:
    """Soft matrix and stiff fibre, both linear."""
    return {1: LinearIsotropic(bulk=4780.0, shear=417.0), 2: LinearIsotropic(bulk=43452.0, shear=29918.0)}


@cache
def sample(kind: str = "plane", count: int = 12) -> Sample:
    """`"plane"`: nonlinear fibre cell; `"linear"`: the same of linear materials; `"space"`: a few hexahedra."""
    mesh = (
        random_sphere_cell(voxels=3, fraction=0.2, n_spheres=1, seed=0)
        if kind == "space"
        else fibre_cell(n=2, fraction=0.3)
    )
    cell = PeriodicCell(mesh, linear_materials() if kind == "linear" else paper_materials())
    solver = CellSolver(cell, rtol=1e-12)
    solution = solver.solve(strains(cell, count, seed=0))
    stress = cell.law.stress(cell.strain(solution.strain, solution.fluctuation))
    bases = ReducedBases.from_snapshots(cell, solution.fluctuation, stress, strain=solution.strain, n_modes=6)
    return Sample(cell, solver, solution, stress, bases)


@cache
def complete_bases(kind: str = "plane") -> ReducedBases:
    """As many modes as snapshots."""
    held = sample(kind)
    return ReducedBases.from_snapshots(
        held.cell,
        held.solution.fluctuation,
        held.stress,
        strain=held.solution.strain,
        n_modes=len(held.stress),
    )
