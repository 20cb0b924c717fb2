"""Position as a function of the coordinate: channels, Fourier features and rotary embeddings that know no index."""

from __future__ import annotations

import torch
from jaxtyping import Float

from equipoise.spaces.grid import Grid

__all__ = ["coordinate_channels", "fourier_features", "rotary_embedding"]


def coordinate_channels(
    grid: Grid, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> Float[torch.Tensor, "1 dim *grid"]:
    """Coordinates as channels, each axis from 0 to 1; the upper end of a periodic axis is left out, as on the grid."""
    points = Grid(grid.shape, (), grid.periodic).points(dtype=dtype, device=device)
    return points.movedim(-1, 0)[None]


def fourier_features(
    points: Float[torch.Tensor, "*points dim"], *, n_frequencies: int, length: float = 1.0
) -> Float[torch.Tensor, "*points features"]:
    """Cosines and sines of `2 pi m x / L`, m = 1 to `n_frequencies`, of each coordinate: `2 dim n_frequencies` of them.

    Raises:
        ValueError: for fewer than one frequency, or a length that is not positive.
    """
    if n_frequencies < 1 or not length > 0:
        raise ValueError(f"n_frequencies={n_frequencies} must be at least 1, and length={length} positive.")
    modes = torch.arange(1, n_frequencies + 1, dtype=points.dtype, device=points.device)
    angle = (2 * torch.pi / length * points[..., None] * modes).flatten(-2)
    return torch.cat([angle.cos(), angle.sin()], -1)


def rotary_embedding(
    tokens: Float[torch.Tensor, "*batch points width"],
    points: Float[torch.Tensor, "points dim"],
    *,
    lowest_frequency: float = 1 / 64,
) -> Float[torch.Tensor, "*batch points width"]:
    """Channels turned in pairs by angles in proportion to the coordinates, so that products see differences alone.

    The width is cut into `dim` equal parts, one for each coordinate; its pairs have frequencies falling geometrically
    by 1e4, divided by `lowest_frequency`.

    Raises:
        ValueError: for a width that is not a multiple of `2 dim`.

    Source: Su et al. (2021); for coordinates in place of indices, Li, Meidani and Barati Farimani (2023).
    """
    dim, width = points.shape[-1], tokens.shape[-1]
    if width % (2 * dim):
        raise ValueError(f"a width of {width} is not a multiple of {2 * dim}, twice the number of coordinates.")
    pairs = width // (2 * dim)
    steps = torch.arange(pairs, dtype=tokens.dtype, device=tokens.device) / pairs
    frequencies = 1e4 ** (-steps) / lowest_frequency
    angle = (points.to(tokens)[..., None] * frequencies).flatten(-2)
    first, second = tokens.chunk(2, -1)
    return torch.cat([first * angle.cos() - second * angle.sin(), first * angle.sin() + second * angle.cos()], -1)
