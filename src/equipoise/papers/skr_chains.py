"""Chains of linear systems run by one method each, with what they took: by our solvers, and by SciPy's GCROT(m, k)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse.linalg as spla
from numpy.typing import NDArray

from equipoise.errors import ConvergenceError
from equipoise.problems.linear_problem import System
from equipoise.solvers.linear import Direct, as_operator, prepare, solve, update
from equipoise.solvers.linear.preconditioners import build

__all__ = ["Chain", "gcrotmk", "run_chain"]

Array: TypeAlias = NDArray[Any]


@dataclass
class Chain:
    """What each system of a chain took.

    Attributes:
        seconds, iterations, products: one entry per system, matrix products that carry a space over included; SciPy's
            solver tells no iterations, and a direct one has none.
        converged: whether the true residual met the tolerance. answers: solutions.
    """

    seconds: list[float] = field(default_factory=list)
    iterations: list[int] = field(default_factory=list)
    products: list[int] = field(default_factory=list)
    converged: list[bool] = field(default_factory=list)
    answers: list[Array] = field(default_factory=list)

    def total(self) -> float:
        """Seconds of the whole chain."""
        return sum(self.seconds)

    def summary(self, *, after: int = 0) -> dict[str, float | int]:
        """Means over the systems from number `after` on, as plain values."""
        rows: dict[str, Sequence[float]] = {
            "seconds": self.seconds,
            "iterations": self.iterations,
            "products": self.products,
        }
        means = {name: float(np.mean(values[after:])) for name, values in rows.items() if values[after:]}
        return {**means, "systems": len(self.seconds), "unconverged": self.converged.count(False)}


def run_chain(
    systems: Sequence[System],
    method: Any,
    preconditioner: Any = None,
    *,
    rtol: float,
    fresh: bool = False,
    maxiter: int = 10_000,
) -> Chain | None:
    """Solve the systems one after the other by a method of `solvers.linear`.

    Args:
        fresh: whether each system begins with nothing from the one before.

    Returns:
        `None` where the method or its preconditioner cannot be had for these matrices.
    """
    chain, state = Chain(), None
    for matrix, rhs in systems:
        began = time.perf_counter()
        try:
            if state is None or fresh:
                state = prepare(matrix, preconditioner, method=method)
            else:
                update(state, matrix)
        except (ValueError, ConvergenceError):
            return None
        found = solve(state, rhs, rtol=rtol, maxiter=maxiter, throw=False)
        chain.seconds.append(time.perf_counter() - began)
        if not isinstance(method, Direct):
            chain.iterations.append(int(found.iterations[0]))
            chain.products.append(int(found.products.sum()) if found.products is not None else 0)
        _judge(chain, found.value.numpy(), matrix, rhs, rtol)
    return chain


def gcrotmk(
    systems: Sequence[System], preconditioner: Any, *, rtol: float, m: int = 20, k: int = 20, cycles: int = 500
) -> Chain | None:
    """The same by `scipy.sparse.linalg.gcrotmk`, its outer vectors carried, with our preconditioner and product.

    Its cycles take m products each, so that it stops where ours do.
    """
    chain, outer = Chain(), list[Any]()
    built = before = None
    for matrix, rhs in systems:
        began = time.perf_counter()
        operator = as_operator(matrix)
        inverse = None
        if preconditioner is not None:
            try:
                if built is None:
                    built = build(preconditioner, operator)
                else:
                    built.update(operator)
            except (ValueError, ConvergenceError):
                return None
            inverse = spla.LinearOperator(matrix.shape, matvec=lambda v, m=built: _product(m, v), dtype=rhs.dtype)
        a = spla.LinearOperator(matrix.shape, matvec=lambda v, m=operator: _product(m, v), dtype=rhs.dtype)
        x, _ = spla.gcrotmk(
            a, rhs, M=inverse, m=m, k=k, CU=outer, discard_C=matrix is not before, rtol=rtol, maxiter=cycles
        )
        before = matrix
        chain.seconds.append(time.perf_counter() - began)
        chain.products.append(operator.products)
        _judge(chain, x, matrix, rhs, rtol)
    return chain


def _product(applied: Any, vector: Array) -> Array:
    out = np.empty_like(vector)
    applied.apply(np.ascontiguousarray(vector), out)
    return out


def _judge(chain: Chain, x: Array, matrix: Any, rhs: Array, rtol: float) -> None:
    chain.answers.append(x)
    chain.converged.append(bool(np.linalg.norm(rhs - matrix @ x) <= 1.01 * rtol * np.linalg.norm(rhs)))
