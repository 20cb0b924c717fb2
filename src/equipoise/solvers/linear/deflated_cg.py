"""Conjugate gradients that keep the slow directions of earlier systems out of the iteration.

With nothing to keep it is plain preconditioned conjugate gradients. The matrix is Hermitian positive definite, and so
is the preconditioner; a direction of negative energy ends the solve and is named.

Source: Saad, Yeung, Erhel and Guyomarc'h (2000), deflated conjugate gradients with harmonic Ritz vectors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg as sl
from scipy.linalg import get_blas_funcs

from equipoise.solvers.linear.operators import Applied, Operator, Vector
from equipoise.solvers.linear.outcome import Outcome, Task
from equipoise.solvers.linear.recycle import orthonormalize
from equipoise.solvers.solution import Result

__all__ = ["DeflatedCg"]


class DeflatedCg:
    """The working blocks and the deflation space W of one chain of systems.

    Args:
        size: unknowns N. dtype: `float64` or `complex128`.
        recycle: k, vectors carried; 0 makes this conjugate gradients.
        stored: first search directions of each system from which the next space is drawn.
    """

    def __init__(self, size: int, dtype: Any, *, recycle: int, stored: int) -> None:
        self.recycle = min(recycle, size)
        self.stored = stored if self.recycle else 0
        columns = self.recycle + self.stored
        # [W, P], A [W, P] and M^-1 A [W, P]; the used part of W stands at the end of its columns.
        self._space, self._images, self._solved_images = (
            np.zeros((size, columns), dtype=dtype, order="F") for _ in range(3)
        )
        self._residual, self._solved, self._direction, self._image, self._previous = (
            np.zeros(size, dtype=dtype) for _ in range(5)
        )
        self._count = 0
        self._stale = False
        self._factor: Any = None
        names = ("gemv", "gemm", "axpy", "nrm2")
        self._gemv, self._gemm, self._axpy, self._nrm2 = get_blas_funcs(names, (self._residual,))

    @property
    def vectors(self) -> Vector:
        """The deflation space W, `(N, k')`, a copy."""
        return self._space[:, self.recycle - self._count : self.recycle].copy()

    def set_vectors(self, vectors: Vector) -> None:
        """Start from this space instead of an empty one."""
        self._count = vectors.shape[1]
        self._space[:, self.recycle - self._count : self.recycle] = vectors
        self._stale = True

    def invalidate(self) -> None:
        """Tell that the operator or the preconditioner has changed."""
        self._stale = True

    def _kept(self, block: Vector, extra: int = 0) -> Vector:
        return block[:, self.recycle - self._count : self.recycle + extra]

    def _refresh(self, operator: Operator) -> None:
        """`A W` and the factor of `W^H A W`; a space on which A is not positive definite is dropped."""
        space, images = self._kept(self._space), self._kept(self._images)
        for column in range(self._count):
            operator.apply(space[:, column], images[:, column])
        energy = self._gemm(1.0, space, images, trans_a=2)
        try:
            self._factor = sl.cho_factor((energy + energy.conj().T) / 2, check_finite=False)
        except sl.LinAlgError:
            self._count = 0
        self._stale = False

    def _project(self, solved: Vector, out: Vector) -> None:
        """`out -= W F^-1 (A W)^H solved`."""
        overlap = self._gemv(1.0, self._kept(self._images), solved, trans=2)
        overlap = sl.cho_solve(self._factor, overlap, overwrite_b=True, check_finite=False)
        self._gemv(-1.0, self._kept(self._space), overlap, beta=1.0, y=out, overwrite_y=1)

    def solve(self, operator: Operator, preconditioner: Applied | None, task: Task) -> Outcome:
        """Solve one system and renew the deflation space from it."""
        outcome = Outcome(task.x0.copy())
        norm = self._true_residual(operator, task, outcome)
        outcome.history.append(norm / task.scale)
        if norm <= task.target:
            outcome.result = Result.CONVERGED
            return outcome
        if self._count and self._stale:
            self._refresh(operator)
        attempts, taken = 0, 0
        while outcome.result is Result.MAX_ITERATIONS and outcome.iterations < task.maxiter:
            before = norm
            taken = self._run(operator, preconditioner, task, outcome, taken)
            norm = self._true_residual(operator, task, outcome)
            outcome.history[-1] = norm / task.scale
            if not np.isfinite(norm):
                outcome.result, outcome.note = Result.NON_FINITE_OUTPUT, "the residual became not finite"
            elif norm <= task.target:
                outcome.result = Result.CONVERGED
            elif outcome.result is Result.MAX_ITERATIONS and norm > 0.5 * before:
                attempts += 1
                if attempts == 3:
                    outcome.result = Result.STAGNATION
                    outcome.note = f"restarts left the true residual at {norm / task.scale:.1e}"
        if taken and outcome.result in (Result.CONVERGED, Result.MAX_ITERATIONS):
            self._renew(preconditioner, taken)
        return outcome

    def _true_residual(self, operator: Operator, task: Task, outcome: Outcome) -> float:
        if outcome.x.any():
            operator.apply(outcome.x, self._residual)
            np.subtract(task.rhs, self._residual, out=self._residual)
        else:
            self._residual[:] = task.rhs
        norm = float(self._nrm2(self._residual))
        outcome.residual = norm / task.scale
        return norm

    def _precondition(self, preconditioner: Applied | None, vector: Vector, out: Vector) -> None:
        if preconditioner is None:
            out[:] = vector
        else:
            preconditioner.apply(vector, out)

    def _enter(self, outcome: Outcome) -> None:
        """Take the part of the error in W out: `x += W F^-1 W^H r`."""
        space, images = self._kept(self._space), self._kept(self._images)
        part = sl.cho_solve(self._factor, self._gemv(1.0, space, self._residual, trans=2), check_finite=False)
        self._gemv(1.0, space, part, beta=1.0, y=outcome.x, overwrite_y=1)
        self._gemv(-1.0, images, part, beta=1.0, y=self._residual, overwrite_y=1)

    def _run(self, operator: Operator, preconditioner: Applied | None, task: Task, outcome: Outcome, taken: int) -> int:
        """Iterate to convergence of the recursive residual; the number of stored directions."""
        residual, solved, direction, image = self._residual, self._solved, self._direction, self._image
        if self._count:
            self._enter(outcome)
            if float(self._nrm2(residual)) <= task.target:
                return taken
        self._precondition(preconditioner, residual, solved)
        direction[:] = solved
        if self._count:
            self._project(solved, direction)
        product = float(np.vdot(residual, solved).real)
        first_run = taken == 0
        while outcome.iterations < task.maxiter:
            if not product > 0:
                return self._broken(outcome, taken, f"r.M r = {product:.3g}: the preconditioner", product)
            operator.apply(direction, image)
            energy = float(np.vdot(direction, image).real)
            if not energy > 0:
                return self._broken(outcome, taken, f"p.A p = {energy:.3g}: the matrix", energy)
            alpha = product / energy
            self._axpy(direction, outcome.x, a=alpha)
            self._axpy(image, residual, a=-alpha)
            norm = float(self._nrm2(residual))
            storing = first_run and taken < self.stored
            if storing:
                self._previous[:] = solved
            self._precondition(preconditioner, residual, solved)
            if storing:
                self._store(taken, alpha, energy)
                taken += 1
            outcome.record(task, norm)
            if norm <= task.target or not np.isfinite(norm):
                return taken
            updated = float(np.vdot(residual, solved).real)
            direction *= updated / product
            direction += solved
            if self._count:
                self._project(solved, direction)
            product = updated
        return taken

    def _broken(self, outcome: Outcome, taken: int, what: str, value: float) -> int:
        finite = np.isfinite(value)
        outcome.result = Result.BREAKDOWN if finite else Result.NON_FINITE_OUTPUT
        outcome.note = f"{what} is not positive definite" if finite else "an inner product became not finite"
        return taken

    def _store(self, taken: int, alpha: float, energy: float) -> None:
        """Keep a direction, its image and the solved image, which cost no further product."""
        column, scale = self.recycle + taken, 1 / np.sqrt(energy)
        np.multiply(self._direction, scale, out=self._space[:, column])
        np.multiply(self._image, scale, out=self._images[:, column])
        target = self._solved_images[:, column]
        np.subtract(self._previous, self._solved, out=target)
        target *= scale / alpha

    def _renew(self, preconditioner: Applied | None, taken: int) -> None:
        """The next W: harmonic Ritz vectors of `M^-1 A` of smallest value over `[W, P]`."""
        space, images = self._kept(self._space, taken), self._kept(self._images, taken)
        solved = self._kept(self._solved_images, taken)
        for column in range(self._count):
            self._precondition(preconditioner, images[:, column], solved[:, column])
        energy = self._gemm(1.0, space, images, trans_a=2)
        curvature = self._gemm(1.0, images, solved, trans_a=2)
        scale = 1 / np.sqrt(np.abs(np.diag(energy)))
        energy = (energy + energy.conj().T) / 2 * np.outer(scale, scale)
        curvature = (curvature + curvature.conj().T) / 2 * np.outer(scale, scale)
        wanted = min(self.recycle, len(scale))
        try:
            ritz = sl.eigh(curvature, energy, subset_by_index=(0, wanted - 1))[1]
        except sl.LinAlgError:
            return
        chosen = self._gemm(1.0, space, scale[:, None] * ritz)
        moved = self._gemm(1.0, images, scale[:, None] * ritz)
        kept = orthonormalize(chosen, moved)
        self._count = kept
        self._kept(self._space)[...] = chosen[:, :kept]
        self._kept(self._images)[...] = moved[:, :kept]
        energy = self._gemm(1.0, self._kept(self._space), self._kept(self._images), trans_a=2)
        try:
            self._factor = sl.cho_factor((energy + energy.conj().T) / 2, check_finite=False)
        except sl.LinAlgError:
            self._count = 0
