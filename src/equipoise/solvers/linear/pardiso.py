"""PARDISO through the library that `pypardiso` loads, with the symbolic analysis kept over a family of matrices.

`pypardiso` itself analyses anew at each factorisation and copies the pattern at each call; here the three phases are
driven apart. Nothing else in Equipoise calls PARDISO.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.metadata
import importlib.util
import os
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import ConvergenceError

__all__ = ["PardisoFactorization", "use_one_thread"]

_ANALYSE, _FACTORIZE, _SOLVE, _RELEASE = 11, 22, 33, -1
_MATRIX_TYPES = {"positive_definite": 2, "symmetric": -2, "general": 11}


def _integers(array: NDArray[np.int32]) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))


def _reals(array: NDArray[np.float64] | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(0 if array is None else array.ctypes.data)


@functools.cache
def _library() -> Any:
    """The MKL library that `pypardiso` brings, found by its package record.

    Importing `pypardiso` searches the disk for it, which takes a second.
    """
    if importlib.util.find_spec("pypardiso") is None:
        raise ImportError("the package pypardiso is missing.")
    # After a factorisation its threads would spin for 200 ms, on the cores that torch's threads need next.
    os.environ.setdefault("KMP_BLOCKTIME", "1")
    with contextlib.suppress(importlib.metadata.PackageNotFoundError, OSError):
        for file in importlib.metadata.files("mkl") or []:
            if file.name.startswith(("libmkl_rt", "mkl_rt")) and file.suffix != ".lib":
                library = ctypes.CDLL(str(file.locate()))
                library.pardiso.restype = None
                return library
    import pypardiso

    return pypardiso.PyPardisoSolver().libmkl


def use_one_thread() -> None:
    """Keep the calling thread's factorisations on one thread, for where several run side by side; no-op without MKL."""
    with contextlib.suppress(ImportError, AttributeError, OSError):
        _library().MKL_Set_Num_Threads_Local(ctypes.c_int(1))


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
        self._library = _library()
        self._size = size
        self._indptr = np.ascontiguousarray(indptr, dtype=np.int32)
        self._indices = np.ascontiguousarray(indices, dtype=np.int32)
        self._values: NDArray[np.float64] | None = None
        self._type = _MATRIX_TYPES[structure]
        self._handle = np.zeros(64, dtype=np.int64)
        self._parameters = np.zeros(64, dtype=np.int32)
        self._permutation = np.zeros(size, dtype=np.int32)
        for position, value in {1: 1, 2: 3, 10: 13, 24: 1, 35: 1}.items():
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
        self._library.pardiso(
            self._handle.ctypes.data_as(ctypes.POINTER(ctypes.c_int64)),
            maximum,
            number,
            kind,
            step,
            size,
            _reals(self._values),
            _integers(self._indptr),
            _integers(self._indices),
            _integers(self._permutation),
            count,
            _integers(self._parameters),
            quiet,
            _reals(rhs),
            _reals(out),
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

    def solve(self, rhs: NDArray[np.float64], *, transpose: bool = False) -> NDArray[np.float64]:
        """Solve for one right-hand side `(N,)` or several `(N, k)`, with the matrix or its transpose."""
        rhs = np.asfortranarray(rhs, dtype=np.float64)
        out = np.empty_like(rhs)
        self._parameters[11] = 2 if transpose else 0
        self._call(_SOLVE, rhs, out)
        return out

    def __del__(self) -> None:
        if getattr(self, "_analysed", False) and not sys.is_finalizing():
            self._analysed = False
            self._call(_RELEASE, None, None)
