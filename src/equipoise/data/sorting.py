"""An order of inputs in which neighbours resemble one another, so that solvers can hand over what they have learnt.

Greedy nearest neighbours from sample 0: exact up to 10^4 samples, on low cosine modes and principal components where
the inputs are large, and by approximate nearest neighbours beyond. The order changes the work of a chain of solves,
never its data. Drawing inputs and solving them are elsewhere.

Source: Wang et al. (2024), sorted Krylov recycling.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

__all__ = ["METHODS", "Sorting", "consecutive_chunks", "low_modes", "sort_inputs"]

METHODS = ("auto", "greedy", "reduced", "grouped", "tree")
EXACT_LIMIT = 10_000
_EXACT_FLOPS = 2e11
_GROUP = 4096
_MODES = 12

Array = NDArray[np.float64]
Order = NDArray[np.int64]


@dataclass(frozen=True)
class Sorting:
    """An order and what it cost.

    Attributes:
        order: a permutation, `(N,)`: the sample to solve first, second, and so on.
        method: `"greedy"`, `"reduced"`, `"grouped"` or `"tree"`, as carried out.
        seconds: time that sorting took.
        step_before, step_after: mean distance between consecutive samples, as given and as sorted.
        features: number of coordinates on which distances were compared.
    """

    order: Order
    method: str
    seconds: float
    step_before: float
    step_after: float
    features: int

    def __str__(self) -> str:
        """One line for a log."""
        change = self.step_after / self.step_before if self.step_before > 0 else 1.0
        return (
            f"sorted {len(self.order)} inputs ({self.method}, {self.features} coordinates) in {self.seconds:.2f} s; "
            f"mean step {change:.2f} of the unsorted"
        )


def sort_inputs(
    inputs: Any, *, method: str = "auto", components: int = 8, group: int = _GROUP, extra: Any | None = None
) -> Sorting:
    """Order the inputs so that each is close to the one before it.

    Args:
        inputs: `(N, ...)`, fields or parameters, array or tensor; distances are Euclidean over all but the first axis.
        method: `"greedy"` compares all inputs exactly; `"reduced"` the same on a few principal components of their
            low cosine modes; `"grouped"` sorts within cells of a space-filling curve through those; `"tree"` looks for
            neighbours in a tree of those. `"auto"`: the first up to 10^4 samples that it sorts within seconds, the
            second up to 10^4 otherwise, `"tree"` beyond.
        components: of the reduced coordinates.
        group: largest cell of `"grouped"`.
        extra: further parameters `(N,)` or `(N, q)`, whose Euclidean distance is added to that of the inputs
            (`|a_i - a_j| + |k_i - k_j|`); the reduced methods append them as coordinates.

    Returns:
        The order with its cost and the mean step before and after.

    Raises:
        ValueError: for an unknown method, counts out of range or inputs that are not finite; names the sample.
    """
    if method not in METHODS:
        raise ValueError(f"sorting method {method!r} is unknown; use one of {', '.join(METHODS)}.")
    if components < 1 or group < 2:
        raise ValueError(f"components={components} must be at least 1 and group={group} at least 2.")
    began = time.perf_counter()
    fields = _numbers(inputs, "inputs")
    count = len(fields)
    parts = [_flat(fields)]
    if extra is not None:
        further = _numbers(extra, "extra")
        if len(further) != count:
            raise ValueError(f"extra holds {len(further)} samples and inputs {count}; they must agree.")
        parts.append(_flat(further))
    width = sum(part.shape[1] for part in parts)
    if method == "auto":
        exact = count <= EXACT_LIMIT and 2.0 * count * count * width <= _EXACT_FLOPS
        method = "greedy" if exact else "reduced" if count <= EXACT_LIMIT else "tree"
    features = width
    if count <= 2:
        order = np.arange(count)
    elif method == "greedy":
        order = _greedy(parts)
    else:
        coordinates = _reduced(fields, parts[1:], components)
        features = coordinates.shape[1]
        if method == "reduced":
            order = _greedy([coordinates])
        elif method == "grouped":
            order = _grouped(coordinates, group)
        else:
            order = _along_tree(coordinates)
    seconds = time.perf_counter() - began
    before, after = (_mean_step(parts, one) for one in (np.arange(count), order))
    return Sorting(order.astype(np.int64), method, seconds, before, after, features)


def consecutive_chunks(order: Order, chunks: int) -> list[Order]:
    """The order cut into at most `chunks` runs of nearly equal length, none empty; each worker sorts out one."""
    if chunks < 1:
        raise ValueError(f"chunks={chunks} must be at least 1.")
    return [run for run in np.array_split(order, min(chunks, max(len(order), 1))) if len(run)]


def _numbers(values: Any, what: str) -> Array:
    array = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
    if array.ndim < 1:
        raise ValueError(f"{what} must have the samples along its first axis, got a single number.")
    if np.iscomplexobj(array):
        array = np.stack([array.real, array.imag], axis=-1)
    array = array.astype(np.float64, copy=False)
    finite = np.isfinite(_flat(array)).all(axis=1)
    if not finite.all():
        raise ValueError(f"{what} of sample {int(np.nonzero(~finite)[0][0])} holds a value that is not finite.")
    return array


def _flat(array: Array) -> Array:
    return array.reshape(len(array), int(np.prod(array.shape[1:])))


def _mean_step(parts: Sequence[Array], order: Order) -> float:
    if len(order) < 2:
        return 0.0
    total = 0.0
    for part in parts:
        for start in range(0, len(order) - 1, 1024):
            rows = part[order[start : start + 1025]]
            total += float(np.linalg.norm(np.diff(rows, axis=0), axis=1).sum())
    return total / (len(order) - 1)


def _greedy(parts: Sequence[Array], first: int = 0) -> Order:
    """Nearest unvisited neighbour again and again; of equals the lowest index."""
    count = len(parts[0])
    squares = [np.einsum("ij,ij->i", part, part) for part in parts]
    grams = [part @ part.T if _worth_a_table(part) else None for part in parts]
    order = np.empty(count, dtype=np.int64)
    free = np.ones(count, dtype=bool)
    remaining = np.arange(count)
    current = first
    for position in range(count):
        order[position] = current
        free[current] = False
        if position == count - 1:
            break
        # Visited samples are thrown out once they are half of the list, so that a pass stays short.
        if free[remaining].sum() < 0.5 * len(remaining):
            remaining = remaining[free[remaining]]
        distance = np.zeros(len(remaining))
        for part, square, gram in zip(parts, squares, grams, strict=True):
            product = part[remaining] @ part[current] if gram is None else gram[current, remaining]
            gap = np.maximum(square[remaining] + square[current] - 2 * product, 0.0)
            distance += np.sqrt(gap)
        distance[~free[remaining]] = np.inf
        current = int(remaining[np.argmin(distance)])
    return order


def _worth_a_table(part: Array) -> bool:
    """Whether all inner products at once cost less than one row at a time, and fit into memory."""
    return part.shape[1] > 16 and len(part) <= EXACT_LIMIT


def low_modes(fields: Array) -> Array:
    """The first 12 cosine modes of fields `(n, ...)` along each axis that is longer than 24 points."""
    axes = tuple(axis for axis in range(1, fields.ndim) if fields.shape[axis] > 2 * _MODES)
    if not axes:
        return fields
    waves = {axis: _low_waves(fields.shape[axis]) for axis in axes}
    blocks = []
    for start in range(0, len(fields), 256):
        block = fields[start : start + 256]
        for axis in axes:
            block = np.moveaxis(np.tensordot(block, waves[axis], axes=(axis, 0)), -1, axis)
        blocks.append(block)
    return np.concatenate(blocks)


def _reduced(fields: Array, extra: Sequence[Array], components: int) -> Array:
    """Principal components of the low cosine modes, largest first, with the extra parameters beside them."""
    flat = _flat(low_modes(fields))
    flat = flat - flat.mean(axis=0)
    if flat.shape[1] > components:
        flat = _principal(flat, components)
    return np.ascontiguousarray(np.concatenate([flat, *extra], axis=1))


def _low_waves(points: int) -> Array:
    """The first waves of the orthonormal cosine transform, `(points, modes)`: no periodicity needed, lengths kept."""
    waves = np.cos(np.pi * np.outer((np.arange(points) + 0.5) / points, np.arange(_MODES)))
    return np.asarray(waves / np.linalg.norm(waves, axis=0))


def _principal(flat: Array, components: int) -> Array:
    """Coordinates along the directions of largest variance, from the smaller of the two Gram matrices."""
    if flat.shape[1] <= 2048 or flat.shape[1] <= len(flat):
        vectors = np.linalg.eigh(flat.T @ flat)[1]
        return flat @ vectors[:, ::-1][:, :components]
    values, vectors = np.linalg.eigh(flat @ flat.T)
    kept = min(components, len(values))
    return vectors[:, ::-1][:, :kept] * np.sqrt(np.maximum(values[::-1][:kept], 0.0))


def _grouped(coordinates: Array, group: int) -> Order:
    """Greedy within runs of a Hilbert curve; each run starts at its member nearest to the end of the one before."""
    along = np.argsort(_hilbert_index(coordinates[:, : min(coordinates.shape[1], 6)]), kind="stable")
    runs = consecutive_chunks(along, -(-len(along) // group))
    start = next(number for number, run in enumerate(runs) if 0 in run)
    order: list[Order] = []
    for number in range(len(runs)):
        run = runs[(start + number) % len(runs)]
        if order:
            gap = coordinates[run] - coordinates[order[-1][-1]]
            first = int(np.argmin(np.einsum("ij,ij->i", gap, gap)))
        else:
            first = int(np.nonzero(run == 0)[0][0])
        order.append(run[_greedy([coordinates[run]], first)])
    return np.concatenate(order)


def _hilbert_index(coordinates: Array, bits: int = 8) -> NDArray[np.uint64]:
    """Place of each point along a Hilbert curve through the box of all points.

    Source: Skilling (2004), transposed form.
    """
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    scale = np.where(high > low, high - low, 1.0)
    top = (1 << bits) - 1
    x = np.minimum((coordinates - low) / scale * (top + 1), top).astype(np.uint64).T.copy()
    dim = len(x)
    mask = 1 << (bits - 1)
    while mask > 1:
        lower = np.uint64(mask - 1)
        for axis in range(dim):
            flipped = (x[axis] & np.uint64(mask)) != 0
            exchanged = np.where(flipped, np.uint64(0), (x[0] ^ x[axis]) & lower)
            x[0] = np.where(flipped, x[0] ^ lower, x[0]) ^ exchanged
            x[axis] ^= exchanged
        mask >>= 1
    for axis in range(1, dim):
        x[axis] ^= x[axis - 1]
    carry = np.zeros_like(x[0])
    mask = 1 << (bits - 1)
    while mask > 1:
        carry = np.where((x[dim - 1] & np.uint64(mask)) != 0, carry ^ np.uint64(mask - 1), carry)
        mask >>= 1
    x ^= carry
    index = np.zeros_like(x[0])
    for bit in range(bits - 1, -1, -1):
        for axis in range(dim):
            index = (index << np.uint64(1)) | ((x[axis] >> np.uint64(bit)) & np.uint64(1))
    return index


def _along_tree(coordinates: Array) -> Order:
    """Nearest unvisited neighbour by a tree over the unvisited, made anew whenever half of them have gone.

    Lists of nearest neighbours come for all points at once. Where all of a point's list has been visited, the tree
    is asked for more of them, up to the whole.
    """
    count = len(coordinates)
    order = np.empty(count, dtype=np.int64)
    free = np.ones(count, dtype=bool)
    current, position = 0, 0
    while position < count:
        members = np.nonzero(free)[0]
        if len(members) <= 512:
            at = int(np.nonzero(members == current)[0][0])
            order[position:] = members[_greedy([coordinates[members]], at)]
            break
        tree = cKDTree(coordinates[members])
        near = tree.query(coordinates[members], k=12)[1]
        place = np.full(count, -1)
        place[members] = np.arange(len(members))
        until = position + len(members) // 2
        while position < until:
            order[position] = current
            free[current] = False
            position += 1
            found = members[near[place[current]]]
            wanted = 12
            while not free[found].any():
                wanted = min(8 * wanted, len(members))
                found = members[tree.query(coordinates[current], k=wanted)[1]]
            current = int(found[np.argmax(free[found])])
    return order
