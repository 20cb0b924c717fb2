"""Preconditioner for elliptic matrices on the inner points of a grid: the constant-coefficient equation, inverted fast.

The Laplace operator with zero boundary values is diagonal in sine modes. Conjugate gradients with its inverse need as
many iterations as the contrast of the coefficient asks for, whatever the resolution; scaled by the diagonal, as many as
its roughness asks for.

Source: Concus and Golub (1973).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
import torch

from equipoise.solvers.linear.operators import Operator, Vector
from equipoise.solvers.linear.preconditioners import Preconditioner, Specification

__all__ = ["SineTransform"]

_LONGEST_PRODUCT = 512
# Smaller systems gain nothing by single precision.
_SINGLE = 8192


@dataclass(frozen=True)
class SineTransform(Specification):
    """The inverse of the Laplace operator on a box of points, by sine transforms; symmetric.

    Large systems are transformed in single precision, which costs no iterations.

    Attributes:
        shape: inner points along each axis; unknowns are numbered in their order, the last axis fastest.
        spacings: of the points along each axis.
        scaled: whether to scale both sides by the root of the diagonal: for smooth coefficients of large contrast.

    Raises:
        ValueError: for axes that do not fit the spacings; from `build`, for a matrix of another size, or a diagonal
            that is not positive where it scales.
    """

    shape: tuple[int, ...]
    spacings: tuple[float, ...]
    scaled: bool = False

    def __post_init__(self) -> None:
        if not self.shape or len(self.shape) != len(self.spacings) or min(self.shape) < 1 or min(self.spacings) <= 0:
            raise ValueError(f"shape {self.shape} and spacings {self.spacings} must be positive, one for each axis.")

    def build(self, operator: Operator) -> Preconditioner:
        """See `Specification.build`."""
        return _Sines(operator, self)


class _Sines(Preconditioner):
    def __init__(self, operator: Operator, options: SineTransform) -> None:
        self.name = "scaled sine transform" if options.scaled else "sine transform"
        self._options = options
        if operator.size != int(np.prod(options.shape)):
            raise ValueError(
                f"a grid of shape {options.shape} does not have the {operator.size} unknowns of the matrix."
            )
        if operator.dtype.kind != "f":
            raise ValueError("the sine transform takes real matrices only; use ilu.")
        self._dtype = np.float32 if operator.size >= _SINGLE else np.float64
        total = np.zeros(options.shape)
        self._bases: list[torch.Tensor | None] = []
        for axis, (points, spacing) in enumerate(zip(options.shape, options.spacings, strict=True)):
            modes = np.arange(1, points + 1)
            values = (2 - 2 * np.cos(np.pi * modes / (points + 1))) / spacing**2
            total += values.reshape([-1 if i == axis else 1 for i in range(len(options.shape))])
            self._bases.append(_sines(points, self._dtype) if points <= _LONGEST_PRODUCT else None)
        self._inverse = torch.from_numpy((1 / total).astype(self._dtype))
        self._root = np.ones(operator.size)
        self.update(operator)

    def update(self, operator: Operator, iterations: int | None = None) -> None:
        if not self._options.scaled:
            return
        assert operator.matrix is not None
        diagonal = operator.matrix.diagonal()
        if not (diagonal > 0).all():
            row = int(np.argmin(diagonal))
            raise ValueError(
                f"the scaled sine transform needs a positive diagonal, and A[{row}, {row}] is {diagonal[row]:g}."
            )
        # The diagonal of the Laplace operator is constant, and constants don't matter to conjugate gradients.
        self._root = np.sqrt(diagonal.mean() / diagonal)

    def apply(self, vector: Vector, out: Vector) -> None:
        scaled = vector * self._root if self._options.scaled else vector
        # Single precision overflows beyond 1e38: residuals are brought to unit size.
        size = float(np.abs(scaled).max(initial=0.0))
        if size == 0 or not np.isfinite(size):
            out[...] = scaled
            return
        field = torch.from_numpy((scaled / size).astype(self._dtype, copy=False)).reshape(self._options.shape)
        field = self._transformed(self._transformed(field) * self._inverse)
        np.multiply(field.reshape(-1).numpy(), size, out=out, dtype=np.float64)
        if self._options.scaled:
            out *= self._root

    def _transformed(self, field: torch.Tensor) -> torch.Tensor:
        """Orthonormal sine transform along all axes, its own inverse."""
        for axis, basis in enumerate(self._bases):
            if basis is None:
                field = torch.from_numpy(scipy.fft.dst(field.numpy(), type=1, axis=axis, norm="ortho"))
            elif axis == field.ndim - 1:
                field = field @ basis
            else:
                rows = field.reshape(int(np.prod(field.shape[:axis])), field.shape[axis], -1)
                field = (basis @ rows).reshape(field.shape)
        return field


def _sines(points: int, dtype: type) -> torch.Tensor:
    modes = np.arange(1, points + 1)
    waves = np.sin(np.pi * np.outer(modes, modes) / (points + 1)) * np.sqrt(2 / (points + 1))
    return torch.from_numpy(waves.astype(dtype))
