"""A first guess from earlier solutions: of the same matrix at no product, of the ones before at one for each.

Source: Fischer (1998), projection for successive right-hand sides.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from equipoise.solvers.linear.operators import Operator, Vector

__all__ = ["EarlierSolutions"]

# Images are those of the solutions as they are, so that a part of this size is still known to 1e-6: what the first
# solutions were wrong by, which all later ones need too.
_NEW = 1e-10
# Solutions taken over to a new matrix. On Darcy flow through random fields the last two leave a third of the right-hand
# side, the last nineteen a quarter.
_TAKEN_OVER = 2
# They are no longer taken over once they have left more than this share, but for every tenth matrix.
_LITTLE, _REST = 0.8, 10


class EarlierSolutions:
    """Orthonormal images `(N, s)` and their solutions, and the latest solutions whatever their matrix.

    Args:
        size: unknowns N. dtype: `float64` or `complex128`. limit: most of them that are kept.
    """

    def __init__(self, size: int, dtype: Any, *, limit: int) -> None:
        self._size, self._dtype, self._limit = size, dtype, limit
        self._images = self._solutions = np.zeros((size, 0), dtype=dtype, order="F")
        self.count = 0
        self._latest: list[Vector] = []
        self._is_stale = False
        self._resting = 0

    def invalidate(self) -> None:
        """Tell that the matrix has changed."""
        self.count, self._is_stale = 0, True

    def guess(self, rhs: Vector, operator: Operator) -> Vector | None:
        """Solution of the part of `rhs` that lies in the span of the earlier ones, `(N,)`; `None` without any.

        The latest ones of other matrices are taken over first, where that has paid.
        """
        taken_over = self._is_stale and self._take_over(operator)
        self._is_stale = False
        if not self.count:
            return None
        images = self._images[:, : self.count]
        overlap = images.conj().T @ rhs
        if taken_over:
            left = float(np.linalg.norm(rhs - images @ overlap))
            self._resting = _REST if left > _LITTLE * float(np.linalg.norm(rhs)) else 0
        return np.asarray(self._solutions[:, : self.count] @ overlap)

    def _take_over(self, operator: Operator) -> bool:
        """Multiply the latest solutions by the new matrix."""
        if self._resting > 1:
            self._resting -= 1
            return False
        for solution in self._latest:
            side = np.empty_like(solution)
            operator.apply(solution, side)
            self._insert(side, solution)
        return bool(self.count)

    def add(self, image: Vector, solution: Vector) -> None:
        """Keep a solution and its product with the matrix, unless that is known already or the room is full."""
        self._latest = [solution.copy(), *self._latest][:_TAKEN_OVER]
        self._insert(image, solution)

    def _insert(self, image: Vector, solution: Vector) -> None:
        if self.count == self._limit:
            return
        if self._images.shape[1] < self._limit:
            self._images, self._solutions = (
                np.zeros((self._size, self._limit), dtype=self._dtype, order="F") for _ in range(2)
            )
        known = self._images[:, : self.count]
        side, answer = image.copy(), solution.copy()
        for _ in range(2):
            overlap = known.conj().T @ side
            side -= known @ overlap
            answer -= self._solutions[:, : self.count] @ overlap
        left = float(np.linalg.norm(side))
        if left > _NEW * float(np.linalg.norm(image)):
            self._images[:, self.count], self._solutions[:, self.count] = side / left, answer / left
            self.count += 1
