"""Graph layers: a kernel integral over neighbours within a radius, and message passing on the points of a grid.

Points can lie anywhere in `GraphKernel`; `GridMessagePassing` is the layer of ordinary graph networks whose neighbours
are the nearest points, and what it becomes when they are all points within a radius.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from scipy.spatial import cKDTree
from torch import nn

from equipoise.nn.grid_padding import pad_field
from equipoise.nn.initialisation import seeded
from equipoise.nn.perceptron import MultilayerPerceptron

__all__ = ["GraphKernel", "GridMessagePassing", "neighbours_within"]


def neighbours_within(
    queries: Float[torch.Tensor, "queries dim"],
    points: Float[torch.Tensor, "points dim"],
    radius: float,
    *,
    lengths: tuple[float, ...] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """All pairs `(query, point)` at most a radius apart, as two vectors of indices, sorted by the query.

    Args:
        lengths: of a periodic box that starts at the origin, or `None`.
    """
    box = None if lengths is None else list(lengths)
    low = [0.0] * points.shape[1] if box is None else box

    def coordinates(x: torch.Tensor) -> torch.Tensor:
        x = x.detach().double().cpu()
        return x if box is None else x % torch.tensor(low, dtype=torch.float64)

    tree = cKDTree(coordinates(points).numpy(), boxsize=box)
    lists = tree.query_ball_point(coordinates(queries).numpy(), radius * (1 + 1e-9), return_sorted=True)
    counts = torch.tensor([len(found) for found in lists])
    pairs = torch.tensor([index for found in lists for index in found], dtype=torch.long)
    query_index = torch.repeat_interleave(torch.arange(len(lists)), counts)
    return query_index.to(points.device), pairs.to(points.device)


class GraphKernel(nn.Module):
    """`v(x_i) = sum_(|x_i - y_j| <= r) kappa(x_i, y_j, u_j) u_j w_j`, a kernel integral over a ball.

    Args:
        in_channels, out_channels: of the fields. dim: coordinates of a point.
        radius: in the units of the points. width, depth: of the perceptron kappa.
        is_nonlinear: whether kappa sees `u_j` too.
        seed: of the initial weights.

    Raises:
        ValueError: for sizes out of range.

    Source: Li et al. (2020), graph neural operator.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        dim: int,
        radius: float,
        width: int = 32,
        depth: int = 2,
        is_nonlinear: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(in_channels, out_channels, dim, width, depth) < 1 or not 0 < radius < float("inf"):
            raise ValueError("channels, dim, width, depth and radius must be positive.")
        self.config: dict[str, Any] = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "dim": dim,
            "radius": radius,
            "width": width,
            "depth": depth,
            "is_nonlinear": is_nonlinear,
            "seed": seed,
        }
        features = 2 * dim + (in_channels if is_nonlinear else 0)
        generator = torch.Generator().manual_seed(seed)
        sizes = (features, *[width] * depth, in_channels * out_channels)
        self.kernel = MultilayerPerceptron(sizes, generator=generator, dtype=torch.float32)

    def forward(
        self,
        values: Float[torch.Tensor, "batch points channels"],
        points: Float[torch.Tensor, "points dim"],
        weights: Float[torch.Tensor, " points"],
        queries: Float[torch.Tensor, "queries dim"] | None = None,
    ) -> Float[torch.Tensor, "batch queries filters"]:
        """The integral at the queries, by default at the points themselves; zero where there is no neighbour."""
        queries = points if queries is None else queries
        query, point = neighbours_within(queries, points, self.config["radius"])
        place = torch.cat([queries[query], points[point]], -1)
        sources = values[:, point]
        if self.config["is_nonlinear"]:
            place = torch.cat([place.expand(len(values), -1, -1), sources], -1)
        shape = (self.config["out_channels"], self.config["in_channels"])
        kernel = self.kernel(place.flatten(0, -2)).view(*place.shape[:-1], *shape)
        messages = (kernel @ sources[..., None])[..., 0] * weights[point][:, None]
        out = messages.new_zeros(len(values), len(queries), shape[0])
        return out.index_add(1, query, messages)


