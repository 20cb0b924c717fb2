"""Newton's method for batches of unit-cell problems: homogenised stress and consistent tangent of each strain.

With PARDISO each Newton step factorises its own stiffness, on one symbolic analysis for the whole family. With SuperLU,
where a factorisation is dear, strains advance in lockstep under conjugate gradients preconditioned by a shared one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, fields
from typing import Any

import torch

from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.cell_state import CellEquations, CellState
from equipoise.solvers.linear import Factorization, analyse, conjugate_gradient
from equipoise.solvers.solution import Result, Solution, raise_unless_converged

__all__ = ["CellSolution", "CellSolver"]

_SMALLEST_STEP = 1 / 64
_LOCKSTEP = 16
_TANGENT_RTOL = 1e-4
_NEIGHBOURS = 64


@dataclass(frozen=True)
class CellSolution:
    """Answers of a unit cell to a batch of macroscopic strains; float64.

    Attributes:
        strain: macroscopic strains, `(n, v)`.
        fluctuation: periodic displacement fluctuation, `(n, N)`.
        stress: homogenised stress, `(n, v)`.
        tangent: consistent tangent `d stress / d strain`, `(n, v, v)`, or `None` if not asked for.
        sensitivity: `d fluctuation / d strain`, `(n, N, v)`, or `None` with the tangent.
        energy: effective energy density, `(n,)`.
        iterations: Newton iterations, `(n,)`. residual: final residual relative to the summed absolute element
            forces, `(n,)`. converged: `(n,)` booleans. seconds: wall time per strain, `(n,)`.
    """

    strain: torch.Tensor
    fluctuation: torch.Tensor
    stress: torch.Tensor
    tangent: torch.Tensor | None
    sensitivity: torch.Tensor | None
    energy: torch.Tensor
    iterations: torch.Tensor
    residual: torch.Tensor
    converged: torch.Tensor
    seconds: torch.Tensor


class CellSolver:
    """Full-field solver of one unit cell for many strains.

    Args:
        cell: the unit cell.
        linear_solver: `"auto"` (PARDISO where installed), `"pardiso"` or `"superlu"`.
        rtol: bound on the residual relative to the summed absolute element forces.
        max_iterations: Newton iterations allowed per load step.

    Raises:
        ValueError: for a tolerance outside (1e-14, 1), a strain of wrong length, or one that is not finite.
        ConvergenceError: from `solve`, unless `throw=False`, naming the strains that failed.

    Source: Newton's method with the tangent condensed, Kouznetsova et al. (2001); Eivazi et al. (2026), section 2.
    """

    def __init__(
        self,
        cell: PeriodicCell,
        *,
        linear_solver: str = "auto",
        rtol: float = 1e-10,
        max_iterations: int = 25,
    ) -> None:
        if not 1e-14 < rtol < 1:
            raise ValueError(f"rtol={rtol} must lie between 1e-14 and 1.")
        self.cell, self.rtol, self.max_iterations = cell, rtol, max_iterations
        self.equations = CellEquations(cell)
        self._factor = analyse(self.equations.pattern, backend=linear_solver)
        self._is_direct = self._factor.name == "pardiso"
        self._initial_slope = self._linearise_at_zero()

    def _linearise_at_zero(self) -> torch.Tensor:
        """Factorise the stiffness at zero strain; its response to unit strains is everyone's first guess."""
        cell = self.cell
        zero = cell.weights.new_zeros(1, cell.n_strain)
        state = self.equations.evaluate(zero, cell.weights.new_zeros(1, cell.n_unknowns))
        self._factor.update(self.equations.stiffness_values(state, 0))
        self._factor_is_current = False
        return -self._precondition(self.equations.coupling(state)[0].T).T

    def _precondition(self, rhs: torch.Tensor) -> torch.Tensor:
        """Apply the kept factorisation to rows, `(m, N)`."""
        return _solve_rows(self._factor, rhs)

    def solve(
        self,
        strain: torch.Tensor,
        *,
        start: torch.Tensor | None = None,
        tangent: bool = True,
        throw: bool = True,
    ) -> CellSolution:
        """Solve for each macroscopic strain.

        Args:
            strain: `(n, v)`, engineering shear.
            start: fluctuations to start from, `(n, N)`; by default the linear response of the undeformed cell.
            tangent: whether to compute the consistent tangent.
            throw: whether a failing strain raises; otherwise it is flagged in `converged`.
        """
        strain = self._checked(strain)
        if start is not None and start.shape != (len(strain), self.cell.n_unknowns):
            raise ValueError(f"start has shape {tuple(start.shape)}; expected ({len(strain)}, {self.cell.n_unknowns}).")
        if self._is_direct and tangent and start is None and len(strain) > 2:
            parts, order = self._solve_from_neighbours(strain)
        else:
            start = strain @ self._initial_slope.T if start is None else start
            size = 1 if self._is_direct else _LOCKSTEP
            chunks = [slice(i, i + size) for i in range(0, len(strain), size)]
            parts = [self._solve_chunk(strain[chunk], start[chunk], tangent) for chunk in chunks]
            order = torch.arange(len(strain))
        back = torch.argsort(order).to(strain.device)
        solution = _reordered(_concatenate([part for part, _ in parts]), back)
        result = torch.cat([ending for _, ending in parts])[back]
        if throw:
            raise_unless_converged(
                Solution(solution.fluctuation, result, solution.iterations, solution.residual), "unit cell"
            )
        return solution

    def _checked(self, strain: torch.Tensor) -> torch.Tensor:
        strain = torch.as_tensor(strain, dtype=torch.float64, device=self.cell.device)
        if strain.ndim != 2 or strain.shape[1] != self.cell.n_strain:
            raise ValueError(f"strain has shape {tuple(strain.shape)}; expected (n, {self.cell.n_strain}).")
        if len(strain) == 0:
            raise ValueError("no strain was given; expected at least one row.")
        bad = torch.nonzero(~torch.isfinite(strain).all(-1)).flatten().tolist()
        if bad:
            raise ValueError(f"strain {bad[0]} is {strain[bad[0]].tolist()}; every component must be finite.")
        return strain

    def _solve_from_neighbours(
        self, strain: torch.Tensor
    ) -> tuple[list[tuple[CellSolution, torch.Tensor]], torch.Tensor]:
        """Solve strains one by one along a short path, each extrapolated from the nearest of the last solved ones."""
        order = _short_path(strain)
        zero = self.cell.weights.new_zeros(1, self.cell.n_strain)
        known = [(zero, torch.zeros_like(self._initial_slope.T[:1]), self._initial_slope)]
        parts = []
        for row in order.tolist():
            target = strain[row : row + 1]
            nearest = min(known, key=lambda item: float((target - item[0]).square().sum()))
            start = nearest[1] + (target - nearest[0]) @ nearest[2].T
            part, result = self._solve_chunk(target, start, tangent=True)
            parts.append((part, result))
            if bool(part.converged[0]) and part.sensitivity is not None:
                known = [*known[-_NEIGHBOURS:], (target, part.fluctuation, part.sensitivity[0])]
        return parts, order

    def _solve_chunk(
        self, strain: torch.Tensor, start: torch.Tensor, tangent: bool
    ) -> tuple[CellSolution, torch.Tensor]:
        began = time.perf_counter()
        solution, state = self._newton(strain, start)
        if not bool(solution.converged.all()):
            solution = self._with_load_steps(strain, solution)
            state = self.equations.evaluate(strain, solution.value)
            self._factor_is_current = False
        value, slope = (None, None)
        if tangent:
            value, slope = self._condense(state)
        energy = self.cell.average(self.cell.law.energy(self.cell.strain(strain, solution.value))[..., None])[:, 0]
        seconds = torch.full((len(strain),), (time.perf_counter() - began) / len(strain), dtype=torch.float64)
        answer = CellSolution(
            strain=strain,
            fluctuation=solution.value,
            stress=state.stress,
            tangent=value,
            sensitivity=slope,
            energy=energy,
            iterations=solution.iterations,
            residual=solution.residual,
            converged=solution.converged,
            seconds=seconds,
        )
        return answer, solution.result

    def _newton(self, strain: torch.Tensor, start: torch.Tensor) -> tuple[Solution, CellState]:
        """Newton iterations of a chunk in lockstep; all samples are evaluated until the last has converged."""
        count = len(strain)
        value, step = start.clone(), torch.zeros_like(start)
        scale = self.equations.force_scale(strain, start)
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        result = torch.full((count,), int(Result.MAX_ITERATIONS), device=strain.device)
        iterations = torch.zeros(count, dtype=torch.int64, device=strain.device)
        previous, slope, length = torch.full_like(scale, torch.inf), torch.zeros_like(scale), torch.ones_like(scale)
        self._factor_is_current = False
        state = self.equations.evaluate(strain, value)
        for iteration in range(self.max_iterations + 1):
            relative = torch.linalg.vector_norm(state.residual, dim=-1) / scale
            result[relative <= self.rtol] = int(Result.CONVERGED)
            result[~torch.isfinite(relative)] = int(Result.NON_FINITE_OUTPUT)
            active = (relative > self.rtol) & torch.isfinite(relative)
            if not bool(active.any()) or iteration == self.max_iterations:
                break
            overshot = active & ((state.residual * step).sum(-1).abs() > 0.9 * slope.abs()) & (length > 2**-8)
            if iteration > 0 and bool(overshot.any()):
                length = torch.where(overshot, length / 2, length)
                value = value - torch.where(overshot, length, torch.zeros_like(length))[:, None] * step
            fresh = active & ~overshot if iteration > 0 else active
            if bool(fresh.any()):
                rows = torch.nonzero(fresh).flatten()
                step = step.clone()
                step[rows] = self._newton_step(state.rows(rows), relative[rows], previous[rows])
                slope = torch.where(fresh, (state.residual * step).sum(-1), slope)
                length = torch.where(fresh, torch.ones_like(length), length)
                previous = torch.where(fresh, relative, previous)
                iterations[rows] += 1
                value = value + torch.where(fresh, length, torch.zeros_like(length))[:, None] * step
            state = self.equations.evaluate(strain, value)
        return Solution(value, result, iterations, relative), state

    def _newton_step(self, state: CellState, relative: torch.Tensor, previous: torch.Tensor) -> torch.Tensor:
        """Newton step of each row: factorised anew, or by conjugate gradients under the kept factorisation."""
        if self._is_direct and not (self._factor_is_current and float(relative.max()) < 1e-6):
            self._factor.update(self.equations.stiffness_values(state, 0))
            self._factor_is_current = True
            return -self._precondition(state.residual)
        forcing = torch.minimum(0.9 * (relative / previous) ** 2, torch.full_like(relative, 0.1))
        forcing = torch.maximum(forcing, 0.3 * self.rtol / relative).clamp(max=0.5)
        solution = conjugate_gradient(
            lambda vectors, rows: self._multiply(state, vectors, rows),
            -state.residual,
            preconditioner=self._precondition,
            rtol=forcing,
        )
        return solution.value

    def _multiply(self, state: CellState, vectors: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        chosen = state if len(rows) == len(state.residual) else state.rows(rows)
        return self.equations.apply_stiffness(chosen, vectors[..., None])[..., 0]

    def _condense(self, state: CellState) -> tuple[torch.Tensor, torch.Tensor]:
        """Consistent tangent `<C> - L^T K^-1 L / volume` and the sensitivity `-K^-1 L`.

        The symmetric form `2 L^T X - X^T K X` is used: its error is quadratic in that of the solve.
        """
        coupling = self.equations.coupling(state)
        count, size, components = coupling.shape
        rhs = coupling.permute(0, 2, 1).reshape(count * components, size).contiguous()
        if self._is_direct and not self._factor_is_current:
            self._factor.update(self.equations.stiffness_values(state, 0))
            self._factor_is_current = True

        def operator(vectors: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
            return self._multiply_columns(state, vectors, rows)

        solution = conjugate_gradient(operator, rhs, preconditioner=self._precondition, rtol=_TANGENT_RTOL)
        answer = solution.value.view(count, components, size).permute(0, 2, 1)
        applied = self.equations.apply_stiffness(state, answer)
        correction = 2 * coupling.mT @ answer - answer.mT @ applied
        correction = (correction + correction.mT) / 2
        return self.equations.average_tangent(state) - correction / self.cell.volume, -answer

    def _multiply_columns(self, state: CellState, vectors: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Stiffness of sample `row // v` times each row, for systems that come v to a sample."""
        components = self.cell.n_strain
        if len(rows) == len(state.residual) * components:
            columns = vectors.view(-1, components, vectors.shape[1]).permute(0, 2, 1)
            return self.equations.apply_stiffness(state, columns).permute(0, 2, 1).reshape(vectors.shape)
        chosen = state.rows(rows // components)
        return self.equations.apply_stiffness(chosen, vectors[..., None])[..., 0]

    def _with_load_steps(self, strain: torch.Tensor, solution: Solution) -> Solution:
        """Approach each failed strain from zero along a straight path, halving the step until Newton follows."""
        value, result = solution.value.clone(), solution.result.clone()
        iterations, residual = solution.iterations.clone(), solution.residual.clone()
        for row in torch.nonzero(~solution.converged).flatten().tolist():
            target = strain[row : row + 1]
            reached, increment, current = 0.0, 0.5, torch.zeros_like(value[row : row + 1])
            while reached < 1.0 and increment >= _SMALLEST_STEP:
                goal = min(1.0, reached + increment)
                guess = current + (goal - reached) * target @ self._initial_slope.T
                attempt, _ = self._newton(goal * target, guess)
                iterations[row] += attempt.iterations[0]
                if bool(attempt.converged[0]):
                    reached, current, residual[row] = goal, attempt.value, attempt.residual[0]
                else:
                    increment /= 2
            if reached >= 1.0:
                value[row], result[row] = current[0], int(Result.CONVERGED)
        return Solution(value, result, iterations, residual)


def _solve_rows(factor: Factorization, rhs: torch.Tensor) -> torch.Tensor:
    columns = rhs.detach().cpu().numpy()
    solved = factor.solve(columns[0])[None] if len(columns) == 1 else factor.solve(columns.T).T
    return torch.as_tensor(solved, device=rhs.device)


def _short_path(strain: torch.Tensor) -> torch.Tensor:
    """Order of the strains `(n, v)` in which each is the one nearest to those before it, from zero on (Prim, 1957)."""
    distance = strain.square().sum(-1)
    left = torch.ones(len(strain), dtype=torch.bool, device=strain.device)
    order = []
    for _ in range(len(strain)):
        row = int(torch.where(left, distance, torch.inf).argmin())
        order.append(row)
        left[row] = False
        distance = torch.minimum(distance, (strain - strain[row]).square().sum(-1))
    return torch.tensor(order)


def _concatenate(parts: list[CellSolution]) -> CellSolution:
    def joined(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        return None if values[0] is None else torch.cat(values)

    return parts[0] if len(parts) == 1 else CellSolution(**{name: joined(name) for name in _FIELDS})


def _reordered(solution: CellSolution, order: torch.Tensor) -> CellSolution:
    def chosen(name: str) -> Any:
        value = getattr(solution, name)
        return None if value is None else value[order.to(value.device)]

    return CellSolution(**{name: chosen(name) for name in _FIELDS})


_FIELDS = tuple(field.name for field in fields(CellSolution))
