"""Sparsity patterns that a whole family of matrices shares, and the map from element entries to a symmetric one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

__all__ = ["KeptPattern", "SymmetricPattern"]


class KeptPattern:
    """The pattern of compressed rows that an analysis was made for."""

    def __init__(self, matrix: sp.csr_array) -> None:
        self.indptr, self.indices, self.shape = matrix.indptr, matrix.indices, matrix.shape

    def matches(self, matrix: sp.csr_array) -> bool:
        """Whether the matrix has this pattern."""
        return np.array_equal(matrix.indptr, self.indptr) and np.array_equal(matrix.indices, self.indices)


@dataclass(frozen=True, eq=False)
class SymmetricPattern:
    """Upper triangle of a symmetric sparsity pattern in compressed rows, diagonal included.

    Attributes:
        size: number of rows.
        indptr: row starts, `(size + 1,)`, 32-bit.
        indices: column numbers, sorted in each row, the diagonal first, 32-bit.
        full_indptr: row starts of the full matrix.
        full_indices: columns of the full matrix.
        full_source: for each entry of the full matrix, the entry of the upper triangle that holds its value.
    """

    size: int
    indptr: NDArray[np.int32]
    indices: NDArray[np.int32]
    full_indptr: NDArray[np.int32]
    full_indices: NDArray[np.int32]
    full_source: NDArray[np.int64]

    @classmethod
    def from_elements(cls, size: int, *dofs: NDArray[np.int64]) -> SymmetricPattern:
        """Pattern of the sum of element matrices.

        Args:
            size: number of unknowns; entries of `dofs` equal to `size` are held at zero and left out.
            dofs: unknowns of each element, one array `(elements, k)` per kind of element.
        """
        incidence = [
            sp.csr_array(
                (np.ones(table.size, dtype=np.int32), table.ravel(), np.arange(0, table.size + 1, table.shape[1])),
                shape=(len(table), size + 1),
            )
            for table in dofs
        ]
        upper = sp.csr_array(sp.eye_array(size, dtype=np.int32))
        for block in incidence:
            shared = sp.csr_array((block.T @ block)[:size, :size])
            shared.sum_duplicates()
            upper = sp.csr_array(upper + sp.triu(shared, format="csr"))
        upper.sum_duplicates()
        indptr, column = upper.indptr.astype(np.int32), upper.indices
        source = np.arange(len(column), dtype=np.float64) + 1.0
        upper = sp.csr_array((source, column.astype(np.int32), indptr), shape=(size, size))
        full = sp.csr_array(upper + sp.triu(upper, k=1, format="csr").T)
        full.sum_duplicates()
        full.prune()
        return cls(
            size=size,
            indptr=indptr,
            indices=column.astype(np.int32),
            full_indptr=full.indptr.astype(np.int32),
            full_indices=full.indices.astype(np.int32),
            full_source=np.rint(full.data).astype(np.int64) - 1,
        )

    def __post_init__(self) -> None:
        for array in (self.indptr, self.indices, self.full_indptr, self.full_indices, self.full_source):
            array.setflags(write=False)

    @property
    def nnz(self) -> int:
        """Number of stored entries of the upper triangle."""
        return len(self.indices)

    def positions(self, dofs: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the entries of element matrices `(elements, k, k)` go.

        Returns:
            `(entry, position)`: flat indices of the upper-triangle entries in the stacked element matrices, and the
            place of each in the pattern's values. Each pair of unknowns of an element is taken once.
        """
        row, column = np.broadcast_arrays(dofs[:, :, None], dofs[:, None, :])
        entry = np.nonzero(((row < column) | (row == column)).ravel() & (column < self.size).ravel())[0]
        key = row.ravel()[entry] * self.size + column.ravel()[entry]
        own = np.repeat(np.arange(self.size, dtype=np.int64), np.diff(self.indptr)) * self.size + self.indices
        return entry, np.searchsorted(own, key)

    def accumulator(self, dofs: NDArray[np.int64]) -> sp.csr_array:
        """Matrix `(nnz, elements k k)` of ones that sums flattened element matrices into the pattern's values."""
        entry, position = self.positions(dofs)
        shape = (self.nnz, dofs.shape[0] * dofs.shape[1] ** 2)
        matrix = sp.csr_array((np.ones(len(entry)), (position, entry)), shape=shape)
        matrix.sort_indices()
        return matrix

    def full(self, values: NDArray[np.float64]) -> sp.csc_array:
        """The full symmetric matrix with these upper-triangle values, compressed by columns."""
        return sp.csc_array(
            (values[self.full_source], self.full_indices, self.full_indptr), shape=(self.size, self.size)
        )
