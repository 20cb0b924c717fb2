"""Series of a field on a grid: Fourier along periodic axes, cosines along the others.

Cosines need no boundary condition to represent a function with one square-integrable derivative, so that norms and
resampling mean the same on either kind of axis.
"""

from __future__ import annotations

import torch

from equipoise.spaces.grid import Grid

__all__ = ["cosine_transform", "inverse_cosine_transform", "series_coefficients", "squared_wavenumber"]


def cosine_transform(values: torch.Tensor, axis: int) -> torch.Tensor:
    """Coefficients c of `sum_m c_m cos(pi m j / (n - 1))` along an axis of n points that holds both ends."""
    count = values.shape[axis]
    return _even_sum(values, axis) * (_ends(values, axis, 0.5) / (count - 1))


def inverse_cosine_transform(coefficients: torch.Tensor, axis: int) -> torch.Tensor:
    """Values at the points of an axis from coefficients as `cosine_transform` gives them."""
    return _even_sum(coefficients * (0.5 / _ends(coefficients, axis, 0.5)), axis)


def _even_sum(values: torch.Tensor, axis: int) -> torch.Tensor:
    """`x_0 + (-1)^m x_(n-1) + 2 sum x_j cos(pi m j / (n - 1))` by the transform of the even extension."""
    count = values.shape[axis]
    even = torch.cat([values, values.narrow(axis, 1, count - 2).flip(axis)], axis)
    if values.is_complex():
        return torch.fft.fft(even, dim=axis).narrow(axis, 0, count)
    return torch.fft.rfft(even, dim=axis).real


def _ends(values: torch.Tensor, axis: int, factor: float) -> torch.Tensor:
    """One inside and `factor` at both ends, along an axis."""
    ends = torch.ones(values.shape[axis], dtype=values.real.dtype, device=values.device)
    ends[0] = ends[-1] = factor
    shape = [1] * values.ndim
    shape[axis] = len(ends)
    return ends.view(shape)


def series_coefficients(field: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Coefficients of the series along all axes of `(batch, channel, *grid)`; complex."""
    coefficients = field
    for axis in range(grid.dim):
        if not grid.wraps[axis]:
            coefficients = cosine_transform(coefficients, 2 + axis)
    periodic = [2 + axis for axis in range(grid.dim) if grid.wraps[axis]]
    if periodic:
        return torch.fft.fftn(coefficients, dim=periodic, norm="forward")
    return coefficients.to(torch.promote_types(coefficients.dtype, torch.complex64))


def squared_wavenumber(grid: Grid, *, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """`|k|^2` of every coefficient of `series_coefficients`, `(*grid)`."""
    total = torch.zeros((), dtype=dtype, device=device)
    for axis in range(grid.dim):
        along = grid.wavenumbers(axis, dtype=dtype, device=device).square()
        total = total[..., None] + along
    return total
