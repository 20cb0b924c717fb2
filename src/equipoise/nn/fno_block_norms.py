"""Normalisations of an FNO block, channels last, by averages over the grid, which mean the same on every grid."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import nn

__all__ = ["NORMS", "GroupNormalisation", "InstanceNormalisation", "make_normalisation"]

NORMS = ("none", "instance", "group")


class InstanceNormalisation(nn.Module):
    """Every channel of every sample shifted to mean zero and scaled to variance one over the grid."""

    def forward(
        self, field: Float[torch.Tensor, "batch *grid channels"]
    ) -> Float[torch.Tensor, "batch *grid channels"]:
        """`(batch, *grid, channel)` to the same shape."""
        return _standardised(field, tuple(range(1, field.ndim - 1)))


class GroupNormalisation(nn.Module):
    """Every sample shifted and scaled over the grid and all channels, then each channel by trained numbers."""

    def __init__(self, *, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(
        self, field: Float[torch.Tensor, "batch *grid channels"]
    ) -> Float[torch.Tensor, "batch *grid channels"]:
        """`(batch, *grid, channel)` to the same shape."""
        return torch.addcmul(self.bias, _standardised(field, tuple(range(1, field.ndim))), self.weight)


def _standardised(field: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
    variance, mean = torch.var_mean(field, axes, correction=0, keepdim=True)
    return (field - mean) * torch.rsqrt(variance + 1e-5)


def make_normalisation(name: str, channels: int) -> nn.Module:
    """The normalisation of this name, one of `NORMS`."""
    if name not in NORMS:
        raise ValueError(f"norm={name!r} is unknown; use one of {', '.join(NORMS)}.")
    if name == "none":
        return nn.Identity()
    return InstanceNormalisation() if name == "instance" else GroupNormalisation(channels=channels)
