"""Networks that act on the channels of every point alike, channels last."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import nn

from equipoise.nn.pointwise_affine import affine
from equipoise.nn.pointwise_fused import fusion_applies, two_layers
from equipoise.nn.pointwise_gelu import gelu

__all__ = ["SKIPS", "PointwiseMLP", "SoftGate", "make_skip"]

SKIPS = ("linear", "identity", "soft-gating", "none")


class PointwiseMLP(nn.Module):
    """Two linear layers with GELU between them, applied to the channels of every point.

    Args:
        in_channels, hidden_channels, out_channels: of the layers.
    """

    def __init__(self, *, in_channels: int, hidden_channels: int, out_channels: int) -> None:
        super().__init__()
        if min(in_channels, hidden_channels, out_channels) < 1:
            raise ValueError(
                f"in_channels={in_channels}, hidden_channels={hidden_channels} and out_channels={out_channels} "
                "must all be positive."
            )
        self.inner = nn.Linear(in_channels, hidden_channels)
        self.outer = nn.Linear(hidden_channels, out_channels)

    def forward(self, field: Float[torch.Tensor, "*points inputs"]) -> Float[torch.Tensor, "*points outputs"]:
        """`(*points, in)` to `(*points, out)`."""
        if not fusion_applies(field):
            return affine(gelu(affine(field, self.inner)), self.outer)
        rows = field.reshape(-1, field.shape[-1])
        out = two_layers(rows, self.inner.weight, self.inner.bias, self.outer.weight, self.outer.bias)
        return out.view(*field.shape[:-1], -1)


class SoftGate(nn.Module):
    """Every channel times a trained number, one at the start."""

    def __init__(self, *, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, field: Float[torch.Tensor, "*points channels"]) -> Float[torch.Tensor, "*points channels"]:
        """`(*points, channel)` to the same shape."""
        return field * self.weight


def make_skip(name: str, channels: int) -> nn.Module | None:
    """The skip connection of this name, one of `SKIPS`; nothing for `"none"`."""
    if name not in SKIPS:
        raise ValueError(f"skip={name!r} is unknown; use one of {', '.join(SKIPS)}.")
    if name == "linear":
        return nn.Linear(channels, channels, bias=False)
    if name == "soft-gating":
        return SoftGate(channels=channels)
    return nn.Identity() if name == "identity" else None
