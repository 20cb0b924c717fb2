"""A first guess from the solutions of earlier right-hand sides of the same matrix, which costs no product.

Source: Fischer (1998), projection for successive right-hand sides.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from equipoise.solvers.linear.operators import Vector

__all__ = ["EarlierSolutions"]

_NEW = 1e-3


class EarlierSolutions:
    """Orthonormal right-hand sides `(N, s)` and their solutions.

    Args:
        size: unknowns N. dtype: `float64` or `complex128`. limit: most of them that are kept.
    """

    def __init__(self, size: int, dtype: Any, *, limit: int) -> None:
        self._size, self._dtype, self._limit = size, dtype, limit
        self._sides = self._solutions = np.zeros((size, 0), dtype=dtype, order="F")
        self.count = 0

    def clear(self) -> None:
        """Forget them, as the matrix has changed."""
        self.count = 0

    def guess(self, rhs: Vector) -> Vector:
        """Solution of the part of `rhs` that lies in the span of the earlier ones, `(N,)`."""
        overlap = self._sides[:, : self.count].conj().T @ rhs
        return np.asarray(self._solutions[:, : self.count] @ overlap)

    def add(self, rhs: Vector, solution: Vector) -> None:
        """Keep a solution, unless its right-hand side is known to 1e-3 already or the room is full."""
        if self.count == self._limit:
            return
        if self._sides.shape[1] < self._limit:
            self._sides, self._solutions = (
                np.zeros((self._size, self._limit), dtype=self._dtype, order="F") for _ in range(2)
            )
        known = self._sides[:, : self.count]
        side, answer = rhs.copy(), solution.copy()
        for _ in range(2):
            overlap = known.conj().T @ side
            side -= known @ overlap
            answer -= self._solutions[:, : self.count] @ overlap
        left = float(np.linalg.norm(side))
        if left > _NEW * float(np.linalg.norm(rhs)):
            self._sides[:, self.count], self._solutions[:, self.count] = side / left, answer / left
            self.count += 1
