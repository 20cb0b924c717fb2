"""The difference H1 loss: closed forms on lines and planes."""

from __future__ import annotations

import pytest
import torch

from equipoise.spaces.grid import Grid
from equipoise.training.difference_h1_loss import DifferenceH1Loss


def test_a_line_has_the_norm_of_its_values_and_of_one_slope_at_inner_points() -> None:
    grid = Grid((11, 7))
    field = 3 * torch.arange(11, dtype=torch.float64)[:, None].expand(11, 7)[None, None]
    values = 10 * 9 * sum(i * i for i in range(11)) * 7
    # Differences are over a spacing of 1 / N, not of the grid's 1 / (N - 1).
    slopes = (3 * 11) ** 2 * 9 * 7
    expected = torch.tensor([values + slopes], dtype=torch.float64).sqrt()
    torch.testing.assert_close(DifferenceH1Loss(grid).norm(field), expected)


def test_it_is_absolute_unless_asked_and_differentiable() -> None:
    grid = Grid((5, 6))
    target = torch.randn(2, 1, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    loss = DifferenceH1Loss(grid)
    torch.testing.assert_close(loss(1.5 * target, target), 0.5 * loss.norm(target))
    torch.testing.assert_close(
        DifferenceH1Loss(grid, relative=True)(1.5 * target, target), torch.full((2,), 0.5, dtype=torch.float64)
    )
    assert torch.autograd.gradcheck(lambda field: loss(field, target), (2 * target).requires_grad_())
    with pytest.raises(ValueError, match="expected"):
        loss.norm(target[..., :-1])
