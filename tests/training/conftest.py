"""What tests of training share: a small unit cell with its modes and weighted points."""

from __future__ import annotations

import pytest
import torch

from equipoise.data.sampling import latin_hypercube, symmetric_box
from equipoise.data.snapshot_solver import SnapshotSolver
from equipoise.problems.mechanics.bases import ReducedBases
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.cubature import Cubature, empirical_cubature
from equipoise.problems.mechanics.materials import paper_materials
from equipoise.spaces.cells import builtin_cell


@pytest.fixture(scope="session")
def reduced() -> tuple[PeriodicCell, ReducedBases, Cubature]:
    solver = SnapshotSolver(builtin_cell("fibre:n=2,fraction=0.4"), paper_materials())
    strain = latin_hypercube(12, symmetric_box(0.04, 3), seed=0)
    solved = {name: torch.as_tensor(value) for name, value in solver(strain).items()}
    cell = solver.solver.cell
    bases = ReducedBases.from_snapshots(
        cell, cell.restrict(solved["fluctuation"]), solved["stress"], strain=solved["strain"], n_modes=5
    )
    return cell, bases, empirical_cubature(cell, bases, seed=0)