class GridMessagePassing(nn.Module):
    """`v(x) = update(u(x), mean_j message(u(x), u(y_j), (y_j - x) / h_ref))` over neighbours on a grid.

    `forward` takes the `n_neighbours` nearest points of the grid, and h_ref is its spacing: the layer of ordinary graph
    networks, whose reach shrinks with the spacing. `within` takes all points within a radius, and the mean is the
    quadrature of an integral over a ball.

    Args:
        in_channels, out_channels: of the fields. dim: axes of the grid. width: of both perceptrons.
        n_neighbours: nearest points, itself among them; ties are all taken.
        periodic: whether the field goes on periodically beyond its ends; else it is replicated.
        seed: of the initial weights.

    Raises:
        ValueError: for sizes out of range.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        dim: int = 2,
        width: int = 32,
        n_neighbours: int = 9,
        periodic: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(in_channels, out_channels, width, n_neighbours) < 1 or not 1 <= dim <= 3:
            raise ValueError("channels, width and n_neighbours must be positive, and dim one of 1, 2, 3.")
        self.config: dict[str, Any] = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "dim": dim,
            "width": width,
            "n_neighbours": n_neighbours,
            "periodic": periodic,
            "seed": seed,
        }
        with seeded(seed):
            self.message = nn.Sequential(nn.Linear(2 * in_channels + dim, width), nn.GELU(), nn.Linear(width, width))
            self.update = nn.Sequential(
                nn.Linear(in_channels + width, width), nn.GELU(), nn.Linear(width, out_channels)
            )

    def reach(self) -> float:
        """Distance of the furthest of the nearest neighbours, in spacings of an isotropic grid."""
        dim, count = self.config["dim"], self.config["n_neighbours"]
        half = math.ceil(count ** (1 / dim)) + 1
        squares = torch.cartesian_prod(*[torch.arange(-half, half + 1)] * dim).view(-1, dim).square().sum(1)
        return float(squares.sort().values[count - 1]) ** 0.5

    def forward(
        self, inputs: Float[torch.Tensor, "batch channels *grid"]
    ) -> Float[torch.Tensor, "batch filters *grid"]:
        """Messages from the nearest neighbours, with displacements in points.

        Raises:
            ValueError: for a field of another dimension or other channels.
        """
        dim = self.config["dim"]
        if inputs.ndim != 2 + dim or inputs.shape[1] != self.config["in_channels"]:
            raise ValueError(
                f"inputs have shape {tuple(inputs.shape)}; this layer takes {self.config['in_channels']} channels on "
                f"{dim} axes."
            )
        return self.within(inputs, self.reach(), [1.0] * dim)

    def within(
        self, inputs: Float[torch.Tensor, "batch channels *grid"], radius: float, spacings: Sequence[float]
    ) -> Float[torch.Tensor, "batch filters *grid"]:
        """Messages from all neighbours within a radius.

        Args:
            radius: in units of the reference spacing. spacings: of the grid along each axis, in the same units.
        """
        dim, shape = self.config["dim"], inputs.shape[2:]
        reach = [int(radius / h * (1 + 1e-9)) for h in spacings]
        steps = torch.cartesian_prod(*[torch.arange(-n, n + 1) for n in reach]).view(-1, dim)
        displacements = steps.double() * torch.tensor(list(spacings), dtype=torch.float64)
        is_near = displacements.norm(dim=1) <= radius * (1 + 1e-9)
        steps, displacements = steps[is_near], displacements[is_near].to(inputs)
        continuation = "circular" if self.config["periodic"] else "replicate"
        padded = pad_field(inputs, reach, reach, [continuation] * dim)
        here = inputs.movedim(1, -1)
        total = here.new_zeros(*here.shape[:-1], self.config["width"])
        for step, displacement in zip(steps.tolist(), displacements, strict=True):
            there = padded
            for axis, (offset, margin, count) in enumerate(zip(step, reach, shape, strict=True)):
                there = there.narrow(2 + axis, margin + offset, count)
            place = displacement.expand(*here.shape[:-1], -1)
            total = total + self.message(torch.cat([here, there.movedim(1, -1), place], -1))
        return self.update(torch.cat([here, total / len(steps)], -1)).movedim(-1, 1)
