"""Finite-difference convolution: a learned stencil whose limit under refinement is a derivative, not a point value."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import nn

from equipoise.nn.grid_padding import continuations, pad_field
from equipoise.nn.initialisation import seeded
from equipoise.nn.stencils import convolve
from equipoise.spaces.grid import Grid

__all__ = ["FiniteDifferenceConvolution"]


class FiniteDifferenceConvolution(nn.Module):
    """`D u = (sum_s k_s u(x + s h) - (sum_s k_s) u(x)) h_ref / h`.

    Constants map to zero. As h falls, `D u` tends to `h_ref sum_s k_s (s . grad u)`: first order in h, second where the
    stencil is antisymmetric. Where spacings differ among the axes, h is their geometric mean.

    Args:
        in_channels, out_channels: of the fields. dim: axes of the grid, 1 to 3.
        kernel_size: taps along each axis, odd and at least 3.
        reference_spacing: h_ref, commonly the spacing of the training grid, so that weights stay of order one there.
        seed: of the initial weights.

    Raises:
        ValueError: for sizes out of range.

    Source: Liu-Schiaffini et al. (2024), Berner et al. (2025).
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        dim: int = 2,
        kernel_size: int = 3,
        reference_spacing: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(in_channels, out_channels) < 1 or not 1 <= dim <= 3:
            raise ValueError(f"in_channels={in_channels}, out_channels={out_channels}, dim={dim} are out of range.")
        if kernel_size < 3 or kernel_size % 2 == 0 or not reference_spacing > 0:
            raise ValueError(
                f"kernel_size={kernel_size} must be odd and at least 3, reference_spacing={reference_spacing} positive."
            )
        self.config: dict[str, Any] = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "dim": dim,
            "kernel_size": kernel_size,
            "reference_spacing": reference_spacing,
            "seed": seed,
        }
        with seeded(seed):
            bound = 1 / math.sqrt(in_channels * kernel_size**dim)
            self.weight = nn.Parameter((2 * torch.rand(out_channels, in_channels, *[kernel_size] * dim) - 1) * bound)

    def forward(
        self, inputs: Float[torch.Tensor, "batch channels *grid"], grid: Grid
    ) -> Float[torch.Tensor, "batch filters *grid"]:
        """Differences on the grid; beyond ends that are not periodic, the field goes on with its slope.

        Raises:
            ValueError: for a field that does not live on the grid, or a grid of other dimension.
        """
        grid.check_field(inputs)
        size, dim = self.config["kernel_size"], self.config["dim"]
        if grid.dim != dim:
            raise ValueError(f"the grid has {grid.dim} axes; this layer was made for {dim}.")
        centre = torch.zeros(size**dim, dtype=self.weight.dtype, device=self.weight.device)
        centre[size**dim // 2] = 1
        total = self.weight.flatten(2).sum(2)[(...,) + (None,) * dim]
        kernel = self.weight - total * centre.view([size] * dim)
        reach = [size // 2] * dim
        padded = pad_field(inputs, reach, reach, continuations(grid, "extrapolate"))
        spacing = math.prod(grid.spacings) ** (1 / dim)
        return convolve(padded, kernel) * (self.config["reference_spacing"] / spacing)
