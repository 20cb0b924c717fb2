"""Gaussian random fields on grids, drawn in their modes, so that one seed gives one field at any resolution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float

from equipoise.spaces.grid import Grid

__all__ = ["GaussianRandomField", "matern_spectrum", "squared_exponential_spectrum", "threshold"]

Spectrum = Callable[[torch.Tensor], torch.Tensor]


def matern_spectrum(*, tau: float, alpha: float, scale: float = 1.0) -> Spectrum:
    """Eigenvalues `scale (k^2 + tau^2)^(-alpha)` of the covariance `scale (-Laplace + tau^2)^(-alpha)`.

    Source: Li et al. (2021), who take tau 3, alpha 2 for Darcy, and tau 7, alpha 2.5, scale 7^1.5 for Navier-Stokes.
    """
    return lambda squared: scale * (squared + tau**2) ** (-alpha)


def squared_exponential_spectrum(*, length_scale: float, dim: int, variance: float = 1.0) -> Spectrum:
    """Eigenvalues of the covariance `variance exp(-r^2 / (2 l^2))`, as a density over angular wavenumbers."""
    size = variance * (2 * torch.pi) ** (dim / 2) * length_scale**dim
    return lambda squared: size * torch.exp(-squared * length_scale**2 / 2)


@dataclass(frozen=True)
class GaussianRandomField:
    """Stationary Gaussian field on a box with a covariance that is diagonal in Fourier modes or cosines.

    Along periodic axes the modes are Fourier's, along the others cosines (Neumann). Modes are drawn first and then
    evaluated exactly at the points asked, resolved there or not.

    Attributes:
        spectrum: eigenvalue of the covariance operator at a squared wavenumber `|k|^2`; the eigenfunctions have unit
            L2 norm on the box.
        n_modes: highest mode along each axis.
        has_mean: whether the constant mode is drawn.

    Raises:
        ValueError: for fewer than one mode.
    """

    spectrum: Spectrum
    n_modes: int = 32
    has_mean: bool = False

    def __post_init__(self) -> None:
        if self.n_modes < 1:
            raise ValueError(f"n_modes={self.n_modes} must be at least 1.")

    def sample(
        self,
        count: int,
        grid: Grid,
        generator: torch.Generator,
        *,
        dtype: torch.dtype = torch.float64,
    ) -> Float[torch.Tensor, "count 1 *grid"]:
        """Draw fields, `(count, 1, *grid)`, on the generator's device.

        The same state of the generator gives the same fields on every grid of the same box and periodicity.
        """
        device = generator.device
        sizes = [2 * self.n_modes + 1 if wraps else self.n_modes + 1 for wraps in grid.wraps]
        parts = torch.randn(count, 2, *sizes, generator=generator, dtype=torch.float64, device=device)
        deviation, bases = _modes(self, grid, device)
        # Cosines are real, and so only the real part of their factors is seen.
        field = (torch.complex(parts[:, 0], parts[:, 1]) if any(grid.wraps) else parts[:, 0]) * deviation
        for axis, basis in enumerate(bases):
            field = torch.movedim(torch.movedim(field, 1 + axis, -1) @ basis.T, -1, 1 + axis)
        return (field.real if field.is_complex() else field)[:, None].to(dtype)


@lru_cache(maxsize=8)
def _modes(
    field: GaussianRandomField, grid: Grid, device: torch.device
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """Deviation of each mode, and the values of the modes of each axis at the points; the same for all draws."""
    squared = torch.zeros((), dtype=torch.float64, device=device)
    bases = []
    for axis, (length, wraps) in enumerate(zip(grid.lengths, grid.wraps, strict=True)):
        offset = grid.axis(axis, device=device) - grid.bounds[axis][0]
        if wraps:
            modes = torch.arange(-field.n_modes, field.n_modes + 1, device=device, dtype=torch.float64)
            wavenumbers = 2 * torch.pi * modes / length
            bases.append(torch.exp(1j * wavenumbers * offset[:, None]) / length**0.5)
        else:
            modes = torch.arange(field.n_modes + 1, device=device, dtype=torch.float64)
            wavenumbers = torch.pi * modes / length
            size = torch.where(modes == 0, 1.0, 2.0**0.5) / length**0.5
            waves = torch.cos(wavenumbers * offset[:, None]) * size
            bases.append(waves.to(torch.complex128) if any(grid.wraps) else waves)
        squared = squared[..., None] + wavenumbers.square()
    deviation = field.spectrum(squared).clamp(min=0).sqrt()
    if not field.has_mean:
        deviation = torch.where(squared == 0, torch.zeros_like(deviation), deviation)
    return deviation, tuple(bases)


def threshold(field: torch.Tensor, *, low: float, high: float, level: float = 0.0) -> torch.Tensor:
    """`high` where the field is at least `level`, `low` elsewhere."""
    return torch.where(field >= level, high, low).to(field.dtype)
