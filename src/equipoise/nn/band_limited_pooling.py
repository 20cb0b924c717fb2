"""Restriction to a grid of the same relative scale, band-limited first: what pooling and strides are on any grid."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import nn

from equipoise.spaces.grid import Grid
from equipoise.spaces.resampling import resample

__all__ = ["BandLimitedPooling", "at_points", "resample_grid"]


def resample_grid(
    field: Float[torch.Tensor, "batch channels *grid"], grid: Grid, shape: tuple[int, ...]
) -> Float[torch.Tensor, "batch channels *new"]:
    """Values on another grid of the same box: spectral along periodic axes, cubic along the others."""
    along_periodic = tuple(new if wraps else old for old, new, wraps in zip(grid.shape, shape, grid.wraps, strict=True))
    field = resample(field, grid, along_periodic, method="spectral")
    return resample(field, grid.resized(along_periodic), shape, method="cubic")


def at_points(
    field: Float[torch.Tensor, "batch channels *grid"], grid: Grid, shape: tuple[int, ...]
) -> Float[torch.Tensor, "batch channels *new"]:
    """Values at the points of another grid of the same box: those at hand where they are points of the grid."""
    target = grid.resized(shape)
    if any(now % then for now, then in zip(grid.intervals, target.intervals, strict=True)):
        return resample_grid(field, grid, shape)
    for axis, (now, then) in enumerate(zip(grid.intervals, target.intervals, strict=True)):
        index = torch.arange(0, field.shape[2 + axis], now // then, device=field.device)
        field = field if now == then else field.index_select(2 + axis, index)
    return field


class BandLimitedPooling(nn.Module):
    """The field on a grid with `factor` times as many intervals, after removing what that grid can't hold.

    Along periodic axes the field is truncated in its Fourier modes; along others it is interpolated by cubics. A factor
    above one refines.

    Args:
        factor: of the intervals, positive.

    Raises:
        ValueError: for a factor that is not positive.
    """

    def __init__(self, *, factor: float = 0.5) -> None:
        super().__init__()
        if not 0 < factor < float("inf"):
            raise ValueError(f"factor={factor} must be positive.")
        self.config: dict[str, Any] = {"factor": factor}

    def target(self, grid: Grid) -> Grid:
        """The grid of the outputs.

        Raises:
            ValueError: where the factor does not give a whole number of intervals, naming the grid.
        """
        counts = []
        for intervals, wraps in zip(grid.intervals, grid.wraps, strict=True):
            new = self.config["factor"] * intervals
            if new < 1 or abs(new - round(new)) > 1e-9 * intervals:
                raise ValueError(f"{intervals} intervals times {self.config['factor']} is not a whole positive number.")
            counts.append(round(new) + (0 if wraps else 1))
        return grid.resized(counts)

    def forward(
        self, inputs: Float[torch.Tensor, "batch channels *grid"], grid: Grid
    ) -> Float[torch.Tensor, "batch channels *new"]:
        """The field on `target(grid)`."""
        grid.check_field(inputs)
        return resample_grid(inputs, grid, self.target(grid).shape)
