"""Normalisation by integrals: mean and variance are quadrature averages over the domain."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import nn

from equipoise.spaces.grid import Grid

__all__ = ["IntegralNorm", "integral_moments"]


def integral_moments(
    values: torch.Tensor, share: torch.Tensor, *, dim: int | tuple[int, ...]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance along some axes under weights of sum one; the axes are kept, of length one."""
    mean = (values * share).sum(dim, keepdim=True)
    return mean, ((values - mean).square() * share).sum(dim, keepdim=True)


class IntegralNorm(nn.Module):
    """Group normalisation with integrals over the domain: instance norm where each channel is a group.

    Args:
        channels: of the field. n_groups: divides the channels; all channels by default, which is instance norm.
        affine: learned factor and shift of each channel. epsilon: added to the variance.

    Raises:
        ValueError: for groups that do not divide the channels.
    """

    def __init__(
        self, *, channels: int, n_groups: int | None = None, affine: bool = True, epsilon: float = 1e-5
    ) -> None:
        super().__init__()
        groups = channels if n_groups is None else n_groups
        if channels < 1 or groups < 1 or channels % groups:
            raise ValueError(f"n_groups={groups} must divide channels={channels}, both positive.")
        self.config: dict[str, Any] = {"channels": channels, "n_groups": groups, "affine": affine, "epsilon": epsilon}
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def forward(
        self, inputs: Float[torch.Tensor, "batch channels *grid"], grid: Grid
    ) -> Float[torch.Tensor, "batch channels *grid"]:
        """The normalised field.

        Raises:
            ValueError: for a field that does not live on the grid, or has other channels.
        """
        grid.check_field(inputs)
        channels, groups = self.config["channels"], self.config["n_groups"]
        if inputs.shape[1] != channels:
            raise ValueError(f"the field has {inputs.shape[1]} channels; this layer takes {channels}.")
        share = grid.weights(dtype=inputs.dtype, device=inputs.device).flatten() / (grid.volume * (channels // groups))
        grouped = inputs.reshape(len(inputs), groups, channels // groups, -1)
        mean, variance = integral_moments(grouped, share, dim=(2, 3))
        outputs = ((grouped - mean) * (variance + self.config["epsilon"]).rsqrt()).view(inputs.shape)
        if self.weight is not None and self.bias is not None:
            shape = (channels, *[1] * grid.dim)
            outputs = outputs * self.weight.view(shape) + self.bias.view(shape)
        return outputs
