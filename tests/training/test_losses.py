"""Losses are norms of the continuum, with gradients everywhere."""

from __future__ import annotations

import pytest
import torch

from equipoise.problems import make_problem
from equipoise.spaces import Grid
from equipoise.training.losses import RelativeLoss, ResidualLoss, field_loss


@pytest.mark.parametrize("name", ["l2", "h1", "sobolev:-1", 2])
def test_a_loss_does_not_depend_on_the_resolution(name: str | float) -> None:
    values = []
    for count in (32, 64):
        grid = Grid((count, count), periodic=True)
        points = grid.points()
        exact = torch.sin(2 * torch.pi * points[..., 0])[None, None]
        wrong = exact + 0.1 * torch.cos(2 * torch.pi * (points[..., 0] + 2 * points[..., 1]))
        values.append(float(field_loss(name, grid)(wrong, exact)))
    assert values[0] == pytest.approx(values[1], rel=1e-12)


def test_orders_weigh_frequencies_as_they_should() -> None:
    grid = Grid((64,), periodic=True)
    exact = torch.sin(2 * torch.pi * grid.points())[None].transpose(1, 2)
    wrong = exact + 0.1 * torch.sin(8 * torch.pi * grid.points())[None].transpose(1, 2)
    l2, h1 = (float(field_loss(name, grid)(wrong, exact)) for name in ("l2", "h1"))
    assert l2 == pytest.approx(0.1, rel=1e-12)
    ratio = ((1 + (8 * torch.pi) ** 2) / (1 + (2 * torch.pi) ** 2)) ** 0.5
    assert h1 == pytest.approx(0.1 * ratio, rel=1e-12)


@pytest.mark.parametrize("name", ["l2", "h1", "sobolev:-1"])
def test_gradients_are_finite_where_the_error_is_zero(name: str) -> None:
    grid = Grid((8,), periodic=True)
    exact = torch.rand(2, 1, 8, dtype=torch.float64)
    prediction = exact.clone().requires_grad_()
    field_loss(name, grid)(prediction, exact).sum().backward()
    assert prediction.grad is not None
    assert bool(torch.isfinite(prediction.grad).all())


def test_a_sample_that_is_zero_is_compared_as_it_is() -> None:
    grid = Grid((8,), periodic=True)
    loss = RelativeLoss(grid)(torch.full((1, 1, 8), 2.0), torch.zeros(1, 1, 8))
    assert float(loss) == pytest.approx(2.0)


def test_the_residual_loss_vanishes_for_the_solution_alone() -> None:
    problem = make_problem("darcy", resolution=17)
    inputs = problem.sample(2, torch.Generator().manual_seed(0))
    outputs = problem.solve(inputs)
    loss = ResidualLoss(problem)
    assert float(loss(inputs, outputs).max()) < 1e-18
    assert float(loss(inputs, outputs + 0.01).min()) > 1e-6


def test_unknown_names_are_refused() -> None:
    grid = Grid((8,))
    for name in ("mse", "sobolev:high", "sobolev"):
        with pytest.raises(ValueError, match="unknown"):
            field_loss(name, grid)


@pytest.mark.usefixtures("unchecked_types")
def test_fields_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="targets"):
        RelativeLoss(Grid((8,)))(torch.zeros(1, 1, 8), torch.zeros(1, 2, 8))
