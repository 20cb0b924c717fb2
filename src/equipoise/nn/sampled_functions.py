"""Functions known at the points of a grid, such as POD modes, evaluated anywhere in its box by cubic interpolation."""

from __future__ import annotations

from itertools import product

import torch
from jaxtyping import Float
from torch import nn

from equipoise.spaces.grid import Grid

__all__ = ["SampledFunctions"]


class SampledFunctions(nn.Module):
    """A table of k functions on a grid.

    Args:
        count: k. shape, bounds, periodic: of the grid, see `Grid`.

    Attributes:
        table: values at the grid's points, `(points, k)`; a buffer, zero until it is set.
    """

    table: torch.Tensor

    def __init__(
        self,
        count: int,
        *,
        shape: tuple[int, ...],
        bounds: tuple[tuple[float, float], ...] = (),
        periodic: tuple[bool, ...] | bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.grid = Grid(tuple(shape), bounds, periodic)
        self.register_buffer("table", torch.zeros(int(torch.tensor(self.grid.shape).prod()), count, dtype=dtype))

    def forward(self, points: Float[torch.Tensor, "n dim"] | None = None) -> Float[torch.Tensor, "n k"]:
        """Values at points, `(n, dim)` to `(n, k)`; exact at the grid's own points, fourth order between them.

        No points stand for those of the grid, in order.

        Raises:
            ValueError: for points of another dimension, or outside the box of an axis that is not periodic.
        """
        if points is None:
            return self.table
        grid = self.grid
        if points.ndim != 2 or points.shape[1] != grid.dim:
            raise ValueError(f"points have shape {tuple(points.shape)}; these functions live in {grid.dim} dimensions.")
        if self._are_the_grid(points):
            return self.table
        nodes, weights = [], []
        for axis in range(grid.dim):
            node, weight = self._stencil(points[:, axis], axis)
            nodes.append(node)
            weights.append(weight)
        found = self.table.new_zeros(len(points), self.table.shape[1])
        for corner in product(*(range(node.shape[1]) for node in nodes)):
            index = torch.zeros(len(points), dtype=torch.long, device=points.device)
            weight = torch.ones_like(found[:, 0])
            for axis, local in enumerate(corner):
                index = index * grid.shape[axis] + nodes[axis][:, local]
                weight = weight * weights[axis][:, local]
            found = found + weight[:, None] * self.table[index]
        return found

    def _are_the_grid(self, points: torch.Tensor) -> bool:
        if len(points) != len(self.table):
            return False
        own = self.grid.points(dtype=points.dtype, device=points.device).flatten(0, -2)
        near = 8 * torch.finfo(points.dtype).eps * max(abs(end) for ends in self.grid.bounds for end in ends)
        return bool(((own - points).abs() <= near).all())

    def _stencil(self, position: torch.Tensor, axis: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Numbers and weights of the nodes along one axis, `(n, 4)` each."""
        grid = self.grid
        count, (low, high), wraps = grid.shape[axis], grid.bounds[axis], grid.wraps[axis]
        slack = 1e-6 * (high - low)
        if not wraps and bool(((position < low - slack) | (position > high + slack)).any()):
            raise ValueError(f"a point lies outside [{low:g}, {high:g}] of axis {axis}, where the functions are known.")
        local = (position - low) / grid.spacings[axis]
        size = min(4, count)
        first = local.floor().long() - (size - 2) // 2
        if not wraps:
            first = first.clamp(min=0, max=count - size)
        offset = local - first
        weights = []
        for node in range(size):
            weight = torch.ones_like(offset)
            for other in range(size):
                if other != node:
                    weight = weight * (offset - other) / (node - other)
            weights.append(weight)
        numbers = first[:, None] + torch.arange(size, device=position.device)
        return (numbers % count if wraps else numbers), torch.stack(weights, 1)
