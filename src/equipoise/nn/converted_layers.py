"""Other layers of ordinary networks made to mean the same on every grid; windows have a file of their own.

At the training grid each computes what the original layer computes. They know the resolution at hand from an object
that the whole network shares.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import nn

from equipoise.nn.band_limited_pooling import resample_grid
from equipoise.nn.graph_kernel import GridMessagePassing
from equipoise.nn.grid_padding import pad_field
from equipoise.nn.resolution import Resolution
from equipoise.spaces.grid import Grid

__all__ = [
    "AtTrainingSpacing",
    "DomainLayerNorm",
    "InterpolatedPosition",
    "PhysicalPadding",
    "RadiusMessagePassing",
    "padding_counts",
]


class AtTrainingSpacing(nn.Module):
    """A layer that belongs to one spacing, between values at its training points and an interpolation back.

    Transposed convolutions and upsampling place their outputs by the phase of the coarse points, so that no stencil on
    a finer grid is the same map.

    Args:
        layer: of the original network. resolution: shared with the whole network.
    """

    def __init__(self, layer: nn.Module, resolution: Resolution) -> None:
        super().__init__()
        self.layer, self.resolution = layer, resolution

    def forward(self, inputs: Float[torch.Tensor, "batch channels *grid"]) -> Float[torch.Tensor, "batch filters *out"]:
        """The layer at the current resolution."""
        with self.resolution.inside():
            return self.resolution.at_training_spacing(self.layer, inputs)


def padding_counts(sizes: tuple[int, ...] | list[int] | int, dim: int) -> tuple[list[int], list[int]]:
    """Points before and after each axis of the grid, from torch's padding (last axis first, both ends of each)."""
    pairs = [sizes] * (2 * dim) if isinstance(sizes, int) else list(sizes)
    pairs += [0] * (2 * dim - len(pairs))
    return [pairs[2 * (dim - 1 - axis)] for axis in range(dim)], [
        pairs[2 * (dim - 1 - axis) + 1] for axis in range(dim)
    ]


class PhysicalPadding(nn.Module):
    """Padding by the length that the original's number of points had on the training grid.

    Args:
        sizes: torch's padding. mode: `"zeros"`, `"circular"`, `"replicate"` or `"reflect"`. value: in place of zero.
        resolution: shared with the whole network.
    """

    def __init__(
        self, sizes: tuple[int, ...] | list[int] | int, resolution: Resolution, *, mode: str, value: float = 0.0
    ) -> None:
        super().__init__()
        self.left, self.right = padding_counts(sizes, resolution.training.dim)
        self.mode, self.value, self.resolution = mode, value, resolution

    def forward(
        self, inputs: Float[torch.Tensor, "batch channels *grid"]
    ) -> Float[torch.Tensor, "batch channels *out"]:
        """The padded field at the current resolution.

        Raises:
            ValueError: for a resolution at which the length is no whole number of points.
        """
        with self.resolution.inside():
            left = self.resolution.scaled(self.left, "padding")
            right = self.resolution.scaled(self.right, "padding")
            # A constant other than zero is added to what is padded by zeros.
            shift = self.value if self.mode == "zeros" else 0.0
            return pad_field(inputs - shift, left, right, [self.mode] * len(left)) + shift


class DomainLayerNorm(nn.Module):
    """Layer norm over channels and grid whose learned factor and shift are functions of position, interpolated.

    Args:
        layer: `LayerNorm` over `(channels, *grid)` or `(*grid)`, whose parameters it takes.
        resolution: shared with the whole network.
    """

    def __init__(self, layer: nn.LayerNorm, resolution: Resolution) -> None:
        super().__init__()
        self.weight, self.bias, self.epsilon, self.resolution = layer.weight, layer.bias, layer.eps, resolution
        self.n_axes = len(layer.normalized_shape)

    def forward(
        self, inputs: Float[torch.Tensor, "batch channels *grid"]
    ) -> Float[torch.Tensor, "batch channels *grid"]:
        """The normalised field."""
        with self.resolution.inside():
            shape = tuple(inputs.shape[-self.n_axes :])
            weight, bias = (self._at(value, inputs) for value in (self.weight, self.bias))
            return F.layer_norm(inputs, shape, weight, bias, self.epsilon)

    def _at(self, values: torch.Tensor | None, inputs: torch.Tensor) -> torch.Tensor | None:
        if values is None or values.shape == inputs.shape[-self.n_axes :]:
            return values
        dim = self.resolution.training.dim
        grid = Grid(tuple(values.shape[-dim:]), (), self.resolution.training.periodic)
        field = values.reshape(1, -1, *grid.shape)
        return resample_grid(field, grid, tuple(inputs.shape[2:])).view(*values.shape[:-dim], *inputs.shape[2:])


class InterpolatedPosition(nn.Module):
    """A table of values at training points as a function of position: interpolated onto the points at hand.

    It is put over a parameter by `torch.nn.utils.parametrize`, so that the network reads the table that it needs.

    Args:
        shape: of the points in training.
        axis: of the table that runs over all points, or `None` where its last axes have the shape of the points.
        n_others: entries before the points along that axis, such as a class token, which stay as they are.
        resolution: shared with the whole network.
    """

    def __init__(
        self, resolution: Resolution, *, shape: tuple[int, ...], axis: int | None = None, n_others: int = 0
    ) -> None:
        super().__init__()
        self.resolution, self.axis, self.shape, self.n_others = resolution, axis, shape, n_others

    def forward(self, table: torch.Tensor) -> torch.Tensor:
        """The table at the current resolution; the parameter itself at the training grid."""
        if self.resolution.is_training:
            return table
        with self.resolution.inside():
            grid = Grid(self.shape, (), self.resolution.training.periodic)
            shape = self.resolution.level(self.shape, to_training=False)
            if self.axis is None:
                new = resample_grid(table.reshape(1, -1, *self.shape), grid, shape)
                return new.view(*table.shape[: -grid.dim], *shape)
            moved = table.movedim(self.axis, -1)
            others, values = moved[..., : self.n_others], moved[..., self.n_others :]
            new = resample_grid(values.reshape(1, -1, *self.shape), grid, shape)
            return torch.cat([others, new.flatten(2).view(*others.shape[:-1], -1)], -1).movedim(-1, self.axis)


class RadiusMessagePassing(nn.Module):
    """Message passing whose neighbours are all points as near as the nearest ones were on the training grid.

    Args:
        layer: whose perceptrons it takes. resolution: shared with the whole network.
    """

    def __init__(self, layer: GridMessagePassing, resolution: Resolution) -> None:
        super().__init__()
        self.layer, self.resolution = layer, resolution

    def forward(
        self, inputs: Float[torch.Tensor, "batch channels *grid"]
    ) -> Float[torch.Tensor, "batch filters *grid"]:
        """The mean over the ball, with displacements in training spacings."""
        with self.resolution.inside():
            return self.layer.within(inputs, self.layer.reach(), [1 / ratio for ratio in self.resolution.ratios])
