"""Preconditioners by name or as small values with options; each is built for an operator and renewed for its neighbour.

`build` takes what a user writes and returns something with `apply(vector, out)`. The incomplete factorisation itself
is in `incomplete.py`, substitution in `triangular.py`.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spla

from equipoise.errors import ConvergenceError
from equipoise.solvers.linear.direct_family import DirectSolver
from equipoise.solvers.linear.incomplete import UpperTriangle, ZeroFillPattern
from equipoise.solvers.linear.operators import Operator, Vector
from equipoise.solvers.linear.pattern import KeptPattern
from equipoise.solvers.linear.triangular import TriangularSolver, pyamg_is_available

__all__ = [
    "AMG",
    "IC",
    "ILU",
    "SOR",
    "SSOR",
    "BlockJacobi",
    "Jacobi",
    "Neighbour",
    "Preconditioner",
    "PreconditionerLike",
    "build",
]

PreconditionerLike: TypeAlias = Any


class Preconditioner(ABC):
    """An approximate inverse that is renewed as the operator changes; `name` marks its kind."""

    name: str

    @abstractmethod
    def apply(self, vector: Vector, out: Vector) -> None:
        """Write the approximate solution for `vector` into `out`; the two must differ."""

    @abstractmethod
    def update(self, operator: Operator, iterations: int | None = None) -> None:
        """Renew for `operator`; `iterations` is what the last solve took, or `None` at first."""


class Specification(ABC):
    """Options of one kind of preconditioner."""

    @abstractmethod
    def build(self, operator: Operator) -> Preconditioner:
        """The preconditioner for this operator."""


@dataclass(frozen=True)
class Jacobi(Specification):
    """The diagonal."""

    def build(self, operator: Operator) -> Preconditioner:
        """See `Specification.build`."""
        return _Jacobi(operator)


@dataclass(frozen=True)
class SOR(Specification):
    """`D / omega + L`, one forward sweep; not symmetric."""

    omega: float = 1.0

    def __post_init__(self) -> None:
        _check_omega(self.omega)

    def build(self, operator: Operator) -> Preconditioner:
        """See `Specification.build`."""
        return _Relaxation(operator, self.omega, symmetric=False)


@dataclass(frozen=True)
class SSOR(Specification):
    """A forward and a backward sweep; symmetric for a symmetric matrix."""

    omega: float = 1.0

    def __post_init__(self) -> None:
        _check_omega(self.omega)

    def build(self, operator: Operator) -> Preconditioner:
        """See `Specification.build`."""
        return _Relaxation(operator, self.omega, symmetric=True)


@dataclass(frozen=True)
class ILU(Specification):
    """Incomplete LU without fill; its analysis is kept over matrices of one pattern."""

    def build(self, operator: Operator) -> Preconditioner:
        """See `Specification.build`."""
        return _Incomplete(operator, positive=False)


@dataclass(frozen=True)
class IC(Specification):
    """Incomplete Cholesky without fill, as `L D L^T`, of the upper triangle; raises where a pivot is not positive.

    What stands below the diagonal is not read, as in PETSc's ICC: a matrix that is not symmetric gets a symmetric
    preconditioner.
    """

    def build(self, operator: Operator) -> Preconditioner:
        """See `Specification.build`."""
        return _Incomplete(operator, positive=True)


@dataclass(frozen=True)
class BlockJacobi(Specification):
    """Diagonal blocks over contiguous ranges of rows.

    Attributes:
        blocks: number of blocks. overlap: layers of neighbours added to each block, whose values are not handed back
            (restricted additive Schwarz; not symmetric). inner: `"lu"`, exact, or `"ilu"`, without fill.
    """

    blocks: int = 16
    overlap: int = 0
    inner: str = "lu"

    def __post_init__(self) -> None:
        if self.blocks < 1 or self.overlap < 0 or self.inner not in ("lu", "ilu"):
            raise ValueError(f"{self} is not usable: blocks >= 1, overlap >= 0, inner 'lu' or 'ilu'.")

    def build(self, operator: Operator) -> Preconditioner:
        """See `Specification.build`."""
        return _BlockJacobi(operator, self)


@dataclass(frozen=True)
class AMG(Specification):
    """One V-cycle of smoothed aggregation by PyAMG (extra `amg`)."""

    def build(self, operator: Operator) -> Preconditioner:
        """See `Specification.build`."""
        return _Multigrid(operator)


@dataclass(frozen=True)
class Neighbour(Specification):
    """The sparse factorisation of an earlier matrix of the chain, made anew once it is too far away.

    Attributes:
        most_iterations: factorise anew after a solve that took more. `None`: where its substitutions took more than
            half the time of a factorisation, as measured.
    """

    most_iterations: int | None = None

    def build(self, operator: Operator) -> Preconditioner:
        """See `Specification.build`."""
        return _Neighbour(operator, self.most_iterations)


_BY_NAME: dict[str, type[Specification]] = {
    "jacobi": Jacobi,
    "sor": SOR,
    "ssor": SSOR,
    "ilu": ILU,
    "ic": IC,
    "block_jacobi": BlockJacobi,
    "amg": AMG,
    "neighbour": Neighbour,
}


def build(source: PreconditionerLike, operator: Operator) -> Preconditioner | None:
    """The preconditioner that `source` means for this operator.

    Args:
        source: `None`, a name (`jacobi`, `sor`, `ssor`, `ilu`, `ic`, `block_jacobi`, `amg`, `neighbour`), a value of
            one of the classes here, or an approximate inverse: SciPy `LinearOperator` or function of a vector.

    Raises:
        ValueError: for an unknown name, a kind that needs the matrix of a matrix-free operator, or a wrong size.
        TypeError: for anything else.
    """
    if source is None:
        return None
    if isinstance(source, str):
        if source not in _BY_NAME:
            raise ValueError(f"preconditioner {source!r} is unknown; use one of {', '.join(_BY_NAME)}.")
        source = _BY_NAME[source]()
    if isinstance(source, Specification):
        if operator.matrix is None:
            kind = type(source).__name__
            raise ValueError(f"{kind} needs the matrix; a matrix-free operator takes a function as preconditioner.")
        return source.build(operator)
    if isinstance(source, spla.LinearOperator):
        if source.shape != (operator.size, operator.size):
            raise ValueError(f"the preconditioner has shape {source.shape}; the system has {operator.size} unknowns.")
        return _Given(source.matvec, operator.size)
    if callable(source):
        return _Given(source, operator.size)
    raise TypeError(f"{type(source).__name__} is no preconditioner; give a name, one of its classes or a function.")


def _check_omega(omega: float) -> None:
    if not 0 < omega < 2:
        raise ValueError(f"omega={omega:g} must lie between 0 and 2.")


def _matrix(operator: Operator) -> sp.csr_array:
    if operator.matrix is None:
        raise ValueError("this preconditioner needs the matrix, and the operator is matrix-free.")
    return operator.matrix


def _diagonal(matrix: sp.csr_array) -> Vector:
    diagonal = matrix.diagonal()
    if (diagonal == 0).any():
        row = int(np.nonzero(diagonal == 0)[0][0])
        raise ValueError(f"the diagonal entry of row {row} is zero; use ilu, block_jacobi or neighbour.")
    return diagonal


class _Given(Preconditioner):
    """What the user handed over; the same for every operator of the chain."""

    name = "given"

    def __init__(self, function: Any, size: int) -> None:
        self._function, self._size = function, size

    def apply(self, vector: Vector, out: Vector) -> None:
        result = np.asarray(self._function(vector))
        if result.shape != (self._size,):
            raise ValueError(f"the preconditioner returned shape {result.shape}; it must return ({self._size},).")
        out[...] = result

    def update(self, operator: Operator, iterations: int | None = None) -> None:
        """Nothing to renew."""


class _Jacobi(Preconditioner):
    name = "jacobi"

    def __init__(self, operator: Operator) -> None:
        self.update(operator)

    def update(self, operator: Operator, iterations: int | None = None) -> None:
        self._inverse = 1 / _diagonal(_matrix(operator))

    def apply(self, vector: Vector, out: Vector) -> None:
        np.multiply(vector, self._inverse, out=out)


class _Triangles(KeptPattern):
    """Where the two triangles of a pattern stand in it, diagonal included, so that they need not be sought again."""

    def __init__(self, matrix: sp.csr_array) -> None:
        super().__init__(matrix)
        row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        self._kept = {
            lower: np.nonzero(row >= matrix.indices if lower else row <= matrix.indices)[0] for lower in (True, False)
        }
        self._parts = {}
        for lower, kept in self._kept.items():
            starts = np.concatenate([[0], np.cumsum(np.bincount(row[kept], minlength=matrix.shape[0]))])
            on_diagonal = np.nonzero(row[kept] == matrix.indices[kept])[0]
            self._parts[lower] = (matrix.indices[kept], starts.astype(matrix.indptr.dtype), on_diagonal)

    def triangle(self, matrix: sp.csr_array, diagonal: Vector, *, lower: bool) -> sp.csr_array:
        """One triangle of the matrix with another diagonal."""
        indices, starts, on_diagonal = self._parts[lower]
        data = matrix.data[self._kept[lower]]
        data[on_diagonal] = diagonal
        return sp.csr_array((data, indices, starts), shape=self.shape)


class _Relaxation(Preconditioner):
    """SOR and SSOR: `M = D/w + L`, or `(D/w + L) (D/w)^-1 (D/w + U) / (2 - w)`."""

    def __init__(self, operator: Operator, omega: float, *, symmetric: bool) -> None:
        self.name = f"{'ssor' if symmetric else 'sor'}({omega:g})"
        self._omega, self._symmetric = omega, symmetric
        self._middle = np.zeros(operator.size, dtype=operator.dtype)
        self._pattern: _Triangles | None = None
        self.update(operator)

    def update(self, operator: Operator, iterations: int | None = None) -> None:
        matrix = _matrix(operator)
        diagonal = _diagonal(matrix)
        if self._pattern is None or not self._pattern.matches(matrix):
            self._pattern = _Triangles(matrix)
        self._lower = TriangularSolver(self._pattern.triangle(matrix, diagonal / self._omega, lower=True), lower=True)
        if self._symmetric:
            upper = self._pattern.triangle(matrix, diagonal / self._omega, lower=False)
            self._upper = TriangularSolver(upper, lower=False)
            self._scale = diagonal * ((2 - self._omega) / self._omega)

    def apply(self, vector: Vector, out: Vector) -> None:
        if not self._symmetric:
            self._lower.solve(vector, out)
            return
        self._lower.solve(vector, self._middle)
        self._middle *= self._scale
        self._upper.solve(self._middle, out)


class _Incomplete(Preconditioner):
    """Incomplete LU or Cholesky without fill."""

    def __init__(self, operator: Operator, *, positive: bool) -> None:
        self.name = "ic" if positive else "ilu"
        self._positive = positive
        self._upper_triangle: UpperTriangle | None = None
        self._pattern: ZeroFillPattern | None = None
        self._middle = np.zeros(operator.size, dtype=operator.dtype)
        self.update(operator)

    def update(self, operator: Operator, iterations: int | None = None) -> None:
        matrix = _matrix(operator)
        if self._positive:
            if self._upper_triangle is None or not self._upper_triangle.matches(matrix):
                self._upper_triangle = UpperTriangle(matrix)
            matrix = self._upper_triangle.mirrored(matrix)
        if self._pattern is None or not self._pattern.matches(matrix):
            self._pattern = ZeroFillPattern(matrix)
        lower, upper = self._pattern.factorize(matrix.data, positive=self._positive)
        self._lower, self._upper = TriangularSolver(lower, lower=True), TriangularSolver(upper, lower=False)

    def apply(self, vector: Vector, out: Vector) -> None:
        self._lower.solve(vector, self._middle)
        self._upper.solve(self._middle, out)


class _BlockJacobi(Preconditioner):
    """Block Jacobi and, with overlap, restricted additive Schwarz; all blocks are one block-diagonal matrix."""

    def __init__(self, operator: Operator, options: BlockJacobi) -> None:
        self.name = f"block_jacobi({options.blocks}, {options.overlap}, {options.inner})"
        self._options = options
        self._analysed: KeptPattern | None = None
        self.update(operator)

    def _analyse(self, matrix: sp.csr_array) -> None:
        """Choose the rows of each block, their order, and where in the matrix their entries stand."""
        rows, owned, block = self._choose_rows(matrix)
        numbers = sp.csr_array((np.arange(matrix.nnz), matrix.indices, matrix.indptr), shape=matrix.shape)
        parts = sp.coo_array(numbers[rows][:, rows] if self._options.overlap else numbers)
        inside = block[parts.row] == block[parts.col]
        entries, row, column = parts.data[inside], parts.row[inside], parts.col[inside]
        place = np.arange(len(rows))
        if self._options.inner == "lu":
            # The order is found once: SuperLU would find it anew for each matrix.
            blocks = sp.csc_array((matrix.data[entries], (row, column)), shape=parts.shape)
            place = _superlu(blocks, "MMD_AT_PLUS_A").perm_c
        kind = sp.csc_array if self._options.inner == "lu" else sp.csr_array
        self._blocks = kind((entries, (place[row], place[column])), shape=parts.shape)
        self._blocks.sort_indices()
        self._gather, self._scatter = rows[np.argsort(place)], place[owned]
        if self._options.inner == "ilu":
            self._pattern = ZeroFillPattern(self._blocks)
            self._middle, self._result = (np.zeros(len(rows), dtype=matrix.dtype) for _ in range(2))
        self._analysed = KeptPattern(matrix)

    def _choose_rows(self, matrix: sp.csr_array) -> tuple[Vector, Vector, Vector]:
        """Rows of each block, its neighbours included, whether it owns them, and the number of the block."""
        size, options = matrix.shape[0], self._options
        pattern = sp.csr_array((np.ones(matrix.nnz, dtype=np.int8), matrix.indices, matrix.indptr), shape=matrix.shape)
        rows, owned, blocks = [], [], []
        for block, own in enumerate(np.array_split(np.arange(size), min(options.blocks, size))):
            inside = np.zeros(size, dtype=bool)
            inside[own] = True
            for _ in range(options.overlap):
                inside[pattern[np.nonzero(inside)[0]].indices] = True
            members = np.nonzero(inside)[0]
            rows.append(members)
            owned.append((members >= own[0]) & (members <= own[-1]))
            blocks.append(np.full(len(members), block))
        return np.concatenate(rows), np.concatenate(owned), np.concatenate(blocks)

    def update(self, operator: Operator, iterations: int | None = None) -> None:
        matrix = _matrix(operator)
        if self._analysed is None or not self._analysed.matches(matrix):
            self._analyse(matrix)
        values = matrix.data[self._blocks.data]
        if self._options.inner == "lu":
            blocks = sp.csc_array((values, self._blocks.indices, self._blocks.indptr), shape=self._blocks.shape)
            self._lu = _superlu(blocks, "NATURAL")
            return
        lower, upper = self._pattern.factorize(values, positive=False)
        self._lower, self._upper = TriangularSolver(lower, lower=True), TriangularSolver(upper, lower=False)

    def apply(self, vector: Vector, out: Vector) -> None:
        gathered = vector[self._gather]
        if self._options.inner == "lu":
            result = self._lu.solve(gathered)
        else:
            self._lower.solve(gathered, self._middle)
            self._upper.solve(self._middle, self._result)
            result = self._result
        np.take(result, self._scatter, out=out)


class _Multigrid(Preconditioner):
    name = "amg"

    def __init__(self, operator: Operator) -> None:
        if not pyamg_is_available():
            raise ValueError("preconditioner 'amg' needs pyamg; install equipoise[amg].")
        self.update(operator)

    def update(self, operator: Operator, iterations: int | None = None) -> None:
        import pyamg

        hierarchy = pyamg.smoothed_aggregation_solver(sp.csr_matrix(_matrix(operator)))
        self._cycle = hierarchy.aspreconditioner(cycle="V")

    def apply(self, vector: Vector, out: Vector) -> None:
        out[...] = self._cycle.matvec(vector)


class _Neighbour(Preconditioner):
    name = "neighbour"

    def __init__(self, operator: Operator, most_iterations: int | None) -> None:
        self._most = most_iterations
        self.factorizations = 0
        self._direct: DirectSolver | None = None
        self._factorize(operator)

    def _factorize(self, operator: Operator) -> None:
        began = time.perf_counter()
        if self._direct is None:
            self._direct = DirectSolver(operator, backend="auto", structure="auto")
        else:
            self._direct.update(operator)
        self._factor_seconds, self._solve_seconds = time.perf_counter() - began, 0.0
        self.factorizations += 1

    def update(self, operator: Operator, iterations: int | None = None) -> None:
        if iterations is None:
            return
        far = self._solve_seconds > 0.5 * self._factor_seconds if self._most is None else iterations > self._most
        self._solve_seconds = 0.0
        if far:
            self._factorize(operator)

    def apply(self, vector: Vector, out: Vector) -> None:
        began = time.perf_counter()
        assert self._direct is not None
        out[...] = self._direct.solve(vector)
        self._solve_seconds += time.perf_counter() - began


def _superlu(matrix: sp.csc_array, order: str) -> spla.SuperLU:
    """SuperLU in an order that suits the matrices of grids and meshes, whose pivots stand on the diagonal mostly."""
    try:
        return spla.splu(matrix, permc_spec=order, diag_pivot_thresh=0.1, options={"SymmetricMode": True})
    except RuntimeError as error:
        raise ConvergenceError(
            f"a block of the preconditioner is singular ({error}); use another preconditioner."
        ) from error
