"""Which layers pass the two tests of an operator: the gap between resolutions, and the distance from point values."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from equipoise.nn.finite_difference import FiniteDifferenceConvolution
from equipoise.nn.local_integral import LocalIntegralConvolution
from equipoise.operators.consistency import (
    consistency_gap,
    distance_to_pointwise,
    pointwise_limit,
    trigonometric_field,
)
from equipoise.operators.conversion import to_operator
from equipoise.spaces.grid import Grid

WIDTH = 16
GridMap = Callable[[torch.Tensor, Grid], torch.Tensor]


def _grid(n: int) -> Grid:
    return Grid((n, n), ((0.0, 2 * torch.pi),) * 2, True)


def _field(max_mode: int) -> Callable[[Grid], torch.Tensor]:
    return lambda grid: trigonometric_field(grid, channels=WIDTH, max_mode=max_mode)


class Spectral(nn.Module):
    """Three convolutions by the lowest 12 x 12 modes with GELU between them."""

    def __init__(self) -> None:
        super().__init__()
        scale = (1 / WIDTH) ** 0.5
        shape = (3, WIDTH, WIDTH, 13, 7)
        self.weight = scale * torch.complex(torch.randn(shape), torch.randn(shape)).to(torch.complex128)

    def layer(self, weight: torch.Tensor, field: torch.Tensor) -> torch.Tensor:
        spectrum = torch.fft.rfft2(field, norm="forward")
        rows = torch.arange(-6, 7) % field.shape[2]
        out = torch.zeros_like(spectrum)
        out[:, :, rows, :7] = torch.einsum("oixy,bixy->boxy", weight, spectrum[:, :, rows, :7])
        return torch.fft.irfft2(out, s=field.shape[2:], norm="forward")

    def forward(self, field: torch.Tensor, grid: Grid) -> torch.Tensor:
        for weight in self.weight[:2]:
            field = F.gelu(self.layer(weight, field))
        return self.layer(self.weight[2], field)


def _stack(layers: list[nn.Module]) -> GridMap:
    modules = nn.ModuleList(layers).double()

    def network(field: torch.Tensor, grid: Grid) -> torch.Tensor:
        for layer in modules[:2]:
            field = F.gelu(layer(field, grid))
        return modules[2](field, grid)

    return network


def _local(radius: float = 0.6) -> GridMap:
    options = {"in_channels": WIDTH, "out_channels": WIDTH, "radius": radius}
    return _stack([LocalIntegralConvolution(**options, seed=seed) for seed in range(3)])


def _differences() -> GridMap:
    options = {"in_channels": WIDTH, "out_channels": WIDTH, "reference_spacing": 2 * torch.pi / 32}
    return _stack([FiniteDifferenceConvolution(**options, seed=seed) for seed in range(3)])


def _pixels(taps: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    options = {"padding": taps // 2, "padding_mode": "circular"}
    convolutions = [nn.Conv2d(WIDTH, WIDTH, taps, **options) for _ in range(3)]
    return nn.Sequential(convolutions[0], nn.GELU(), convolutions[1], nn.GELU(), convolutions[2]).double()


@pytest.mark.parametrize("make", [Spectral, _local])
def test_spectral_and_local_integral_layers_agree_between_resolutions(make: Callable[[], GridMap]) -> None:
    torch.manual_seed(0)
    assert consistency_gap(make(), _grid(32), _field(2)) <= 1e-2


def test_finite_differences_converge_at_first_order() -> None:
    gaps = [consistency_gap(_differences(), _grid(n), _field(2)) for n in (64, 128)]
    assert gaps[1] / gaps[0] <= 0.7


def test_gap_alone_does_not_tell_a_pixel_convolution_but_its_limit_does() -> None:
    network = _pixels()
    limit = pointwise_limit(network)

    def at(module: nn.Module) -> GridMap:
        return lambda field, grid: module(field)

    gaps = [consistency_gap(at(network), _grid(n), _field(2)) for n in (32, 64, 128)]
    assert gaps[0] > 0.1
    assert all(fine < 0.7 * coarse for coarse, fine in pairwise(gaps))
    pixels = [distance_to_pointwise(at(network), at(limit), _grid(n), _field(2)) for n in (32, 64, 128)]
    assert all(fine < 0.7 * coarse for coarse, fine in pairwise(pixels))
    operator = to_operator(network, _grid(32))
    converted = [distance_to_pointwise(at(operator), at(limit), _grid(n), _field(2)) for n in (32, 64, 128)]
    assert min(converted) > 0.9 * converted[0] > 0.2
    assert consistency_gap(at(operator), _grid(32), _field(2)) < 1e-10


@torch.no_grad()
def test_operator_layers_stay_away_from_maps_of_point_values() -> None:
    local = LocalIntegralConvolution(in_channels=WIDTH, out_channels=WIDTH, radius=0.6).double()
    total = local.weight.sum(2)
    distances = []
    for n in (32, 64):
        distances.append(
            distance_to_pointwise(local, lambda u, g: torch.einsum("oi,bixy->boxy", total, u), _grid(n), _field(2))
        )
    assert min(distances) > 0.2
    difference = FiniteDifferenceConvolution(in_channels=WIDTH, out_channels=WIDTH, reference_spacing=0.2).double()
    # The sum of its taps is zero: what is left is a derivative, however fine the grid.
    sizes = [float(difference(_field(2)(_grid(n)), _grid(n)).square().mean().sqrt()) for n in (32, 64)]
    assert sizes[1] > 0.5 * sizes[0] > 0.01


def test_band_limited_field_commutes_with_zero_padding_of_its_spectrum() -> None:
    """A spectral convolution on 16 x 16 and on 40 x 40 points is one map on fields of few modes."""
    torch.manual_seed(0)
    spectral = Spectral()
    coarse = spectral.layer(spectral.weight[0], _field(4)(_grid(16)))
    fine = spectral.layer(spectral.weight[0], _field(4)(_grid(48)))
    torch.testing.assert_close(fine[..., ::3, ::3], coarse, rtol=1e-12, atol=1e-12)


def test_waves_are_one_function_on_every_grid() -> None:
    fine, coarse = trigonometric_field(_grid(24)), trigonometric_field(_grid(8))
    torch.testing.assert_close(fine[..., ::3, ::3], coarse, rtol=1e-12, atol=1e-12)
