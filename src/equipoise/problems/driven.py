"""Evolution equations at rest that a constant forcing drives: the forcing is the input, later states are the output."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float

from equipoise.problems.evolution import SpectralEvolution
from equipoise.spaces.grid import Grid
from equipoise.spaces.random_fields import GaussianRandomField

__all__ = ["DrivenEvolution"]


class DrivenEvolution(SpectralEvolution):
    """`u_t = L u + N(u) + f` from `u = 0`, with the forcing f of each sample constant in time.

    The forcing is carried along as a second component without a rate of its own, so that the integrator stays exact for
    it in every stage. Modes of the forcing beyond two thirds act no more than those of the nonlinear part.

    Args:
        forcing: distribution of f. name, grid, symbol, nonlinear, final_time, n_times, max_step, order: see
            `SpectralEvolution`; `symbol` and `nonlinear` are those of u alone.
    """

    def __init__(
        self,
        *,
        name: str,
        grid: Grid,
        symbol: Callable[[list[torch.Tensor]], torch.Tensor],
        nonlinear: Callable[..., torch.Tensor] | None,
        forcing: GaussianRandomField,
        final_time: float,
        n_times: int = 1,
        max_step: float,
        order: int = 4,
    ) -> None:
        def joint_symbol(wavenumbers: list[torch.Tensor]) -> torch.Tensor:
            own = symbol(wavenumbers)
            return torch.stack([own, torch.zeros_like(own)])

        def joint_nonlinear(
            wavenumbers: list[torch.Tensor], spectrum: torch.Tensor, values: Callable, spectra: Callable
        ) -> torch.Tensor:
            state, forced = spectrum.split(1, 1)
            rate = forced if nonlinear is None else forced + nonlinear(wavenumbers, state, values, spectra)
            return torch.cat([rate, torch.zeros_like(rate)], 1)

        super().__init__(
            name=name,
            grid=grid,
            symbol=joint_symbol,
            nonlinear=joint_nonlinear,
            initial=forcing,
            final_time=final_time,
            n_times=n_times,
            max_step=max_step,
            order=order,
        )
        self.input_names = ("forcing",)
        # Outputs are no later states of the input.
        self.times = ()

    def _trajectories(self, inputs: torch.Tensor) -> torch.Tensor:
        states = super()._trajectories(torch.cat([torch.zeros_like(inputs), inputs], 1))
        return states[:, ::2]

    def residual(
        self, inputs: Float[torch.Tensor, "n inputs *grid"], outputs: Float[torch.Tensor, "n times *grid"]
    ) -> Float[torch.Tensor, "n times *grid"]:
        """Defect of each output against the propagation of the one before it, per unit of time."""
        self.check_inputs(inputs)
        self.grid.check_field(outputs, name="outputs")
        before = torch.cat([torch.zeros_like(inputs), outputs[:, :-1]], 1)
        pairs = torch.stack([before, inputs.expand_as(before)], 2)
        propagated = self._propagate(pairs.flatten(0, 1))[:, 0].view_as(outputs)
        return (outputs - propagated) / (self.final_time / self.n_times)
