"""The dense spectral product between two half-transformed fields as one step, with its own gradient.

It joins the transforms along all axes but the last with the product by the weight: few operations in place of many
small ones. See `pointwise_fused` for the rules.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch

from equipoise.nn.pointwise_fused import differentiable_gradients
from equipoise.nn.spectral_weight import contract_pairs, kept_modes
from equipoise.nn.truncated_transforms import analyse_outer, inwards, mean_mode, outwards, synthesise_outer

__all__ = ["dense_product"]

Sizes = tuple[int, ...]


def plain_product(
    grid: Sizes, n_modes: Sizes, lines: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """What `dense_product` computes, as autograd sees it."""
    modes = contract_pairs(analyse_outer(lines, grid, n_modes), weight)
    modes[mean_mode(n_modes)][0] += bias
    return synthesise_outer(modes, grid, n_modes)


def _mean(modes: torch.Tensor, n_modes: Sizes) -> torch.Tensor:
    """Real part of the mean in `(batch, 2, modes, channel)`, a view `(batch, channel)`."""
    index = 0
    for position, count in zip(mean_mode(n_modes), kept_modes(n_modes), strict=True):
        index = index * count + position
    return modes[:, 0, index]


class _DenseProduct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, grid: Sizes, n_modes: Sizes, lines: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
    ) -> torch.Tensor:
        *kept, inputs, _, outputs = weight.shape
        count = math.prod(kept)
        modes = inwards(lines, grid, n_modes).permute(2, 1, 0, 3).contiguous()
        batch = modes.shape[2]
        rows = modes.view(count, 2 * batch, inputs)
        # Real and imaginary parts of modes times those of weights, (mode, 2, batch, 2, out).
        products = torch.bmm(rows, weight.view(count, inputs, 2 * outputs)).view(count, 2, batch, 2, outputs)
        answer = lines.new_empty(batch, 2, count, outputs)
        real, imaginary = answer.permute(1, 2, 0, 3).unbind()
        torch.sub(products[:, 0, :, 0], products[:, 1, :, 1], out=real)
        torch.add(products[:, 0, :, 1], products[:, 1, :, 0], out=imaginary)
        _mean(answer, n_modes).add_(bias)
        ctx.grid, ctx.n_modes = grid, n_modes
        ctx.save_for_backward(lines, weight, bias, rows)
        return outwards(answer, grid, n_modes)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        grid, n_modes = ctx.grid, ctx.n_modes
        lines, weight, bias, rows = ctx.saved_tensors
        if torch.is_grad_enabled():
            plain = partial(plain_product, grid, n_modes)
            return None, None, *differentiable_gradients(plain, (lines, weight, bias), gradient)
        *kept, inputs, _, outputs = weight.shape
        count = math.prod(kept)
        slopes = inwards(gradient, grid, n_modes, adjoint=True)
        batch = slopes.shape[0]
        shift = _mean(slopes, n_modes).sum(0)
        real, imaginary = slopes.permute(1, 2, 0, 3).unbind()
        spread = gradient.new_empty(count, 2, batch, 2, outputs)
        spread[:, 0, :, 0], spread[:, 0, :, 1], spread[:, 1, :, 0] = real, imaginary, imaginary
        torch.neg(real, out=spread[:, 1, :, 1])
        flat = spread.view(count, 2 * batch, 2 * outputs)
        back = torch.bmm(flat, weight.view(count, inputs, 2 * outputs).transpose(1, 2))
        back = back.view(count, 2, batch, inputs).permute(2, 1, 0, 3).contiguous()
        slope = torch.bmm(rows.transpose(1, 2), flat).view(weight.shape)
        return None, None, outwards(back, grid, n_modes, adjoint=True), slope, shift


def dense_product(
    lines: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, grid: tuple[int, ...], n_modes: tuple[int, ...]
) -> torch.Tensor:
    """Transform the other axes, multiply by the weight, add the bias to the mean, and transform those axes back.

    Args:
        lines: `(n, 2 k, in)`, transformed along the last axis. weight: `(*kept, in, 2, out)`. bias: `(out,)`.

    Returns:
        `(n, 2 k, out)`.
    """
    return _DenseProduct.apply(grid, n_modes, lines, weight, bias)
