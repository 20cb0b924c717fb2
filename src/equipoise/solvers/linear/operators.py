"""One face for what a linear solver multiplies with: SciPy matrices, torch sparse tensors and matrix-free operators.

Products are counted here, so that every solver reports the same thing. No solver and no preconditioner lives here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spla
import torch
from numpy.typing import NDArray

try:  # The compiled product that SciPy itself calls; only here does it write into an array that exists.
    from scipy.sparse._sparsetools import csr_matvec as _compiled_product
except ImportError:  # pragma: no cover
    _compiled_product = None

__all__ = ["Applied", "Operator", "OperatorLike", "Vector", "as_operator"]

Vector: TypeAlias = NDArray[Any]
OperatorLike: TypeAlias = Any


@runtime_checkable
class Applied(Protocol):
    """Anything that writes its product with a vector into `out`."""

    def apply(self, vector: Vector, out: Vector) -> None:
        """Write the product with `vector` into `out`; the two must differ."""


class Operator:
    """A square linear map on vectors `(size,)`, float64 or complex128, that counts its products.

    Attributes:
        size: number of unknowns.
        dtype: `float64` or `complex128`.
        matrix: compressed rows with sorted columns, or `None` for a matrix-free operator.
        products: matrix-vector products made so far.
    """

    def __init__(
        self,
        size: int,
        dtype: Any,
        *,
        matrix: sp.csr_array | None = None,
        function: Callable[[Vector], Any] | None = None,
        adjoint: Callable[[Vector], Any] | None = None,
    ) -> None:
        self.size, self.dtype, self.matrix = size, np.dtype(dtype), matrix
        self._function, self._adjoint = function, adjoint
        self.products = 0

    def apply(self, vector: Vector, out: Vector) -> None:
        """Write the product with `vector` into `out`, both `(size,)`; `out` must not be `vector`."""
        self.products += 1
        if self.matrix is None:
            assert self._function is not None
            out[...] = _checked_product(self._function(vector), self.size)
        elif _compiled_product is not None:
            out.fill(0)
            a = self.matrix
            _compiled_product(self.size, self.size, a.indptr, a.indices, a.data, vector, out)
        else:  # pragma: no cover
            out[...] = self.matrix @ vector

    def transposed(self) -> Operator:
        """The transpose (not conjugated).

        Raises:
            ValueError: for a matrix-free operator without an adjoint.
        """
        if self.matrix is not None:
            return _from_matrix(self.matrix.T)
        if self._adjoint is None:
            raise ValueError("a transposed solve needs the matrix, or a scipy LinearOperator with rmatvec.")
        adjoint = self._adjoint
        return Operator(self.size, self.dtype, function=lambda v: np.conj(adjoint(np.conj(v))))

    def equals(self, other: Operator) -> bool:
        """Whether both are matrices of the same entries to a relative 1e-14."""
        a, b = self.matrix, other.matrix
        if a is None or b is None or a.shape != b.shape or a.nnz != b.nnz or self.dtype != other.dtype:
            return False
        if a is b:
            return True
        if np.abs(a.data[::97] - b.data[::97]).max(initial=0.0) > 1e-14 * np.abs(a.data).max(initial=0.0):
            return False
        if not (np.array_equal(a.indptr, b.indptr) and np.array_equal(a.indices, b.indices)):
            return False
        return bool(np.abs(a.data - b.data).max(initial=0.0) <= 1e-14 * np.abs(a.data).max(initial=0.0))


def _checked_product(result: Any, size: int) -> Vector:
    vector = result.detach().cpu().numpy() if isinstance(result, torch.Tensor) else np.asarray(result)
    if vector.shape != (size,):
        raise ValueError(f"the matrix-free operator returned shape {vector.shape}; it must return ({size},).")
    return vector


def _from_matrix(matrix: Any) -> Operator:
    rows = sp.csr_array(matrix)
    if rows.shape[0] != rows.shape[1]:
        raise ValueError(f"the matrix must be square, got {rows.shape[0]} x {rows.shape[1]}.")
    dtype = np.complex128 if np.iscomplexobj(rows.data) else np.float64
    rows = rows.astype(dtype, copy=False)
    if not rows.has_canonical_format:
        rows = rows.copy()
        rows.sum_duplicates()
    if rows.indices.dtype != np.int32 and max(rows.nnz, rows.shape[0]) < np.iinfo(np.int32).max:
        short = (rows.data, rows.indices.astype(np.int32), rows.indptr.astype(np.int32))
        rows = sp.csr_array(short, shape=rows.shape)
    if not np.isfinite(rows.data).all():
        entry = int(np.nonzero(~np.isfinite(rows.data))[0][0])
        row = int(np.searchsorted(rows.indptr, entry, side="right")) - 1
        raise ValueError(f"the matrix holds {rows.data[entry]} in row {row}; every entry must be finite.")
    return Operator(rows.shape[0], dtype, matrix=rows)


def _from_tensor(tensor: torch.Tensor) -> Operator:
    tensor = tensor.detach().cpu()
    if tensor.ndim != 2:
        raise ValueError(f"a tensor used as an operator needs 2 axes, got shape {tuple(tensor.shape)}.")
    if tensor.layout == torch.strided:
        return _from_matrix(tensor.numpy())
    rows = tensor if tensor.layout == torch.sparse_csr else tensor.to_sparse_csr()
    parts = (rows.values().numpy(), rows.col_indices().numpy(), rows.crow_indices().numpy())
    return _from_matrix(sp.csr_array(parts, shape=tuple(tensor.shape)))


def as_operator(source: OperatorLike, *, size: int | None = None, dtype: Any = np.float64) -> Operator:
    """`source` as an `Operator`.

    Args:
        source: SciPy sparse or dense matrix, torch tensor (sparse CSR, other sparse layouts, dense), SciPy
            `LinearOperator`, a function of one NumPy vector `(size,)` that returns its product, or an `Operator`.
            Tensors on other devices are copied to the CPU, as every solver of this room works there.
        size: number of unknowns; needed for a function only.
        dtype: of a function's products, `float64` or `complex128`.

    Raises:
        ValueError: for a matrix that is not square or not finite, or a function without `size`.
        TypeError: for anything else.
    """
    if isinstance(source, Operator):
        return source
    if isinstance(source, torch.Tensor):
        return _from_tensor(source)
    if sp.issparse(source) or isinstance(source, np.ndarray):
        return _from_matrix(source)
    if isinstance(source, spla.LinearOperator):
        if source.shape[0] != source.shape[1]:
            raise ValueError(f"the operator must be square, got {source.shape[0]} x {source.shape[1]}.")
        kind = np.complex128 if source.dtype is not None and np.issubdtype(source.dtype, np.complexfloating) else dtype
        return Operator(source.shape[0], kind, function=source.matvec, adjoint=source.rmatvec)
    if callable(source):
        if size is None or size < 1:
            raise ValueError(f"size={size} for a matrix-free operator; give its number of unknowns.")
        return Operator(size, dtype, function=source)
    raise TypeError(f"{type(source).__name__} is no operator; give a matrix, a sparse tensor or a function.")
