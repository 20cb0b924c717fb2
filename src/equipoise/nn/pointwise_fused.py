"""A pointwise network of two layers in one pass over blocks of points that stay in the cache, with its own gradient.

The arithmetic is that of `PointwiseMLP`; what is saved is memory traffic and the passes that autograd makes for biases.
A gradient that is itself differentiated is left to autograd.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch

from equipoise.nn.pointwise_affine import tall_product

__all__ = [
    "TallSum",
    "differentiable_gradients",
    "fusion_applies",
    "gelu_backward",
    "gelu_forward",
    "keep_heap",
    "longest",
    "row_blocks",
    "two_layers",
]

# Values of one tensor in a block, 4 MiB in float32. Smaller blocks cost more in calls than they save in memory traffic:
# measured on two threads with 2^17, 2^18, 2^19, 2^20 and 2^21 values, a step took 117, 95, 94, 84 and 87 ms.
_BLOCK_VALUES = 2**20
gelu_forward = torch.ops.aten.gelu.out
gelu_backward = torch.ops.aten.gelu_backward.grad_input


def fusion_applies(field: torch.Tensor) -> bool:
    """Whether this call may run outside autograd's sight: on a processor, in full precision, under no transformation.

    Compilers, exporters, autocast and `torch.func` see the plain operations instead.
    """
    return (
        not torch.compiler.is_compiling()
        and field.device.type == "cpu"
        and field.dtype in (torch.float32, torch.float64)
        and torch._C._get_tracing_state() is None
        and not torch.is_autocast_enabled("cpu")
        and not torch._C._are_functorch_transforms_active()
        and torch.autograd.forward_ad._current_level < 0
    )


@cache
def keep_heap() -> None:
    """Let the C library keep what a training step frees, instead of fetching it from the system page by page again.

    GNU's allocator returns memory above twice the largest block that it has seen freed, up to 64 MiB. A block of that
    size is freed once here, untouched, so it costs nothing; pages fetched anew were a sixth of a step.
    """
    torch.empty(2**25 - 2**16, dtype=torch.uint8, device="cpu")


def row_blocks(rows: int, channels: int, *, multiple: int = 1) -> list[slice]:
    """Blocks of rows whose values stay in the cache, each but the last a multiple of `multiple` rows."""
    size = max(_BLOCK_VALUES // (channels * multiple), 1) * multiple
    return [slice(first, min(first + size, rows)) for first in range(0, rows, size)]


def longest(blocks: list[slice]) -> int:
    """Rows of the longest block."""
    return max((block.stop - block.start for block in blocks), default=0)


def spread(left: torch.Tensor, right: torch.Tensor, *, out: torch.Tensor) -> torch.Tensor:
    """`left right`; one column times one row is no task for a library of matrix products."""
    return torch.mul(left, right, out=out) if left.shape[1] == 1 else torch.mm(left, right, out=out)


class TallSum:
    """Running sums over rows: of products `left^T right`, and of `left`, as gradients of weights and biases are.

    Args:
        shape: `(left, right)`. like: a tensor of the same dtype and device.
    """

    def __init__(self, shape: Sequence[int], like: torch.Tensor) -> None:
        self.weight, self.total = like.new_zeros(tuple(shape)), like.new_zeros(shape[0])

    def add(self, left: torch.Tensor, right: torch.Tensor, *, total: bool = True) -> None:
        """Add a block's rows, `(rows, left)` and `(rows, right)`."""
        if total:
            self.total += left.sum(0)
        self.weight += tall_product(left, right)


def differentiable_gradients(
    function: Callable[..., torch.Tensor], inputs: tuple[torch.Tensor, ...], gradient: torch.Tensor
) -> tuple[torch.Tensor | None, ...]:
    """Gradients by autograd of the plain operations, so that they can be differentiated again."""
    with torch.enable_grad():
        wanted = [value for value in inputs if value.requires_grad]
        found = iter(torch.autograd.grad(function(*inputs), wanted, gradient, create_graph=True))
        return tuple(next(found) if value.requires_grad else None for value in inputs)


def plain_two_layers(
    rows: torch.Tensor, first: torch.Tensor, shift: torch.Tensor, second: torch.Tensor, end: torch.Tensor
) -> torch.Tensor:
    """`gelu(rows first^T + shift) second^T + end`, as autograd sees it."""
    return torch.addmm(end, torch.nn.functional.gelu(torch.addmm(shift, rows, first.t())), second.t())


class _TwoLayers(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
        first, shift, second, end = weights
        ctx.save_for_backward(rows, *weights)
        blocks = row_blocks(rows.shape[0], 2 * max(first.shape))
        out = rows.new_empty(rows.shape[0], second.shape[0])
        hidden = rows.new_empty(2, longest(blocks), first.shape[0])
        for block in blocks:
            h, a = hidden[:, : block.stop - block.start]
            torch.addmm(shift, rows[block], first.t(), out=h)
            gelu_forward(h, out=a)
            torch.addmm(end, a, second.t(), out=out[block])
        return out

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        rows, first, shift, second, end = ctx.saved_tensors
        if torch.is_grad_enabled():
            return differentiable_gradients(plain_two_layers, (rows, first, shift, second, end), gradient)
        gradient = gradient.contiguous()
        outwards = torch.empty_like(rows) if ctx.needs_input_grad[0] else None
        blocks = row_blocks(rows.shape[0], 2 * max(first.shape))
        hidden = rows.new_empty(2, longest(blocks), first.shape[0])
        inner, outer = TallSum(first.shape, rows), TallSum(second.shape, rows)
        for block in blocks:
            h, a = hidden[:, : block.stop - block.start]
            # Computed again: storing the hidden layer costs more than the product and the activation.
            torch.addmm(shift, rows[block], first.t(), out=h)
            gelu_forward(h, out=a)
            outer.add(gradient[block], a)
            spread(gradient[block], second, out=a)
            gelu_backward(a, h, grad_input=a)
            inner.add(a, rows[block])
            if outwards is not None:
                torch.mm(a, first, out=outwards[block])
        return outwards, inner.weight, inner.total, outer.weight, outer.total


def two_layers(
    rows: torch.Tensor, first: torch.Tensor, shift: torch.Tensor, second: torch.Tensor, end: torch.Tensor
) -> torch.Tensor:
    """`gelu(rows first^T + shift) second^T + end`.

    Args:
        rows: `(n, in)`. first: `(hidden, in)`. shift: `(hidden,)`. second: `(out, hidden)`. end: `(out,)`.
    """
    return _TwoLayers.apply(rows, first, shift, second, end)
