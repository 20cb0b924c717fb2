"""GCRO-DR's time per iteration against what it cannot do without, at 10^5 unknowns and in one process.

What it cannot do without: one preconditioned matrix-vector product, and the flops of the orthogonalisation at the speed
that BLAS reaches here on blocks of the same shape. The end of a cycle (recycle space, true residual) stands beside.

    python benchmarks/krylov.py [--side 316] [--restart 40] [--recycle 20] [--preconditioner ssor] [--cycles 6]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spla
from environment import describe_environment
from scipy.linalg.blas import dgemv

from equipoise.solvers.linear.gcrodr import GcroDr
from equipoise.solvers.linear.operators import as_operator
from equipoise.solvers.linear.outcome import Task
from equipoise.solvers.linear.preconditioners import Preconditioner, build


def matrix_of(side: int) -> sp.csr_array:
    """Convection-diffusion on a grid with a rough coefficient."""
    generator = np.random.default_rng(0)
    line = sp.diags_array([-1.4 * np.ones(side - 1), 2 * np.ones(side), -0.6 * np.ones(side - 1)], offsets=[-1, 0, 1])
    laplace = sp.kron(line, sp.eye_array(side)) + sp.kron(sp.eye_array(side), line)
    return sp.csr_array(sp.diags_array(generator.uniform(0.5, 2.0, size=side * side)) @ laplace)


def fastest(work: Callable[[], object], repeats: int = 15) -> float:
    """Median time of one call, in ms."""
    work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return 1e3 * statistics.median(times)


def blas_speed(size: int, first: int, last: int) -> float:
    """Flops per ms of Gram-Schmidt passes on blocks that grow from `first` to `last` columns, as in a cycle."""
    block = np.asfortranarray(np.random.default_rng(0).normal(size=(size, last)))
    vector = np.random.default_rng(1).normal(size=size)
    widths = range(max(first, 1), last + 1)
    overlaps = [np.zeros(columns) for columns in widths]

    def passes() -> None:
        for columns, overlap in zip(widths, overlaps, strict=True):
            dgemv(1.0, block[:, :columns], vector, beta=0.0, y=overlap, trans=1, overwrite_y=1)
            dgemv(-1e-9, block[:, :columns], overlap, beta=1.0, y=vector, overwrite_y=1)

    return 4 * size * sum(widths) / fastest(passes, 7)


class Measured(GcroDr):
    """GCRO-DR that times its inner loop and counts the passes of orthogonalisation."""

    inner_seconds = 0.0
    columns = 0

    def _arnoldi(self, *arguments: object) -> None:
        began = time.perf_counter()
        super()._arnoldi(*arguments)  # type: ignore[arg-type]
        self.inner_seconds += time.perf_counter() - began

    def count_columns(self) -> None:
        """Count the columns of the blocks that the orthogonalisation multiplies with, both products of a pass once."""
        plain = self._gemv
        size = self.size

        def counted(alpha: float, block: np.ndarray, vector: np.ndarray, **options: object) -> np.ndarray:
            if options.get("trans") == 2 and "y" in options and block.shape[0] == size:
                self.columns += block.shape[1]
            return plain(alpha, block, vector, **options)

        self._gemv = counted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=316)
    parser.add_argument("--restart", type=int, default=40)
    parser.add_argument("--recycle", type=int, default=20)
    parser.add_argument("--preconditioner", default="ssor")
    parser.add_argument("--cycles", type=int, default=6)
    arguments = parser.parse_args()
    matrix = matrix_of(arguments.side)
    size, m, k = matrix.shape[0], arguments.restart, arguments.recycle
    operator = as_operator(matrix)
    preconditioner = None if arguments.preconditioner == "none" else build(arguments.preconditioner, operator)
    rhs = np.random.default_rng(1).normal(size=size)
    norm = float(np.linalg.norm(rhs))
    middle, out = np.empty(size), np.empty(size)

    def one_product() -> None:
        if preconditioner is not None:
            preconditioner.apply(rhs, middle)
        operator.apply(middle if preconditioner is not None else rhs, out)

    steps = m + arguments.cycles * (m - k)
    print(describe_environment("pyamg"))
    print(f"{size} unknowns, GCRO-DR({m}, {k}), preconditioner {arguments.preconditioner}, {steps} iterations")
    ratios, wholes, rows = [], [], []
    for _ in range(3):
        product = fastest(one_product)
        speed = blas_speed(size, k + 1, m)
        engine = Measured(size, np.float64, restart=m, recycle=k)
        engine.count_columns()
        task = Task(rhs, np.zeros(size), 1e-14 * norm, norm, steps)
        began = time.perf_counter()
        outcome = engine.solve(operator, preconditioner, task)
        whole = 1e3 * (time.perf_counter() - began) / outcome.iterations
        inner = 1e3 * engine.inner_seconds / outcome.iterations
        orthogonalisation = 4 * size * engine.columns / outcome.iterations / speed
        ratios.append(inner / (product + orthogonalisation))
        wholes.append(whole / (product + orthogonalisation))
        rows.append((product, orthogonalisation, inner, whole, speed / 1e6, engine.columns / outcome.iterations))
    names = ("product", "orthogonalisation", "inner loop", "with cycle ends", "BLAS GF/s", "columns")
    for name, values in zip(names, zip(*rows, strict=True), strict=True):
        print(f"{name:20s} {statistics.median(values):10.3f}" + (" ms an iteration" if name[0] not in "Bc" else ""))
    print(f"inner loop against product plus orthogonalisation: {statistics.median(ratios):.3f} (bar 1.3)")
    print(f"cycle ends included:                               {statistics.median(wholes):.3f}")
    began = time.perf_counter()
    applied = None
    if preconditioner is not None:
        applied = spla.LinearOperator(matrix.shape, matvec=lambda v: _applied(preconditioner, v), dtype=float)
    spla.gmres(matrix, rhs, restart=m, maxiter=2, rtol=1e-14, M=applied)
    print(f"SciPy's gmres({m}): {1e3 * (time.perf_counter() - began) / (2 * m):.3f} ms an iteration")
    began = time.perf_counter()
    spla.gcrotmk(matrix, rhs, m=m - k, k=max(k, 1), maxiter=4, rtol=1e-14, M=applied)
    print(f"SciPy's gcrotmk({m - k}, {k}): {1e3 * (time.perf_counter() - began) / (4 * (m - k)):.3f} ms an iteration")


def _applied(preconditioner: Preconditioner, vector: np.ndarray) -> np.ndarray:
    out = np.empty_like(vector)
    preconditioner.apply(vector, out)
    return out


if __name__ == "__main__":
    main()
