"""What every iterative solver of Equipoise returns: a value, a result per sample, counts and a residual history.

The sentence that a user reads for each way a solve can end stands in one table here.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

import torch

from equipoise.errors import ConvergenceError

__all__ = ["Result", "Solution", "raise_unless_converged"]


class Result(enum.IntEnum):
    """How a solve of one sample ended."""

    CONVERGED = 0
    MAX_ITERATIONS = 1
    STAGNATION = 2
    BREAKDOWN = 3
    DIVERGED = 4
    NON_FINITE_INPUT = 5
    NON_FINITE_OUTPUT = 6


ADVICE: dict[Result, str] = {
    Result.CONVERGED: "converged",
    Result.MAX_ITERATIONS: "the iteration limit was reached; start closer to the solution, or allow more iterations",
    Result.STAGNATION: "the residual stopped falling; the tolerance may lie below round-off",
    Result.BREAKDOWN: "the linear system broke down; the operator may be singular or not positive definite",
    Result.DIVERGED: "the residual grew without bound; take smaller load steps",
    Result.NON_FINITE_INPUT: "the input holds a value that is not finite",
    Result.NON_FINITE_OUTPUT: "the iterate became not finite; take smaller load steps",
}


@dataclass(frozen=True)
class Solution:
    """Value of a batched solve and how it ended.

    Attributes:
        value: the iterate reached, `(n, N)`.
        result: one `Result` per sample, `(n,)` integers.
        iterations: iterations per sample, `(n,)`.
        residual: last relative residual per sample, `(n,)`.
        history: relative residuals, one tensor `(n,)` per iteration; samples that were finished keep their last value.
        state: whatever the solver can use again (factorisations, recycled spaces), or `None`.
        products: matrix-vector products per sample, `(n,)`, or `None` where they are not counted.
        notes: the diagnostic behind each failure, one per sample and empty where there is none, or no entries at all.
    """

    value: torch.Tensor
    result: torch.Tensor
    iterations: torch.Tensor
    residual: torch.Tensor
    history: tuple[torch.Tensor, ...] = ()
    state: Any = field(default=None, repr=False)
    products: torch.Tensor | None = None
    notes: tuple[str, ...] = ()

    @property
    def converged(self) -> torch.Tensor:
        """Whether each sample converged, `(n,)` booleans."""
        return self.result == Result.CONVERGED


def raise_unless_converged(solution: Solution, what: str) -> None:
    """Raise `ConvergenceError` naming the failing samples, their residuals and the likely cause.

    Args:
        solution: the solution to check.
        what: what was being solved, for the message, such as `"unit cell"`.
    """
    failed = torch.nonzero(~solution.converged).flatten().tolist()
    if not failed:
        return
    shown = ", ".join(f"{i} (relative residual {float(solution.residual[i]):.1e})" for i in failed[:5])
    more = f" and {len(failed) - 5} more" if len(failed) > 5 else ""
    cause = ADVICE[Result(int(solution.result[failed[0]]))]
    note = f" ({solution.notes[failed[0]]})" if solution.notes and solution.notes[failed[0]] else ""
    error = ConvergenceError(
        f"{what}: {len(failed)} of {len(solution.result)} samples failed: {shown}{more}; {cause}{note}."
    )
    error.solution = solution
    raise error
