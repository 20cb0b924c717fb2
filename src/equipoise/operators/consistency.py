"""Whether a network is an operator: its gap between two resolutions, and its distance from a map of point values.

A network whose kernels are counted in points passes the first test too, because under refinement it becomes a map of
point values; the second test tells.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import nn

from equipoise.nn.initialisation import seeded
from equipoise.nn.resolution import every
from equipoise.spaces.grid import Grid
from equipoise.spaces.norms import l2_norm

__all__ = ["consistency_gap", "distance_to_pointwise", "pointwise_limit", "trigonometric_field"]

GridMap = Callable[[torch.Tensor, Grid], torch.Tensor]
"""Maps a field and its grid to a field on the same grid."""


def trigonometric_field(
    grid: Grid, *, channels: int = 1, max_mode: int = 2, n_terms: int = 6, seed: int = 0
) -> Float[torch.Tensor, "1 channels *grid"]:
    """A random sum of waves, periodic on the box, the same function on every grid; float64, of unit size.

    Args:
        max_mode: highest number of periods along each axis. n_terms: waves of each channel.
    """
    with seeded(seed):
        amplitudes = torch.randn(channels, n_terms, dtype=torch.float64)
        modes = torch.randint(-max_mode, max_mode + 1, (channels, n_terms, grid.dim)).double()
        phases = 2 * torch.pi * torch.rand(channels, n_terms, dtype=torch.float64)
    points = Grid(grid.shape, (), grid.periodic).points().flatten(0, -2)
    angle = 2 * torch.pi * modes @ points.T + phases[..., None]
    field = (amplitudes[..., None] * angle.cos()).sum(1) / n_terms**0.5
    return field.view(1, channels, *grid.shape)


@torch.no_grad()
def consistency_gap(network: GridMap, grid: Grid, field: Callable[[Grid], torch.Tensor]) -> float:
    """`|P net_2N(u) - net_N(P u)| / |net_N(P u)|`, with N the given grid and P the restriction to its points.

    Args:
        network: on any grid. field: u on a grid, such as `trigonometric_field`.
    """
    fine = grid.resized([2 * n + (0 if wraps else 1) for n, wraps in zip(grid.intervals, grid.wraps, strict=True)])
    coarse = network(field(grid), grid)
    difference = every(network(field(fine), fine), [2] * grid.dim) - coarse
    return float((l2_norm(difference, grid) / l2_norm(coarse, grid)).max())


def pointwise_limit(network: nn.Module) -> nn.Module:
    """A copy in which every convolution of stride 1 is replaced by its limit under refinement: the sum of its taps."""
    limit = copy.deepcopy(network)
    for module in list(limit.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Conv1d | nn.Conv2d | nn.Conv3d):
                setattr(module, name, _PointwiseConvolution(child))
    return _PointwiseConvolution(limit) if isinstance(limit, nn.Conv1d | nn.Conv2d | nn.Conv3d) else limit


class _PointwiseConvolution(nn.Module):
    """The sum of a convolution's taps, applied at every point."""

    def __init__(self, layer: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> None:
        super().__init__()
        options: Any = layer
        kind = type(layer)
        self.layer = kind(options.in_channels, options.out_channels, 1, groups=options.groups, bias=False)
        axes = tuple(range(2, options.weight.ndim))
        self.layer.weight = nn.Parameter(options.weight.detach().sum(axes, keepdim=True))
        self.layer.bias = options.bias

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The channels of each point, mixed."""
        return self.layer(inputs)


@torch.no_grad()
def distance_to_pointwise(network: GridMap, limit: GridMap, grid: Grid, field: Callable[[Grid], torch.Tensor]) -> float:
    """`|net(u) - limit(u)| / |limit(u)|` on one grid; zero in the limit for a network that counts points.

    Args:
        limit: `pointwise_limit` of the network's convolutions.
    """
    inputs = field(grid)
    expected = limit(inputs, grid)
    return float((l2_norm(network(inputs, grid) - expected, grid) / l2_norm(expected, grid)).max())
