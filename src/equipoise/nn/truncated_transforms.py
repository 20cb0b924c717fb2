"""Fourier transforms of real fields that keep the lowest modes only, and their inverses.

Where few modes are kept, one matrix product per axis in real arithmetic is faster than a fast Fourier transform, which
computes all of them; where many are kept, the fast transform wins. Fields here are channels last, `(batch, *grid,
channel)`, so that products need no copies. Transforms are normalised forward: a mode is an average over the grid, and
means the same on every grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Float

from equipoise.nn.spectral_weight import kept_modes

__all__ = [
    "METHODS",
    "analyse",
    "analyse_outer",
    "axis_matrices",
    "check_resolution",
    "choose_method",
    "inwards",
    "mean_mode",
    "outwards",
    "smallest_grid",
    "synthesise",
    "synthesise_outer",
]

METHODS = ("matrix", "fft")

# Most modes on an axis for which products are faster. A product costs `kept` multiplications for each point, a fast
# transform about the same whatever is kept, so that the limit hardly depends on the grid. Measured on a processor by
# `python benchmarks/grid_operators.py --transforms`, grids of 256 to 65536 points in one to three dimensions: products
# win up to 64 modes and lose from 128 on. On an H200 (the same command with `--device cuda`) they win by 1.7 to 2.8
# times wherever they were measured, up to 128 modes in two dimensions and 256 in one.
_FEW_MODES = {"cpu": 64, "cuda": 256}


def smallest_grid(n_modes: Sequence[int]) -> tuple[int, ...]:
    """Fewest points along each axis that resolve these modes."""
    return (*n_modes[:-1], max(2 * (n_modes[-1] // 2), 1))


def check_resolution(grid: Sequence[int], n_modes: Sequence[int]) -> None:
    """Raise `ValueError`, naming the smallest grid, where a grid can't hold the modes."""
    least = smallest_grid(n_modes)
    if len(grid) != len(least) or any(points < fewest for points, fewest in zip(grid, least, strict=True)):
        raise ValueError(
            f"a grid of {_times(grid)} points does not resolve n_modes={tuple(n_modes)}; "
            f"the smallest grid that does has {_times(least)} points."
        )


def _times(grid: Sequence[int]) -> str:
    return " x ".join(map(str, grid))


def choose_method(n_modes: Sequence[int], device: torch.device) -> str:
    """The faster way to keep these modes on a device, `"matrix"` or `"fft"`."""
    return "matrix" if max(n_modes) <= _FEW_MODES.get(device.type, 64) else "fft"


