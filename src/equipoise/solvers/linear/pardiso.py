"""PARDISO through the library that `pypardiso` loads, with the symbolic analysis kept over a family of matrices.

`pypardiso` itself analyses anew at each factorisation and copies the pattern at each call; here the three phases are
driven apart. Nothing else in Equipoise calls PARDISO.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import ConvergenceError

__all__ = ["PardisoFactorization"]

_ANALYSE, _FACTORIZE, _SOLVE, _RELEASE = 11, 22, 33, -1
_MATRIX_TYPES = {"positive_definite": 2, "symmetric": -2, "general": 11}


def _address(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


class PardisoFactorization:
    """Factorisation of matrices that share one pattern; analysed once, factorised as often as values change.

    Args:
        size: number of rows.
        indptr: row starts, zero-based.
        indices: sorted columns; only the upper triangle for the symmetric structures.
        structure: `"positive_definite"`, `"symmetric"` (indefinite) or `"general"`.

    Raises:
        ImportError: where `pypardiso` or its library is missing.
    """

    name = "pardiso"

    def __init__(self, size: int, indptr: NDArray[np.int32], indices: NDArray[np.int32], *, structure: str) -> None:
        import pypardiso

        self._library = pypardiso.PyPardisoSolver().libmkl
        self._size = size
        self._indptr = np.ascontiguousarray(indptr, dtype=np.int32)
        self._indices = np.ascontiguousarray(indices, dtype=np.int32)
        self._values: NDArray[np.float64] | None = None
        self._type = _MATRIX_TYPES[structure]
        self._handle = np.zeros(64, dtype=np.int64)
        self._parameters = np.zeros(64, dtype=np.int32)
        self._permutation = np.zeros(size, dtype=np.int32)
        for position, value in {1: 1, 2: 2, 10: 13, 18: -1, 24: 0, 35: 1}.items():
            self._parameters[position - 1] = value
        if structure == "general":
            self._parameters[10], self._parameters[12] = 1, 1
        if structure == "symmetric":
            self._parameters[9], self._parameters[20] = 8, 1
        self._analysed = False

    def _call(self, phase: int, rhs: NDArray[np.float64] | None, out: NDArray[np.float64] | None) -> None:
        columns = 1 if rhs is None or rhs.ndim == 1 else rhs.shape[1]
        error = ctypes.c_int32(0)
        scalar = [ctypes.c_int32(x) for x in (1, 1, self._type, phase, self._size, columns, 0)]
        maximum, number, kind, step, size, count, quiet = (ctypes.byref(x) for x in scalar)
        nothing = ctypes.c_void_p(0)
        self._library.pardiso(
            _address(self._handle),
            maximum,
            number,
            kind,
            step,
            size,
            nothing if self._values is None else _address(self._values),
            _address(self._indptr),
            _address(self._indices),
            _address(self._permutation),
            count,
            _address(self._parameters),
            quiet,
            nothing if rhs is None else _address(rhs),
            nothing if out is None else _address(out),
            ctypes.byref(error),
        )
        if error.value == -4:
            raise ConvergenceError("the matrix is singular or not positive definite: a pivot was zero or negative.")
        if error.value:
            raise ConvergenceError(f"PARDISO stopped with its error {error.value} in phase {phase}.")

    def update(self, values: NDArray[np.float64]) -> None:
        """Factorise the matrix with these values, `(nnz,)`, in the order of `indices`."""
        self._values = np.ascontiguousarray(values, dtype=np.float64)
        if not self._analysed:
            self._call(_ANALYSE, None, None)
            self._analysed = True
        self._call(_FACTORIZE, None, None)

    def solve(self, rhs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Solve for one right-hand side `(N,)` or several `(N, k)`."""
        rhs = np.asfortranarray(rhs, dtype=np.float64)
        out = np.empty_like(rhs)
        self._call(_SOLVE, rhs, out)
        return out

    def __del__(self) -> None:
        if getattr(self, "_analysed", False):
            self._analysed = False
            self._call(_RELEASE, None, None)
