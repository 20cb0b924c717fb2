"""The seam between a family of linear equations and the solvers of its systems: assemble, solve, embed.

A linear family says what its systems are and what is known of all of them; which solver suits them is chosen elsewhere
(`data.solver_choice`). `solve` here is the reference: sparse direct, with one analysis of the pattern kept.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from equipoise.errors import ConvergenceError
from equipoise.problems.problem import Problem
from equipoise.solvers.linear import Direct, LinearState, prepare, solve, update

__all__ = ["ACCEPTED_RESIDUAL", "DIRECT_TOLERANCE", "LinearProblem", "System"]

DIRECT_TOLERANCE = 1e-10
"""Relative residual above which a direct solution is refined."""
ACCEPTED_RESIDUAL = 1e-6
"""Relative residual above which a refined direct solution counts as none; close to resonance round-off is large."""

Array = NDArray[np.float64]
System = tuple[sp.csr_array, Array]
"""A matrix in compressed rows, and its right-hand side."""


class LinearProblem(Problem):
    """Family of equations whose discrete form is one sparse linear system `A(a) x = b(a)` for each input `a`.

    Attributes:
        is_symmetric: whether all matrices equal their transposes.
        is_positive_definite: whether all are symmetric positive definite.
        lattice: shape and spacings of the grid points that are the unknowns, in their order and with values of zero
            all round, or `None` where they are something else.
    """

    is_symmetric: bool = False
    is_positive_definite: bool = False
    lattice: tuple[tuple[int, ...], tuple[float, ...]] | None = None

    @abstractmethod
    def assemble(self, inputs: Float[torch.Tensor, "inputs ..."]) -> System:
        """Matrix `(N, N)` and right-hand side `(N,)` of one input; the pattern is the same for all inputs."""

    @abstractmethod
    def embed(
        self, solution: Float[np.ndarray, " unknowns"], inputs: Float[torch.Tensor, "inputs ..."]
    ) -> Float[np.ndarray, "outputs ..."]:
        """The output field of one input, `(outputs, *grid)`, from the unknowns of its system."""

    def systems(self, inputs: Float[torch.Tensor, "n inputs ..."]) -> Iterator[System]:
        """The systems of a batch of inputs, one after the other; override where a batch is cheaper at once."""
        for row in inputs:
            yield self.assemble(row)

    def features(self, inputs: Float[torch.Tensor, "n inputs ..."]) -> torch.Tensor:
        """What tells neighbouring systems, `(n, ...)`: the inputs, unless parameters lie behind them."""
        return inputs

    @property
    def structure(self) -> str:
        """Structure of the matrices, as `solvers.linear.Direct` names it."""
        return "positive_definite" if self.is_positive_definite else "symmetric" if self.is_symmetric else "general"

    def solve(self, inputs: Float[torch.Tensor, "n inputs ..."]) -> Float[torch.Tensor, "n outputs ..."]:
        """Solutions by a sparse direct solver; see `Problem.solve`."""
        self.check_inputs(inputs)
        outputs = []
        # A chain that an error breaks is not gone on with.
        state, self._state = self._state, None
        for sample, (row, (matrix, rhs)) in enumerate(zip(inputs, self.systems(inputs), strict=True)):
            state = _moved_to(state, matrix, self.structure)
            found = solve(state, rhs, rtol=DIRECT_TOLERANCE, throw=False)
            residual = float(found.residual[0])
            if not residual <= ACCEPTED_RESIDUAL:
                raise ConvergenceError(
                    f"{self.name}: the direct solution of sample {sample} has a relative residual of {residual:.1e}; "
                    "its matrix is singular or nearly so."
                )
            outputs.append(torch.as_tensor(self.embed(found.value.numpy(), row)))
        self._state = state
        return torch.stack(outputs).to(inputs) if outputs else self._nothing(inputs)

    _state: LinearState | None = None

    def _nothing(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.new_zeros((0, len(self.output_names), *self.grid.shape))


def _moved_to(state: LinearState | None, matrix: sp.csr_array, structure: str) -> LinearState:
    return prepare(matrix, method=Direct(structure=structure)) if state is None else update(state, matrix)