def mean_mode(n_modes: Sequence[int]) -> tuple[int, ...]:
    """Index of the mode of wavenumber zero among the kept ones."""
    return (*(modes // 2 for modes in n_modes[:-1]), 0)


def axis_matrices(
    points: int, modes: int, *, last: bool, dtype: torch.dtype, device: torch.device
) -> tuple[Float[torch.Tensor, "rows columns"], Float[torch.Tensor, "columns rows"]]:
    """Real matrices of the transform along one axis and of its inverse.

    Args:
        points: along the axis. modes: asked for on it, before the last axis is halved.
        last: whether this is the axis along which the field is still real.

    Returns:
        Along the last axis, `(2 k, points)` and `(points, 2 k)` with `k = modes // 2 + 1`: all real parts of the modes,
        then all imaginary ones. Along any other, `(2 modes, 2 points)` and `(2 points, 2 modes)`, where real and
        imaginary part of a point are neighbours.
    """
    if torch.compiler.is_compiling():
        # What a compiler traces has no values, and must not be kept.
        return _axis_matrices(points, modes, last, dtype, device)
    with torch.inference_mode(False):
        return _cached_axis_matrices(points, modes, last, dtype, device)


def _axis_matrices(
    points: int, modes: int, last: bool, dtype: torch.dtype, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    first = 0 if last else -(modes // 2)
    wavenumbers = torch.arange(first, first + (modes // 2 + 1 if last else modes), device="cpu")
    # The product of integers is reduced before it becomes an angle, so that large ones lose no digits.
    turns = wavenumbers[:, None] * torch.arange(points, device="cpu") % points
    angles = turns.double() * (2 * math.pi / points)
    cosines, sines = angles.cos(), angles.sin()
    if last:
        # The field is real: a mode stands for itself and its conjugate, but for the mean and the shortest wave.
        single = (2 * wavenumbers % points == 0)[:, None]
        sines = sines.masked_fill(single, 0.0)
        forward = torch.cat([cosines, -sines])
        inverse = forward * torch.where(single, 1.0, 2.0).double().repeat(2, 1)
    else:
        forward = torch.stack([torch.stack([cosines, sines], -1), torch.stack([-sines, cosines], -1)])
        forward = inverse = forward.reshape(2 * modes, 2 * points)
    return (forward / points).to(device, dtype), inverse.T.contiguous().to(device, dtype)


_cached_axis_matrices = lru_cache(maxsize=256)(_axis_matrices)


def _along(matrix: torch.Tensor, field: torch.Tensor) -> torch.Tensor:
    """`(rows, columns)` times every `(columns, values)` of `(n, columns, values)`."""
    return torch.bmm(matrix.expand(field.shape[0], -1, -1), field)


def inwards(
    lines: Float[torch.Tensor, "lines halved channels"],
    grid: Sequence[int],
    n_modes: Sequence[int],
    *,
    adjoint: bool = False,
) -> Float[torch.Tensor, "batch 2 modes channels"]:
    """Transform along all axes but the last, where the last is transformed already.

    Args:
        lines: `(batch * n_1 * ... * n_(d-1), 2 k, channel)`: real parts, then imaginary ones.
        grid, n_modes: points and modes along each axis.
        adjoint: apply the transpose of `outwards` instead.

    Returns:
        `(batch, 2, k_1 * ... * k_d, channel)`.
    """
    channels, kept = lines.shape[-1], kept_modes(n_modes)
    for axis in reversed(range(len(grid) - 1)):
        forward, inverse = axis_matrices(grid[axis], n_modes[axis], last=False, dtype=lines.dtype, device=lines.device)
        lines = lines.reshape(-1, 2 * grid[axis], math.prod(kept[axis + 1 :]) * channels)
        lines = _along(inverse.t() if adjoint else forward, lines)
    return lines.reshape(-1, 2, math.prod(kept), channels)


def outwards(
    modes: Float[torch.Tensor, "batch 2 modes channels"],
    grid: Sequence[int],
    n_modes: Sequence[int],
    *,
    adjoint: bool = False,
) -> Float[torch.Tensor, "lines halved channels"]:
    """Inverse along all axes but the last, which stays transformed; with `adjoint`, the transpose of `inwards`."""
    channels, kept = modes.shape[-1], kept_modes(n_modes)
    for axis in range(len(grid) - 1):
        forward, inverse = axis_matrices(grid[axis], n_modes[axis], last=False, dtype=modes.dtype, device=modes.device)
        modes = modes.reshape(-1, 2 * n_modes[axis], math.prod(kept[axis + 1 :]) * channels)
        modes = _along(forward.t() if adjoint else inverse, modes)
    return modes.reshape(-1, 2 * kept[-1], channels)


def analyse_outer(
    lines: Float[torch.Tensor, "lines halved channels"], grid: Sequence[int], n_modes: Sequence[int]
) -> Float[torch.Tensor, "*kept 2 batch channels"]:
    """`inwards`, in the layout of `analyse`."""
    modes = inwards(lines, grid, n_modes)
    return modes.permute(2, 1, 0, 3).contiguous().view(*kept_modes(n_modes), 2, -1, lines.shape[-1])


def synthesise_outer(
    modes: Float[torch.Tensor, "*kept 2 batch channels"], grid: Sequence[int], n_modes: Sequence[int]
) -> Float[torch.Tensor, "lines halved channels"]:
    """`outwards`, from the layout of `analyse`."""
    flat = modes.reshape(math.prod(kept_modes(n_modes)), 2, *modes.shape[-2:])
    return outwards(flat.permute(2, 1, 0, 3).contiguous(), grid, n_modes)


def analyse(
    field: Float[torch.Tensor, "batch *grid channels"], n_modes: Sequence[int], *, method: str | None = None
) -> Float[torch.Tensor, "*kept 2 batch channels"]:
    """The lowest modes of a real field, normalised forward.

    Args:
        field: `(batch, *grid, channel)`. n_modes: for each axis.
        method: `"matrix"` or `"fft"`; by default the faster one.

    Returns:
        `(*kept, 2, batch, channel)`; index 0 of the axis of two holds the real parts, index 1 the imaginary ones.

    Raises:
        ValueError: for a grid that does not resolve the modes.
    """
    _, *grid, channels = field.shape
    check_resolution(grid, n_modes)
    if (method or choose_method(n_modes, field.device)) == "fft":
        return _analyse_fast(field, n_modes)
    matrix, _ = axis_matrices(grid[-1], n_modes[-1], last=True, dtype=field.dtype, device=field.device)
    return analyse_outer(_along(matrix, field.reshape(-1, grid[-1], channels)), grid, n_modes)


def synthesise(
    modes: Float[torch.Tensor, "*kept 2 batch channels"],
    grid: Sequence[int],
    n_modes: Sequence[int],
    *,
    method: str | None = None,
) -> Float[torch.Tensor, "batch *grid channels"]:
    """The real field of these modes on a grid: the inverse of `analyse` for fields that have no others.

    Imaginary parts that a real field can't have, such as that of the mean, are dropped.
    """
    check_resolution(grid, n_modes)
    if (method or choose_method(n_modes, modes.device)) == "fft":
        return _synthesise_fast(modes, grid, n_modes)
    _, matrix = axis_matrices(grid[-1], n_modes[-1], last=True, dtype=modes.dtype, device=modes.device)
    lines = synthesise_outer(modes, grid, n_modes)
    return _along(matrix, lines).view(modes.shape[-2], *grid, modes.shape[-1])


def _wavenumber_index(points: int, modes: int, device: torch.device) -> torch.Tensor:
    """Where the wavenumbers of an axis stand in the order of a fast transform."""
    return torch.arange(-(modes // 2), modes - modes // 2, device=device) % points


def _analyse_fast(field: torch.Tensor, n_modes: Sequence[int]) -> torch.Tensor:
    dim, (*_, kept) = len(n_modes), kept_modes(n_modes)
    # Channels first, since a fast transform wants the points of a line side by side.
    values = torch.fft.rfft(field.movedim(-1, 1), norm="forward")[..., :kept]
    for axis in reversed(range(dim - 1)):
        index = _wavenumber_index(field.shape[1 + axis], n_modes[axis], field.device)
        values = torch.fft.fft(values, dim=2 + axis, norm="forward").index_select(2 + axis, index)
    pairs = torch.stack([values.real, values.imag])
    return pairs.movedim((0, 1, 2), (-3, -2, -1)).contiguous()


def _synthesise_fast(modes: torch.Tensor, grid: Sequence[int], n_modes: Sequence[int]) -> torch.Tensor:
    dim = len(n_modes)
    pairs = modes.movedim((-3, -2, -1), (0, 1, 2))
    values = torch.complex(pairs[0].contiguous(), pairs[1].contiguous())
    for axis in range(dim - 1):
        shape = list(values.shape)
        shape[2 + axis] = grid[axis]
        index = _wavenumber_index(grid[axis], n_modes[axis], modes.device)
        values = values.new_zeros(shape).index_copy(2 + axis, index, values)
        values = torch.fft.ifft(values, dim=2 + axis, norm="forward")
    return torch.fft.irfft(values, n=grid[-1], norm="forward").movedim(1, -1).contiguous()
