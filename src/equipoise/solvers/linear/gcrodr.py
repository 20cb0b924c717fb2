"""GCRO-DR: restarted GMRES that deflates within a system and hands its small subspace to the next one.

Krylov spaces live in the right-preconditioned unknown: `op(v) = A M^-1 v`, `x = M^-1 y`, `op(U) = C`, `C^H C = I`. What
`M^-1` makes of U is kept beside it, and is what the next system takes over: its images cost a product each and no
preconditioner. U itself then stands for `M M^-1 U` even where M has changed, which only the choice of Ritz vectors
notices. With no space to carry it is GMRES(m). The arithmetic is BLAS on blocks allocated once; the small dense
problems of a cycle's end are in `harmonic.py`.

Source: Parks, de Sturler, Mackey, Johnson and Maiti (2006).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.linalg as sl
from scipy.linalg import get_blas_funcs

from equipoise.solvers.linear.harmonic import Cycle, combine
from equipoise.solvers.linear.operators import Applied, Operator, Vector
from equipoise.solvers.linear.outcome import Outcome, Task, begun, true_residual
from equipoise.solvers.linear.recycle import orthonormalize
from equipoise.solvers.solution import Result

__all__ = ["GcroDr"]

# A second pass of classical Gram-Schmidt follows where the first left less than this part of the norm. The loose one
# serves until a probe of C^H C = I fails; iteration counts were the same with both on every family tried.
_LOOSE, _STRICT = 0.1, 0.7
_LOST = 1e-11
_PROBE_EVERY = 10
_DRIFT = 1e-6
# Carrying is given up after so many systems in a row that took more products than one without, and tried again later.
_LOSSES, _REST = 2, 10
# A carried space is renewed after a system that took less than this part of the fewest iterations so far, as it still
# gets better, and after one that took more than that multiple of them, as the matrices have drifted. To renew it takes
# about as long as half as many iterations as it has vectors; so many more must be at stake.
_STILL_BETTER, _DRIFTED = 0.97, 1.1
# Systems of more cycles than this renew their space in any case, as they need one for their own restarts.
_SHORT = 3


class GcroDr:
    """The working blocks and the recycle space of one chain of systems.

    Args:
        size: unknowns N. dtype: `float64` or `complex128`.
        restart: m, dimension of the space of one cycle, recycled part included.
        recycle: k < m, vectors carried; 0 makes this GMRES(m).
    """

    def __init__(self, size: int, dtype: Any, *, restart: int, recycle: int) -> None:
        self.size, self.dtype = size, np.dtype(dtype)
        self.restart = min(restart, size)
        self.recycle = min(recycle, self.restart - 1)
        m, k = self.restart, self.recycle
        self._block = np.zeros((size, k + m + 1), dtype=dtype, order="F")  # [C | V], the used part of C at its end
        self._space = np.zeros((size, k), dtype=dtype, order="F")  # U
        # M^-1 U and M^-1 V, where there is a preconditioner and something is carried.
        self._solved_space = self._solved_basis = np.zeros((size, 0), dtype=dtype)
        self._is_solved = False
        self._spare = np.zeros((size, k), dtype=dtype, order="F")
        self._residual, self._step, self._solved = (np.zeros(size, dtype=dtype) for _ in range(3))
        self._overlap = np.zeros(k + m + 1, dtype=dtype)
        self._second = np.zeros(k + m + 1, dtype=dtype)
        self._count = 0
        self._stale = False
        # Columns and coefficients of C where it has not been formed: the next matrix would throw it away.
        self._unformed: tuple[int, Vector] | None = None
        self._alone, self._losses, self._rested, self._carried, self._fresh = float("inf"), 0, 0, 0, True
        self._settled, self._fewest = False, float("inf")
        self._second_pass = _LOOSE
        self._generator = np.random.default_rng(0)
        names = ("gemv", "gemm", "nrm2", "scal")
        self._gemv, self._gemm, self._nrm2, self._scal = get_blas_funcs(names, (self._block,))
        self._small_cu = self._small_uu = np.zeros((0, 0), dtype=dtype)

    @property
    def residual(self) -> Vector:
        """`b - A x` of the last solve, `(N,)`."""
        return self._residual

    @property
    def vectors(self) -> Vector:
        """The recycle space U, `(N, k')`, a copy."""
        return self._space[:, : self._count].copy()

    @property
    def images(self) -> Vector:
        """C = op(U), `(N, k')`, a copy; stale between `invalidate` and the next solve."""
        self._form_images()
        return self._images().copy()

    def set_vectors(self, vectors: Vector) -> None:
        """Start from this space instead of an empty one."""
        self._count = vectors.shape[1]
        self._space[:, : self._count] = vectors
        self._unformed, self._stale, self._losses, self._is_solved = None, True, 0, False

    def invalidate(self) -> None:
        """Tell that the operator or the preconditioner has changed."""
        self._stale = True

    def _images(self) -> Vector:
        return self._block[:, self.recycle - self._count : self.recycle]

    def _apply(self, operator: Operator, preconditioner: Applied | None, vector: Vector, out: Vector) -> None:
        if preconditioner is None:
            operator.apply(vector, out)
        else:
            preconditioner.apply(vector, self._solved)
            operator.apply(self._solved, out)

    def refresh(self, operator: Operator, preconditioner: Applied | None) -> None:
        """Make `op(U) = C` hold again, with `C` orthonormal; one product per vector."""
        self._unformed = None
        self._solve_space(preconditioner)
        space, images = self._solution_space[:, : self._count], self._images()
        for column in range(self._count):
            operator.apply(space[:, column], images[:, column])
        self._orthonormalize_images()
        self._stale = False

    @property
    def _solution_space(self) -> Vector:
        """M^-1 U, the part of U in the solution."""
        return self._solved_space if self._is_solved else self._space

    def _solve_space(self, preconditioner: Applied | None) -> None:
        """Have M^-1 U and room for M^-1 V, where that is something else than U and V."""
        if preconditioner is None or not self.recycle:
            self._is_solved = False
            return
        if not self._solved_basis.size:
            self._solved_space = np.zeros_like(self._space)
            self._solved_basis = np.zeros((self.size, self.restart), dtype=self.dtype, order="F")
        if not self._is_solved:
            for column in range(self._count):
                preconditioner.apply(self._space[:, column], self._solved_space[:, column])
        self._is_solved = True

    def _carry(self, operator: Operator, preconditioner: Applied | None) -> None:
        """Take the space over to the new operator, unless that has not paid lately."""
        self._carried = 0
        if self._losses >= _LOSSES:
            self._rested += 1
            self._drop()
            if self._rested >= _REST:
                self._losses, self._rested = _LOSSES - 1, 0
            return
        if np.isfinite(self._alone):
            # Vectors come in the order of their Ritz values. Where iterations fall as the root of their number, as for
            # second-order elliptic equations in the plane, so many leave the fewest products.
            self._count = min(self._count, math.ceil((self._alone / 2) ** (2 / 3)))
        self._carried = self._count
        self.refresh(operator, preconditioner)

    def _settle(self, iterations: int) -> None:
        """Note whether the space is worth renewing in the next system."""
        better = not self._carried or iterations < _STILL_BETTER * self._fewest
        drifted = self._has_drifted(iterations)
        is_short = iterations <= _SHORT * (self.restart - self.recycle)
        self._settled = is_short and not (better or drifted)
        # The first system carries nothing, and after a drift the fewest are those of other matrices.
        self._fewest = float("inf") if drifted or not self._carried else min(self._fewest, iterations)

    def _has_drifted(self, iterations: int) -> bool:
        return iterations > _DRIFTED * self._fewest + self.recycle / 2

    def _drop(self) -> None:
        """Begin with an empty space again."""
        self._settled = False
        self._count, self._unformed = 0, None
        self._small_cu = self._small_uu = np.zeros((0, 0), dtype=self.dtype)

    def _weigh(self, iterations: int) -> None:
        """Note whether carrying has saved more products than it took."""
        if self._carried:
            self._losses = self._losses + 1 if iterations + self._carried > self._alone else 0
        elif self._fresh:
            self._alone = float(iterations)

    def _orthonormalize_images(self) -> None:
        """Make C orthonormal, with U changed alike; dependent vectors are dropped."""
        space, images = self._space[:, : self._count], self._images()
        followers = (space, self._solved_space[:, : self._count]) if self._is_solved else (space,)
        kept = orthonormalize(images, *followers)
        if kept < self._count:
            self._block[:, self.recycle - kept : self.recycle] = images[:, :kept].copy()
            self._count = kept
            space, images = self._space[:, :kept], self._images()
        self._small_cu = self._gemm(1.0, images, space, trans_a=2)
        self._small_uu = self._gemm(1.0, space, space, trans_a=2)

    def solve(self, operator: Operator, preconditioner: Applied | None, task: Task) -> Outcome:
        """Solve one system and renew the recycle space from it."""
        outcome = begun(operator, task, self._residual)
        if outcome.result is Result.CONVERGED:
            return outcome
        norm = float(self._nrm2(self._residual))
        if self._count and self._stale:
            self._carry(operator, preconditioner)
        else:
            self._carried, self._settled = 0, False
        self._solve_space(preconditioner)
        self._form_images()
        self._fresh = not self._count
        self._stale = False
        cycles = stuck = 0
        while True:
            start = norm
            norm, predicted = self._cycle(operator, preconditioner, task, outcome)
            cycles += 1
            if not np.isfinite(norm):
                outcome.result, outcome.note = Result.NON_FINITE_OUTPUT, "the residual became not finite"
                self._drop()
                return outcome
            if norm <= task.target:
                outcome.result = Result.CONVERGED
                self._weigh(outcome.iterations)
                self._settle(outcome.iterations)
                return outcome
            if outcome.iterations >= task.maxiter:
                return outcome
            idle = predicted <= task.target and norm > 0.5 * start
            stuck = stuck + 1 if idle or norm > (1 - 1e-10) * start else 0
            if stuck >= 3:
                outcome.result = Result.STAGNATION
                outcome.note = f"three cycles left the true residual at {norm / task.scale:.1e}"
                return outcome
            if self._count and cycles % _PROBE_EVERY == 0:
                self._probe(operator, preconditioner)

    def _cycle(
        self, operator: Operator, preconditioner: Applied | None, task: Task, outcome: Outcome
    ) -> tuple[float, float]:
        """One cycle; the true residual norm after it and the norm that the recursion predicted."""
        count, gemv = self._count, self._gemv
        within = np.zeros(count, dtype=self.dtype)
        if count:
            within = gemv(1.0, self._images(), self._residual, trans=2)
            gemv(-1.0, self._images(), within, beta=1.0, y=self._residual, overwrite_y=1)
        beta = float(self._nrm2(self._residual))
        cycle = Cycle(count, self.restart - count, beta, self.dtype)
        if beta > task.target:
            self._arnoldi(operator, preconditioner, task, outcome, cycle)
        if not np.isfinite(cycle.predicted):
            return cycle.predicted, cycle.predicted
        if cycle.steps:
            coefficients = cycle.coefficients()
            basis = self._solved_basis if self._is_solved else self._block[:, self.recycle :]
            basis = basis[:, : cycle.steps]
            gemv(1.0, basis, coefficients, beta=0.0, y=self._step, overwrite_y=1)
            within = within - cycle.mixed[:, : cycle.steps] @ coefficients
        else:
            self._step.fill(0)
        if count:
            gemv(1.0, self._solution_space[:, :count], within, beta=1.0, y=self._step, overwrite_y=1)
        if preconditioner is None or self._is_solved:
            outcome.x += self._step
        else:
            preconditioner.apply(self._step, self._solved)
            outcome.x += self._solved
        norm = true_residual(operator, task, outcome, self._residual)
        if cycle.steps:
            outcome.history[-1] = norm / task.scale
        if self.recycle and cycle.steps and np.isfinite(norm):
            # A system that takes longer than it should is not left with a space that does not suit it.
            self._settled = self._settled and not self._has_drifted(outcome.iterations)
            if not self._settled:
                self._renew(cycle)
            if norm > task.target:
                self._form_images()
        return norm, cycle.predicted

    def _arnoldi(
        self, operator: Operator, preconditioner: Applied | None, task: Task, outcome: Outcome, cycle: Cycle
    ) -> None:
        """Fill V with `(I - C C^H) op` applied again and again, both factors orthogonalised against at once."""
        block, gemv, first = self._block, self._gemv, self.recycle
        left = first - cycle.count
        np.multiply(self._residual, 1.0 / cycle.predicted, out=block[:, first])
        for step in range(cycle.limit):
            new = block[:, first + step + 1]
            if self._is_solved and preconditioner is not None:
                preconditioner.apply(block[:, first + step], self._solved_basis[:, step])
                operator.apply(self._solved_basis[:, step], new)
            else:
                self._apply(operator, preconditioner, block[:, first + step], new)
            known = block[:, left : first + step + 1]
            overlap = self._overlap[: cycle.count + step + 1]
            before = float(self._nrm2(new))
            gemv(1.0, known, new, beta=0.0, y=overlap, trans=2, overwrite_y=1)
            gemv(-1.0, known, overlap, beta=1.0, y=new, overwrite_y=1)
            after = float(self._nrm2(new))
            if after < self._second_pass * before:
                second = self._second[: len(overlap)]
                gemv(1.0, known, new, beta=0.0, y=second, trans=2, overwrite_y=1)
                gemv(-1.0, known, second, beta=1.0, y=new, overwrite_y=1)
                overlap += second
                after = float(self._nrm2(new))
            if not np.isfinite(after):
                cycle.predicted = after
                return
            exhausted = after <= 1e-14 * before
            if exhausted:
                new.fill(0)
                after = 0.0
            else:
                self._scal(1.0 / after, new)
            outcome.record(task, cycle.extend(overlap, after))
            if exhausted or cycle.predicted <= task.target or outcome.iterations >= task.maxiter:
                return

    def _renew(self, cycle: Cycle) -> None:
        """Replace U and C by the harmonic Ritz vectors of smallest value over `[U, V]`."""
        count, steps, first = cycle.count, cycle.steps, self.recycle
        if count + steps < 2:
            return
        basis = self._block[:, first : first + steps + 1]
        space = self._space[:, :count]
        crossed = self._gemm(1.0, basis, space, trans_a=2)
        change = combine(cycle, self._small_cu, self._small_uu, crossed, self.recycle)
        if change is None:
            return
        kept = change.images.shape[1]
        self._space = self._combined(self._space, basis[:, :steps], change.space)
        if self._is_solved:
            self._solved_space = self._combined(self._solved_space, self._solved_basis[:, :steps], change.space)
        self._unformed = (first - count, change.images)
        self._count, self._small_cu, self._small_uu = kept, change.images_space, change.space_space

    def _combined(self, space: Vector, basis: Vector, coefficients: Vector) -> Vector:
        """`[space, basis] coefficients`, in the spare block; `space` becomes the spare one."""
        count, result = self._count, self._spare
        part = result[:, : coefficients.shape[1]]
        self._gemm(1.0, basis, coefficients[count:], c=part, overwrite_c=1)
        if count:
            self._gemm(1.0, space[:, :count], coefficients[:count], beta=1.0, c=part, overwrite_c=1)
        self._spare = space
        return result

    def _form_images(self) -> None:
        """Carry out the change of C that `_renew` has left to be done."""
        if self._unformed is None:
            return
        start, coefficients = self._unformed
        self._unformed = None
        spare = self._spare[:, : self._count]
        self._gemm(1.0, self._block[:, start : start + len(coefficients)], coefficients, c=spare, overwrite_c=1)
        self._images()[...] = spare
        self._check_images()

    def _check_images(self) -> None:
        """Where a random combination shows that C is no longer orthonormal, make it so, and be strict from now on."""
        self._form_images()
        weights = self._generator.standard_normal(self._count).astype(self.dtype)
        seen = self._gemv(1.0, self._images(), self._gemv(1.0, self._images(), weights), trans=2)
        if sl.norm(seen - weights) > _LOST * sl.norm(weights):
            self._second_pass = _STRICT
            self._orthonormalize_images()

    def _probe(self, operator: Operator, preconditioner: Applied | None) -> None:
        """Refresh where a random combination shows that `op(U) = C` no longer holds; costs one product."""
        weights = self._generator.standard_normal(self._count).astype(self.dtype)
        expected = self._images() @ weights
        np.matmul(self._solution_space[:, : self._count], weights, out=self._step)
        found = np.empty_like(expected)
        operator.apply(self._step, found)
        if sl.norm(found - expected) > _DRIFT * sl.norm(expected):
            self.refresh(operator, preconditioner)
