"""Solving a chunk of a linear family as one chain of systems, by a solver with a name.

A recipe is a method with its preconditioner, made for a family. What a chain learns from one system for the next it
forgets at its end, so that a chunk done again after a crash does the same work. Which recipe is best is decided in
`solver_choice.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from equipoise.errors import ConvergenceError
from equipoise.problems.linear_problem import ACCEPTED_RESIDUAL, DIRECT_TOLERANCE, LinearProblem, System
from equipoise.solvers.linear import (
    AMG,
    CG,
    GCRODR,
    GMRES,
    DeflatedCG,
    DeflatedMINRES,
    Direct,
    LinearState,
    Neighbour,
    SineTransform,
    prepare,
    pyamg_is_available,
    solve,
    update,
)
from equipoise.solvers.linear.methods import Method
from equipoise.solvers.linear.preconditioners import PreconditionerLike

__all__ = ["ITERATIVE_TOLERANCE", "SOLVERS", "Chain", "Recipe", "SolvedChunk", "check_tolerance", "make_recipe"]

ITERATIVE_TOLERANCE = 1e-8
"""Relative residual at which iterations stop where none is asked for."""

SOLVERS = ("direct", "spectral", "amg", "reuse", "skr", "gmres")
"""Names of recipes, in the order in which they are tried."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Recipe:
    """How the systems of one family are solved.

    Attributes:
        name: one of `SOLVERS`. method, preconditioner: for `solvers.linear.prepare`.
        learns: whether neighbours hand something over, so that sorted samples are solved in less.
    """

    name: str
    method: Method
    preconditioner: PreconditionerLike = None
    learns: bool = False

    def __str__(self) -> str:
        """The name, and what it stands for."""
        kind = type(self.preconditioner).__name__ if self.preconditioner is not None else ""
        kind = self.preconditioner if isinstance(self.preconditioner, str) else kind
        return f"{self.name} ({type(self.method).__name__}{' + ' + kind if kind else ''})"


def make_recipe(name: str, problem: LinearProblem) -> Recipe:
    """The recipe of this name for a family.

    `direct` is a sparse factorisation with its analysis kept; `gmres` GMRES(40) with SSOR or, where definiteness is not
    known, ILU; `skr` GCRO-DR(40, 20) with ILU or, for positive definite families, deflated CG(20) with IC and, for
    symmetric ones with a positive diagonal, deflated MINRES(20) with SSOR, which is positive definite then; `amg` and
    `reuse` CG or GMRES(40) with smoothed aggregation or a neighbour's factorisation; `spectral` CG with the fast
    Laplace inverse (scaled by the diagonal where that takes fewer iterations on the first sample).

    Raises:
        ValueError: for an unknown name, or a recipe that the family or the installation does not allow.
    """
    definite = problem.is_positive_definite
    krylov: Method = CG() if definite else GMRES(40)
    simple = "ssor" if definite else "ilu"
    match name:
        case "direct":
            return Recipe(name, Direct(structure=problem.structure))
        case "gmres":
            return Recipe(name, GMRES(40), simple)
        case "skr":
            if definite:
                return Recipe(name, DeflatedCG(), "ic", learns=True)
            if problem.is_symmetric and _has_positive_diagonal(problem):
                return Recipe(name, DeflatedMINRES(), "ssor", learns=True)
            return Recipe(name, GCRODR(40, 20), simple, learns=True)
        case "amg":
            if not pyamg_is_available():
                raise ValueError("solver 'amg' needs pyamg; install equipoise[amg].")
            return Recipe(name, krylov, AMG())
        case "reuse":
            return Recipe(name, krylov, Neighbour(), learns=True)
        case "spectral":
            if not definite or problem.lattice is None:
                raise ValueError(
                    f"solver 'spectral' is for positive definite families on the inner points of a grid; "
                    f"{problem.name} is not one."
                )
            return Recipe(name, CG(), _sines(problem))
    raise ValueError(f"solver {name!r} is unknown; use auto or one of {', '.join(SOLVERS)}.")


def _has_positive_diagonal(problem: LinearProblem) -> bool:
    """Whether the matrix of one sample, always the same, is real and has."""
    matrix, _ = problem.assemble(problem.sample(1, torch.Generator().manual_seed(0))[0])
    return matrix.dtype.kind == "f" and bool((matrix.diagonal() > 0).all())


