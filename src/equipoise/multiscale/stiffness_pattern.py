"""Sparsity of a structure's stiffness, and the place of every element entry in it, found once.

The pattern is found node by node and blown up to components, which is several times cheaper than entry by entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from equipoise.errors import MeshError

__all__ = ["StiffnessPattern"]


class StiffnessPattern:
    """Compressed rows of the free unknowns `dim * node + axis` of a structure.

    Args:
        n_nodes: nodes of the mesh. dim: 2 or 3.
        free: numbers of the free unknowns, sorted.
        groups: nodes of the elements, one table `(e, k)` per group.

    Raises:
        MeshError: for a node that belongs to no element.
    """

    def __init__(self, n_nodes: int, dim: int, free: NDArray[np.int64], groups: Sequence[NDArray[np.int64]]) -> None:
        self.size = len(free)
        number = np.full(n_nodes * dim, -1, dtype=np.int64)
        number[free] = np.arange(len(free))
        keys = [(nodes[:, :, None] * n_nodes + nodes[:, None, :]) for nodes in groups]
        pairs = np.unique(np.concatenate([np.unique(key) for key in keys]))
        places, self._indptr, self._indices = _blown_up(pairs, n_nodes, number.reshape(n_nodes, dim))
        self._entries = []
        for key in keys:
            blocks = places[np.searchsorted(pairs, key)]
            self._entries.append(np.ascontiguousarray(blocks.transpose(0, 1, 3, 2, 4)).ravel())

    @property
    def nnz(self) -> int:
        """Number of stored entries."""
        return len(self._indices)

    def assemble(self, stiffnesses: Iterable[NDArray[np.float64]]) -> sp.csr_array:
        """Sum of element matrices, one array `(e, k dim, k dim)` per group, in the order of the groups."""
        values = np.zeros(self.nnz + 1)
        for entries, local in zip(self._entries, stiffnesses, strict=True):
            values += np.bincount(entries, weights=local.ravel(), minlength=len(values))
        return sp.csr_array((values[:-1], self._indices, self._indptr), shape=(self.size, self.size))


def _blown_up(
    pairs: NDArray[np.int64], n_nodes: int, number: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """From pairs of nodes to entries of free unknowns.

    Args:
        pairs: sorted keys `row * n_nodes + column`. number: of each free unknown, -1 for held ones, `(n_nodes, dim)`.

    Returns:
        Place of each pair's block `(pairs, dim, dim)` in the values, one past the end for held unknowns; row starts;
        columns.
    """
    dim = number.shape[1]
    row, column = pairs // n_nodes, pairs % n_nodes
    degree = np.bincount(row, minlength=n_nodes)
    if (degree == 0).any():
        raise MeshError(f"node {int(np.argmin(degree))} belongs to no element; leave it out of the mesh.")
    start = np.concatenate([[0], np.cumsum(degree)])[:-1]
    first = dim * dim * start[row] + dim * (np.arange(len(pairs)) - start[row])
    axis = np.arange(dim)
    position = first[:, None, None] + axis[:, None] * (dim * degree[row])[:, None, None] + axis
    is_kept = np.empty(len(pairs) * dim * dim, dtype=bool)
    is_kept[position] = (number[row] >= 0)[:, :, None] & (number[column] >= 0)[:, None, :]
    columns = np.empty(len(is_kept), dtype=np.int32)
    columns[position] = number[column][:, None, :]
    renumbered = np.cumsum(is_kept, dtype=np.int64).astype(np.int32) - 1
    count = int(renumbered[-1]) + 1 if len(renumbered) else 0
    renumbered[~is_kept] = count
    # The entries of unknown `(node, axis)` are contiguous: dim of them for each neighbour of the node.
    row_start = (dim * dim * start)[:, None] + axis * (dim * degree)[:, None]
    lengths = np.add.reduceat(is_kept.astype(np.int64), row_start.ravel())
    free_rows = lengths[number.ravel() >= 0]
    indptr = np.concatenate([[0], np.cumsum(free_rows)]).astype(np.int32)
    return renumbered[position], indptr, columns[is_kept]
