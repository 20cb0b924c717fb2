"""Exponential Runge-Kutta integration of `v' = L v + N(v)` with a diagonal L, such as a PDE in its Fourier modes."""

from __future__ import annotations

from collections.abc import Callable

import torch

__all__ = ["ExponentialRungeKutta"]

Nonlinear = Callable[[torch.Tensor], torch.Tensor]
_CONTOUR_POINTS = 32


class ExponentialRungeKutta:
    """Fourth-order exponential integrator (ETDRK4); exact for the linear part, whatever its stiffness.

    Args:
        symbol: diagonal of L, real or complex, broadcast against the values.
        nonlinear: N, from values to values; none makes the integration exact.
        step: length of a step.

    Raises:
        ValueError: for a step that is not positive and finite.

    Source: Cox and Matthews (2002); the coefficients by a contour integral, Kassam and Trefethen (2005).
    """

    order = 4

    def __init__(self, symbol: torch.Tensor, nonlinear: Nonlinear | None, *, step: float) -> None:
        if not 0 < step < float("inf"):
            raise ValueError(f"step={step} must be positive and finite.")
        self.step, self.nonlinear = step, nonlinear
        scaled = step * symbol.to(torch.complex128)
        self._full, self._half = (self._as(symbol, torch.exp(scaled * part)) for part in (1.0, 0.5))
        angles = torch.pi * (torch.arange(_CONTOUR_POINTS, dtype=torch.float64, device=symbol.device) + 0.5)
        circle = torch.exp(2j * angles / _CONTOUR_POINTS)
        z = scaled[..., None] + circle
        e = torch.exp(z)
        stage = (torch.exp(z / 2) - 1) / z
        first = (-4 - z + e * (4 - 3 * z + z**2)) / z**3
        middle = (2 + z + e * (-2 + z)) / z**3
        last = (-4 - 3 * z - z**2 + e * (4 - z)) / z**3
        means = [self._as(symbol, step * part.mean(-1)) for part in (stage, first, 2 * middle, last)]
        self._stage, self._first, self._middle, self._last = means

    @staticmethod
    def _as(symbol: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        return values.to(symbol.dtype) if symbol.is_complex() else values.real.to(symbol.dtype)

    def advance(self, values: torch.Tensor, steps: int = 1) -> torch.Tensor:
        """Values after a number of steps."""
        for _ in range(steps):
            values = self._advance(values)
        return values

    def _advance(self, values: torch.Tensor) -> torch.Tensor:
        if self.nonlinear is None:
            return self._full * values
        half = self._half * values
        n0 = self.nonlinear(values)
        a = torch.addcmul(half, self._stage, n0)
        n1 = self.nonlinear(a)
        b = torch.addcmul(half, self._stage, n1)
        n2 = self.nonlinear(b)
        c = torch.addcmul(self._half * a, self._stage, 2 * n2 - n0)
        n3 = self.nonlinear(c)
        result = torch.addcmul(self._full * values, self._first, n0)
        return result.addcmul_(self._middle, n1 + n2).addcmul_(self._last, n3)
