"""Fields cut into patches that each see coarser and coarser views of their surroundings, and put together again.

Pure functions on fields `(batch, channel, *grid)` in one to three dimensions. A view is a choice of grid points along
each axis, so that cutting is indexing: differentiable, exact, and its own definition.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Float, Int

__all__ = ["EDGES", "check_sides", "crop", "cut", "halo_points", "stitch", "view_positions"]

EDGES = ("periodic", "nearest", "reflect")
"""What a view sees beyond the domain: its other side, the point on the edge, or the domain mirrored in the edge."""


def check_sides(grid: Sequence[int], levels: int) -> None:
    """Raise `ValueError` for a grid that cannot be cut into `2^levels` patches along each axis, naming one that can.

    A side must be divisible by `4^levels`, so that the coarse views are centred on their patches.
    """
    unit = 4**levels
    if levels < 0:
        raise ValueError(f"levels={levels} must not be negative.")
    if any(side % unit for side in grid):
        nearest = " x ".join(str(max(unit, round(side / unit) * unit)) for side in grid)
        sides = " x ".join(map(str, grid))
        raise ValueError(
            f"a grid of {sides} points can't be cut with levels={levels}: sides must be multiples of {unit}, "
            f"such as {nearest}."
        )


def halo_points(grid: Sequence[int], padding: float | int | Sequence[float | int]) -> tuple[int, ...]:
    """Points of the halo on each side along each axis.

    Args:
        padding: points (int), or a share of the **full** side (float), for all axes or for each.

    Raises:
        ValueError: for a halo that is negative or wider than the field, or the wrong number of axes.
    """
    each = tuple(padding) if isinstance(padding, Sequence) else (padding,) * len(grid)
    if len(each) != len(grid):
        raise ValueError(f"padding={each} has {len(each)} axes, the grid has {len(grid)}.")
    points = tuple(round(p * n) if isinstance(p, float) else int(p) for p, n in zip(each, grid, strict=True))
    if any(not 0 <= p <= n for p, n in zip(points, grid, strict=True)):
        raise ValueError(f"padding={padding} is {points} points on a grid {tuple(grid)}; take from none to its side.")
    return points


@lru_cache(maxsize=64)
def view_positions(
    side: int, levels: int, level: int, halo: int, edge: str = "periodic"
) -> Int[torch.Tensor, "patch point"]:
    """Points along one axis that the views of one level hold, `(2^levels, side / 2^levels + 2 halo)`.

    `2^l (k p / 2^l - ceil((p - p / 2^l) / 2) - halo + i)` for patch k of side p and point i of its view: level l covers
    `2^l` times the extent at `2^l` times the spacing, around the middle of the patch.

    Args:
        side: points of the field, a multiple of `4^levels`. levels: L. level: l, from 0 to L.
        halo: points on each side. edge: one of `EDGES`.

    Source: Kossaifi et al. (2024); edges that are not periodic are ours.
    """
    if edge not in EDGES:
        raise ValueError(f"edge {edge!r} is unknown; use one of {', '.join(EDGES)}.")
    with torch.inference_mode(False):
        count, stride = 2**levels, 2**level
        patch = side // count
        first = torch.arange(count) * (patch // stride) - math.ceil((patch - patch // stride) / 2) - halo
        positions = stride * (first[:, None] + torch.arange(patch + 2 * halo))
        if edge == "periodic":
            return positions % side
        if edge == "nearest":
            return positions.clamp(0, side - 1)
        around = positions % max(1, 2 * (side - 1))
        return torch.minimum(around, 2 * (side - 1) - around)


def cut(
    field: Float[torch.Tensor, "batch channel *grid"],
    levels: int,
    *,
    halo: Sequence[int] | None = None,
    edges: Sequence[str] | None = None,
    views: int | None = None,
) -> Float[torch.Tensor, "patches channels *patch"]:
    """Patches of a field with their views, `(batch 4^L, channel (L + 1), *patch)` in two dimensions.

    Patches are ordered row by row, `(b n + row) n + column` with `n = 2^L`; channels by level, the patch itself first.
    Coarse views are plain samples: energy above half their frequency is folded, as in the paper.

    Args:
        field: to cut. levels: L; none is the field itself. halo: points on each side along each axis; none by default.
        edges: one of `EDGES` for each axis; periodic by default.
        views: how many levels to look at, `L + 1` by default; 1 cuts targets.

    Raises:
        ValueError: see `check_sides`.
    """
    batch, channels, *grid = field.shape
    check_sides(grid, levels)
    dim, count = len(grid), 2**levels
    halo, edges = halo or (0,) * dim, edges or ("periodic",) * dim
    found = []
    for level in range(levels + 1 if views is None else views):
        view = field
        for axis in range(dim):
            positions = view_positions(grid[axis], levels, level, halo[axis], edges[axis])
            view = view.index_select(2 + axis, positions.flatten().to(field.device))
        found.append(view)
    patch = [side // count + 2 * points for side, points in zip(grid, halo, strict=True)]
    split = [size for points in patch for size in (count, points)]
    # (batch, view channel, count, points, count, points ...) to (batch, count, count ..., view channel, points ...).
    values = torch.stack(found, 1).view(batch, len(found) * channels, *split)
    order = [0, *range(2, 2 + 2 * dim, 2), 1, *range(3, 3 + 2 * dim, 2)]
    return values.permute(order).reshape(-1, len(found) * channels, *patch)


def crop(
    patches: Float[torch.Tensor, "patches channel *padded"], halo: Sequence[int]
) -> Float[torch.Tensor, "patches channel *patch"]:
    """Patches without their halo; axes without one stay as they are."""
    for axis, points in enumerate(halo):
        patches = patches.narrow(2 + axis, points, patches.shape[2 + axis] - 2 * points)
    return patches


def stitch(
    patches: Float[torch.Tensor, "patches channel *patch"], levels: int
) -> Float[torch.Tensor, "batch channel *grid"]:
    """The field whose patches these are: undoes `cut` without halo and coarse views.

    Raises:
        ValueError: for a number of patches that is not a multiple of those of one field.
    """
    total, channels, *patch = patches.shape
    dim, count = len(patch), 2**levels
    if total % count**dim:
        raise ValueError(f"{total} patches are not whole fields of {count**dim} patches each.")
    values = patches.view(-1, *[count] * dim, channels, *patch)
    order = [0, 1 + dim]
    for axis in range(dim):
        order += [1 + axis, 2 + dim + axis]
    return values.permute(order).reshape(-1, channels, *[count * side for side in patch])
