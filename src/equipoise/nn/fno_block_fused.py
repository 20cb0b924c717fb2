"""The part of a Fourier block behind its spectral product, in one pass over blocks of lines, with its own gradient.

The arithmetic is that of `FNOBlock`; what is saved is memory traffic and the passes that autograd makes to add
gradients. See `pointwise_fused` for the rules.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from equipoise.nn.pointwise_fused import (
    TallSum,
    differentiable_gradients,
    gelu_backward,
    gelu_forward,
    longest,
    row_blocks,
)

__all__ = ["block_tail", "split_last_axis"]


class _SplitLastAxis(torch.autograd.Function):
    """Transform the lines of a field, and hand on the field; its two gradients are added where they are made."""

    @staticmethod
    def forward(ctx: Any, lines: torch.Tensor, matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        ctx.save_for_backward(matrix)
        return torch.bmm(matrix.expand(lines.shape[0], -1, -1), lines), lines.view_as(lines)

    @staticmethod
    def backward(ctx: Any, modes: torch.Tensor, lines: torch.Tensor) -> tuple[torch.Tensor, None]:
        (matrix,) = ctx.saved_tensors
        transposed = matrix.t().expand(modes.shape[0], -1, -1)
        if torch.is_grad_enabled():
            return torch.baddbmm(lines, transposed, modes), None
        return lines.baddbmm_(transposed, modes), None


def split_last_axis(lines: torch.Tensor, matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`(n, points, channel)` to `(n, 2 k, channel)` by the matrix, and the lines again, for `block_tail` alone."""
    return _SplitLastAxis.apply(lines, matrix)


def plain_tail(
    last: bool,
    modes: torch.Tensor,
    lines: torch.Tensor,
    matrix: torch.Tensor,
    skip: torch.Tensor,
    first: torch.Tensor,
    shift: torch.Tensor,
    second: torch.Tensor,
    end: torch.Tensor,
    gate: torch.Tensor,
) -> torch.Tensor:
    """What `block_tail` computes, as autograd sees it."""
    gelu = torch.nn.functional.gelu
    sums = torch.matmul(matrix, modes) + lines @ skip.t()
    sums = sums if last else gelu(sums)
    out = gelu(sums @ first.t() + shift) @ second.t() + end + gate * lines
    return out if last else gelu(out)


class _BlockTail(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        last: bool,
        keep: bool,
        modes: torch.Tensor,
        lines: torch.Tensor,
        matrix: torch.Tensor,
        *weights: torch.Tensor,
    ) -> torch.Tensor:
        skip, first, shift, second, end, gate = weights
        _, points, channels = lines.shape
        rows = lines.view(-1, channels)
        blocks = row_blocks(len(rows), channels, multiple=points)
        size = longest(blocks)
        out, sums = torch.empty_like(rows), rows.new_empty(len(rows) if keep else size, channels)
        active, hidden = rows.new_empty(size, channels), rows.new_empty(size, first.shape[0])
        for block in blocks:
            count = block.stop - block.start
            s, a, h, y = sums[block if keep else slice(0, count)], active[:count], hidden[:count], out[block]
            torch.mm(rows[block], skip.t(), out=s)
            few = modes[block.start // points : block.stop // points]
            s.view(-1, points, channels).baddbmm_(matrix.expand(len(few), -1, -1), few)
            if not last:
                gelu_forward(s, out=a)
            torch.addmm(shift, s if last else a, first.t(), out=h)
            gelu_forward(h, out=h)
            torch.addcmul(end, rows[block], gate, out=y).addmm_(h, second.t())
            if not last:
                gelu_forward(y, out=y)
        ctx.last = last
        ctx.save_for_backward(modes, lines, matrix, *weights, *((sums,) if keep else ()))
        return out.view(lines.shape)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        *inputs, sums = ctx.saved_tensors
        last: bool = ctx.last
        if torch.is_grad_enabled():
            plain = partial(plain_tail, last)
            return None, None, *differentiable_gradients(plain, tuple(inputs), gradient)
        modes, lines, matrix, skip, first, shift, second, end, gate = inputs
        _, points, channels = lines.shape
        rows, gradient = lines.view(-1, channels), gradient.contiguous().view(-1, channels)
        blocks = row_blocks(len(rows), channels, multiple=points)
        size = longest(blocks)
        inwards, spectrum = torch.empty_like(rows), torch.empty_like(modes)
        active, slope = rows.new_empty(2, size, channels)
        hidden, curved = rows.new_empty(2, size, first.shape[0])
        skips, inner, outer = (TallSum(weight.shape, rows) for weight in (skip, first, second))
        gates = rows.new_zeros(channels)
        for block in blocks:
            count = block.stop - block.start
            x, s, dx = rows[block], sums[block], inwards[block]
            a, d, h, q = active[:count], slope[:count], hidden[:count], curved[:count]
            # All but the sums is computed again: storing it costs more than the products and activations.
            a = s if last else gelu_forward(s, out=a)
            torch.addmm(shift, a, first.t(), out=h)
            gelu_forward(h, out=q)
            if last:
                d = gradient[block]
            else:
                torch.addcmul(end, x, gate, out=d).addmm_(q, second.t())
                gelu_backward(gradient[block], d, grad_input=d)
            outer.add(d, q)
            torch.mm(d, second, out=q)
            gelu_backward(q, h, grad_input=h)
            inner.add(h, a)
            a = active[:count]
            gates += torch.mul(d, x, out=a).sum(0)
            torch.mm(h, first, out=a)
            if not last:
                gelu_backward(a, s, grad_input=a)
            skips.add(a, x, total=False)
            torch.mul(d, gate, out=dx).addmm_(a, skip)
            parts = matrix.t().expand(count // points, -1, -1)
            torch.bmm(parts, a.view(-1, points, channels), out=spectrum[block.start // points : block.stop // points])
        weights = (skips.weight, inner.weight, inner.total, outer.weight, outer.total, gates)
        return None, None, spectrum, inwards.view(lines.shape), None, *weights


def block_tail(
    modes: torch.Tensor,
    lines: torch.Tensor,
    matrix: torch.Tensor,
    skip: torch.Tensor,
    first: torch.Tensor,
    shift: torch.Tensor,
    second: torch.Tensor,
    end: torch.Tensor,
    gate: torch.Tensor,
    *,
    last: bool,
) -> torch.Tensor:
    """`z = gelu(matrix modes + lines skip^T)`, then `gelu(gelu(z first^T + shift) second^T + end + gate lines)`.

    Args:
        modes: `(n, 2 k, channel)`. lines: `(n, points, channel)`. matrix: `(points, 2 k)`, no gradient.
        skip: `(channel, channel)`. first: `(hidden, channel)`. shift: `(hidden,)`. second: `(channel, hidden)`.
        end, gate: `(channel,)`.
        last: whether the first and the last GELU are left out.

    Returns:
        `(n, points, channel)`.
    """
    keep = torch.is_grad_enabled()
    return _BlockTail.apply(last, keep, modes, lines, matrix, skip, first, shift, second, end, gate)
