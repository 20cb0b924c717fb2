"""The subspace that one system of a chain leaves to the next, when it is renewed, and the dense algebra on tall blocks
that recycling solvers share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg as sl
from scipy.linalg import get_blas_funcs

from equipoise.solvers.linear.operators import Vector

__all__ = ["RecycleSpace", "Renewal", "orthonormalize"]

_DEPENDENT = 1e-10
_STILL_BETTER, _DRIFTED = 0.97, 1.1


@dataclass(frozen=True)
class RecycleSpace:
    """Vectors worth keeping from systems solved before.

    Attributes:
        vectors: `(N, k)`, independent; for GCRO-DR in the space of the right-preconditioned unknown.
        preconditioner: name of the preconditioner under which they arose; a chain must keep to one kind.
    """

    vectors: Vector
    preconditioner: str

    def check(self, size: int, limit: int, preconditioner: str) -> None:
        """Raise `ValueError` unless this space fits a system of `size` unknowns that carries at most `limit`."""
        if self.vectors.ndim != 2 or self.vectors.shape[0] != size:
            raise ValueError(f"the recycle space has shape {self.vectors.shape}; this system has {size} unknowns.")
        if self.vectors.shape[1] > limit:
            raise ValueError(f"the recycle space holds {self.vectors.shape[1]} vectors; the method carries {limit}.")
        if not np.isfinite(self.vectors).all():
            raise ValueError("the recycle space holds a value that is not finite.")
        if self.preconditioner != preconditioner:
            raise ValueError(
                f"the recycle space arose under preconditioner {self.preconditioner!r}, not {preconditioner!r}; "
                "start with an empty one."
            )


class Renewal:
    """Whether a carried space is worth renewing after each system of a chain.

    It is after one that took less than 0.97 of the iterations of the one before, as the space still gets better, and
    after one that took more than 1.1 times the fewest so far, as the matrices have drifted.

    Attributes:
        is_settled: whether the next system need not store what a new space is made from.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all systems."""
        self.is_settled = False
        self._before = self._fewest = float("inf")

    def is_due(self, iterations: int, *, is_whole: bool) -> bool:
        """Enter a system; `is_whole` tells whether the space held as many vectors as it may."""
        better = not is_whole or iterations < _STILL_BETTER * self._before
        drifted = iterations > _DRIFTED * self._fewest
        self._fewest = float(iterations) if drifted else min(self._fewest, iterations)
        # After a drift the next system renews in any case.
        self._before = float("inf") if drifted else float(iterations)
        self.is_settled = not (better or drifted)
        return not self.is_settled


def orthonormalize(block: Vector, *followers: Vector) -> int:
    """Make the columns of `block` orthonormal in place and apply the same change of basis to the `followers`.

    Args:
        block: `(n, k)`, column-major. followers: the same, with as many columns each.

    Returns:
        The number of independent columns kept, which come first; those that depend on others to 1e-10 are dropped.
    """
    count = block.shape[1]
    if count == 0:
        return 0
    gemm, trsm = get_blas_funcs(("gemm", "trsm"), (block,))
    for _ in range(2):
        gram = gemm(1.0, block, block, trans_a=2)
        scale = np.sqrt(np.abs(np.diag(gram)))
        if not (np.isfinite(scale).all() and (scale > 0).all()):
            return _orthonormalize_safely(block, *followers)
        try:
            upper = sl.cholesky(gram / np.outer(scale, scale), lower=False, check_finite=False)
        except sl.LinAlgError:
            return _orthonormalize_safely(block, *followers)
        condition = np.abs(np.diag(upper)).min()
        if condition < 1e-5:
            return _orthonormalize_safely(block, *followers)
        upper = np.asfortranarray(upper * scale)
        for part in (block, *followers):
            part[...] = trsm(1.0, upper, part, side=1, overwrite_b=1)
        if condition > 0.1:
            break
    return count


def _orthonormalize_safely(block: Vector, *followers: Vector) -> int:
    """As `orthonormalize`, by Householder reflections with column pivoting."""
    finite = np.isfinite(block).all(axis=0)
    for part in followers:
        finite &= np.isfinite(part).all(axis=0)
    usable = np.nonzero(finite)[0]
    if not len(usable):
        return 0
    scale = np.linalg.norm(block[:, usable], axis=0)
    usable, scale = usable[scale > 0], scale[scale > 0]
    if not len(usable):
        return 0
    basis, upper, order = sl.qr(block[:, usable] / scale, mode="economic", pivoting=True, check_finite=False)
    size = np.abs(np.diag(upper))
    kept = int((size > _DEPENDENT * size[0]).sum())
    chosen = order[:kept]
    for part in followers:
        columns = part[:, usable[chosen]] / scale[chosen]
        part[:, :kept] = sl.solve_triangular(upper[:kept, :kept], columns.T, trans=1).T
    block[:, :kept] = basis[:, :kept]
    return kept
