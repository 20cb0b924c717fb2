"""Minimal residuals for Hermitian indefinite matrices, with a space kept out of the iteration from system to system.

Lanczos vectors are orthonormal in `M^-1`, the preconditioner, which is Hermitian positive definite:
`A U = C`, `C^H M^-1 C = I`, and the iteration runs on `(I - C C^H M^-1) A`, whose short recurrence needs no restart.
With nothing to keep it is preconditioned MINRES. The next space consists of harmonic Ritz vectors of `M^-1 A` over U
and the first Lanczos vectors.

Source: Wang, de Sturler and Paulino (2007), recycling MINRES; Paige and Saunders (1975).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.linalg import get_blas_funcs

from equipoise.solvers.linear.harmonic import Cycle, combine
from equipoise.solvers.linear.operators import Applied, Operator, Vector
from equipoise.solvers.linear.outcome import Outcome, Task, begun, run_to_target
from equipoise.solvers.linear.recycle import Renewal
from equipoise.solvers.solution import Result

__all__ = ["DeflatedMinres"]

# So many carried vectors take as long at each step as the step itself.
_AS_DEAR = 30
# After so many systems in a row in which keeping a space did not pay, so many are solved without.
_LOSSES, _REST = 2, 10
_DEPENDENT = 1e-10


class DeflatedMinres:
    """The working blocks and the deflation space U of one chain of systems.

    Args:
        size: unknowns N. dtype: `float64` or `complex128`.
        recycle: k, vectors carried; 0 makes this MINRES.
        stored: first Lanczos vectors of each system from which the next space is drawn.
    """

    def __init__(self, size: int, dtype: Any, *, recycle: int, stored: int) -> None:
        self.size, self.dtype = size, np.dtype(dtype)
        self.recycle = min(recycle, size - 1)
        self.stored = min(stored, size) if self.recycle else 0
        columns = self.recycle + self.stored + 1
        self._space = np.zeros((size, self.recycle), dtype=dtype, order="F")  # U, its used part first
        # [C | V] and M^-1 [C | V], one block where there is no preconditioner; the used part of C stands at its end.
        self._images = np.zeros((size, columns), dtype=dtype, order="F")
        self._solved = self._images
        self._residual = np.zeros(size, dtype=dtype)
        self._count = 0
        self._stale = False
        # First column of [C | V] and coefficients of C, where it has not been formed: the next matrix would throw it
        # away.
        self._unformed: tuple[int, Vector] | None = None
        self._renewal, self._alone = Renewal(), float("inf")
        self._losses = self._resting = 0
        names = ("gemv", "gemm", "axpy", "nrm2", "scal")
        self._gemv, self._gemm, self._axpy, self._nrm2, self._scal = get_blas_funcs(names, (self._residual,))

    @property
    def residual(self) -> Vector:
        """`b - A x` of the last solve, `(N,)`."""
        return self._residual

    @property
    def vectors(self) -> Vector:
        """The deflation space U, `(N, k')`, a copy."""
        return self._space[:, : self._count].copy()

    @property
    def images(self) -> Vector:
        """C = A U, `(N, k')`, a copy; stale between `invalidate` and the next solve."""
        self._form_images()
        return self._kept(self._images).copy()

    def set_vectors(self, vectors: Vector) -> None:
        """Start from this space instead of an empty one."""
        self._count = vectors.shape[1]
        self._space[:, : self._count] = vectors
        self._unformed, self._stale, self._losses, self._resting = None, True, 0, 0
        self._renewal.reset()

    def invalidate(self) -> None:
        """Tell that the operator or the preconditioner has changed."""
        self._stale = True

    def _kept(self, block: Vector) -> Vector:
        return block[:, self.recycle - self._count : self.recycle]

    def solve(self, operator: Operator, preconditioner: Applied | None, task: Task) -> Outcome:
        """Solve one system and renew the deflation space from it."""
        outcome = begun(operator, task, self._residual)
        if outcome.result is Result.CONVERGED:
            return outcome
        carried = self._enter(operator, preconditioner)
        first = 0 if self._renewal.is_settled or self._resting else self.stored
        cycle = Cycle(self._count, first, 1.0, self.dtype)

        def run(limit: int) -> None:
            self._run(operator, preconditioner, task, outcome, cycle, limit)

        ended = run_to_target(run, first, operator, task, outcome, self._residual)
        if ended is Result.NON_FINITE_OUTPUT:
            self._drop()
        if self.recycle and outcome.iterations and ended is Result.CONVERGED:
            self._learn(cycle, outcome.iterations, carried)
        return outcome

    def _enter(self, operator: Operator, preconditioner: Applied | None) -> int:
        """Make U, C and M^-1 C those of this operator; the number of vectors whose images that took."""
        if preconditioner is not None and self._solved is self._images:
            self._solved = np.zeros_like(self._images)
        self._resting = max(self._resting - 1, 0)
        if not (self._stale and self._count):
            self._form_images()
            self._stale = False
            return 0
        self._unformed, self._stale = None, False
        carried, images, solved = self._count, self._kept(self._images), self._kept(self._solved)
        for column in range(carried):
            operator.apply(self._space[:, column], images[:, column])
            if preconditioner is not None:
                preconditioner.apply(images[:, column], solved[:, column])
        self._orthonormalize()
        return carried

    def _orthonormalize(self) -> None:
        """Make `C^H M^-1 C` the identity, with U changed alike; dependent vectors are dropped."""
        for _ in range(2):
            images, solved = self._kept(self._images), self._kept(self._solved)
            gram = self._gemm(1.0, images, solved, trans_a=2)
            length = np.sqrt(np.abs(np.diag(gram)))
            if not (np.isfinite(gram).all() and (length > 0).all()):
                self._count = 0
                return
            values, vectors = np.linalg.eigh((gram + gram.conj().T) / (2 * np.outer(length, length)))
            good = values > _DEPENDENT * values[-1]
            if not good.any():
                self._count = 0
                return
            change = np.asfortranarray(vectors[:, good] / (length[:, None] * np.sqrt(values[good])))
            space = self._gemm(1.0, self._space[:, : self._count], change)
            parts = [self._gemm(1.0, part, change) for part in self._images_blocks(images, solved)]
            self._count = change.shape[1]
            self._space[:, : self._count] = space
            for block, part in zip(self._images_blocks(self._images, self._solved), parts, strict=True):
                self._kept(block)[...] = part

    def _images_blocks(self, images: Vector, solved: Vector) -> tuple[Vector, ...]:
        return (images,) if self._solved is self._images else (images, solved)

    def _form_images(self) -> None:
        """Carry out the change of C that `_renew` has left to be done.

        Lanczos vectors lose their orthogonality once Ritz values have converged, while `A U = C` holds on.
        """
        if self._unformed is None:
            return
        start, coefficients = self._unformed
        self._unformed = None
        for block in self._images_blocks(self._images, self._solved):
            self._kept(block)[...] = self._gemm(1.0, block[:, start : start + len(coefficients)], coefficients)
        self._orthonormalize()

    def _run(
        self,
        operator: Operator,
        preconditioner: Applied | None,
        task: Task,
        outcome: Outcome,
        cycle: Cycle,
        limit: int,
    ) -> None:
        """Iterate to convergence of the recursive residual; the first `limit` Lanczos vectors are stored."""
        count, axpy, gemv, residual = self._count, self._axpy, self._gemv, self._residual
        images, solved = self._kept(self._images), self._kept(self._solved)
        within = overlap = np.zeros(count, dtype=self.dtype)
        if count:
            within = gemv(1.0, solved, residual, trans=2)
            gemv(-1.0, images, within, beta=1.0, y=residual, overwrite_y=1)
        # The Lanczos vector, M^-1 of it and the one before; the last two directions and the parts of U in them.
        vector, before, new = residual.copy(), np.zeros_like(residual), np.empty_like(residual)
        raw = vector if preconditioner is None else np.empty_like(residual)
        direction, latest, oldest = (np.zeros_like(residual) for _ in range(3))
        part_latest = part_oldest = np.zeros(count, dtype=self.dtype)
        cosine, sine, cosine_before, sine_before = 1.0, 0.0, 1.0, 0.0
        phi = beta = self._next_vector(preconditioner, vector, raw, outcome)
        if limit:
            self._store(0, vector, raw)
        beta_before, norm = 0.0, float(self._nrm2(residual))
        while norm > task.target and outcome.result is Result.MAX_ITERATIONS and outcome.iterations < task.maxiter:
            operator.apply(raw, new)
            if count:
                overlap = gemv(1.0, solved, new, trans=2)
                gemv(-1.0, images, overlap, beta=1.0, y=new, overwrite_y=1)
            alpha = float(np.vdot(raw, new).real)
            axpy(vector, new, a=-alpha)
            axpy(before, new, a=-beta_before)
            # The new column of the tridiagonal matrix under the last two rotations.
            above, at = sine_before * beta_before, cosine_before * beta_before
            beside, corner = cosine * at + sine * alpha, cosine * alpha - sine * at
            np.copyto(direction, raw)
            axpy(latest, direction, a=-beside)
            axpy(oldest, direction, a=-above)
            before, vector, new = vector, new, before
            raw = vector if preconditioner is None else raw
            beta = self._next_vector(preconditioner, vector, raw, outcome)
            length = math.hypot(corner, beta)
            if not (length > 0 and math.isfinite(length)):
                self._broken(outcome, length)
                break
            step = cycle.steps
            if step < limit:
                cycle.mixed[:, step] = overlap
                first = max(step - 1, 0)
                cycle.hessenberg[first : step + 2, step] = (beta_before, alpha, beta)[first + 1 - step :]
                cycle.steps += 1
                self._store(step + 1, vector, raw)
            self._scal(1 / length, direction)
            cosine_before, sine_before, cosine, sine = cosine, sine, corner / length, beta / length
            tau, phi = cosine * phi, -sine * phi
            axpy(direction, outcome.x, a=tau)
            if count:
                part = (overlap - beside * part_latest - above * part_oldest) / length
                within = within - tau * part
                part_latest, part_oldest = part, part_latest
            direction, latest, oldest = oldest, direction, latest
            if preconditioner is None:
                norm = abs(phi)
            else:
                self._scal(sine * sine, residual)
                axpy(vector, residual, a=cosine * phi)
                norm = float(self._nrm2(residual))
            beta_before = beta
            outcome.record(task, norm)
            if not math.isfinite(norm):
                break
        if count:
            gemv(1.0, self._space[:, :count], within, beta=1.0, y=outcome.x, overwrite_y=1)

    def _next_vector(self, preconditioner: Applied | None, vector: Vector, raw: Vector, outcome: Outcome) -> float:
        """Scale `vector` to unit length in `M^-1`, with `M^-1` of it in `raw`; the length that it had."""
        if preconditioner is None:
            length = float(self._nrm2(vector))
        else:
            preconditioner.apply(vector, raw)
            product = float(np.vdot(vector, raw).real)
            if product < 0:
                outcome.result = Result.BREAKDOWN
                outcome.note = f"r.M r = {product:.3g}: the preconditioner is not positive definite"
                return 0.0
            length = math.sqrt(product)
            if length > 0:
                self._scal(1 / length, raw)
        if length > 0:
            self._scal(1 / length, vector)
        return length

    def _store(self, step: int, vector: Vector, raw: Vector) -> None:
        self._images[:, self.recycle + step] = vector
        if self._solved is not self._images:
            self._solved[:, self.recycle + step] = raw

    def _broken(self, outcome: Outcome, length: float) -> None:
        if math.isfinite(length):
            if outcome.result is Result.MAX_ITERATIONS:
                outcome.result, outcome.note = Result.BREAKDOWN, "the matrix is singular on the space searched"
        else:
            outcome.result, outcome.note = Result.NON_FINITE_OUTPUT, "an inner product became not finite"

    def _drop(self) -> None:
        """Begin with an empty space again."""
        self._count, self._unformed = 0, None

    def _learn(self, cycle: Cycle, iterations: int, carried: int) -> None:
        """Renew the space as long as that pays, and rest where keeping it does not."""
        if self._resting:
            return
        if not self._count:
            self._alone = float(iterations)
        else:
            is_lost = iterations * (1 + self._count / _AS_DEAR) + carried > self._alone
            self._losses = self._losses + 1 if is_lost else 0
        if self._losses == _LOSSES:
            self._losses, self._resting = 0, _REST
            self._renewal.reset()
            self._drop()
            return
        is_due = self._renewal.is_due(iterations, is_whole=self._count == self.recycle)
        if is_due and cycle.steps > 1:
            self._renew(cycle)

    def _renew(self, cycle: Cycle) -> None:
        """Replace U by the harmonic Ritz vectors of smallest value over U and the stored Lanczos vectors."""
        count, steps, first = self._count, cycle.steps, self.recycle
        space = self._space[:, :count]
        small_cu = self._gemm(1.0, self._kept(self._images), space, trans_a=2)
        small_uu = self._gemm(1.0, space, space, trans_a=2)
        crossed = self._gemm(1.0, self._images[:, first : first + steps + 1], space, trans_a=2)
        change = combine(cycle, small_cu, small_uu, crossed, self.recycle)
        if change is None:
            return
        renewed = self._gemm(1.0, self._solved[:, first : first + steps], change.space[count:])
        if count:
            renewed += self._gemm(1.0, space, change.space[:count])
        self._unformed = (first - count, change.images)
        self._count = renewed.shape[1]
        self._space[:, : self._count] = renewed
