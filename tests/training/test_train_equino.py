"""The recipe of EquiNO: what it samples, and how small strains are answered."""

from __future__ import annotations

import pytest
import torch

from equipoise.data.sampling import symmetric_box
from equipoise.problems.mechanics.bases import ReducedBases
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.cubature import Cubature
from equipoise.problems.mechanics.reduced import ReducedProblem
from equipoise.training.equino import train_equino

BOX = symmetric_box(0.04, 3)


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
