"""The tests without training: gap between resolutions and distance from point values, for untrained layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from equipoise.nn.finite_difference import FiniteDifferenceConvolution
from equipoise.nn.initialisation import seeded
from equipoise.nn.local_integral import LocalIntegralConvolution
from equipoise.operators.attention import PatchTransformer
from equipoise.operators.consistency import (
    consistency_gap,
    distance_to_pointwise,
    pointwise_limit,
    trigonometric_field,
)
from equipoise.operators.conversion import to_operator
from equipoise.operators.fno import FNO
from equipoise.operators.unet import UNet
from equipoise.spaces.grid import Grid

__all__ = ["untrained_gaps"]

_WIDTH, _LAYERS = 16, 3
_LENGTH = 2 * torch.pi
_RADIUS = 0.6
GridMap = Callable[[torch.Tensor, Grid], torch.Tensor]


def untrained_gaps(*, seed: int) -> dict[str, Any]:
    """Gaps at growing resolutions, and distances from the map of point values, of random networks.

    Three layers of 16 channels with GELU between, on waves of at most two periods; and whole networks of one channel.
    """
    layers: dict[str, GridMap] = {
        "local integrals": _stack([LocalIntegralConvolution(**_shared(s), radius=_RADIUS) for s in _seeds(seed)]),
        "finite differences": _stack(
            [FiniteDifferenceConvolution(**_shared(s), reference_spacing=_LENGTH / 32) for s in _seeds(seed)]
        ),
    }
    pixels = _pixels(seed)
    limit = pointwise_limit(pixels)
    layers["pixel convolutions"] = _at(pixels)
    layers["pixel convolutions, converted"] = _at(to_operator(pixels, _grid(32)))
    gaps = {}
    for name, layer in layers.items():
        # Integrals over a ball see many points on a fine grid.
        counts = (32,) if name == "local integrals" else (32, 64, 128)
        gaps[name] = [consistency_gap(layer, _grid(n), _field(seed)) for n in counts]
    fno = FNO(in_channels=_WIDTH, out_channels=_WIDTH, width=_WIDTH, n_modes=(12, 12), n_layers=3, seed=seed).double()
    gaps["FNO"] = [consistency_gap(_at(fno), _grid(n), _field(seed)) for n in (32, 64)]
    distances = {
        name: [distance_to_pointwise(layers[name], _at(limit), _grid(n), _field(seed)) for n in (32, 64, 128)]
        for name in ("pixel convolutions", "pixel convolutions, converted")
    }
    whole = {
        "U-Net": UNet(in_channels=1, out_channels=1, n_blocks=1, seed=seed),
        "attention": PatchTransformer(in_channels=1, out_channels=1, shape=(32, 32), local_taps=3, seed=seed),
    }
    wave: Callable[[Grid], torch.Tensor] = lambda grid: trigonometric_field(grid, max_mode=2, seed=seed)  # noqa: E731
    for name, network in whole.items():
        original = network.double().eval()
        gaps[name] = [consistency_gap(_at(original), _grid(32), wave)]
        gaps[f"{name}, converted"] = [consistency_gap(_at(to_operator(original, _grid(32))), _grid(32), wave)]
    return {"gap": gaps, "distance_to_point_values": distances}


def _seeds(seed: int) -> range:
    return range(_LAYERS * seed, _LAYERS * (seed + 1))


def _shared(seed: int) -> dict[str, Any]:
    return {"in_channels": _WIDTH, "out_channels": _WIDTH, "seed": seed}


def _grid(n: int) -> Grid:
    return Grid((n, n), ((0.0, _LENGTH), (0.0, _LENGTH)), True)


def _field(seed: int) -> Callable[[Grid], torch.Tensor]:
    return lambda grid: trigonometric_field(grid, channels=_WIDTH, max_mode=2, seed=seed)


def _stack(layers: list[nn.Module]) -> GridMap:
    modules = nn.ModuleList(layers).double()

    def network(field: torch.Tensor, grid: Grid) -> torch.Tensor:
        for number, layer in enumerate(modules):
            field = layer(field if number == 0 else F.gelu(field), grid)
        return field

    return network


def _at(module: nn.Module) -> GridMap:
    return lambda field, grid: module(field)


def _pixels(seed: int) -> nn.Module:
    with seeded(seed):
        parts: list[nn.Module] = []
        for number in range(_LAYERS):
            parts += [nn.GELU()] if number else []
            parts.append(nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1, padding_mode="circular"))
        return nn.Sequential(*parts).double()
