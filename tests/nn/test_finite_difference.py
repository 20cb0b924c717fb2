"""Facts of the finite-difference convolution: its limit, its order, and what it sends to zero."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from equipoise.nn.finite_difference import FiniteDifferenceConvolution
from equipoise.spaces.grid import Grid


def _periodic(n: int, dim: int = 2) -> Grid:
    return Grid((n,) * dim, ((0.0, 2 * torch.pi),) * dim, True)


def _limit(layer: FiniteDifferenceConvolution, grid: Grid) -> torch.Tensor:
    """`h_ref sum_s k_s (s . grad u)` for `u = sin(x + 2 y)`."""
    points = grid.points()
    offsets = torch.stack(torch.meshgrid(*[torch.arange(-1.0, 2.0, dtype=torch.float64)] * 2, indexing="ij"))
    slopes = (layer.weight[0, 0] * offsets).flatten(1).sum(1)
    cosine = torch.cos(points[..., 0] + 2 * points[..., 1])
    return layer.config["reference_spacing"] * (slopes[0] + 2 * slopes[1]) * cosine


@torch.no_grad()
def _error(layer: FiniteDifferenceConvolution, n: int) -> float:
    grid = _periodic(n)
    points = grid.points()
    field = torch.sin(points[..., 0] + 2 * points[..., 1])[None, None]
    return float((layer(field, grid)[0, 0] - _limit(layer, grid)).abs().max())


def test_limit_on_a_sine_is_reached_at_first_order() -> None:
    layer = FiniteDifferenceConvolution(in_channels=1, out_channels=1, reference_spacing=0.1).double()
    errors = [_error(layer, n) for n in (64, 128, 256)]
    assert all(1.8 < coarse / fine < 2.2 for coarse, fine in pairwise(errors))


def test_antisymmetric_stencil_is_of_second_order() -> None:
    layer = FiniteDifferenceConvolution(in_channels=1, out_channels=1).double()
    with torch.no_grad():
        layer.weight -= layer.weight.flip(2, 3)
    errors = [_error(layer, n) for n in (64, 128, 256)]
    assert all(3.8 < coarse / fine < 4.2 for coarse, fine in pairwise(errors))


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("wraps", [True, False])
def test_constants_map_to_zero(dim: int, wraps: bool) -> None:
    layer = FiniteDifferenceConvolution(in_channels=2, out_channels=3, dim=dim, kernel_size=5).double()
    grid = Grid((8,) * dim, (), wraps)
    out = layer(torch.full((2, 2, *grid.shape), 3.0, dtype=torch.float64), grid)
    assert out.abs().max() < 1e-12


def test_linear_functions_are_exact_up_to_ends_that_are_not_periodic() -> None:
    layer = FiniteDifferenceConvolution(in_channels=1, out_channels=1).double()
    grid = Grid((9, 9), ((0.0, 2.0), (0.0, 2.0)), False)
    points = grid.points()
    out = layer((points[..., 0] - 3 * points[..., 1])[None, None], grid).detach()
    assert float(out.max() - out.min()) < 1e-12


def test_gradients_are_exact() -> None:
    layer = FiniteDifferenceConvolution(in_channels=1, out_channels=1).double()
    grid = _periodic(4)
    field = torch.randn(1, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda u: layer(u, grid), field)


def test_other_dimension_or_even_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match="kernel_size=4"):
        FiniteDifferenceConvolution(in_channels=1, out_channels=1, kernel_size=4)
    layer = FiniteDifferenceConvolution(in_channels=1, out_channels=1)
    with pytest.raises(ValueError, match="1 axes"):
        layer(torch.zeros(1, 1, 8), Grid((8,)))
