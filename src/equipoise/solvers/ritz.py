"""Approximate eigenvectors of a symmetric operator by Lanczos' method, and random vectors made of them.

With full reorthogonalisation in blocks, so that the vectors are orthonormal to round-off; in torch, on any device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float

__all__ = ["RitzVectors", "lanczos", "ritz_vectors"]

FieldMap: TypeAlias = Callable[[torch.Tensor], torch.Tensor]

# Below this share of the largest Ritz value a vector belongs to the null space.
_NULL = 1e-10


def lanczos(
    operator: FieldMap,
    start: Float[torch.Tensor, "*grid"],
    steps: int,
    *,
    project: FieldMap | None = None,
) -> tuple[Float[torch.Tensor, "rows cells"], Float[torch.Tensor, " rows"], Float[torch.Tensor, " others"]]:
    """Orthonormal rows W of a Krylov space with `W A W^T` tridiagonal.

    Args:
        operator: symmetric, `(1, *grid)` to the same.
        start: first vector of any size; float64.
        steps: largest number of rows; fewer come back where the space is exhausted.
        project: onto the complement of the null space, into which round-off would lead.

    Returns:
        W, the diagonal of the tridiagonal matrix, and the entries beside it.

    Raises:
        ValueError: for fewer than one step, or a start that is zero or not finite.
    """
    size = start.numel()
    start = start if project is None else project(start[None])[0]
    norm = torch.linalg.vector_norm(start)
    if steps < 1 or not (bool(torch.isfinite(norm)) and float(norm) > 0):
        raise ValueError(f"steps={steps} must be at least 1, and the start of finite norm above zero, not {norm:g}.")
    steps = min(steps, size)
    rows = start.new_empty(steps, size)
    diagonal, beside = start.new_zeros(steps), start.new_zeros(steps)
    rows[0] = start.flatten() / norm
    found, largest = steps, torch.zeros_like(norm)
    for step in range(steps):
        image = operator(rows[step].view(1, *start.shape)).flatten()
        diagonal[step] = torch.dot(rows[step], image)
        image -= diagonal[step] * rows[step]
        if step:
            image -= beside[step - 1] * rows[step - 1]
        # What is left of the earlier rows is round-off, so that one pass over them all is enough.
        basis = rows[: step + 1]
        image -= basis.mT @ (basis @ image)
        if project is not None:
            image = project(image.view(1, *start.shape)).flatten()
        beside[step] = torch.linalg.vector_norm(image)
        largest = torch.maximum(largest, torch.maximum(diagonal[step].abs(), beside[step]))
        if step + 1 == steps or float(beside[step]) <= 1e-13 * float(largest):
            found = step + 1
            break
        rows[step + 1] = image / beside[step]
    return rows[:found], diagonal[:found], beside[: found - 1]


@dataclass(frozen=True, eq=False)
class RitzVectors:
    """Approximate eigenpairs in ascending order.

    Attributes:
        values: `(m,)`. vectors: orthonormal rows, `(m, *grid)`.
    """

    values: torch.Tensor
    vectors: torch.Tensor

    def coefficients(
        self, count: int, generator: torch.Generator, *, emphasis: float = 9.0, shift: float = 0.05
    ) -> Float[torch.Tensor, "count m"]:
        """Normal coefficients of random vectors, those of the lower half `emphasis` times as large; float64.

        Args:
            shift: by how much of m the lower half is longer than half.

        Source: Kaneda et al. (2023), with 9 and 500 of 10 000.
        """
        size = len(self.values)
        drawn = torch.randn(count, size, generator=generator, dtype=torch.float64, device=generator.device)
        drawn[:, : int(size / 2 + shift * size)] *= emphasis
        return drawn

    def combine(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Unit vectors with these coefficients, `(count, *grid)`."""
        flat = coefficients.to(self.vectors) @ self.vectors.flatten(1)
        flat = flat / torch.linalg.vector_norm(flat, dim=1, keepdim=True)
        return flat.view(len(flat), *self.vectors.shape[1:])


def ritz_vectors(
    operator: FieldMap,
    shape: Sequence[int],
    steps: int,
    generator: torch.Generator,
    *,
    project: FieldMap | None = None,
    dtype: torch.dtype = torch.float64,
) -> RitzVectors:
    """Ritz vectors from a start in the range of the operator, the image of white noise; null vectors are left out.

    Args:
        operator: symmetric positive semidefinite, `(1, *grid)` to the same, on the generator's device.
        steps: of Lanczos; no more are made than there are cells. project: see `lanczos`.
        dtype: that the vectors are kept in.
    """
    noise = torch.randn(1, *shape, generator=generator, dtype=torch.float64, device=generator.device)
    rows, diagonal, beside = lanczos(operator, operator(noise)[0], steps, project=project)
    tridiagonal = torch.diag(diagonal) + torch.diag(beside, 1) + torch.diag(beside, -1)
    values, inner = torch.linalg.eigh(tridiagonal)
    kept = values > _NULL * values[-1]
    vectors = (inner[:, kept].mT.to(dtype)) @ rows.to(dtype)
    return RitzVectors(values[kept], vectors.view(-1, *shape))
