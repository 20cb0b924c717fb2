"""Norms mean the same at every resolution: they converge to the integrals that define them."""

from __future__ import annotations

import math

import pytest
import torch

from equipoise.spaces.grid import Grid
from equipoise.spaces.norms import gradient, h1_norm, l2_norm, relative_error, sobolev_norm


def wave(grid: Grid) -> torch.Tensor:
    x = grid.points()
    return (torch.exp(torch.sin(2 * torch.pi * x[..., 0])) * torch.cos(2 * torch.pi * x[..., -1]))[None, None]


def cubic(grid: Grid) -> torch.Tensor:
    return (grid.axis(0) ** 3)[None, None]


def test_periodic_norms_are_exact_once_the_field_is_resolved() -> None:
    values = []
    for n in (32, 48):
        grid = Grid((n, n), periodic=True)
        field = wave(grid)
        values.append([float(f) for f in (l2_norm(field, grid), h1_norm(field, grid), sobolev_norm(field, grid, -1.5))])
    assert values[0] == pytest.approx(values[1], rel=1e-12)


def test_order_zero_is_l2_and_order_one_is_h1_on_periodic_grids() -> None:
    grid = Grid((31, 32), ((0.0, 2.0), (-1.0, 1.0)), True)
    field = torch.randn(3, 2, *grid.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(sobolev_norm(field, grid, 0.0), l2_norm(field, grid))
    smooth = wave(Grid((31, 32), periodic=True))
    torch.testing.assert_close(sobolev_norm(smooth, grid, 1.0), h1_norm(smooth, grid))


def test_norms_converge_to_their_integrals_without_periodicity() -> None:
    exact = {"l2": (1 / 7) ** 0.5, "h1": (1 / 7 + 9 / 5) ** 0.5}
    errors: dict[str, list[float]] = {"l2": [], "h1": [], "sobolev 1": []}
    for n in (33, 65, 129):
        grid = Grid((n,))
        errors["l2"].append(abs(float(l2_norm(cubic(grid), grid)) - exact["l2"]))
        errors["h1"].append(abs(float(h1_norm(cubic(grid), grid)) - exact["h1"]))
        errors["sobolev 1"].append(abs(float(sobolev_norm(cubic(grid), grid, 1.0)) - exact["h1"]))
    for name, order in (("l2", 2), ("h1", 1.9), ("sobolev 1", 0.9)):
        assert math.log2(errors[name][1] / errors[name][2]) > 0.95 * order, name


@pytest.mark.parametrize("order", [-2.0, -0.5, 0.5, 2.0])
def test_order_weighs_a_single_mode_as_it_should(order: float) -> None:
    grid = Grid((16, 17), ((0.0, 2.0), (0.0, 3.0)), (True, False))
    x = grid.points()
    field = (torch.cos(3 * torch.pi * x[..., 0]) * torch.cos(4 * torch.pi * x[..., 1] / 3))[None, None]
    squared = (3 * math.pi) ** 2 + (4 * math.pi / 3) ** 2
    assert float(sobolev_norm(field, grid, order)) == pytest.approx(((1 + squared) ** order * 6 / 4) ** 0.5)


def test_gradient_of_resolved_waves_is_exact() -> None:
    grid = Grid((16, 9), ((0.0, 2.0), (0.0, 1.0)), (True, False))
    x = grid.points()
    field = (torch.sin(torch.pi * x[..., 0]) * x[..., 1] ** 2)[None, None]
    exact = torch.stack(
        [torch.pi * torch.cos(torch.pi * x[..., 0]) * x[..., 1] ** 2, 2 * torch.sin(torch.pi * x[..., 0]) * x[..., 1]]
    )
    torch.testing.assert_close(gradient(field, grid)[0, 0], exact, rtol=1e-10, atol=1e-12)


def test_relative_error_of_a_zero_field_is_refused() -> None:
    grid = Grid((4,))
    field = torch.ones(2, 1, 4, dtype=torch.float64)
    exact = field.clone()
    exact[1] = 0
    assert relative_error(2 * field, field, grid, order=-1).tolist() == pytest.approx([1, 1])
    with pytest.raises(ValueError, match="sample 1"):
        relative_error(field, exact, grid)
