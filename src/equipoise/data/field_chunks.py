"""What a worker does: draw the samples of a chunk by their numbers and solve them, keeping those that can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from equipoise.data.linear_chains import Chain, make_recipe
from equipoise.errors import ConvergenceError
from equipoise.problems.linear_problem import LinearProblem
from equipoise.problems.problem import Problem
from equipoise.problems.registry import make_problem

__all__ = ["DTYPES", "FieldSolver", "draw_inputs"]

DTYPES = {"float32": np.float32, "float64": np.float64}


def draw_inputs(problem: Problem, numbers: Sequence[int] | NDArray[np.int64], *, seed: int) -> torch.Tensor:
    """Inputs of the samples with these numbers, each from a generator of its own."""
    drawn = []
    for number in numbers:
        state = int(np.random.SeedSequence([seed, int(number)]).generate_state(1, np.uint64)[0] >> np.uint64(1))
        drawn.append(problem.sample(1, torch.Generator().manual_seed(state)))
    return torch.cat(drawn)


class FieldSolver:
    """Draws and solves the samples of a chunk; light on its way to a worker, where the family is built once.

    Args:
        family, options: see `make_problem`. seed: of all samples. dtype: of what is handed back.
        solver, tolerance: see `linear_chains`, for linear families; `None` for others.
    """

    def __init__(
        self,
        family: str,
        options: Mapping[str, Any],
        seed: int,
        dtype: str,
        solver: str | None = None,
        tolerance: float | None = None,
    ) -> None:
        self._family, self._options, self._seed, self._dtype = family, dict(options), seed, dtype
        self._solver, self._tolerance = solver, tolerance
        self._problem: Problem | None = None
        self._chain: Chain | None = None

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__, _problem=None, _chain=None)

    def __call__(self, numbers: NDArray[np.int64]) -> dict[str, Any]:
        """Arrays `numbers`, `inputs` and `outputs` of what was solved, numbers of what `failed`, and `notes` on it."""
        if self._problem is None:
            self._problem = make_problem(self._family, **self._options)
        inputs = draw_inputs(self._problem, numbers, seed=self._seed)
        outputs, notes = self._solve(self._problem, inputs)
        for row in np.nonzero(~np.isfinite(outputs).reshape(len(outputs), -1).all(axis=1))[0]:
            notes.setdefault(int(row), "the solution is not finite")
        kept = np.array([row not in notes for row in range(len(numbers))], dtype=bool)
        kind = DTYPES[self._dtype]
        rows = slice(None) if kept.all() else kept
        return {
            "numbers": numbers[rows],
            "inputs": inputs.numpy()[rows].astype(kind),
            "outputs": outputs[rows].astype(kind),
            "failed": numbers[~kept],
            "notes": [notes[row] for row in sorted(notes)],
        }

    def _solve(self, problem: Problem, inputs: torch.Tensor) -> tuple[NDArray[np.float64], dict[int, str]]:
        if self._solver is not None and isinstance(problem, LinearProblem):
            if self._chain is None:
                self._chain = Chain(problem, make_recipe(self._solver, problem), self._tolerance)
            solved = self._chain(inputs)
            return solved.outputs, solved.failures
        try:
            return problem.solve(inputs).numpy(), {}
        except ConvergenceError:
            return _one_by_one(problem, inputs)


def _one_by_one(problem: Problem, inputs: torch.Tensor) -> tuple[NDArray[np.float64], dict[int, str]]:
    """Find the samples that fail a batch."""
    shape = (len(problem.output_names), *problem.grid.shape)
    outputs, notes = np.full((len(inputs), *shape), np.nan), {}
    for row in range(len(inputs)):
        try:
            outputs[row] = problem.solve(inputs[row : row + 1])[0].numpy()
        except ConvergenceError as error:
            notes[row] = str(error)
    return outputs, notes