def _sines(problem: LinearProblem) -> SineTransform:
    """The fast inverse in the form that takes fewer iterations on one sample, always the same."""
    assert problem.lattice is not None
    shape, spacings = problem.lattice
    matrix, rhs = problem.assemble(problem.sample(1, torch.Generator().manual_seed(0))[0])
    forms = [SineTransform(shape, spacings, scaled) for scaled in (False, True)]
    left = []
    for form in forms:
        found = solve(prepare(matrix, form, method=CG()), rhs, rtol=ITERATIVE_TOLERANCE, maxiter=60, throw=False)
        left.append((int(found.iterations[0]), float(found.residual[0])))
    return forms[left.index(min(left))]


def check_tolerance(tolerance: float | None) -> None:
    """Raise `ValueError` for a relative residual that cannot be asked for."""
    lowest = float(np.finfo(np.float64).eps)
    if tolerance is not None and not lowest <= tolerance < 1:
        below = ", which lies below round-off" if 0 <= tolerance < lowest else ""
        raise ValueError(f"tolerance={tolerance:g}{below}; it must be at least {lowest:.1e} and below 1.")


@dataclass
class SolvedChunk:
    """Samples of a chunk that were solved, and why others were not.

    Attributes:
        outputs: fields, `(n, outputs, *grid)` float64; not a number where a sample failed.
        failures: what went wrong, by row.
        iterations: of each sample, `(n,)`; steps of refinement for a direct solver.
    """

    outputs: Array
    failures: dict[int, str]
    iterations: NDArray[np.int64]


class Chain:
    """Solves chunks of samples, each as one chain.

    Args:
        problem: the family. recipe: how. tolerance: relative residual; `None` for round-off of a direct solver and
            `ITERATIVE_TOLERANCE` of an iteration.
    """

    def __init__(self, problem: LinearProblem, recipe: Recipe, tolerance: float | None = None) -> None:
        self.problem, self.recipe, self.tolerance = problem, recipe, tolerance
        self._state: LinearState | None = None

    def __call__(
        self, inputs: torch.Tensor, *, after: Callable[[int], bool] | None = None, restart: bool = True
    ) -> SolvedChunk:
        """Solve a chunk `(n, inputs, *grid)`.

        Args:
            inputs: of the chunk. after: called after each sample; says whether to stop.
            restart: whether to forget what an earlier chunk has taught (an analysis of the pattern is always kept).
        """
        if restart and self.recipe.learns:
            self._state = None
        outputs: Array | None = None
        iterations, failures = np.zeros(len(inputs), dtype=np.int64), {}
        for row, system in enumerate(_systems(self.problem, inputs)):
            try:
                if isinstance(system, Exception):
                    raise system
                values, iterations[row] = self._solve(*system)
                field = self.problem.embed(values, inputs[row])
            except (ValueError, ConvergenceError) as error:
                failures[row] = str(error)
                self._state = None
            else:
                if outputs is None:
                    outputs = np.full((len(inputs), *field.shape), np.nan)
                outputs[row] = field
            if after is not None and after(row):
                break
        if outputs is None:
            outputs = np.full((len(inputs), len(self.problem.output_names), *self.problem.grid.shape), np.nan)
        return SolvedChunk(outputs, failures, iterations)

    def _solve(self, matrix: object, rhs: Array) -> tuple[Array, int]:
        if self._state is None:
            self._state = prepare(matrix, self.recipe.preconditioner, method=self.recipe.method)
        else:
            update(self._state, matrix)
        if isinstance(self.recipe.method, Direct) and self.tolerance is None:
            found = solve(self._state, rhs, rtol=DIRECT_TOLERANCE, throw=False)
            residual = float(found.residual[0])
            if not residual <= ACCEPTED_RESIDUAL:
                nearly = f"relative residual {residual:.1e} after refinement; the matrix is singular or nearly so"
                raise ConvergenceError(found.notes[0] if "finite" in found.notes[0] else nearly)
        else:
            found = solve(self._state, rhs, rtol=self.tolerance or ITERATIVE_TOLERANCE)
        return found.value.numpy(), int(found.iterations[0])


def _systems(problem: LinearProblem, inputs: torch.Tensor) -> Iterator[System | Exception]:
    """The systems of a chunk; where one of them cannot be assembled, the error in its place."""
    given = 0
    try:
        for system in problem.systems(inputs):
            given += 1
            yield system
        return
    except (ValueError, ConvergenceError) as error:
        if len(inputs) == given + 1:
            yield error
            return
    for row in range(given, len(inputs)):
        try:
            yield problem.assemble(inputs[row])
        except (ValueError, ConvergenceError) as error:
            yield error
