"""Incomplete factorisation without fill, analysed once for a pattern and renewed for each matrix on it.

SciPy has threshold factorisations only. Rows are worked off level by level, so that each step is one array operation;
for a symmetric matrix the factors are those of incomplete Cholesky, `L D L^T`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from equipoise.errors import ConvergenceError
from equipoise.solvers.linear.operators import Vector
from equipoise.solvers.linear.pattern import KeptPattern

__all__ = ["UpperTriangle", "ZeroFillPattern"]

Index: TypeAlias = NDArray[Any]


def _row_levels(strict_lower: sp.csr_array) -> list[Index]:
    """Rows in groups, each depending on earlier groups only."""
    waiting = np.diff(strict_lower.indptr).astype(np.int64)
    dependants = strict_lower.tocsc()
    levels = []
    ready = np.nonzero(waiting == 0)[0]
    while len(ready):
        levels.append(ready)
        rows = dependants.indices[_ranges(dependants.indptr, ready)[0]]
        waiting -= np.bincount(rows, minlength=len(waiting))
        candidates = np.unique(rows)
        ready = candidates[waiting[candidates] == 0]
    return levels


def _ranges(indptr: Index, rows: Index) -> tuple[Index, Index]:
    """Positions of all entries of `rows`, and for each the place of its row in `rows`."""
    start, count = indptr[rows].astype(np.int64), (indptr[rows + 1] - indptr[rows]).astype(np.int64)
    owner = np.repeat(np.arange(len(rows)), count)
    offset = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    return start[owner] + offset, owner


class UpperTriangle(KeptPattern):
    """Where the entries of a pattern's upper triangle stand, and their mirror images below the diagonal."""

    def __init__(self, matrix: sp.csr_array) -> None:
        super().__init__(matrix)
        numbers = np.arange(1, matrix.nnz + 1, dtype=np.int64)
        upper = sp.triu(sp.csr_array((numbers, matrix.indices, matrix.indptr), shape=matrix.shape), format="csr")
        full = sp.csr_array(upper + sp.triu(upper, k=1, format="csr").T)
        full.sort_indices()
        self._full, self._source = full, full.data - 1
        self._below = full.indices < np.repeat(np.arange(full.shape[0]), np.diff(full.indptr))

    def mirrored(self, matrix: sp.csr_array) -> sp.csr_array:
        """The Hermitian matrix with the matrix's upper triangle; the matrix itself where it is Hermitian."""
        values = matrix.data[self._source]
        if np.iscomplexobj(values):
            values[self._below] = values[self._below].conj()
        return sp.csr_array((values, self._full.indices, self._full.indptr), shape=matrix.shape)


class ZeroFillPattern(KeptPattern):
    """The steps of incomplete LU without fill for one pattern of compressed rows with sorted columns.

    Raises:
        ValueError: for a row without a diagonal entry.
    """

    def __init__(self, matrix: sp.csr_array) -> None:
        super().__init__(matrix)
        self.size = matrix.shape[0]
        row = np.repeat(np.arange(self.size, dtype=np.int64), np.diff(self.indptr))
        column = self.indices.astype(np.int64)
        key = row * self.size + column
        self.diagonal = np.searchsorted(key, np.arange(self.size, dtype=np.int64) * (self.size + 1))
        found = key[np.minimum(self.diagonal, len(key) - 1)] == np.arange(self.size, dtype=np.int64) * (self.size + 1)
        if not found.all():
            raise ValueError(f"row {int(np.nonzero(~found)[0][0])} stores no diagonal entry; incomplete LU needs it.")
        self._lower = np.nonzero(column < row)[0]
        self._upper = np.nonzero(column > row)[0]
        self._row, self._column, self._key = row, column, key
        self._schedule()

    def _schedule(self) -> None:
        """Order the eliminations by (level of the row, place in the row), with the updates that each makes."""
        lower, row, column = self._lower, self._row, self._column
        shape = (self.size, self.size)
        strict = sp.csr_array((np.ones(len(lower)), (row[lower], column[lower])), shape=shape)
        level = np.zeros(self.size, dtype=np.int64)
        for number, rows in enumerate(_row_levels(strict)):
            level[rows] = number
        place = lower - self.indptr[row[lower]]
        width = int(place.max(initial=0)) + 1
        step = level[row[lower]] * width + place
        order = np.argsort(step, kind="stable")
        self._pivots, step = lower[order], step[order]
        ends = np.nonzero(np.diff(step))[0] + 1
        self._bounds = np.concatenate([[0], ends, [len(step)]]).astype(np.int64)
        above = sp.csr_array((self._upper, (row[self._upper], column[self._upper])), shape=shape)
        position, owner = _ranges(above.indptr, column[self._pivots])
        target_key = row[self._pivots[owner]] * self.size + above.indices[position].astype(np.int64)
        target = np.minimum(np.searchsorted(self._key, target_key), len(self._key) - 1)
        kept = self._key[target] == target_key
        self._factor, self._source = self._pivots[owner[kept]], above.data[position[kept]].astype(np.int64)
        self._target = target[kept]
        self._updates = np.searchsorted(owner[kept], self._bounds)

    def factorize(self, data: Vector, *, positive: bool) -> tuple[sp.csr_array, sp.csr_array]:
        """Unit lower and upper factor for these values, diagonals stored.

        Args:
            data: values in the order of the pattern.
            positive: whether every pivot must be positive, as for incomplete Cholesky.

        Raises:
            ConvergenceError: for a pivot that is zero or, where asked, not positive; names its row.
        """
        values = data.copy()
        pivot_diagonal = self.diagonal[self._column[self._pivots]]
        with np.errstate(all="ignore"):
            for step in range(len(self._bounds) - 1):
                a, b = self._bounds[step], self._bounds[step + 1]
                values[self._pivots[a:b]] /= values[pivot_diagonal[a:b]]
                a, b = self._updates[step], self._updates[step + 1]
                if b > a:
                    values[self._target[a:b]] -= values[self._factor[a:b]] * values[self._source[a:b]]
        pivots = values[self.diagonal]
        bad = ~np.isfinite(pivots) | ((pivots.real <= 0) if positive else (pivots == 0))
        if bad.any():
            row = int(np.nonzero(bad)[0][0])
            kind = "incomplete Cholesky" if positive else "incomplete LU"
            raise ConvergenceError(f"{kind} met the pivot {pivots[row]:g} in row {row}; use another preconditioner.")
        return self._triangles(values)

    def _triangles(self, values: Vector) -> tuple[sp.csr_array, sp.csr_array]:
        ones = np.ones(self.size, dtype=values.dtype)
        rows = np.arange(self.size)
        shape = (self.size, self.size)
        kept = np.concatenate([self._upper, self.diagonal])
        upper = sp.csr_array((values[kept], (self._row[kept], self._column[kept])), shape=shape)
        low = (np.concatenate([self._row[self._lower], rows]), np.concatenate([self._column[self._lower], rows]))
        lower = sp.csr_array((np.concatenate([values[self._lower], ones]), low), shape=shape)
        lower.sort_indices()
        upper.sort_indices()
        return lower, upper
