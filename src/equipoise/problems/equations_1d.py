"""Advection, Burgers, Allen-Cahn, Korteweg-de Vries and Kuramoto-Sivashinsky on periodic intervals.

Everything is dimensionless. `resolution` counts points, `length` is that of the interval; `final_time`, `n_times`,
`max_step` and the errors are those of `SpectralEvolution`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from equipoise.problems.evolution import SpectralEvolution
from equipoise.spaces.grid import Grid
from equipoise.spaces.random_fields import GaussianRandomField, matern_spectrum, squared_exponential_spectrum

__all__ = ["advection", "allen_cahn", "burgers", "korteweg_de_vries", "kuramoto_sivashinsky"]

Transform = Callable[[torch.Tensor], torch.Tensor]
Wavenumbers = list[torch.Tensor]


def _interval(resolution: int, length: float) -> Grid:
    return Grid((resolution,), ((0.0, length),), True)


def _half_square_slope(scale: float) -> Callable[..., torch.Tensor]:
    """Spectrum of `-scale (u^2 / 2)_x`."""

    def nonlinear(k: Wavenumbers, spectrum: torch.Tensor, values: Transform, spectra: Transform) -> torch.Tensor:
        return -0.5j * scale * k[0] * spectra(values(spectrum).square())

    return nonlinear


def advection(
    *,
    resolution: int = 128,
    speed: float = 1.0,
    diffusion: float = 0.0,
    length: float = 1.0,
    final_time: float = 0.5,
    n_times: int = 1,
) -> SpectralEvolution:
    """`u_t + c u_x = D u_xx`, without diffusion by default; solved exactly in its modes."""
    if not diffusion >= 0:
        raise ValueError(f"diffusion={diffusion} must not be negative.")
    return SpectralEvolution(
        name="advection",
        grid=_interval(resolution, length),
        symbol=lambda k: -1j * speed * k[0] - diffusion * k[0].square(),
        nonlinear=None,
        initial=GaussianRandomField(squared_exponential_spectrum(length_scale=0.1 * length, dim=1), has_mean=True),
        final_time=final_time,
        n_times=n_times,
        max_step=final_time,
    )


def burgers(
    *,
    resolution: int = 256,
    viscosity: float = 0.01,
    length: float = 1.0,
    final_time: float = 1.0,
    n_times: int = 1,
    max_step: float = 2e-3,
) -> SpectralEvolution:
    """`u_t + u u_x = nu u_xx`, from `N(0, 625 (-Laplace + 25)^-2)`.

    Source: Li et al. (2021), for the distribution and the times.
    """
    return SpectralEvolution(
        name="burgers",
        grid=_interval(resolution, length),
        symbol=lambda k: -viscosity * k[0].square(),
        nonlinear=_half_square_slope(1.0),
        initial=GaussianRandomField(matern_spectrum(tau=5.0, alpha=2.0, scale=625.0)),
        final_time=final_time,
        n_times=n_times,
        max_step=max_step,
    )


def allen_cahn(
    *,
    resolution: int = 128,
    width: float = 0.01,
    length: float = 1.0,
    final_time: float = 2.0,
    n_times: int = 1,
    max_step: float = 1e-2,
) -> SpectralEvolution:
    """`u_t = w^2 u_xx + u - u^3`, whose fronts have width w."""

    def nonlinear(k: Wavenumbers, spectrum: torch.Tensor, values: Transform, spectra: Transform) -> torch.Tensor:
        return -spectra(values(spectrum) ** 3)

    return SpectralEvolution(
        name="allen-cahn",
        grid=_interval(resolution, length),
        symbol=lambda k: 1 - width**2 * k[0].square(),
        nonlinear=nonlinear,
        initial=GaussianRandomField(
            squared_exponential_spectrum(length_scale=0.1 * length, dim=1, variance=0.25),
            has_mean=True,
        ),
        final_time=final_time,
        n_times=n_times,
        max_step=max_step,
    )


def korteweg_de_vries(
    *,
    resolution: int = 128,
    length: float = 40.0,
    final_time: float = 2.0,
    n_times: int = 1,
    max_step: float = 2e-3,
) -> SpectralEvolution:
    """`u_t + 6 u u_x + u_xxx = 0`."""
    return SpectralEvolution(
        name="korteweg-de-vries",
        grid=_interval(resolution, length),
        symbol=lambda k: 1j * k[0] ** 3,
        nonlinear=_half_square_slope(6.0),
        initial=GaussianRandomField(
            squared_exponential_spectrum(length_scale=3.0, dim=1, variance=0.25), has_mean=True
        ),
        final_time=final_time,
        n_times=n_times,
        max_step=max_step,
    )


def kuramoto_sivashinsky(
    *,
    resolution: int = 128,
    length: float = 64.0,
    final_time: float = 10.0,
    n_times: int = 1,
    max_step: float = 5e-2,
) -> SpectralEvolution:
    """`u_t + u u_x + u_xx + u_xxxx = 0`, chaotic on long intervals."""
    return SpectralEvolution(
        name="kuramoto-sivashinsky",
        grid=_interval(resolution, length),
        symbol=lambda k: k[0].square() - k[0] ** 4,
        nonlinear=_half_square_slope(1.0),
        initial=GaussianRandomField(squared_exponential_spectrum(length_scale=3.0, dim=1)),
        final_time=final_time,
        n_times=n_times,
        max_step=max_step,
    )
