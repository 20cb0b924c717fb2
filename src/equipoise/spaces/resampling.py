"""A field on a grid brought to another number of points on the same box: spectral, linear or cubic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float

from equipoise.spaces.grid import Grid
from equipoise.spaces.transforms import cosine_transform, inverse_cosine_transform

__all__ = ["Method", "interpolation_matrix", "resample"]

Method = Literal["spectral", "linear", "cubic"]
METHODS = ("spectral", "linear", "cubic")


def resample(
    field: Float[torch.Tensor, "batch channel *grid"], grid: Grid, shape: Sequence[int], *, method: Method = "spectral"
) -> Float[torch.Tensor, "batch channel *new"]:
    """Values of a field at the points of `grid.resized(shape)`.

    Args:
        field: on the grid. shape: new numbers of points.
        method: `"spectral"`, exact for what both grids resolve (Fourier along periodic axes, cosines along the others);
            `"linear"`, second order; `"cubic"`, fourth order, through four neighbours.

    Raises:
        ValueError: for an unknown method, a field that does not live on the grid, or a shape that is no grid.
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r} is unknown; use one of {', '.join(METHODS)}.")
    grid.check_field(field)
    target = grid.resized(shape)
    if target.dim != grid.dim:
        raise ValueError(f"shape={tuple(shape)} has {target.dim} axes; the grid has {grid.dim}.")
    for axis in range(grid.dim):
        count = target.shape[axis]
        if count == grid.shape[axis]:
            continue
        if method != "spectral":
            matrix = interpolation_matrix(grid, axis, count, method=method).to(field)
            field = torch.movedim(torch.movedim(field, 2 + axis, -1) @ matrix.T, -1, 2 + axis)
        elif grid.wraps[axis]:
            field = _resample_periodic(field, 2 + axis, count)
        else:
            field = _resample_cosines(field, 2 + axis, count)
    return field


def _resample_periodic(field: torch.Tensor, axis: int, count: int) -> torch.Tensor:
    old = field.shape[axis]
    spectrum = torch.fft.rfft(field, dim=axis, norm="forward")
    kept = min(old, count)
    new_shape = list(spectrum.shape)
    new_shape[axis] = count // 2 + 1
    new = spectrum.new_zeros(new_shape)
    modes = kept // 2 + 1
    new.narrow(axis, 0, modes).copy_(spectrum.narrow(axis, 0, modes))
    if kept % 2 == 0 and old != count:
        # The highest cosine of the coarser grid is one mode there and a pair of modes on the finer one.
        factor = 0.5 if count > old else 2.0
        new.narrow(axis, kept // 2, 1).mul_(factor)
    return torch.fft.irfft(new, n=count, dim=axis, norm="forward")


def _resample_cosines(field: torch.Tensor, axis: int, count: int) -> torch.Tensor:
    coefficients = cosine_transform(field, axis)
    shape = list(coefficients.shape)
    shape[axis] = count
    new = coefficients.new_zeros(shape)
    kept = min(count, field.shape[axis])
    new.narrow(axis, 0, kept).copy_(coefficients.narrow(axis, 0, kept))
    return inverse_cosine_transform(new, axis)


def interpolation_matrix(
    grid: Grid, axis: int, count: int, *, method: Literal["linear", "cubic"]
) -> Float[torch.Tensor, "new old"]:
    """Matrix from values along one axis to values at `count` points of the same axis; float64, rows sum to one."""
    target = grid.resized([count if i == axis else n for i, n in enumerate(grid.shape)])
    old, intervals, wraps = grid.shape[axis], grid.intervals[axis], grid.wraps[axis]
    position = (target.axis(axis) - grid.bounds[axis][0]) / grid.spacings[axis]
    points = 2 if method == "linear" else min(4, old)
    first = position.floor().long() - (points - 2) // 2
    if not wraps:
        first = first.clamp(min=0, max=intervals + 1 - points)
    local = position - first
    matrix = torch.zeros(count, old, dtype=torch.float64)
    for node in range(points):
        others = [other for other in range(points) if other != node]
        weight = torch.ones_like(local)
        for other in others:
            weight = weight * (local - other) / (node - other)
        column = (first + node) % old if wraps else first + node
        matrix.index_put_((torch.arange(count), column), weight, accumulate=True)
    return matrix
