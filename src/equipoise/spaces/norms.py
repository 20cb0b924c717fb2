"""Norms of fields on grids, with their meaning in the continuum: they converge as the grid is refined.

Each returns one value per sample, `(batch,)`, with all channels in it.
"""

from __future__ import annotations

import torch
from jaxtyping import Float

from equipoise.spaces.grid import Grid
from equipoise.spaces.transforms import series_coefficients, squared_wavenumber

__all__ = ["gradient", "h1_norm", "l2_norm", "relative_error", "sobolev_norm"]


def l2_norm(field: Float[torch.Tensor, "batch channel *grid"], grid: Grid) -> Float[torch.Tensor, " batch"]:
    """`(integral of u^2)^(1/2)` by the trapezoidal rule; spectrally accurate along periodic axes, else second order.

    Raises:
        ValueError: for a field that does not live on the grid.
    """
    grid.check_field(field)
    # The vector norm, unlike a root of a sum, has a gradient at zero.
    roots = grid.weights(dtype=field.dtype, device=field.device).sqrt()
    return torch.linalg.vector_norm((field * roots).flatten(1), dim=1)


def gradient(
    field: Float[torch.Tensor, "batch channel *grid"], grid: Grid
) -> Float[torch.Tensor, "batch channel dim *grid"]:
    """Derivatives along each axis: spectral along periodic axes, second-order differences along the others."""
    grid.check_field(field)
    parts = []
    for axis in range(grid.dim):
        if grid.wraps[axis]:
            wavenumbers = 1j * grid.wavenumbers(axis, half=True, dtype=field.dtype, device=field.device)
            if grid.shape[axis] % 2 == 0:
                wavenumbers[-1] = 0  # the highest cosine has no derivative on the grid
            shape = [1] * field.ndim
            shape[2 + axis] = len(wavenumbers)
            spectrum = torch.fft.rfft(field, dim=2 + axis) * wavenumbers.view(shape)
            parts.append(torch.fft.irfft(spectrum, n=grid.shape[axis], dim=2 + axis))
        else:
            order = 2 if grid.shape[axis] > 2 else 1
            parts.append(torch.gradient(field, spacing=grid.spacings[axis], dim=2 + axis, edge_order=order)[0])
    return torch.stack(parts, 2)


def h1_norm(
    field: Float[torch.Tensor, "batch channel *grid"], grid: Grid, *, seminorm: bool = False
) -> Float[torch.Tensor, " batch"]:
    """`(integral of u^2 + |grad u|^2)^(1/2)`; without the first term for the seminorm."""
    slopes = l2_norm(gradient(field, grid).flatten(1, 2), grid)
    return slopes if seminorm else torch.linalg.vector_norm(torch.stack([l2_norm(field, grid), slopes]), dim=0)


def sobolev_norm(
    field: Float[torch.Tensor, "batch channel *grid"], grid: Grid, order: float
) -> Float[torch.Tensor, " batch"]:
    """Norm of any real order s: `(sum_k (1 + |k|^2)^s |u_k|^2 volume)^(1/2)` over the series of the field.

    The series is of Fourier modes along periodic axes and of cosines along the others, so that the norm is that of
    `(1 - Laplace)^(s/2) u` with the natural boundary condition. Order 0 is `l2_norm`, order 1 the norm of H1.

    Args:
        field: on the grid. order: s, negative orders weigh high frequencies down.
    """
    grid.check_field(field)
    coefficients = series_coefficients(field, grid)
    factor = (1 + squared_wavenumber(grid, dtype=field.dtype, device=field.device)) ** order * grid.volume
    for axis in range(grid.dim):
        if not grid.wraps[axis]:
            # A cosine has mean square 1/2, but for the constant one.
            halves = torch.full((grid.shape[axis],), 0.5, dtype=field.dtype, device=field.device)
            halves[0] = 1.0
            shape = [1] * grid.dim
            shape[axis] = grid.shape[axis]
            factor = factor * halves.view(shape)
    return torch.linalg.vector_norm((coefficients * factor.sqrt()).flatten(1), dim=1)


def relative_error(
    value: Float[torch.Tensor, "batch channel *grid"],
    exact: Float[torch.Tensor, "batch channel *grid"],
    grid: Grid,
    *,
    order: float = 0.0,
) -> Float[torch.Tensor, " batch"]:
    """Norm of the error over the norm of the exact field; order 0 is L2, 1 is H1, any other `sobolev_norm`.

    Raises:
        ValueError: for an exact field without a norm to compare with, naming the sample.
    """

    def norm(field: torch.Tensor) -> torch.Tensor:
        if order == 0:
            return l2_norm(field, grid)
        return h1_norm(field, grid) if order == 1 else sobolev_norm(field, grid, order)

    size = norm(exact)
    zero = torch.nonzero(size == 0).flatten().tolist()
    if zero:
        raise ValueError(f"sample {zero[0]} of the exact field is zero, so that no error is relative to it.")
    return norm(value - exact) / size
