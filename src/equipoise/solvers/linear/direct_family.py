"""Sparse direct solution of a chain of matrices: analysed once per pattern, factorised once per set of values.

Chooses the cheapest factorisation that fits the matrix; the factorisations themselves are in `direct.py` and
`pardiso.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spla
from numpy.typing import NDArray

from equipoise.errors import ConvergenceError
from equipoise.solvers.linear.direct import chosen_backend
from equipoise.solvers.linear.operators import Operator, Vector
from equipoise.solvers.linear.pardiso import PardisoFactorization

__all__ = ["STRUCTURES", "DirectSolver", "SymmetryCheck", "is_hermitian"]

# Columns that SuperLU works on at once. Its own choice suits dense factors; grids and meshes want few.
_PANEL = 2

STRUCTURES = ("auto", "positive_definite", "symmetric", "general")


def is_hermitian(matrix: sp.csr_array, *, rtol: float = 1e-12) -> bool:
    """Whether `|A - A^H|` stays below `rtol |A|`, entry by entry of the largest."""
    difference = matrix - matrix.conj().T
    return bool(np.abs(difference.data).max(initial=0.0) <= rtol * np.abs(matrix.data).max(initial=0.0))


def _mirror(matrix: sp.csr_array) -> NDArray[Any] | None:
    """For each entry the place of its mirror image, where the pattern is symmetric."""
    number = sp.csr_array((np.arange(1, matrix.nnz + 1), matrix.indices, matrix.indptr), shape=matrix.shape)
    turned = sp.csr_array(number.T)
    turned.sort_indices()
    if not (np.array_equal(turned.indptr, matrix.indptr) and np.array_equal(turned.indices, matrix.indices)):
        return None
    return np.asarray(turned.data - 1)


def _opposite_entries(matrix: sp.csr_array) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Places of the entries on one side of the diagonal and of their mirror images, where the pattern is symmetric."""
    mirror = _mirror(matrix)
    if mirror is None:
        return None
    one = np.nonzero(mirror > np.arange(matrix.nnz))[0]
    return one, mirror[one]


class SymmetryCheck:
    """Whether matrices of a chain are Hermitian; the places of mirror images are worked out once for a pattern."""

    def __init__(self) -> None:
        self._pattern: tuple[NDArray[np.int32], NDArray[np.int32]] | None = None
        self._mirror: NDArray[Any] | None = None

    def __call__(self, matrix: sp.csr_array, *, rtol: float) -> bool:
        """See `is_hermitian`."""
        if self._pattern is None or not (
            np.array_equal(matrix.indptr, self._pattern[0]) and np.array_equal(matrix.indices, self._pattern[1])
        ):
            self._pattern, self._mirror = (matrix.indptr, matrix.indices), _mirror(matrix)
        if self._mirror is None:
            # Entries without a counterpart may be zeros that are stored.
            return is_hermitian(matrix, rtol=rtol)
        gap = np.abs(matrix.data - matrix.data[self._mirror].conj()).max(initial=0.0)
        return bool(gap <= rtol * np.abs(matrix.data).max(initial=0.0))


