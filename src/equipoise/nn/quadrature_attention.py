"""Attention whose sums over points are integrals: softmax with quadrature weights, and the linear form without softmax.

Tokens are points of any grid or cloud, `(batch, points, channels)`, each with a quadrature weight.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import nn

from equipoise.nn.initialisation import seeded
from equipoise.nn.integral_norm import integral_moments

__all__ = ["LinearAttention", "QuadratureAttention", "linear_attention", "quadrature_attention"]


def quadrature_attention(
    query: Float[torch.Tensor, "*batch queries width"],
    key: Float[torch.Tensor, "*batch points width"],
    value: Float[torch.Tensor, "*batch points channels"],
    weights: Float[torch.Tensor, " points"] | None = None,
) -> Float[torch.Tensor, "*batch queries channels"]:
    """`sum_j exp(q_i . k_j / sqrt(d)) w_j v_j / sum_j exp(q_i . k_j / sqrt(d)) w_j`.

    Args:
        weights: of the points, positive; `None` where all are equal, as on a periodic grid, because they cancel.

    Raises:
        ValueError: for a weight that is negative.
    """
    if weights is None:
        return F.scaled_dot_product_attention(query, key, value)
    if bool((weights < 0).any()):
        raise ValueError(f"quadrature weights must not be negative; the lowest is {float(weights.min()):.3g}.")
    mask = weights.log().to(query.dtype).expand(query.shape[-2], -1)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


def linear_attention(
    query: Float[torch.Tensor, "*batch queries width"],
    key: Float[torch.Tensor, "*batch points width"],
    value: Float[torch.Tensor, "*batch points channels"],
    weights: Float[torch.Tensor, " points"] | None = None,
) -> Float[torch.Tensor, "*batch queries channels"]:
    """`Q (K^T W V)` with keys and values normalised over the points, and weights of sum one.

    The weights multiply the values before the sum over points. `None` stands for equal weights.

    Source: Cao (2021), Galerkin attention; Li, Meidani and Barati Farimani (2023) for the norms.
    """
    share = key.new_full(key.shape[-2:-1], 1 / key.shape[-2]) if weights is None else weights / weights.sum()
    share = share.to(key.dtype)[:, None]

    def normalised(tokens: torch.Tensor) -> torch.Tensor:
        mean, variance = integral_moments(tokens, share, dim=-2)
        return (tokens - mean) * (variance + 1e-5).rsqrt()

    return query @ (normalised(key).transpose(-1, -2) @ (normalised(value) * share))


class _Heads(nn.Module):
    """Queries, keys and values of several heads, and the layer that joins them."""

    def __init__(self, *, width: int, n_heads: int, seed: int) -> None:
        super().__init__()
        if min(width, n_heads) < 1 or width % n_heads:
            raise ValueError(f"width={width} must be a multiple of n_heads={n_heads}, both positive.")
        self.config: dict[str, Any] = {"width": width, "n_heads": n_heads, "seed": seed}
        with seeded(seed):
            self.to_qkv = nn.Linear(width, 3 * width, bias=False)
            nn.init.xavier_uniform_(self.to_qkv.weight, gain=1 / math.sqrt(width // n_heads))
            with torch.no_grad():
                self.to_qkv.weight += torch.eye(width).repeat(3, 1) / math.sqrt(width // n_heads)
            self.join = nn.Linear(width, width)

    def split(self, tokens: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Queries, keys and values, `(batch, heads, points, width of a head)`."""
        batch, points, width = tokens.shape
        if width != self.config["width"]:
            raise ValueError(f"tokens have {width} channels; this layer takes {self.config['width']}.")
        heads = self.to_qkv(tokens).view(batch, points, 3, self.config["n_heads"], -1)
        return heads.permute(2, 0, 3, 1, 4).unbind(0)

    def joined(self, heads: torch.Tensor) -> torch.Tensor:
        return self.join(heads.transpose(1, 2).flatten(2))


class QuadratureAttention(_Heads):
    """Self-attention with softmax over points that carry quadrature weights.

    Args:
        width: channels of a token. n_heads: divides the width. seed: of the initial weights.

    Raises:
        ValueError: for sizes that do not fit.
    """

    def __init__(self, *, width: int, n_heads: int = 1, seed: int = 0) -> None:
        super().__init__(width=width, n_heads=n_heads, seed=seed)

    def forward(
        self,
        tokens: Float[torch.Tensor, "batch points width"],
        weights: Float[torch.Tensor, " points"] | None = None,
    ) -> Float[torch.Tensor, "batch points width"]:
        """Every token attends to all; weights as in `quadrature_attention`."""
        query, key, value = self.split(tokens)
        return self.joined(quadrature_attention(query, key, value, weights))


class LinearAttention(_Heads):
    """Self-attention without softmax: a kernel integral of low rank, linear in the number of points.

    Args:
        width: channels of a token. n_heads: divides the width. seed: of the initial weights.

    Raises:
        ValueError: for sizes that do not fit.
    """

    def __init__(self, *, width: int, n_heads: int = 1, seed: int = 0) -> None:
        super().__init__(width=width, n_heads=n_heads, seed=seed)

    def forward(
        self,
        tokens: Float[torch.Tensor, "batch points width"],
        weights: Float[torch.Tensor, " points"] | None = None,
    ) -> Float[torch.Tensor, "batch points width"]:
        """Every token attends to all; weights as in `linear_attention`."""
        query, key, value = self.split(tokens)
        return self.joined(linear_attention(query, key, value, weights))
