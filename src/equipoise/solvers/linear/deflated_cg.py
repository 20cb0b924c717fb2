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
from equipoise.solvers.linear.outcome import Outcome, Task, begun, run_to_target
from equipoise.solvers.linear.recycle import Renewal, orthonormalize
from equipoise.solvers.solution import Result

__all__ = ["DeflatedCg", "natural_stored"]

# Search directions kept where nothing is said: on families in the plane 200 took up to 30 % less time than 40, as long
# as they and their images take no more than this.
_FEWEST_STORED, _MOST_STORED, _STORED_BYTES = 40, 200, 2**27


def natural_stored(size: int, dtype: Any) -> int:
    """Search directions to store for so many unknowns: 40 to 200, within 128 MiB beyond the first 40."""
    return max(_FEWEST_STORED, min(_MOST_STORED, _STORED_BYTES // (2 * size * np.dtype(dtype).itemsize)))


class _Steps:
    """Scalars of the stored steps of one solve, and `(A W)^H z` at each: all that the next space needs to know."""

    def __init__(self) -> None:
        self.alpha: list[float] = []
        self.energy: list[float] = []
        self.product: list[float] = []
        self.overlap: list[Vector] = []

    @property
    def count(self) -> int:
        """Steps whose end is known too."""
        return max(min(len(self.alpha), len(self.product) - 1), 0)

    def curvature(self, within: Vector) -> Vector:
        """`(A Z)^H M^-1 (A Z)` of `Z = [W, P]`, the directions P of unit energy; `within` is the part of W.

        As `A p_j = (r_j - r_(j+1)) / alpha_j` and the residuals are M^-1-orthogonal, the part of P is tridiagonal.
        """
        steps, count = self.count, len(within)
        scale = 1 / (np.array(self.alpha[:steps]) * np.sqrt(self.energy[:steps]))
        rho = np.array(self.product[: steps + 1])
        result = np.zeros((count + steps, count + steps), dtype=within.dtype)
        result[:count, :count] = within
        inner, places = result[count:, count:], np.arange(steps)
        inner[places, places] = (rho[:-1] + rho[1:]) * scale**2
        beside = -rho[1:-1] * scale[:-1] * scale[1:]
        inner[places[:-1], places[1:]] = inner[places[1:], places[:-1]] = beside
        if count:
            result[:count, count:] = -np.diff(np.array(self.overlap[: steps + 1]), axis=0).T * scale
            result[count:, :count] = result[:count, count:].conj().T
        return result


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
        # [W, P] and A [W, P]; the used part of W stands at the end of its columns.
        self._space, self._images = (np.zeros((size, columns), dtype=dtype, order="F") for _ in range(2))
        self._residual, self._solved, self._direction, self._image = (np.zeros(size, dtype=dtype) for _ in range(4))
        self._count = 0
        self._stale = False
        self._factor = self._energy = np.zeros((0, 0), dtype=dtype)
        # First column of [A W, A P] and coefficients of A W, where it has not been formed: the next matrix would
        # throw it away.
        self._unformed: tuple[int, Vector] | None = None
        self._renewal = Renewal()
        names = ("gemv", "gemm", "axpy", "nrm2")
        self._gemv, self._gemm, self._axpy, self._nrm2 = get_blas_funcs(names, (self._residual,))

    @property
    def residual(self) -> Vector:
        """`b - A x` of the last solve, `(N,)`."""
        return self._residual

    @property
    def vectors(self) -> Vector:
        """The deflation space W, `(N, k')`, a copy."""
        return self._space[:, self.recycle - self._count : self.recycle].copy()

    def set_vectors(self, vectors: Vector) -> None:
        """Start from this space instead of an empty one."""
        self._count = vectors.shape[1]
        self._space[:, self.recycle - self._count : self.recycle] = vectors
        self._unformed, self._stale = None, True
        self._renewal.reset()

    def invalidate(self) -> None:
        """Tell that the operator or the preconditioner has changed."""
        self._stale = True

    def _kept(self, block: Vector, extra: int = 0) -> Vector:
        return block[:, self.recycle - self._count : self.recycle + extra]

    def _refresh(self, operator: Operator) -> None:
        """`A W` and the factor of `W^H A W`; a space on which A is not positive definite is dropped."""
        space, images = self._kept(self._space), self._kept(self._images)
        if self._stale:
            for column in range(self._count):
                operator.apply(space[:, column], images[:, column])
        elif self._unformed is not None:
            start, coefficients = self._unformed
            images[...] = self._gemm(1.0, self._images[:, start : start + len(coefficients)], coefficients)
        self._unformed, self._stale = None, False
        if self._factorize():
            return
        kept = orthonormalize(space, images)
        if kept < self._count:
            for block, part in ((self._space, space), (self._images, images)):
                block[:, self.recycle - kept : self.recycle] = part[:, :kept].copy()
        self._count = kept
        if not self._factorize():
            self._count = 0

    def _factorize(self) -> bool:
        """Factorise `W^H A W`; whether it is safely positive definite."""
        energy = self._gemm(1.0, self._kept(self._space), self._kept(self._images), trans_a=2)
        self._energy = (energy + energy.conj().T) / 2
        scale = np.abs(np.diag(self._energy))
        try:
            self._factor = sl.cholesky(self._energy, lower=False, check_finite=False)
        except sl.LinAlgError:
            return False
        return bool((np.abs(np.diag(self._factor)) > 1e-7 * np.sqrt(scale)).all())

    def _solve_small(self, rhs: Vector) -> Vector:
        return np.asarray(sl.cho_solve((self._factor, False), rhs, check_finite=False))

    def solve(self, operator: Operator, preconditioner: Applied | None, task: Task) -> Outcome:
        """Solve one system and renew the deflation space from it."""
        outcome = begun(operator, task, self._residual)
        if outcome.result is Result.CONVERGED:
            return outcome
        if self._count and (self._stale or self._unformed is not None):
            self._refresh(operator)
        steps = _Steps()

        def run(limit: int) -> None:
            self._run(operator, preconditioner, task, outcome, steps, limit)

        first = 0 if self._renewal.is_settled else self.stored
        ended = run_to_target(run, first, operator, task, outcome, self._residual)
        if self.recycle and outcome.iterations and ended in (Result.CONVERGED, Result.MAX_ITERATIONS):
            is_due = self._renewal.is_due(outcome.iterations, is_whole=self._count == self.recycle)
            if is_due and steps.count:
                self._renew(preconditioner, steps)
        return outcome

    def _precondition(self, preconditioner: Applied | None, vector: Vector, out: Vector) -> None:
        if preconditioner is None:
            out[:] = vector
        else:
            preconditioner.apply(vector, out)

    def _enter(self, outcome: Outcome) -> None:
        """Take the part of the error in W out: `x += W F^-1 W^H r`."""
        space, images = self._kept(self._space), self._kept(self._images)
        part = self._solve_small(self._gemv(1.0, space, self._residual, trans=2))
        self._gemv(1.0, space, part, beta=1.0, y=outcome.x, overwrite_y=1)
        self._gemv(-1.0, images, part, beta=1.0, y=self._residual, overwrite_y=1)

    def _direct(self, steps: _Steps, limit: int) -> None:
        """Take the part in W out of the new direction: `p -= W F^-1 (A W)^H z`."""
        if not self._count:
            return
        overlap = self._gemv(1.0, self._kept(self._images), self._solved, trans=2)
        if len(steps.overlap) < limit + 1:
            steps.overlap.append(overlap)
        part = self._solve_small(overlap)
        self._gemv(-1.0, self._kept(self._space), part, beta=1.0, y=self._direction, overwrite_y=1)

    def _run(
        self,
        operator: Operator,
        preconditioner: Applied | None,
        task: Task,
        outcome: Outcome,
        steps: _Steps,
        limit: int,
    ) -> None:
        """Iterate to convergence of the recursive residual; the first `limit` steps are stored."""
        residual, solved, direction, image = self._residual, self._solved, self._direction, self._image
        if self._count:
            self._enter(outcome)
            if float(self._nrm2(residual)) <= task.target:
                return
        self._precondition(preconditioner, residual, solved)
        direction[:] = solved
        self._direct(steps, limit)
        product = float(np.vdot(residual, solved).real)
        if limit:
            steps.product.append(product)
        while outcome.iterations < task.maxiter:
            if not product > 0:
                self._broken(outcome, f"r.M r = {product:.3g}: the preconditioner", product)
                return
            operator.apply(direction, image)
            energy = float(np.vdot(direction, image).real)
            if not energy > 0:
                self._broken(outcome, f"p.A p = {energy:.3g}: the matrix", energy)
                return
            alpha = product / energy
            self._axpy(direction, outcome.x, a=alpha)
            self._axpy(image, residual, a=-alpha)
            norm = float(self._nrm2(residual))
            if len(steps.alpha) < limit:
                self._store(steps, alpha, energy)
            outcome.record(task, norm)
            if norm <= task.target or not np.isfinite(norm):
                return
            self._precondition(preconditioner, residual, solved)
            updated = float(np.vdot(residual, solved).real)
            if len(steps.product) <= limit and limit:
                steps.product.append(updated)
            direction *= updated / product
            direction += solved
            self._direct(steps, limit)
            product = updated

    def _broken(self, outcome: Outcome, what: str, value: float) -> None:
        finite = np.isfinite(value)
        outcome.result = Result.BREAKDOWN if finite else Result.NON_FINITE_OUTPUT
        outcome.note = f"{what} is not positive definite" if finite else "an inner product became not finite"

    def _store(self, steps: _Steps, alpha: float, energy: float) -> None:
        """Keep a direction of unit energy, and its image."""
        column, scale = self.recycle + len(steps.alpha), 1 / np.sqrt(energy)
        np.multiply(self._direction, scale, out=self._space[:, column])
        np.multiply(self._image, scale, out=self._images[:, column])
        steps.alpha.append(alpha)
        steps.energy.append(energy)

    def _renew(self, preconditioner: Applied | None, steps: _Steps) -> None:
        """The next W: harmonic Ritz vectors of `M^-1 A` of smallest value over `[W, P]`."""
        count, images = self._count, self._kept(self._images)
        within = np.zeros((count, count), dtype=images.dtype)
        for column in range(count):
            self._precondition(preconditioner, images[:, column], self._solved)
            within[:, column] = self._gemv(1.0, images, self._solved, trans=2)
        curvature = steps.curvature((within + within.conj().T) / 2)
        # The directions are conjugate to one another and to W.
        energy = np.eye(len(curvature), dtype=images.dtype)
        energy[:count, :count] = self._energy[:count, :count]
        scale = 1 / np.sqrt(np.abs(np.diag(energy)))
        wanted = min(self.recycle, len(scale))
        try:
            ritz = sl.eigh(
                curvature * np.outer(scale, scale), energy * np.outer(scale, scale), subset_by_index=(0, wanted - 1)
            )[1]
        except (sl.LinAlgError, ValueError):
            return
        coefficients = np.asfortranarray(scale[:, None] * ritz)
        chosen = self._gemm(1.0, self._kept(self._space, steps.count), coefficients)
        self._unformed = (self.recycle - count, coefficients)
        self._count = wanted
        self._kept(self._space)[...] = chosen
