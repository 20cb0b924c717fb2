"""Evolution equations on periodic boxes, pseudo-spectral in space and exponential in time, batched on the device.

Real transforms, two thirds of the modes kept in products. Each equation is its symbol, its nonlinear part and its
random initial fields; all share this solver.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float

from equipoise.errors import ConvergenceError
from equipoise.problems.problem import Problem
from equipoise.solvers.time.exponential import ORDERS, ExponentialRungeKutta
from equipoise.spaces.grid import Grid
from equipoise.spaces.random_fields import GaussianRandomField

__all__ = ["SpectralEvolution", "dealiased"]

_CHUNK_BYTES = 2**21


def dealiased(grid: Grid, *, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu") -> torch.Tensor:
    """1 at the modes that the two-thirds rule keeps and 0 at the others, in the order of `torch.fft.rfftn`."""
    kept = torch.ones((), dtype=dtype, device=device)
    for axis, count in enumerate(grid.shape):
        last = axis == grid.dim - 1
        modes = grid.wavenumbers(axis, half=last, dtype=dtype, device=device) * grid.lengths[axis] / (2 * torch.pi)
        kept = kept[..., None] * (modes.abs().round() <= (count - 1) // 3).to(dtype)
    return kept


class SpectralEvolution(Problem):
    """`u_t = L u + N(u)` for one scalar field on a periodic box, from its initial field to given times.

    Args:
        name: of the family. grid: periodic along every axis.
        symbol: maps wavenumbers of each axis, in the order of `torch.fft.rfftn`, to the diagonal of L.
        nonlinear: maps (wavenumbers, spectrum, to_values, to_spectrum) to the spectrum of N, or `None`.
        initial: distribution of the initial field. final_time: of the last output.
        n_times: outputs at equal intervals up to the final time, one channel each.
        max_step: largest step in time; each interval is cut into equal steps.
        order: of the integrator in time, 4 or 2.

    Raises:
        ValueError: for another order, a grid that is not periodic, times or steps that are not positive.
        ConvergenceError: from `solve`, naming the sample that became not finite.
    """

    def __init__(
        self,
        *,
        name: str,
        grid: Grid,
        symbol: Callable[[list[torch.Tensor]], torch.Tensor],
        nonlinear: Callable[..., torch.Tensor] | None,
        initial: GaussianRandomField,
        final_time: float,
        n_times: int = 1,
        max_step: float,
        order: int = 4,
    ) -> None:
        if not all(grid.wraps):
            raise ValueError(f"{name} needs a grid that is periodic along every axis.")
        if not (0 < final_time < float("inf") and 0 < max_step < float("inf") and n_times >= 1):
            raise ValueError(f"final_time={final_time}, max_step={max_step}, n_times={n_times} must be positive.")
        self.name, self.grid, self.initial = name, grid, initial
        if order not in ORDERS:
            raise ValueError(f"order={order} of {name} must be 4 or 2.")
        self.final_time, self.n_times, self.max_step, self.order = final_time, n_times, max_step, float(order)
        self.input_names = ("initial",)
        self.times = tuple(final_time * (i + 1) / n_times for i in range(n_times))
        self.output_names = tuple(f"t={time:.6g}" for time in self.times)
        self._symbol, self._nonlinear = symbol, nonlinear
        self._integrators: dict[tuple[torch.dtype, torch.device], tuple[ExponentialRungeKutta, int]] = {}

    def sample(self, count: int, generator: torch.Generator) -> Float[torch.Tensor, "count 1 *grid"]:
        """Draw initial fields; see `Problem.sample`."""
        return self.initial.sample(count, self.grid, generator)

    def solve(self, inputs: Float[torch.Tensor, "n inputs *grid"]) -> Float[torch.Tensor, "n times *grid"]:
        """Fields at all output times; see `Problem.solve`."""
        self.check_inputs(inputs)
        per_sample = inputs[0].numel() * inputs.element_size() * 8
        chunks = torch.split(inputs, max(1, _CHUNK_BYTES // per_sample))
        outputs = torch.cat([self._trajectories(chunk) for chunk in chunks])
        bad = torch.nonzero(~torch.isfinite(outputs).flatten(1).all(1)).flatten().tolist()
        if bad:
            raise ConvergenceError(
                f"{self.name}: sample {bad[0]} became not finite before time {self.final_time:g}; "
                f"take a smaller max_step than {self.max_step:g} or smoother initial fields."
            )
        return outputs

    def residual(
        self, inputs: Float[torch.Tensor, "n inputs *grid"], outputs: Float[torch.Tensor, "n times *grid"]
    ) -> Float[torch.Tensor, "n times *grid"]:
        """Defect of each output against the propagation of the one before it, per unit of time."""
        self.check_inputs(inputs)
        self.grid.check_field(outputs, name="outputs")
        before = torch.cat([inputs, outputs[:, :-1]], 1)
        shape = outputs.shape
        propagated = self._propagate(before.flatten(0, 1)[:, None])[:, 0].view(shape)
        return (outputs - propagated) / (self.final_time / self.n_times)

    def _trajectories(self, inputs: torch.Tensor) -> torch.Tensor:
        integrator, steps = self._integrator(inputs)
        spectrum = self._to_spectrum(inputs)
        fields = []
        for _ in range(self.n_times):
            spectrum = integrator.advance(spectrum, steps)
            fields.append(self._to_values(spectrum))
        return torch.cat(fields, 1)

    def _propagate(self, fields: torch.Tensor) -> torch.Tensor:
        integrator, steps = self._integrator(fields)
        return self._to_values(integrator.advance(self._to_spectrum(fields), steps))

    def _axes(self) -> tuple[int, ...]:
        return tuple(range(-self.grid.dim, 0))

    def _to_spectrum(self, values: torch.Tensor) -> torch.Tensor:
        return torch.fft.rfftn(values, dim=self._axes())

    def _to_values(self, spectrum: torch.Tensor) -> torch.Tensor:
        return torch.fft.irfftn(spectrum, s=self.grid.shape, dim=self._axes())

    def _integrator(self, like: torch.Tensor) -> tuple[ExponentialRungeKutta, int]:
        key = (like.dtype, like.device)
        if key not in self._integrators:
            interval = self.final_time / self.n_times
            steps = max(1, -int(-interval // self.max_step))
            wavenumbers = self._wavenumbers(like)
            symbol, nonlinear = self._symbol(wavenumbers), None
            if self._nonlinear is not None:
                kept, given = dealiased(self.grid, dtype=like.dtype, device=like.device), self._nonlinear

                def nonlinear(spectrum: torch.Tensor) -> torch.Tensor:
                    return kept * given(wavenumbers, spectrum, self._to_values, self._to_spectrum)

            self._integrators[key] = (
                ExponentialRungeKutta(symbol, nonlinear, step=interval / steps, order=int(self.order)),
                steps,
            )
        return self._integrators[key]

    def _wavenumbers(self, like: torch.Tensor) -> list[torch.Tensor]:
        wavenumbers = []
        for axis in range(self.grid.dim):
            half = axis == self.grid.dim - 1
            along = self.grid.wavenumbers(axis, half=half, dtype=like.dtype, device=like.device)
            shape = [1] * self.grid.dim
            shape[axis] = len(along)
            wavenumbers.append(along.view(shape))
        return wavenumbers
