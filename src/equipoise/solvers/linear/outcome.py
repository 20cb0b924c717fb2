"""What one iterative solve of one right-hand side hands to the common face of the linear solvers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from equipoise.solvers.linear.operators import Vector
from equipoise.solvers.solution import Result

__all__ = ["Callback", "Outcome", "Task"]

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
