"""Axes of a grid cut and joined by `view` and `reshape` inside the `forward` of a network.

A network that runs on two grids shows which axes follow the grid. A window of four points cut out of such an axis is
half as large on a grid twice as fine: the answer depends on the resolution, and nothing fails.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

__all__ = ["REMEDY", "GridCall", "GridReshape", "counted_points", "described_reshape", "paired_calls"]

_RESHAPES = ("view", "reshape", "unflatten", "flatten", "reshape_as", "view_as")
REMEDY = "it counts points; use method='resampling', or name its class in `keep` if that is meant"
"""What the refusal of a call that counts points ends in."""


@dataclass(frozen=True)
class GridCall:
    """A call that a network makes on a tensor: in which module, of what, and the shape of the tensor."""

    path: str
    function: str
    before: tuple[int, ...]


Call = TypeVar("Call", bound=GridCall)


def paired_calls(training: Iterable[Call], fine: Iterable[Call]) -> Iterator[tuple[Call, Call]]:
    """Calls on the training grid and on a finer one that belong together: the same by module, function and order."""
    later = defaultdict(list)
    for call in fine:
        later[call.path, call.function].append(call)
    for call in training:
        if queue := later[call.path, call.function]:
            yield call, queue.pop(0)


@dataclass(frozen=True)
class GridReshape(GridCall):
    """A call that regroups the axes of a tensor, and the shape after it."""

    after: tuple[int, ...]


def described_reshape(name: str, args: tuple[Any, ...], result: Any, *, path: str) -> GridReshape | None:
    """The call, where it is one that may count points."""
    if not args or not isinstance(args[0], torch.Tensor) or not isinstance(result, torch.Tensor):
        return None
    before, after = tuple(args[0].shape), tuple(result.shape)
    return GridReshape(path, name, before, after) if name in _RESHAPES else None


def counted_points(training: Iterable[GridReshape], fine: Iterable[GridReshape]) -> dict[str, str]:
    """Reasons by path: calls that count points, seen on the training grid and on a finer one."""
    reasons: dict[str, str] = {}
    for call, then in paired_calls(training, fine):
        if reason := _reason(call, then):
            reasons.setdefault(call.path, f"{reason}: {REMEDY}")
    return reasons


def _reason(call: GridReshape, fine: GridReshape) -> str | None:
    if len(call.before) != len(fine.before) or len(call.after) != len(fine.after):
        return None
    for inputs, outputs in _groups(call, fine):
        # Sizes on the training grid, and whether they follow it.
        cut = _fixed_behind([(call.after[i], call.after[i] != fine.after[i]) for i in outputs])
        join = _fixed_behind([(call.before[i], call.before[i] != fine.before[i]) for i in inputs])
        if cut > join:
            size = math.prod(call.before[i] for i in inputs)
            return f"cuts {size} points into windows of {cut // join} by {call.function}"
        is_all = len(outputs) == 1 and inputs[0] <= 1 and inputs[-1] == len(call.before) - 1
        if join > cut and not is_all:
            return f"places {join // cut} values at each point of a coarser grid by {call.function}"
    return None


def _fixed_behind(axes: Sequence[tuple[int, bool]]) -> int:
    """Product of the fixed sizes behind the first axis that follows the grid."""
    first = next((place for place, (_, follows) in enumerate(axes) if follows), len(axes))
    return math.prod(size for size, follows in axes[first:] if not follows)


def _groups(call: GridReshape, fine: GridReshape) -> list[tuple[range, range]]:
    """The smallest groups of neighbouring axes that the call maps to one another, on both grids."""
    groups, start, inputs, outputs = [], (0, 0), _products(call.before, fine.before), _products(call.after, fine.after)
    places = {product: place for place, product in enumerate(outputs)}
    for place, product in enumerate(inputs):
        if product in places and places[product] >= start[1]:
            end = (place + 1, places[product] + 1)
            groups.append((range(start[0], end[0]), range(start[1], end[1])))
            start = end
    return [(first, second) for first, second in groups if len(first) and len(second)]


def _products(first: Sequence[int], second: Sequence[int]) -> list[tuple[int, int]]:
    return [(math.prod(first[: i + 1]), math.prod(second[: i + 1])) for i in range(len(first))]
