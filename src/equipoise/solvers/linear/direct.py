"""Sparse direct solvers behind one face: PARDISO where it is installed, SuperLU otherwise.

`analyse` takes a pattern once, `update` factorises new values on it, `solve` uses the last factorisation.
"""

from __future__ import annotations

import importlib.util
from typing import Protocol, runtime_checkable

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spla
from numpy.typing import NDArray

from equipoise.errors import ConvergenceError
from equipoise.solvers.linear.pardiso import PardisoFactorization
from equipoise.solvers.linear.pattern import SymmetricPattern

__all__ = ["BACKENDS", "Factorization", "analyse", "chosen_backend", "factorize", "pardiso_is_available"]

BACKENDS = ("auto", "pardiso", "superlu")


@runtime_checkable
class Factorization(Protocol):
    """A direct solver whose pattern is fixed and whose values change."""

    name: str

    def update(self, values: NDArray[np.float64]) -> None:
        """Factorise the matrix with these values."""

    def solve(self, rhs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Solve for one right-hand side `(N,)` or several `(N, k)`."""


def pardiso_is_available() -> bool:
    """Whether `pypardiso` is installed."""
    return importlib.util.find_spec("pypardiso") is not None


def chosen_backend(backend: str) -> str:
    """`"pardiso"` or `"superlu"`; raises `ValueError` for a backend that is unknown or not installed."""
    if backend not in BACKENDS:
        raise ValueError(f"linear solver {backend!r} is unknown; use one of {', '.join(BACKENDS)}.")
    if backend == "auto":
        return "pardiso" if pardiso_is_available() else "superlu"
    if backend == "pardiso" and not pardiso_is_available():
        raise ValueError("linear solver 'pardiso' needs pypardiso; install equipoise[pardiso], or use 'superlu'.")
    return backend


class _SymmetricSuperLU:
    """SuperLU in symmetric mode on a symmetric pattern: minimum degree on A + A^T and diagonal pivots."""

    name = "superlu"

    def __init__(self, pattern: SymmetricPattern) -> None:
        self._pattern = pattern
        self._lu: spla.SuperLU | None = None

    def update(self, values: NDArray[np.float64]) -> None:
        self._lu = _superlu(self._pattern.full(values), symmetric=True)

    def solve(self, rhs: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._lu is None:
            raise ValueError("update the factorisation with values before solving.")
        return self._lu.solve(np.ascontiguousarray(rhs) if rhs.ndim == 1 else np.asfortranarray(rhs))


class _GeneralSuperLU:
    """SuperLU with partial pivoting on a general pattern of compressed rows."""

    name = "superlu"

    def __init__(self, size: int, indptr: NDArray[np.int32], indices: NDArray[np.int32]) -> None:
        self._size, self._indptr, self._indices = size, indptr, indices
        self._lu: spla.SuperLU | None = None

    def update(self, values: NDArray[np.float64]) -> None:
        matrix = sp.csr_array((values, self._indices, self._indptr), shape=(self._size, self._size))
        self._lu = _superlu(matrix.tocsc(), symmetric=False)

    def solve(self, rhs: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._lu is None:
            raise ValueError("update the factorisation with values before solving.")
        return self._lu.solve(rhs)


def _superlu(matrix: sp.csc_array, *, symmetric: bool) -> spla.SuperLU:
    try:
        if symmetric:
            return spla.splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        return spla.splu(matrix, permc_spec="COLAMD")
    except RuntimeError as error:
        raise ConvergenceError(f"the matrix of size {matrix.shape[0]} is singular: {error}.") from error


def analyse(pattern: SymmetricPattern, *, backend: str = "auto") -> Factorization:
    """Direct solver for the symmetric positive definite matrices of one pattern.

    Args:
        pattern: shared pattern; `update` takes the values of its upper triangle.
        backend: `"auto"` (PARDISO where installed), `"pardiso"` or `"superlu"`.

    Raises:
        ValueError: for an unknown or missing backend.
    """
    if chosen_backend(backend) == "pardiso":
        return PardisoFactorization(pattern.size, pattern.indptr, pattern.indices, structure="positive_definite")
    return _SymmetricSuperLU(pattern)


def factorize(matrix: sp.sparray | sp.spmatrix, *, backend: str = "auto") -> Factorization:
    """Direct solver for a general square matrix, factorised at once; `update` takes new values of the same pattern.

    Args:
        matrix: sparse square matrix; compressed rows are used as they are.
        backend: as for `analyse`.

    Raises:
        ValueError: for a matrix that is not square or holds a value that is not finite.
        ConvergenceError: for a singular matrix.
    """
    rows = sp.csr_array(matrix)
    if rows.shape[0] != rows.shape[1]:
        raise ValueError(f"the matrix must be square, got {rows.shape[0]} x {rows.shape[1]}.")
    if not np.isfinite(rows.data).all():
        raise ValueError("the matrix holds a value that is not finite.")
    rows.sort_indices()
    solver: Factorization
    if chosen_backend(backend) == "pardiso":
        solver = PardisoFactorization(rows.shape[0], rows.indptr, rows.indices, structure="general")
    else:
        solver = _GeneralSuperLU(rows.shape[0], rows.indptr, rows.indices)
    solver.update(rows.data)
    return solver
