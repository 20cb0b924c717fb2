"""Levels of a geometric hierarchy on regular grids: their shapes, and the kernels that lead from one to the next.

The convolutions on the levels stand in `multigrid_convolution`.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "BOUNDARIES",
    "TRANSFERS",
    "coarse_side",
    "default_smoothing",
    "kernel_sides",
    "level_shapes",
    "smallest_side",
]

BOUNDARIES = ("dirichlet", "periodic", "neumann")
"""Conditions that a convolution can continue a field by: zeros, the period, or the mirror image about the end point."""

TRANSFERS = ("parity", "centred", "inner")
"""Pairs of strided convolutions that lead to a coarser grid and back; see `MgLinear`."""


def coarse_side(side: int, transfer: str) -> int:
    """Points along an axis of the next coarser level: every second one from the first, or from the second (inner)."""
    return (side - 1) // 2 if transfer == "inner" else (side + 1) // 2


def level_shapes(shape: Sequence[int], n_levels: int, transfer: str) -> tuple[tuple[int, ...], ...]:
    """Shape of the grid of each level, finest first."""
    shapes = [tuple(shape)]
    for _ in range(n_levels - 1):
        shapes.append(tuple(coarse_side(side, transfer) for side in shapes[-1]))
    return tuple(shapes)


def smallest_side(n_levels: int, transfer: str, coarsest: int) -> int:
    """Fewest points along an axis that leave so many on the coarsest level."""
    if transfer == "inner":
        return (coarsest + 1) * 2 ** (n_levels - 1) - 1
    return (coarsest - 1) * 2 ** (n_levels - 1) + 1


def kernel_sides(shape: Sequence[int], transfer: str) -> tuple[int, ...]:
    """Kernel of the transposed convolution onto a level: 3 along an odd side and 4 along an even one, or always 3."""
    return tuple(3 if transfer == "centred" or side % 2 else 4 for side in shape)


def default_smoothing(shape: Sequence[int], transfer: str = "parity") -> tuple[tuple[int, int], ...]:
    """One smoothing step on the way down and none up, two on the coarsest level; up to six levels, as the grid allows.

    Source: the levels of He, Liu and Xu (2024) for Darcy flow.
    """
    levels = max(count for count in range(1, 7) if count == 1 or smallest_side(count, transfer, 2) <= min(shape))
    return ((1, 0),) * (levels - 1) + ((2, 0),)
