"""What one iterative solve of one right-hand side hands to the common face of the linear solvers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from equipoise.solvers.linear.operators import Operator, Vector
from equipoise.solvers.solution import Result

__all__ = ["Callback", "Outcome", "Task", "begun", "run_to_target", "true_residual"]

Callback: TypeAlias = Callable[[float], object]


@dataclass(frozen=True)
class Task:
    """One right-hand side and when to stop.

    Attributes:
        rhs: `(N,)`.
        x0: initial guess, `(N,)`.
        target: bound on the 2-norm of the residual.
        scale: norm of `rhs`, by which reported residuals are divided; positive.
        maxiter: largest number of iterations.
        callback: called with the relative residual after each iteration, or `None`.
    """

    rhs: Vector
    x0: Vector
    target: float
    scale: float
    maxiter: int
    callback: Callback | None = None


@dataclass
class Outcome:
    """How far the solve of a `Task` came.

    Attributes:
        x: the iterate reached, `(N,)`.
        result: how it ended.
        iterations: iterations made.
        history: relative residual norms, the initial one first.
        residual: relative norm of the true residual `b - A x`.
        note: the diagnostic behind a failure, one clause, or empty.
    """

    x: Vector
    result: Result = Result.MAX_ITERATIONS
    iterations: int = 0
    history: list[float] = field(default_factory=list)
    residual: float = float("inf")
    note: str = ""

    def record(self, task: Task, norm: float) -> None:
        """Enter the residual norm after one iteration."""
        self.iterations += 1
        self.history.append(norm / task.scale)
        if task.callback is not None:
            task.callback(norm / task.scale)


def begun(operator: Operator, task: Task, residual: Vector) -> Outcome:
    """The outcome before the first iteration, converged where the guess is good enough; writes `b - A x0`, `(N,)`."""
    outcome = Outcome(task.x0.copy())
    norm = true_residual(operator, task, outcome, residual)
    outcome.history.append(outcome.residual)
    if norm <= task.target:
        outcome.result = Result.CONVERGED
    return outcome


def true_residual(operator: Operator, task: Task, outcome: Outcome, residual: Vector) -> float:
    """Write `b - A x` into `residual`, `(N,)`; its norm, which is entered into the outcome."""
    if outcome.x.any():
        operator.apply(outcome.x, residual)
        np.subtract(task.rhs, residual, out=residual)
    else:
        residual[:] = task.rhs
    norm = float(np.linalg.norm(residual))
    outcome.residual = norm / task.scale
    return norm


def run_to_target(
    run: Callable[[int], None], limit: int, operator: Operator, task: Task, outcome: Outcome, residual: Vector
) -> Result:
    """Run a recursion again from where it ended until the true residual is small enough; how that ended.

    Args:
        run: iterates until the residual of its recursion is; called with `limit`, and with 0 from the second time on.
        residual: `b - A x` on entry and at the end, `(N,)`. Three runs that do not halve it are stagnation.
    """
    norm, idle = outcome.residual * task.scale, 0
    while outcome.result is Result.MAX_ITERATIONS and outcome.iterations < task.maxiter:
        before = norm
        run(limit)
        limit = 0
        norm = true_residual(operator, task, outcome, residual)
        outcome.history[-1] = norm / task.scale
        if not np.isfinite(norm):
            outcome.result, outcome.note = Result.NON_FINITE_OUTPUT, "the residual became not finite"
        elif norm <= task.target:
            outcome.result = Result.CONVERGED
        elif outcome.result is Result.MAX_ITERATIONS and norm > 0.5 * before:
            idle += 1
            if idle == 3:
                outcome.result = Result.STAGNATION
                outcome.note = f"restarts left the true residual at {norm / task.scale:.1e}"
    return outcome.result
