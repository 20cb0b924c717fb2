"""Exponential Runge-Kutta integration of `v' = L v + N(v)` with a diagonal L, such as a PDE in its Fourier modes."""

from __future__ import annotations

from collections.abc import Callable

import torch

__all__ = ["ORDERS", "ExponentialRungeKutta"]

Nonlinear = Callable[[torch.Tensor], torch.Tensor]
ORDERS = (4, 2)
_CONTOUR_POINTS = 32


class ExponentialRungeKutta:
    """Exponential integrator of fourth or second order (ETDRK4, ETDRK2); exact for the linear part, however stiff.

    Args:
        symbol: diagonal of L, real or complex, broadcast against the values.
        nonlinear: N, from values to values; none makes the integration exact.
        step: length of a step. order: 4, with four evaluations of N in a step, or 2, with two.

    Raises:
        ValueError: for a step that is not positive and finite, or another order.

    Source: Cox and Matthews (2002); the coefficients by a contour integral, Kassam and Trefethen (2005).
    """

    def __init__(self, symbol: torch.Tensor, nonlinear: Nonlinear | None, *, step: float, order: int = 4) -> None:
        if not 0 < step < float("inf"):
            raise ValueError(f"step={step} must be positive and finite.")
        if order not in ORDERS:
            raise ValueError(f"order={order} must be 4 or 2.")
        self.step, self.nonlinear, self.order = step, nonlinear, order
        scaled = step * symbol.to(torch.complex128)
        self._full, self._half = (self._as(symbol, torch.exp(scaled * part)) for part in (1.0, 0.5))
        angles = torch.pi * (torch.arange(_CONTOUR_POINTS, dtype=torch.float64, device=symbol.device) + 0.5)
        circle = torch.exp(2j * angles / _CONTOUR_POINTS)
        z = scaled[..., None] + circle
        e = torch.exp(z)
        if order == 2:
            slopes = ((e - 1) / z, (e - 1 - z) / z**2)
            self._first, self._last = (self._as(symbol, step * part.mean(-1)) for part in slopes)
            return
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
        n0 = self.nonlinear(values)
        if self.order == 2:
            middle = torch.addcmul(self._full * values, self._first, n0)
            return torch.addcmul(middle, self._last, self.nonlinear(middle) - n0)
        half = self._half * values
        a = torch.addcmul(half, self._stage, n0)
        n1 = self.nonlinear(a)
        b = torch.addcmul(half, self._stage, n1)
        n2 = self.nonlinear(b)
        c = torch.addcmul(self._half * a, self._stage, 2 * n2 - n0)
        n3 = self.nonlinear(c)
        result = torch.addcmul(self._full * values, self._first, n0)
        return result.addcmul_(self._middle, n1 + n2).addcmul_(self._last, n3)
