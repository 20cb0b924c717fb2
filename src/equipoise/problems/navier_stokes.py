"""Incompressible flow in a periodic square by its vorticity, forced or decaying; pseudo-spectral and dealiased."""

from __future__ import annotations

from collections.abc import Callable

import torch

from equipoise.problems.driven import DrivenEvolution
from equipoise.problems.evolution import SpectralEvolution, dealiased
from equipoise.spaces.grid import Grid
from equipoise.spaces.random_fields import GaussianRandomField, matern_spectrum

__all__ = ["navier_stokes"]

_INPUT_FIELDS = ("initial", "forcing")
Transform = Callable[[torch.Tensor], torch.Tensor]


class _Kernels:
    """Transport of vorticity as `(d_xx - d_yy)(u v) + d_xy(v^2 - u^2)`: four transforms where `u . grad w` has five.

    Both are the same where products are free of aliasing, so that modes are cut before and after them.

    Source: Basdevant (1983).
    """

    def __init__(self, k: list[torch.Tensor], grid: Grid, forcing: float) -> None:
        kx, ky = k
        kept = dealiased(grid, dtype=kx.dtype, device=kx.device)
        squared = kx.square() + ky.square()
        stream = kept / torch.where(squared == 0, torch.ones_like(squared), squared)
        self.velocity = torch.stack([1j * ky * stream, -1j * kx * stream])
        self.product, self.difference = kept * (kx.square() - ky.square()), kept * kx * ky
        self.forcing: torch.Tensor | None = None
        if forcing:
            phase = 2 * torch.pi / grid.lengths[0] * grid.points(dtype=kx.dtype, device=kx.device).sum(-1)
            self.forcing = torch.fft.rfft2(forcing * (phase.sin() + phase.cos()))

    def rate(self, spectrum: torch.Tensor, values: Transform, spectra: Transform) -> torch.Tensor:
        """Spectrum of the rate of change of the vorticity, `(n, 1, ...)`, but for diffusion."""
        velocity = values(self.velocity * spectrum)
        u, v = velocity[:, :1], velocity[:, 1:]
        products = spectra(torch.cat([u * v, (v - u) * (v + u)], 1))
        rate = torch.addcmul(self.product * products[:, :1], self.difference, products[:, 1:])
        return rate if self.forcing is None else rate + self.forcing


def navier_stokes(
    *,
    resolution: int = 64,
    viscosity: float = 1e-3,
    forcing: float = 0.1,
    length: float = 1.0,
    final_time: float = 1.0,
    n_times: int = 1,
    max_step: float = 5e-3,
    order: int = 4,
    input_field: str = "initial",
    forcing_scale: float = 1.0,
) -> SpectralEvolution:
    """`w_t + u . grad w = nu Laplace w + f` with `f = F (sin(2 pi (x + y) / L) + cos(2 pi (x + y) / L))`.

    Args:
        resolution: points along each side. viscosity: nu. forcing: F; zero lets the flow decay.
        length: side L. final_time, n_times, max_step, order: see `SpectralEvolution`.
        input_field: `"initial"`, the vorticity at first; or `"forcing"`, a random f for each sample that drives the
            fluid from rest; F has no meaning then.
        forcing_scale: factor of a random forcing, which is drawn from `N(0, 2 (27 L)^2 (-Laplace + 9)^-4)`, with a
            root mean square of 1.36 for L = 2 pi.

    Raises:
        ValueError: for another input field, or a scale that is not positive.

    Source: Li et al. (2021), for forcing and the distribution `N(0, 7^1.5 (-Laplace + 49)^-2.5)`; random forcing after
    Kossaifi et al. (2024), whose amplitude and horizon are not published.
    """
    if input_field not in _INPUT_FIELDS:
        raise ValueError(f"input_field={input_field!r} of navier-stokes must be one of {', '.join(_INPUT_FIELDS)}.")
    is_driven = input_field == "forcing"
    if not forcing_scale > 0:
        raise ValueError(f"forcing_scale={forcing_scale} of navier-stokes must be positive.")
    grid = Grid((resolution, resolution), ((0.0, length), (0.0, length)), True)

    kernels: dict[tuple[torch.dtype, torch.device], _Kernels] = {}

    def nonlinear(k: list[torch.Tensor], spectrum: torch.Tensor, values: Transform, spectra: Transform) -> torch.Tensor:
        key = (k[0].dtype, k[0].device)
        if key not in kernels:
            kernels[key] = _Kernels(k, grid, 0.0 if is_driven else forcing)
        return kernels[key].rate(spectrum, values, spectra)

    def symbol(k: list[torch.Tensor]) -> torch.Tensor:
        return -viscosity * (k[0].square() + k[1].square())

    if is_driven:
        return DrivenEvolution(
            name="navier-stokes",
            grid=grid,
            symbol=symbol,
            nonlinear=nonlinear,
            forcing=GaussianRandomField(
                matern_spectrum(tau=3.0, alpha=4.0, scale=2 * (27 * length * forcing_scale) ** 2)
            ),
            final_time=final_time,
            n_times=n_times,
            max_step=max_step,
            order=order,
        )
    return SpectralEvolution(
        name="navier-stokes",
        grid=grid,
        symbol=symbol,
        nonlinear=nonlinear,
        initial=GaussianRandomField(matern_spectrum(tau=7.0, alpha=2.5, scale=7**1.5)),
        final_time=final_time,
        n_times=n_times,
        max_step=max_step,
        order=order,
    )