class DirectSolver:
    """The factorisation of the current matrix of a chain.

    Args:
        operator: with a matrix.
        backend: `"auto"`, `"pardiso"` or `"superlu"`. PARDISO is for real matrices; `"auto"` knows.
        structure: `"auto"` finds out; a matrix that claims to be `"positive_definite"` and is not raises.

    Raises:
        ValueError: for a matrix-free operator, an unknown option, or a matrix that is not of its structure.
        ConvergenceError: for a singular matrix, or an indefinite one said to be positive definite.
    """

    def __init__(self, operator: Operator, *, backend: str, structure: str) -> None:
        if operator.matrix is None:
            raise ValueError("the direct solver needs the matrix, and the operator is matrix-free; use gcrodr.")
        if structure not in STRUCTURES:
            raise ValueError(f"structure {structure!r} is unknown; use one of {', '.join(STRUCTURES)}.")
        if backend == "pardiso" and operator.dtype.kind == "c":
            raise ValueError("backend 'pardiso' takes real matrices only; use 'superlu' for a complex one.")
        self._backend = "superlu" if operator.dtype.kind == "c" else chosen_backend(backend)
        self._asked = structure
        self._pattern: tuple[NDArray[np.int32], NDArray[np.int32]] | None = None
        self._pairs: tuple[NDArray[Any], NDArray[Any]] | None = None
        self._structure = ""
        self._kernel: Any = None
        self.analyses = 0
        self.update(operator)

    def update(self, operator: Operator) -> None:
        """Factorise the next matrix; the analysis is kept where its pattern is the same."""
        matrix = operator.matrix
        if matrix is None:
            raise ValueError("the direct solver needs the matrix, and the operator is matrix-free; use gcrodr.")
        same = (
            self._pattern is not None
            and np.array_equal(matrix.indptr, self._pattern[0])
            and np.array_equal(matrix.indices, self._pattern[1])
        )
        if not same:
            self._pattern, self._pairs = (matrix.indptr, matrix.indices), _opposite_entries(matrix)
        structure = self._classify(matrix)
        if not same or structure != self._structure:
            self._analyse(matrix, structure)
        try:
            self._factorize(matrix)
        except ConvergenceError:
            if not (structure == "positive_definite" and self._asked == "auto"):
                raise
            self._asked = "symmetric"
            self._analyse(matrix, "symmetric")
            self._factorize(matrix)

    def _classify(self, matrix: sp.csr_array) -> str:
        if self._asked == "general":
            return "general"
        symmetric = self._pairs is not None
        if self._pairs is not None:
            gap = np.abs(matrix.data[self._pairs[0]] - matrix.data[self._pairs[1]]).max(initial=0.0)
            symmetric = bool(gap <= 1e-12 * np.abs(matrix.data).max(initial=0.0))
        if self._asked != "auto" and not symmetric:
            raise ValueError(f"the matrix is not symmetric, and structure={self._asked!r} was asked; use 'general'.")
        if not symmetric:
            return "general"
        diagonal = matrix.diagonal()
        positive = bool((diagonal.real > 0).all())
        if self._asked == "positive_definite" and not positive:
            row = int(np.argmin(diagonal.real))
            raise ConvergenceError(f"the matrix is not positive definite: A[{row}, {row}] = {diagonal[row]:g}.")
        return "positive_definite" if positive and self._asked != "symmetric" else "symmetric"

    def _analyse(self, matrix: sp.csr_array, structure: str) -> None:
        self._structure = structure
        self.analyses += 1
        if self._backend == "superlu":
            self._kernel = _OrderedSuperLU(structure)
            return
        rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        self._upper: NDArray[np.int64] | slice = slice(None)
        indptr, indices = matrix.indptr, matrix.indices
        if structure != "general":
            self._upper = np.nonzero(indices >= rows)[0]
            indices = indices[self._upper]
            counts = np.bincount(rows[self._upper], minlength=matrix.shape[0])
            indptr = np.concatenate([[0], np.cumsum(counts)])
        indptr, indices = indptr.astype(np.int32), indices.astype(np.int32)
        self._kernel = PardisoFactorization(matrix.shape[0], indptr, indices, structure=structure)

    def _factorize(self, matrix: sp.csr_array) -> None:
        if isinstance(self._kernel, _OrderedSuperLU):
            self._kernel.update(matrix)
        else:
            self._kernel.update(matrix.data[self._upper])

    def solve(self, rhs: Vector, *, transpose: bool = False) -> Vector:
        """Solve for `(N,)` or `(N, k)`."""
        return np.asarray(self._kernel.solve(rhs, transpose=transpose))


def _has_positive_pivots(lu: Any) -> bool:
    """Whether all pivots stood on the diagonal and were positive: by Sylvester's law, whether `A` is definite."""
    return bool(np.array_equal(lu.perm_r, lu.perm_c) and (lu.U.diagonal().real > 0).all())


class _OrderedSuperLU:
    """SuperLU whose column order, the costly part of its analysis, is found once for a pattern."""

    def __init__(self, structure: str) -> None:
        self._structure = structure
        self._order: NDArray[Any] | None = None
        self._lu: Any = None

    def update(self, matrix: sp.csr_array) -> None:
        definite = self._structure == "positive_definite"
        options: dict[str, Any] = {"panel_size": _PANEL}
        if definite:
            options.update(diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        try:
            if self._order is None:
                spec = "COLAMD" if self._structure == "general" else "MMD_AT_PLUS_A"
                self._lu = spla.splu(sp.csc_array(matrix), permc_spec=spec, **options)
                self._first_order = self._lu.perm_c
                self._prepare_order(matrix)
                self._permuted = False
            else:
                values = matrix.data[self._source]
                permuted = sp.csc_array((values, self._indices, self._indptr), shape=matrix.shape)
                self._lu = spla.splu(permuted, permc_spec="NATURAL", **options)
                self._permuted = True
        except RuntimeError as error:
            raise ConvergenceError(f"the matrix of size {matrix.shape[0]} is singular: {error}.") from error
        if definite and not _has_positive_pivots(self._lu):
            raise ConvergenceError("the matrix is singular or not positive definite: a pivot was zero or negative.")

    def _prepare_order(self, matrix: sp.csr_array) -> None:
        self._order = np.argsort(self._first_order)
        number = sp.csr_array((np.arange(1, matrix.nnz + 1), matrix.indices, matrix.indptr), shape=matrix.shape)
        rows = number if self._structure == "general" else number[self._order]
        permuted = sp.csc_array(rows[:, self._order])
        permuted.sort_indices()
        self._source, self._indices, self._indptr = permuted.data - 1, permuted.indices, permuted.indptr

    def solve(self, rhs: Vector, *, transpose: bool) -> Vector:
        mode = "T" if transpose else "N"
        rhs = np.ascontiguousarray(rhs) if rhs.ndim == 1 else np.asfortranarray(rhs)
        if not self._permuted:
            return np.asarray(self._lu.solve(rhs, mode))
        rows_too = self._structure != "general"
        result = self._lu.solve(rhs[self._order] if rows_too or transpose else rhs, mode)
        if transpose and not rows_too:
            return np.asarray(result)
        out = np.empty_like(result)
        out[self._order] = result
        return out
