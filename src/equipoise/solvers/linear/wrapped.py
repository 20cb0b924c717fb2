"""MINRES, BiCGStab and flexible GMRES from SciPy and PyAMG, held to the true residual like every other method.

These libraries stop on estimates of their own, and MINRES on another norm; here each is run again on what is left
until `b - A x` itself is small enough. Products made only to record the history are not counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse.linalg as spla

from equipoise.solvers.linear.operators import Applied, Operator, Vector
from equipoise.solvers.linear.outcome import Outcome, Task
from equipoise.solvers.linear.triangular import pyamg_is_available
from equipoise.solvers.solution import Result

__all__ = ["KINDS", "Wrapped"]

KINDS = ("minres", "bicgstab", "fgmres")


class _Enough(Exception):
    """Raised inside a library's callback once the true residual is small enough or the iterations are used up."""


class Wrapped:
    """One of `KINDS`.

    Raises:
        ValueError: for `fgmres` where PyAMG is missing.
    """

    def __init__(self, kind: str, *, restart: int) -> None:
        if kind == "fgmres" and not pyamg_is_available():
            raise ValueError("flexible GMRES needs pyamg; install equipoise[amg].")
        self._kind, self._restart = kind, restart

    def invalidate(self) -> None:
        """Nothing is kept between systems."""

    def solve(self, operator: Operator, preconditioner: Applied | None, task: Task) -> Outcome:
        """Solve one system."""
        outcome = Outcome(task.x0.copy())
        residual = task.rhs - _product(operator, outcome.x) if outcome.x.any() else task.rhs
        norm = float(np.linalg.norm(residual))
        outcome.history.append(norm / task.scale)
        aim, attempts = task.target, 0
        while norm > task.target and outcome.iterations < task.maxiter and attempts < 3:
            before, steps = norm, outcome.iterations
            correction = self._run(operator, preconditioner, task, outcome, residual, aim / norm)
            outcome.x += correction
            residual = task.rhs - _product(operator, outcome.x)
            norm = float(np.linalg.norm(residual))
            if not np.isfinite(norm):
                outcome.result, outcome.note = Result.NON_FINITE_OUTPUT, "the residual became not finite"
                return outcome
            outcome.history[-1] = norm / task.scale
            idle = norm > 0.9 * before or outcome.iterations == steps
            attempts = attempts + 1 if idle else 0
            aim = 0.1 * aim if idle else task.target
        outcome.residual = norm / task.scale
        if norm <= task.target:
            outcome.result = Result.CONVERGED
        elif attempts == 3:
            outcome.result = Result.STAGNATION
            outcome.note = f"three runs of {self._kind} left the true residual at {outcome.residual:.1e}"
        return outcome

    def _run(
        self,
        operator: Operator,
        preconditioner: Applied | None,
        task: Task,
        outcome: Outcome,
        rhs: Vector,
        tolerance: float,
    ) -> Vector:
        """A correction for the right-hand side `rhs`; iterations and residuals are entered into `outcome`."""
        size, dtype = operator.size, operator.dtype
        shape = (size, size)
        a = spla.LinearOperator(shape, matvec=lambda v: _product(operator, v), dtype=dtype)
        m = None
        if preconditioner is not None:
            m = spla.LinearOperator(shape, matvec=lambda v: _applied(preconditioner, v), dtype=dtype)
        left = task.maxiter - outcome.iterations
        latest = [np.zeros_like(rhs)]

        def observe(x: Vector) -> None:
            before = operator.products
            norm = float(np.linalg.norm(rhs - _product(operator, x)))
            operator.products = before
            latest[0] = x.copy()
            outcome.record(task, norm)
            if norm <= task.target or outcome.iterations >= task.maxiter:
                raise _Enough

        try:
            # The observer stops at the true residual, so that the library's own test need only not come first.
            return self._call(a, rhs, m, max(1e-3 * tolerance, 1e-15), left, observe)
        except _Enough:
            return latest[0]

    def _call(
        self, a: Any, rhs: Vector, m: Any, tolerance: float, left: int, observe: Callable[[Vector], None]
    ) -> Vector:
        if self._kind == "minres":
            # Its test compares with |A| |x| and would end it early; a correction goes down to round-off instead.
            return spla.minres(a, rhs, rtol=1e-15, maxiter=left, M=m, callback=observe)[0]
        if self._kind == "bicgstab":
            return spla.bicgstab(a, rhs, rtol=tolerance, atol=0.0, maxiter=left, M=m, callback=observe)[0]
        from pyamg.krylov import fgmres

        cycles = max(1, -(-left // self._restart))
        return fgmres(a, rhs, tol=tolerance, restart=self._restart, maxiter=cycles, M=m, callback=observe)[0]


def _product(operator: Operator, vector: Vector) -> Vector:
    out = np.empty(operator.size, dtype=operator.dtype)
    operator.apply(np.ascontiguousarray(vector, dtype=operator.dtype), out)
    return out


def _applied(preconditioner: Applied, vector: Vector) -> Vector:
    out = np.empty_like(vector)
    preconditioner.apply(np.ascontiguousarray(vector), out)
    return out
