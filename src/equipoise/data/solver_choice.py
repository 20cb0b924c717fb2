"""Which solver suits a linear family: candidates are timed on a first batch of its systems, and the fastest is kept.

The answer depends on the machine and on what is installed, so it is noted with its timings in the file that it makes.
How a chunk is then solved is in `linear_chains.py`.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from equipoise.data.linear_chains import ITERATIVE_TOLERANCE, SOLVERS, Chain, Recipe, check_tolerance, make_recipe
from equipoise.data.sorting import sort_inputs
from equipoise.errors import ConvergenceError
from equipoise.problems.linear_problem import LinearProblem
from equipoise.solvers.linear import pardiso_is_available

__all__ = ["TRIAL", "SolverChoice", "choose_solver"]

TRIAL = 12
"""Samples of the first batch."""

_WORTH_SECONDS = 1.0
_TRIAL_SECONDS = 10.0
# No chain has been seen to become more than this many times faster by what it learns.
_LEARNED = 4
# Of the time of all samples, after which no further candidate is tried.
_SHARE = 0.05


@dataclass(frozen=True)
class SolverChoice:
    """A solver and how it was chosen; `str` is one line for the user.

    Attributes:
        solver: name in `SOLVERS`. asked: the same, or `"auto"`. tolerance: relative residual; `None` is round-off.
        recipe: the solver in words. learns: whether it hands something over from neighbour to neighbour.
        timings: median seconds of one system, by solver, one thread. left_out: why others were not timed or kept.
        seconds: that the trial took.
    """

    solver: str
    asked: str
    tolerance: float | None
    recipe: str
    learns: bool = False
    timings: Mapping[str, float] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def __str__(self) -> str:
        if self.asked != "auto":
            return f"solver {self.recipe}, {self._accuracy}"
        words = ", ".join(
            f"{name} {1e3 * seconds:.3g}" for name, seconds in sorted(self.timings.items(), key=lambda item: item[1])
        )
        grouped: dict[str, list[str]] = {}
        for name, reason in self.left_out.items():
            grouped.setdefault(reason.rstrip("."), []).append(name)
        reasons = "".join(f"; without {', '.join(names)}: {reason}" for reason, names in grouped.items())
        return f"solver auto: {self.recipe}, {self._accuracy}; ms a system: {words}{reasons}"

    @property
    def _accuracy(self) -> str:
        return "to round-off" if self.tolerance is None else f"tolerance {self.tolerance:g}"

    def document(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**vars(self), "timings": dict(self.timings), "left_out": dict(self.left_out)}

    @classmethod
    def from_document(cls, values: Mapping[str, Any]) -> SolverChoice:
        """The choice that `document` described."""
        return cls(**values)


def choose_solver(
    problem: LinearProblem, inputs: torch.Tensor, *, asked: str, tolerance: float | None, count: int, workers: int = 1
) -> SolverChoice:
    """The solver asked for, or the fastest on a first batch.

    Candidates are given up once they are clearly slower than the best so far, and no more are tried once trials have
    taken a twentieth of what all samples take and the time of 12 systems, or where all take less than a second.

    Args:
        problem: the family. inputs: the first batch, `(n, inputs, *grid)`; `TRIAL` samples are enough.
        asked: `"auto"` or a name in `SOLVERS`. tolerance: relative residual, or `None`. count: samples in all.
        workers: among which these are shared out.

    Raises:
        ValueError: for an unknown or unusable solver, or a tolerance out of range.
        ConvergenceError: where no candidate solves the first batch.
    """
    check_tolerance(tolerance)
    if asked != "auto":
        recipe = make_recipe(asked, problem)
        return SolverChoice(asked, asked, _tolerance(recipe, tolerance), _words(recipe), recipe.learns)
    began = time.perf_counter()
    inputs = inputs[torch.as_tensor(sort_inputs(problem.features(inputs)).order)]
    size, dim = len(problem.assemble(inputs[0])[1]), problem.grid.dim
    recipes: dict[str, Recipe] = {}
    timings: dict[str, float] = {}
    left_out: dict[str, str] = {}
    failed: dict[str, tuple[int, str]] = {}
    for name in SOLVERS if dim < 3 else ("spectral", "amg", "skr", "gmres", "reuse", "direct"):
        best = min(timings.values(), default=math.inf)
        if best * count < _WORTH_SECONDS:
            left_out[name] = f"all samples take {best * count:.1g} s as it is"
            continue
        if time.perf_counter() - began > max(_SHARE * count / workers, TRIAL) * best:
            left_out[name] = "not timed, as trials had taken their share"
            continue
        reason = _hopeless(size, dim, best) if name in ("direct", "reuse") else None
        if reason is None:
            try:
                recipes[name] = make_recipe(name, problem)
                chain = Chain(problem, recipes[name], tolerance)
                systems = max(3, min(TRIAL, count // 25)) if recipes[name].learns else max(2, min(6, count // 50))
                timings[name], failed[name] = _tried(chain, inputs[:systems], best)
            except (ValueError, ConvergenceError, MemoryError) as error:
                reason = str(error)
        if reason is not None:
            left_out[name] = reason
    # A sample that nobody solves is no reason against anybody.
    fewest = min((count for count, _ in failed.values()), default=0)
    for name in [name for name in timings if failed[name][0] > fewest]:
        del timings[name]
        left_out[name] = f"{failed[name][0]} of the first samples failed ({failed[name][1].rstrip('.')})"
    if not timings:
        reasons = "; ".join(f"{name}: {reason.rstrip('.')}" for name, reason in left_out.items())
        raise ConvergenceError(f"no solver manages the first samples of {problem.name}: {reasons}.")
    name = min(timings, key=lambda candidate: timings[candidate])
    recipe = recipes[name]
    seconds = time.perf_counter() - began
    tolerance, words = _tolerance(recipe, tolerance), _words(recipe)
    return SolverChoice(name, "auto", tolerance, words, recipe.learns, timings, left_out, seconds)


def _tolerance(recipe: Recipe, tolerance: float | None) -> float | None:
    return tolerance if tolerance is not None or recipe.name == "direct" else ITERATIVE_TOLERANCE


def _words(recipe: Recipe) -> str:
    if recipe.name == "direct":
        return f"direct ({'PARDISO' if pardiso_is_available() else 'SuperLU'})"
    return str(recipe)


def _tried(chain: Chain, inputs: torch.Tensor, best: float) -> tuple[float, tuple[int, str]]:
    """Median time of a system once the chain is under way, and how many failed and why.

    Raises:
        ConvergenceError: where none is solved.
    """
    times: list[float] = []
    began = last = time.perf_counter()

    def after(row: int) -> bool:
        nonlocal last
        now = time.perf_counter()
        times.append(now - last)
        last = now
        bound = (_LEARNED if chain.recipe.learns else 1.5) * best
        slow = times[0] > 3 * bound or (len(times) > 2 and min(times[1:]) > bound)
        return slow or now - began > _TRIAL_SECONDS

    solved = chain(inputs, after=after)
    note = next(iter(solved.failures.values()), "")
    if len(solved.failures) == len(times):
        raise ConvergenceError(note)
    # The first system pays for the analysis, and whoever learns does so in the first half.
    chosen = times[len(times) // 2 :] if chain.recipe.learns else times[1:] or times
    return statistics.median(chosen), (len(solved.failures), note)


def _hopeless(size: int, dim: int, best: float) -> str | None:
    """Why a factorisation is not worth trying, from the known growth of its fill and flops with nested dissection."""
    log = max(1.0, math.log2(size))
    entries, flops = (8 * size * log, 10 * size**1.5 * log) if dim < 3 else (10 * size ** (4 / 3), 10.0 * size**2)
    if (needed := 12 * entries) > 0.5 * _free_memory():
        return f"a factorisation of {size} unknowns would take about {needed / 1e9:.0f} GB"
    # Nothing factorises faster than 10^11 operations a second on one thread.
    if (seconds := flops / 1e11) > 10 * best:
        return f"a factorisation of {size} unknowns would take more than {seconds:.2g} s"
    return None


def _free_memory() -> float:
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return float(np.inf)
