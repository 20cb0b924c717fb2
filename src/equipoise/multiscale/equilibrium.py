"""Newton's method for a structure at one load level, with the consistent tangent, and the predictor that starts it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from equipoise.errors import ConvergenceError
from equipoise.multiscale.discretization import Discretization
from equipoise.multiscale.load_stepping import Stepping
from equipoise.multiscale.micro import State
from equipoise.multiscale.point_responses import Answers, PointResponses

__all__ = ["Converged", "Equilibrium", "Timings"]


@dataclass
class Timings:
    """Wall seconds of a simulation by part."""

    micro: float = 0.0
    assembly: float = 0.0
    solve: float = 0.0
    certificate: float = 0.0
    output: float = 0.0
    total: float = 0.0


@dataclass(frozen=True, eq=False)
class Converged:
    """A structure in equilibrium.

    Attributes:
        time: pseudo-time. displacement: all unknowns, `(unknowns,)`, mm. strain: at the integration points, `(n, v)`.
        answers: of the micro model at these strains. residuals: relative residuals, before each Newton step and last.
        reactions: internal minus external forces, `(unknowns,)`, N; vanishes at free unknowns.
        scale: scale of the reactions, N.
    """

    time: float
    displacement: NDArray[np.float64]
    strain: torch.Tensor
    answers: Answers
    residuals: tuple[float, ...] = ()
    reactions: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    scale: float = 0.0

    @property
    def iterations(self) -> int:
        """Newton iterations, that is, linear solves."""
        return max(0, len(self.residuals) - 1)


class Equilibrium:
    """Finds equilibria of one structure with one micro model.

    Args:
        discretization: the structure in finite elements.
        respond: asks the micro model at all points.
        stepping: tolerance and iteration limit.
        timings: where wall seconds are added.
    """

    def __init__(
        self, discretization: Discretization, respond: PointResponses, stepping: Stepping, timings: Timings
    ) -> None:
        self.system, self.respond, self.stepping, self.timings = discretization, respond, stepping, timings

    def undeformed(self) -> Converged:
        """The structure at rest; one strain is asked, and its stiffness fixes the elimination order of all solves."""
        system = self.system
        strain = system.strain(np.zeros(system.n_unknowns))
        answers = self._ask(strain[:1], None)
        everywhere = Answers(
            stress=answers.stress.expand(system.n_points, -1).clone(),
            tangent=answers.tangent.expand(system.n_points, -1, -1),
            error_estimate=None,
            error_kind="none",
            states=(None,) * -(-system.n_points // self.respond.chunk),
        )
        matrix = self._stiffness(everywhere.tangent)
        began = perf_counter()
        system.analyse(matrix)
        self.timings.solve += perf_counter() - began
        reactions = np.zeros(system.n_unknowns)
        return Converged(self.stepping.start, np.zeros(system.n_unknowns), strain, everywhere, (), reactions)

    def predict(
        self, last: Converged, before: tuple[float, NDArray[np.float64]] | None, time: float
    ) -> NDArray[np.float64]:
        """First iterate at a time: along the last step where loads go on in proportion, else along the tangent.

        Args:
            last: the last equilibrium.
            before: time and displacement of the equilibrium before it, or `None`.
            time: where to go.
        """
        system = self.system
        held, free = system.held.unknowns, system.free
        prescribed = system.held.at(time)
        if before is not None and self._goes_on_in_proportion(last.time, before[0], time):
            ratio = (time - last.time) / (last.time - before[0])
            guess = last.displacement + ratio * (last.displacement - before[1])
            guess[held] = prescribed
            return guess
        moved = np.zeros(system.n_unknowns)
        moved[held] = prescribed - last.displacement[held]
        change = torch.einsum("nij,nj->ni", last.answers.tangent, system.strain(moved))
        out_of_balance = system.loads.at(time) - system.force(last.answers.stress + change)
        matrix = self._stiffness(last.answers.tangent)
        moved[free] = self._solve(matrix, out_of_balance[free])
        return last.displacement + moved

    def _goes_on_in_proportion(self, last: float, before: float, time: float) -> bool:
        system = self.system
        levels = [np.concatenate([system.held.at(t), system.loads.at(t)]) for t in (before, last, time)]
        now, earlier = (levels[2] - levels[1]) / (time - last), (levels[1] - levels[0]) / (last - before)
        size = max(np.abs(now).max(initial=0.0), np.abs(earlier).max(initial=0.0))
        return bool(np.abs(now - earlier).max(initial=0.0) <= 1e-9 * size)

    def find(
        self, start: NDArray[np.float64], time: float, states: Sequence[State] | None, *, least_scale: float = 0.0
    ) -> Converged:
        """Newton's method from a first iterate whose held unknowns have their values at `time`.

        Args:
            start: first iterate, `(unknowns,)`.
            time: pseudo-time.
            states: warm starts of the micro model.
            least_scale: smallest scale of reactions to measure the residual by, so that unloading to zero can converge.

        Raises:
            ConvergenceError: if the residual grows, becomes not finite or stays above the tolerance.
        """
        system, limit = self.system, self.stepping.max_iterations
        displacement, external = start.copy(), system.loads.at(time)
        residuals: list[float] = []
        while True:
            strain = self._strain(displacement)
            answers = self._ask(strain, states)
            states = answers.states
            reactions = self._force(answers.stress) - external
            scale = max(
                float(np.linalg.norm(reactions[system.held.unknowns])), float(np.linalg.norm(external)), least_scale
            )
            size = float(np.linalg.norm(reactions[system.free]))
            residuals.append(size / scale if scale > 0 else 0.0)
            if residuals[-1] <= self.stepping.rtol:
                return Converged(time, displacement, strain, answers, tuple(residuals), reactions, scale)
            _stop_if_diverged(residuals, limit)
            step = self._solve(self._stiffness(answers.tangent), -reactions[system.free])
            displacement[system.free] += step

    def _ask(self, strain: torch.Tensor, states: Sequence[State] | None) -> Answers:
        began = perf_counter()
        try:
            return self.respond(strain, states)
        finally:
            self.timings.micro += perf_counter() - began

    def _strain(self, displacement: NDArray[np.float64]) -> torch.Tensor:
        began = perf_counter()
        strain = self.system.strain(displacement)
        self.timings.assembly += perf_counter() - began
        return strain

    def _force(self, stress: torch.Tensor) -> NDArray[np.float64]:
        began = perf_counter()
        force = self.system.force(stress)
        self.timings.assembly += perf_counter() - began
        return force

    def _stiffness(self, tangent: torch.Tensor) -> sp.csr_array:
        began = perf_counter()
        matrix = self.system.stiffness(tangent)
        self.timings.assembly += perf_counter() - began
        return matrix

    def _solve(self, matrix: sp.csr_array, rhs: NDArray[np.float64]) -> NDArray[np.float64]:
        began = perf_counter()
        try:
            return self.system.solve(matrix, rhs)
        finally:
            self.timings.solve += perf_counter() - began


def _stop_if_diverged(residuals: list[float], limit: int) -> None:
    shown = ", ".join(f"{residual:.1e}" for residual in residuals[-4:])
    if not np.isfinite(residuals[-1]):
        raise ConvergenceError("Newton's method reached a residual that is not finite.")
    if len(residuals) > 3 and residuals[-1] > 10 * residuals[-2] > 100 * residuals[-3]:
        raise ConvergenceError(f"Newton's method diverges: relative residuals {shown}.")
    if len(residuals) > 6 and min(residuals[-4:]) > 0.95 * min(residuals[:-4]):
        raise ConvergenceError(f"Newton's method makes no progress: relative residuals {shown}.")
    if len(residuals) > limit:
        raise ConvergenceError(f"Newton's method did not converge in {limit} iterations: relative residuals {shown}.")
