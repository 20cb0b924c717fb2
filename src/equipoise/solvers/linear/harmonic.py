"""The small dense problems of one GCRO-DR cycle: least squares by rotations, and harmonic Ritz vectors.

Nothing here is as long as the unknowns; `gcrodr.py` does that part.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import get_lapack_funcs

from equipoise.solvers.linear.operators import Vector

__all__ = ["Change", "Cycle", "combine"]


class Cycle:
    """Least squares `min || beta e_1 - H y ||` grown column by column.

    Attributes:
        count: recycled vectors in use. limit: largest number of columns. steps: columns so far.
        mixed: `C^H op(V)`, `(count, limit)`. hessenberg: `(limit + 1, limit)`.
        predicted: norm of the residual after `steps` columns.
    """

    def __init__(self, count: int, limit: int, beta: float, dtype: Any) -> None:
        self.count, self.limit, self.steps = count, limit, 0
        self.predicted = self.beta = beta
        self.mixed = np.zeros((count, limit), dtype=dtype)
        self.hessenberg = np.zeros((limit + 1, limit), dtype=dtype)
        # Last row of the product of all rotations so far: all that the residual norm needs.
        self._last = np.zeros(limit + 1, dtype=dtype)
        self._last[0] = 1

    def extend(self, overlap: Vector, after: float) -> float:
        """Add the column whose coefficients on `[C, V]` are `overlap` and on the new vector `after`; the new norm."""
        j, count, last = self.steps, self.count, self._last
        self.mixed[:, j] = overlap[:count]
        new = overlap[count:]
        self.hessenberg[: j + 1, j] = new
        self.hessenberg[j + 1, j] = after
        head = last[: j + 1] @ new
        length = math.hypot(abs(head), after)
        cosine, sine = (head / length, after / length) if length > 0 else (1.0, 0.0)
        last[: j + 1] *= -sine
        last[j + 1] = cosine
        self.steps += 1
        self.predicted = self.beta * abs(last[0])
        return float(self.predicted)

    def coefficients(self) -> Vector:
        """`y`, `(steps,)`."""
        j = self.steps
        columns = self.hessenberg[: j + 1, :j]
        basis, upper = np.linalg.qr(columns)
        rhs = self.beta * basis[0].conj()
        if np.abs(np.diag(upper)).min() > 1e-15 * np.abs(np.diag(upper)).max():
            return _back_substituted(upper, rhs)
        first = np.zeros(j + 1, dtype=columns.dtype)
        first[0] = self.beta
        return np.asarray(np.linalg.lstsq(columns, first, rcond=1e-14)[0])


class Change(NamedTuple):
    """The new spaces in terms of the old: `C' = [C, V_(l+1)] images`, `U' = [U, V_l] space`, and the small products
    `C'^H U'` and `U'^H U'`."""

    images: Vector
    space: Vector
    images_space: Vector
    space_space: Vector


def combine(cycle: Cycle, cu: Vector, uu: Vector, crossed: Vector, limit: int) -> Change | None:
    """At most `limit` harmonic Ritz vectors of smallest value of the augmented space.

    With `op(Vhat) = What G`, they solve `G^H G z = theta G^H (What^H Vhat) z`; the largest `1 / theta` are taken from
    the least-squares solution of `G x = What^H Vhat`. The parts of U are scaled to unit length first.

    Args:
        cycle: of which `steps` columns were made.
        cu, uu: `C^H U` and `U^H U`, `(k', k')`. crossed: `V_(l+1)^H U`, `(l + 1, k')`.
        limit: largest number of vectors.

    Returns:
        `None` where no independent vector is left.
    """
    count, steps, dtype = cycle.count, cycle.steps, cycle.hessenberg.dtype
    scale = 1 / np.sqrt(np.abs(np.diag(uu)))
    total = count + steps
    small = np.zeros((total + 1, total), dtype=dtype)
    small[:count, :count] = np.diag(scale)
    small[:count, count:] = cycle.mixed[:, :steps]
    small[count:, count:] = cycle.hessenberg[: steps + 1, :steps]
    inner = np.zeros((total + 1, total), dtype=dtype)
    inner[:count, :count] = cu * scale
    inner[count:, :count] = crossed * scale
    inner[count : count + steps, count:] = np.eye(steps)
    lengths = np.eye(total, dtype=dtype)
    lengths[:count, :count] = uu * np.outer(scale, scale)
    lengths[count:, :count] = inner[count : count + steps, :count]
    lengths[:count, count:] = lengths[count:, :count].conj().T
    if not (np.isfinite(small).all() and np.isfinite(inner).all()):
        return None
    chosen = np.eye(total, dtype=dtype) if total <= limit else _smallest(small, inner, limit)
    basis, upper = np.linalg.qr(small @ chosen)
    size = np.abs(np.diag(upper))
    good = size > 1e-12 * size.max(initial=0.0)
    if not good.any():
        return None
    if not good.all():
        chosen = chosen[:, good]
        basis, upper = np.linalg.qr(small @ chosen)
    space = np.ascontiguousarray(_back_substituted(upper, chosen.T, transpose=True).T)
    images_space = basis.conj().T @ inner @ space
    space_space = space.conj().T @ lengths @ space
    space[:count] *= scale[:, None]
    return Change(np.asfortranarray(basis), np.asfortranarray(space), images_space, space_space)


def _back_substituted(upper: Vector, rhs: Vector, *, transpose: bool = False) -> Vector:
    """`upper^-1 rhs` or `upper^-T rhs`, by LAPACK without the checks that would take longer than the work."""
    (solver,) = get_lapack_funcs(("trtrs",), (upper, rhs))
    return np.asarray(solver(upper, rhs, trans=1 if transpose else 0)[0])


def _smallest(small: Vector, inner: Vector, limit: int) -> Vector:
    """Orthonormal basis, `(total, limit)`, of the harmonic Ritz vectors of smallest value."""
    basis, upper = np.linalg.qr(small)
    size = np.abs(np.diag(upper))
    if size.min() > 1e-13 * size.max():
        matrix = _back_substituted(upper, basis.conj().T @ inner)
    else:
        matrix = np.linalg.lstsq(small, inner, rcond=1e-13)[0]
    values, vectors = np.linalg.eig(matrix)
    order = np.argsort(-np.abs(values), kind="stable")
    if np.iscomplexobj(small):
        return np.linalg.qr(vectors[:, order[:limit]])[0]
    columns: list[Vector] = []
    taken = np.zeros(len(values), dtype=bool)
    for index in order:
        if len(columns) == limit:
            break
        if taken[index]:
            continue
        columns.append(vectors[:, index].real)
        if values[index].imag != 0:
            # LAPACK stores the two of a conjugate pair side by side, the positive imaginary part first.
            taken[index + 1 if values[index].imag > 0 else index - 1] = True
            if len(columns) < limit:
                columns.append(vectors[:, index].imag)
    return np.linalg.qr(np.column_stack(columns))[0]
