"""Where the entries of a matrix stand that couples each inner point of a box with its neighbours along the axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

__all__ = ["StencilPattern"]

Array = NDArray[np.float64]


class StencilPattern:
    """Compressed rows of the inner points of a grid, numbered in its order; worked out once for all matrices.

    Values are given as fields over the inner points: of the point itself, then of its lower and its upper neighbour
    along each axis. Those of neighbours outside are left out.

    Args:
        shape: points along each axis, the outermost included.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        shape = tuple(shape)
        self.inside = np.zeros(shape, dtype=bool)
        self.inside[(slice(1, -1),) * len(shape)] = True
        self.size = int(self.inside.sum())
        number = np.full(shape, -1, dtype=np.int64)
        number[self.inside] = np.arange(self.size)
        here = number[self.inside]
        rows, columns = [here], [here]
        for axis in range(len(shape)):
            for shift in (-1, 1):
                rows.append(here)
                columns.append(number[self.moved(axis, shift)].ravel())
        row, column = np.concatenate(rows), np.concatenate(columns)
        self._kept = np.nonzero(column >= 0)[0]
        row, column = row[self._kept], column[self._kept]
        order = np.lexsort((column, row))
        self._kept = self._kept[order]
        self._indices = column[order].astype(np.int32)
        self._indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=self.size))]).astype(np.int32)

    def moved(self, axis: int, shift: int) -> tuple[slice, ...]:
        """The inner points, moved by one along an axis."""
        shape = self.inside.shape
        return tuple(slice(1 + shift, n - 1 + shift) if i == axis else slice(1, -1) for i, n in enumerate(shape))

    def matrix(self, values: Sequence[Array]) -> sp.csr_array:
        """The matrix with these entries, `1 + 2 dim` fields over the inner points."""
        data = np.concatenate([np.ravel(part) for part in values])[self._kept]
        return sp.csr_array((data, self._indices, self._indptr), shape=(self.size, self.size))
