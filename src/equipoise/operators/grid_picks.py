"""Points of a grid taken by their number inside the `forward` of a network: slices, indices, gathering, differences.

As with axes that are regrouped (`grid_reshapes.py`), two runs show which axes follow the grid. The fifth point, every
second point, or all but the last point are other places on a grid twice as fine, and nothing fails.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from equipoise.operators.grid_reshapes import REMEDY, GridCall, paired_calls
from equipoise.spaces.grid import Grid

__all__ = ["GridPick", "described_pick", "picked_points"]

# What functions do along one axis; the place of `dim` among their arguments, and its default.
_ALONG_AXIS: dict[str, tuple[str, int, int | None]] = {
    **dict.fromkeys(("index_select", "gather"), ("gathers points by an index", 1, None)),
    "take_along_dim": ("gathers points by an index", 2, None),
    **dict.fromkeys(("scatter", "scatter_", "scatter_add", "scatter_add_"), ("writes points by an index", 1, None)),
    **dict.fromkeys(("index_add", "index_add_", "index_copy", "index_copy_"), ("writes points by an index", 1, None)),
    "diff": ("subtracts neighbouring points", 2, -1),
    **dict.fromkeys(("cumsum", "cumprod", "logcumsumexp"), ("sums point after point", 1, None)),
    **dict.fromkeys(("topk", "kthvalue"), ("takes a number of points", 2, -1)),
}
_ANYWHERE = {"take": "gathers points by an index", "masked_select": "gathers points by a mask"}
_ARGUMENTS = {"narrow": ("dim", "start", "length"), "select": ("dim", "index")}


@dataclass(frozen=True)
class _Slice:
    """Points that a slice keeps, and its step."""

    kept: int
    step: int


@dataclass(frozen=True)
class GridPick(GridCall):
    """A call that takes points by their number, and how along each axis.

    Attributes:
        parts: along each axis a slice, the number of one point, what is done in words, or nothing.
    """

    parts: tuple[_Slice | int | str | None, ...]


def described_pick(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], *, path: str) -> GridPick | None:
    """The call, where it is one that may take points by their number."""
    if not args or not isinstance(args[0], torch.Tensor) or not args[0].ndim:
        return None
    before = tuple(args[0].shape)
    parts: list[_Slice | int | str | None] = [None] * len(before)
    if name in ("__getitem__", "__setitem__"):
        parts = _indexed(args[1] if isinstance(args[1], tuple) else (args[1],), before)
    elif name in _ANYWHERE:
        parts = [_ANYWHERE[name]] * len(before)
    elif name in _ALONG_AXIS:
        what, place, default = _ALONG_AXIS[name]
        dim = args[place] if len(args) > place else kwargs.get("dim", default)
        if isinstance(dim, int):
            parts[dim] = what
    elif name in _ARGUMENTS:
        given = dict(zip(_ARGUMENTS[name], args[1:], strict=False)) | kwargs
        dim, start = given["dim"], int(given[_ARGUMENTS[name][1]])
        first = start % before[dim]
        parts[dim] = start if name == "select" else _sliced(slice(first, first + int(given["length"])), before[dim])
    return GridPick(path, name, before, tuple(parts)) if any(part is not None for part in parts) else None


def picked_points(training: Iterable[GridPick], fine: Iterable[GridPick], grids: tuple[Grid, Grid]) -> dict[str, str]:
    """Reasons by path: calls that take points by their number, seen on the training grid and on a finer one."""
    reasons: dict[str, str] = {}
    for call, then in paired_calls(training, fine):
        if reason := _reason(call, then, grids):
            reasons.setdefault(call.path, f"{reason}: {REMEDY}")
    return reasons


def _reason(call: GridPick, fine: GridPick, grids: tuple[Grid, Grid]) -> str | None:
    for now, then, part, other in zip(call.before, fine.before, call.parts, fine.parts, strict=False):
        if part is None or now == then:
            continue
        if isinstance(part, str):
            return f"{part} ({call.function})"
        # A class token, or other values beside the points, may be taken by number from an axis that holds both.
        if not _are_points(now, then, grids):
            continue
        if isinstance(part, _Slice) and isinstance(other, _Slice):
            if part.step > 1:
                return f"takes one point in {part.step} by a slice"
            if now - part.kept == then - other.kept > 0:
                return f"leaves out {now - part.kept} of {now} points by a slice"
            if part.kept == other.kept:
                return f"takes {part.kept} of {now} points by a slice"
        elif isinstance(part, int) and part not in (0, -1) and part == other:
            return f"takes point {part} of {now} by its number"
    return None


def _are_points(now: int, then: int, grids: tuple[Grid, Grid]) -> bool:
    """Whether an axis of `now` and `then` points is one of the grid, at any level, or all of them joined."""
    if (now, then) == tuple(math.prod(grid.shape) for grid in grids):
        return True
    return any(then == (2 * now if wraps else 2 * now - 1) for wraps in grids[0].wraps)


def _indexed(index: tuple[Any, ...], before: tuple[int, ...]) -> list[_Slice | int | str | None]:
    """What an index does along each axis."""
    taken = [part for part in index if part is not None]
    place = next((i for i, part in enumerate(taken) if part is Ellipsis), None)
    if place is not None:
        missing = len(before) - sum(_axes_of(part) for part in taken if part is not Ellipsis)
        taken = [*taken[:place], *[slice(None)] * missing, *taken[place + 1 :]]
    parts: list[_Slice | int | str | None] = []
    for part in taken:
        axes = _axes_of(part)
        if isinstance(part, slice):
            parts.append(_sliced(part, before[len(parts)]))
        elif isinstance(part, int) and not isinstance(part, bool):
            parts.append(part)
        else:
            parts += [f"gathers points by {'an index' if axes == 1 else 'a mask'}"] * axes
    return [*parts, *[None] * (len(before) - len(parts))]


def _sliced(part: slice, size: int) -> _Slice | None:
    """What a slice does; nothing where it keeps all, or one end, which is at the same place on every grid."""
    points = range(*part.indices(size))
    is_end = len(points) == 1 and points[0] in (0, size - 1)
    return None if is_end or len(points) == size else _Slice(len(points), abs(points.step))


def _axes_of(part: Any) -> int:
    """Axes that a part of an index takes up: all of its own for a mask, none for a truth value, else one."""
    if isinstance(part, torch.Tensor) and part.dtype == torch.bool:
        return part.ndim
    return 0 if isinstance(part, bool) else 1
