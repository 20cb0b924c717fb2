"""Affine maps of the channels of every point, in the form that suits whoever runs them.

The gradient of a weight is a product of very tall matrices. Libraries do not share one such product among threads, and
are slow where it is a few columns wide; compilers call them all the same, so that the better form is written out here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from equipoise.nn.pointwise_gelu import is_compiled_for_processor

__all__ = ["affine", "tall_product"]

# Rows of one product in the sum of a tall one.
_CHUNK_ROWS = 2**11


def affine(field: torch.Tensor, layer: nn.Linear) -> torch.Tensor:
    """The layer applied to the last axis."""
    if not is_compiled_for_processor(field):
        return layer(field)
    rows = _TallProduct.apply(field.reshape(-1, field.shape[-1]), layer.weight)
    out = rows.view(*field.shape[:-1], layer.out_features)
    return out if layer.bias is None else out + layer.bias


class _TallProduct(torch.autograd.Function):
    """`rows weight^T`, with the gradient of the weight as a sum of short products."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(rows, weight)
        return rows @ weight.t()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rows, weight = ctx.saved_tensors
        # One column times one row is no task for a library of matrix products.
        back = gradient * weight if gradient.shape[1] == 1 else gradient @ weight
        return back, tall_product(gradient, rows)


def tall_product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """`left^T right` for `(rows, a)` and `(rows, b)`, the narrower on the left."""
    if right.shape[1] < left.shape[1]:
        return tall_product(right, left).t()
    chunks, rest = divmod(left.shape[0], _CHUNK_ROWS)
    if chunks < 2 or rest:
        return left.t() @ right
    short = left.view(chunks, _CHUNK_ROWS, -1).transpose(1, 2)
    return torch.bmm(short, right.view(chunks, _CHUNK_ROWS, -1)).sum(0)
