"""The recipe of EquiNO: what it samples, and how small strains are answered."""

from __future__ import annotations

import pytest
import torch

from equipoise.data.sampling import latin_hypercube, symmetric_box
from equipoise.data.snapshot_solver import SnapshotSolver
from equipoise.problems.mechanics.bases import ReducedBases
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.cubature import Cubature, empirical_cubature
from equipoise.problems.mechanics.materials import paper_materials
from equipoise.problems.mechanics.reduced import ReducedProblem
from equipoise.spaces.cells import builtin_cell
from equipoise.training.equino import train_equino

BOX = symmetric_box(0.04, 3)


@pytest.fixture(scope="module")
def reduced() -> tuple[PeriodicCell, ReducedBases, Cubature]:
    solver = SnapshotSolver(builtin_cell("fibre:n=2,fraction=0.4"), paper_materials())
    solved = {name: torch.as_tensor(value) for name, value in solver(latin_hypercube(12, BOX, seed=0)).items()}
    cell = solver.solver.cell
    bases = ReducedBases.from_snapshots(
        cell, cell.restrict(solved["fluctuation"]), solved["stress"], strain=solved["strain"], n_modes=5
    )
    return cell, bases, empirical_cubature(cell, bases, seed=0)


def test_slopes_at_zero_are_the_derivatives_of_both_optima(
    reduced: tuple[PeriodicCell, ReducedBases, Cubature],
) -> None:
    cell, bases, cubature = reduced
    problem = ReducedProblem.on_cubature(cell, bases, cubature)
    step = 1e-7
    solved = problem.solve(step * torch.eye(3, dtype=torch.float64))
    for slope, value in zip(problem.slopes_at_zero(), solved, strict=True):
        torch.testing.assert_close(slope.T, value / step, rtol=1e-4, atol=1e-4 * float(slope.abs().max()))


def test_stress_is_exact_to_first_order_at_zero_after_any_training(
    reduced: tuple[PeriodicCell, ReducedBases, Cubature],
) -> None:
    cell, bases, cubature = reduced
    operator = train_equino(cell, bases, cubature, box=BOX, n_collocation=32, steps=3, hidden=(8, 8)).operator
    strain = 1e-7 * torch.eye(3, dtype=torch.float64)
    exact = ReducedProblem.on_cubature(cell, bases, cubature).solve_dual(strain) @ bases.homogenised_modes.T
    error = torch.linalg.vector_norm(operator.response(strain)[0] - exact, dim=-1)
    assert (error < 1e-4 * torch.linalg.vector_norm(exact, dim=-1)).all()


def test_box_of_another_shape_is_refused(reduced: tuple[PeriodicCell, ReducedBases, Cubature]) -> None:
    with pytest.raises(ValueError, match=r"expected \(2, 3\)"):
        train_equino(*reduced, box=BOX[:, :2])
