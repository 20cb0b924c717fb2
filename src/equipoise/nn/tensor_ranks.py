"""Ranks of tensor factorisations from the share of the dense tensor's entries that they may keep.

Sizes count entries, so that real and complex tensors follow the same rules. The factorisations themselves stand in
`factorised_tensors`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

__all__ = ["Rank", "cp_rank", "factorisation_size", "tensor_train_ranks", "tucker_ranks"]

Rank = float | int | tuple[int, ...]
"""A share of the dense entries (float), one rank for all (int), or each rank (tuple)."""


def tucker_ranks(shape: Sequence[int], share: float, *, fixed: Mapping[int, int] | None = None) -> tuple[int, ...]:
    """Ranks `max(round(x s_i), 1)`, proportional to the sizes, with `x^n prod(s) + x sum(s_i^2) = share prod(s)`.

    Rounding moves the share that is kept, by a tenth and more where an axis is short; `factorisation_size` tells it.

    Args:
        shape: of the tensor. share: of its entries. fixed: ranks of axes that are given; the rule finds the others.

    Raises:
        ValueError: for a share that is not positive and finite, an empty axis, or a fixed rank beyond its axis.

    Source: the rule of TensorLy (Kossaifi et al., 2019), whose fixed ranks are all full.
    """
    _check(shape, share)
    fixed = fixed or {}
    for axis, rank in fixed.items():
        if not 0 <= axis < len(shape) or not 1 <= rank <= shape[axis]:
            raise ValueError(f"rank {rank} of axis {axis} must be between 1 and its size, shape={tuple(shape)}.")
    free = [size for axis, size in enumerate(shape) if axis not in fixed]
    budget = share * math.prod(shape) - sum(shape[axis] * rank for axis, rank in fixed.items())
    core, squares = math.prod(fixed.values()) * math.prod(free), sum(size**2 for size in free)
    low, high = 0.0, max(1.0, share * math.prod(shape))
    for _ in range(100):
        middle = (low + high) / 2
        below = middle ** len(free) * core + middle * squares < budget
        low, high = (middle, high) if below else (low, middle)
    return tuple(fixed.get(axis, max(round(low * size), 1)) for axis, size in enumerate(shape))


def cp_rank(shape: Sequence[int], share: float) -> int:
    """Rank `max(round(share prod(s) / sum(s)), 1)` of a canonical polyadic (CP) sum.

    Raises:
        ValueError: see `tucker_ranks`.
    """
    _check(shape, share)
    return max(round(share * math.prod(shape) / sum(shape)), 1)


def tensor_train_ranks(shape: Sequence[int], share: float) -> tuple[int, ...]:
    """The ranks between neighbouring axes, all equal: `r^2 (s_2 + ... + s_(n-1)) + r (s_1 + s_n) = share prod(s)`.

    Raises:
        ValueError: see `tucker_ranks`.
    """
    _check(shape, share)
    inner, ends, size = sum(shape[1:-1]), shape[0] + shape[-1], share * math.prod(shape)
    # This form of the root is exact for two axes too, where the square has no coefficient.
    root = 2 * size / (ends + math.sqrt(ends**2 + 4 * inner * size))
    return (max(round(root), 1),) * (len(shape) - 1)


def factorisation_size(kind: str, shape: Sequence[int], ranks: Sequence[int]) -> int:
    """Entries that a factorisation holds.

    Args:
        kind: `"tucker"`, `"cp"` or `"tensor-train"`. shape: of the tensor.
        ranks: of each axis (Tucker), the one rank (CP), between neighbours (tensor train).
    """
    if kind == "tucker":
        return math.prod(ranks) + sum(size * rank for size, rank in zip(shape, ranks, strict=True))
    if kind == "cp":
        return ranks[0] * (1 + sum(shape))
    bounds = (1, *ranks, 1)
    return sum(left * size * right for left, size, right in zip(bounds[:-1], shape, bounds[1:], strict=True))


def _check(shape: Sequence[int], share: float) -> None:
    if not shape or min(shape) < 1:
        raise ValueError(f"shape={tuple(shape)} must hold positive sizes.")
    if not 0 < share < math.inf:
        raise ValueError(f"rank={share} must be a positive share of the dense tensor's entries.")
