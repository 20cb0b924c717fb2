"""Padding of fields on grids: by points, or by a fraction of the domain, and the continuation that fills it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import nn

from equipoise.spaces.grid import Grid

__all__ = ["CONTINUATIONS", "DomainPadding", "pad_field"]

CONTINUATIONS = ("zeros", "circular", "replicate", "reflect", "extrapolate")
"""How a field goes on beyond its grid; `"extrapolate"` reflects it in the point at the end, so that slopes go on."""


def pad_field(
    field: Float[torch.Tensor, "batch channel *grid"],
    left: Sequence[int],
    right: Sequence[int],
    continuations: Sequence[str],
) -> Float[torch.Tensor, "batch channel *padded"]:
    """The field with points added at both ends of each axis, or taken away where a number is negative.

    Raises:
        ValueError: for an unknown continuation, or a reflection beyond the other end.
    """
    for axis, (before, after, continuation) in enumerate(zip(left, right, continuations, strict=True)):
        if continuation not in CONTINUATIONS:
            raise ValueError(f"continuation {continuation!r} is unknown; use one of {', '.join(CONTINUATIONS)}.")
        if before == after == 0:
            continue
        dim, count = 2 + axis, field.shape[2 + axis]
        if continuation == "zeros":
            field = F.pad(field, [0, 0] * (field.ndim - 1 - dim) + [before, after])
            continue
        index = torch.arange(-before, count + after, device=field.device)
        if continuation == "circular":
            field = field.index_select(dim, index % count)
            continue
        inside = index.clamp(0, count - 1)
        if continuation == "replicate":
            field = field.index_select(dim, inside)
            continue
        mirrored = 2 * inside - index
        if max(before, after) >= count:
            raise ValueError(f"{max(before, after)} points can't be reflected on an axis of {count} points.")
        reflected = field.index_select(dim, mirrored)
        if continuation == "extrapolate":
            reflected = 2 * field.index_select(dim, inside) - reflected
            shape = [1] * field.ndim
            shape[dim] = len(index)
            is_inside = ((index >= 0) & (index < count)).view(shape)
            reflected = torch.where(is_inside, field.index_select(dim, inside), reflected)
        field = reflected
    return field


class DomainPadding(nn.Module):
    """Padding by a fraction of the domain, so that the padded length is the same at every resolution.

    Args:
        fraction: of each axis's length, added at both ends; rounded to points. At least 0.
        continuation: along axes that are not periodic; periodic axes go on periodically.

    Raises:
        ValueError: for a negative fraction or an unknown continuation.
    """

    def __init__(self, *, fraction: float, continuation: str = "zeros") -> None:
        super().__init__()
        if fraction < 0 or continuation not in CONTINUATIONS:
            raise ValueError(f"fraction={fraction} must be at least 0, and continuation one of {CONTINUATIONS}.")
        self.config: dict[str, Any] = {"fraction": fraction, "continuation": continuation}

    def counts(self, grid: Grid) -> tuple[int, ...]:
        """Points added at either end of each axis."""
        return tuple(round(self.config["fraction"] * intervals) for intervals in grid.intervals)

    def forward(
        self, inputs: Float[torch.Tensor, "batch channel *grid"], grid: Grid
    ) -> Float[torch.Tensor, "batch channel *padded"]:
        """The padded field."""
        grid.check_field(inputs)
        counts = self.counts(grid)
        return pad_field(inputs, counts, counts, continuations(grid, self.config["continuation"]))

    def remove(
        self, outputs: Float[torch.Tensor, "batch channel *padded"], grid: Grid
    ) -> Float[torch.Tensor, "batch channel *grid"]:
        """The part of a padded field that lies on the grid."""
        counts = [-count for count in self.counts(grid)]
        return pad_field(outputs, counts, counts, ["zeros"] * grid.dim)


def continuations(grid: Grid, otherwise: str) -> tuple[str, ...]:
    """`"circular"` along periodic axes, and the given continuation along the others."""
    return tuple("circular" if wraps else otherwise for wraps in grid.wraps)
