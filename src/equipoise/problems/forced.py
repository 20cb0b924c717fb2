"""Systems driven by a random function: antiderivative, pendulum, a Riccati equation, and diffusion with reaction.

The examples of the DeepONet paper; inputs are the driving function, outputs the response over time.
"""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from jaxtyping import Float

from equipoise.errors import ConvergenceError
from equipoise.problems.problem import Problem
from equipoise.spaces.grid import Grid
from equipoise.spaces.random_fields import GaussianRandomField, squared_exponential_spectrum

__all__ = ["Antiderivative", "DiffusionReaction", "NonlinearODE", "Pendulum"]


_FINE = 201


class _Driving:
    """Random functions on an interval, Gaussian with mean zero and covariance `exp(-r^2 / (2 l^2))`."""

    def __init__(self, length_scale: float) -> None:
        if not length_scale > 0:
            raise ValueError(f"length_scale={length_scale} must be positive.")
        self.length_scale = length_scale

    def sample(self, count: int, grid: Grid, generator: torch.Generator) -> torch.Tensor:
        """Draw functions, `(count, 1, points)`; the same ones at any resolution."""
        # A periodic field whose period is so much longer that the ends of the interval do not see each other round it.
        multiple = 1 + math.ceil(6 * self.length_scale / grid.lengths[0])
        low, period = grid.bounds[0][0], multiple * grid.lengths[0]
        around = Grid((multiple * grid.intervals[0],), ((low, low + period),), periodic=True)
        spectrum = squared_exponential_spectrum(length_scale=self.length_scale, dim=1)
        # Modes beyond these have no weight left.
        field = GaussianRandomField(spectrum, n_modes=math.ceil(1.4 * period / self.length_scale), has_mean=True)
        return field.sample(count, around, generator)[..., : grid.shape[0]]


class Antiderivative(Problem):
    """`s' = u`, `s(0) = 0` on the unit interval, by the trapezoidal rule.

    Args:
        resolution: points, both ends included. length_scale: of the random functions u.

    Source: Lu, Jin and Karniadakis (2019).
    """

    name, input_names, output_names, order = "antiderivative", ("rate",), ("antiderivative",), 2.0

    def __init__(self, *, resolution: int = 101, length_scale: float = 0.2) -> None:
        self.grid = Grid((resolution,))
        self._field = _Driving(length_scale)

    def sample(self, count: int, generator: torch.Generator) -> Float[torch.Tensor, "count 1 points"]:
        """Draw rates; see `Problem.sample`."""
        return self._field.sample(count, self.grid, generator)

    def solve(self, inputs: Float[torch.Tensor, "n inputs points"]) -> Float[torch.Tensor, "n 1 points"]:
        """See `Problem.solve`."""
        self.check_inputs(inputs)
        steps = self.grid.spacings[0] * (inputs[..., 1:] + inputs[..., :-1]) / 2
        return torch.nn.functional.pad(steps.cumsum(-1), (1, 0))

    def residual(
        self, inputs: Float[torch.Tensor, "n inputs points"], outputs: Float[torch.Tensor, "n 1 points"]
    ) -> Float[torch.Tensor, "n 1 points"]:
        """The first value, and each step's slope less the mean rate of the step."""
        slope = outputs.diff(dim=-1) / self.grid.spacings[0]
        return torch.cat([outputs[..., :1], slope - (inputs[..., 1:] + inputs[..., :-1]) / 2], -1)


class _DrivenSystem(Problem):
    """Ordinary equations `s' = f(s, u(t))` from rest, by the classical Runge-Kutta method, one step to a point.

    The driving function is interpolated by cubics between its points.
    """

    order = 4.0

    def __init__(self, *, resolution: int, final_time: float, length_scale: float) -> None:
        if resolution < 4:
            raise ValueError(f"resolution={resolution} must be at least 4 points, for cubic interpolation.")
        self.grid = Grid((resolution,), ((0.0, final_time),))
        self._field = _Driving(length_scale)

    @abstractmethod
    def rate(self, state: torch.Tensor, drive: torch.Tensor) -> torch.Tensor:
        """f of states `(..., states)` and driving values `(...)`."""

    def sample(self, count: int, generator: torch.Generator) -> Float[torch.Tensor, "count 1 points"]:
        """Draw driving functions; see `Problem.sample`."""
        return self._field.sample(count, self.grid, generator)

    def solve(self, inputs: Float[torch.Tensor, "n inputs points"]) -> Float[torch.Tensor, "n states points"]:
        """See `Problem.solve`."""
        self.check_inputs(inputs)
        found = self._respond(inputs[:, 0], self.grid.spacings[0])
        bad = torch.nonzero(~torch.isfinite(found).flatten(1).all(1)).flatten().tolist()
        if bad:
            raise ConvergenceError(f"{self.name}: sample {bad[0]} blows up before time {self.grid.bounds[0][1]:g}.")
        return found

    def residual(
        self, inputs: Float[torch.Tensor, "n inputs points"], outputs: Float[torch.Tensor, "n states points"]
    ) -> Float[torch.Tensor, "n states points"]:
        """The first state, and the defect of each step per unit of time."""
        drive, middle, step = inputs[:, 0], _midpoints(inputs[:, 0]), self.grid.spacings[0]
        before = outputs[..., :-1].movedim(1, -1)
        after = self._step(before, drive[:, :-1], middle, drive[:, 1:], step).movedim(-1, 1)
        return torch.cat([outputs[..., :1], (outputs[..., 1:] - after) / step], -1)

    def _respond(self, drive: torch.Tensor, step: float) -> torch.Tensor:
        """States at all points, `(n, points)` to `(n, states, points)`."""
        middle = _midpoints(drive)
        state = drive.new_zeros(len(drive), len(self.output_names))
        states = [state]
        for i in range(drive.shape[1] - 1):
            state = self._step(state, drive[:, i], middle[:, i], drive[:, i + 1], step)
            states.append(state)
        return torch.stack(states, -1)

    def _step(
        self, state: torch.Tensor, first: torch.Tensor, middle: torch.Tensor, last: torch.Tensor, h: float
    ) -> torch.Tensor:
        k1 = self.rate(state, first)
        k2 = self.rate(state + h / 2 * k1, middle)
        k3 = self.rate(state + h / 2 * k2, middle)
        k4 = self.rate(state + h * k3, last)
        return state + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


class Pendulum(_DrivenSystem):
    """`s1' = s2`, `s2' = -k sin s1 + u(t)` from rest, by the classical Runge-Kutta method, one step to a point.

    Args:
        resolution: points in time, both ends included. final_time: length of the interval.
        stiffness: k. length_scale: of the random functions u, interpolated by cubics.

    Source: Lu, Jin and Karniadakis (2019).
    """

    name, input_names, output_names = "pendulum", ("torque",), ("angle", "velocity")

    def __init__(
        self, *, resolution: int = 101, final_time: float = 1.0, stiffness: float = 1.0, length_scale: float = 0.2
    ) -> None:
        super().__init__(resolution=resolution, final_time=final_time, length_scale=length_scale)
        self.stiffness = stiffness

    def rate(self, state: torch.Tensor, drive: torch.Tensor) -> torch.Tensor:
        """Velocity and acceleration."""
        return torch.stack([state[..., 1], drive - self.stiffness * state[..., 0].sin()], -1)


class NonlinearODE(_DrivenSystem):
    """`s' = -s^2 + u(t)` from rest, by the classical Runge-Kutta method, one step to a point.

    The equation is Riccati's: for functions u that stay negative the solution runs away in finite time, and a few such
    samples would rule every mean. `sample` draws only functions whose solution stays below a limit, judged on one fixed
    fine grid whatever the resolution; at the defaults about one in a hundred is drawn again.

    Args:
        resolution: points in time, both ends included. final_time: length of the interval.
        length_scale: of the random functions u, interpolated by cubics. limit: that `|s|` stays below; infinite for
            all functions, those that run away included.

    Raises:
        ConvergenceError: from `solve`, naming a sample that runs away.

    Source: Lu, Jin and Karniadakis (2019).
    """

    name, input_names, output_names = "nonlinear-ode", ("drive",), ("state",)

    def __init__(
        self, *, resolution: int = 101, final_time: float = 1.0, length_scale: float = 0.2, limit: float = 5.0
    ) -> None:
        super().__init__(resolution=resolution, final_time=final_time, length_scale=length_scale)
        if not limit > 0:
            raise ValueError(f"limit={limit} must be positive.")
        self.limit = limit

    def rate(self, state: torch.Tensor, drive: torch.Tensor) -> torch.Tensor:
        """-s^2 + u."""
        return drive[..., None] - state.square()

    def sample(self, count: int, generator: torch.Generator) -> Float[torch.Tensor, "count 1 points"]:
        """Draw functions whose solution stays below the limit; see `Problem.sample`."""
        fine = self.grid.resized((_FINE,))
        kept: list[torch.Tensor] = []
        missing = count
        while missing > 0:
            state = generator.get_state()
            judged = self._respond(self._field.sample(missing, fine, generator)[:, 0], fine.spacings[0])
            generator.set_state(state)
            drawn = self._field.sample(missing, self.grid, generator)
            # A solution that ran away is not a number, and no number is not below the limit either.
            stays = (judged.abs() < self.limit).flatten(1).all(1)
            kept.append(drawn[stays] if math.isfinite(self.limit) else drawn)
            missing -= len(kept[-1])
        return torch.cat(kept)


def _midpoints(values: torch.Tensor) -> torch.Tensor:
    """Values halfway between neighbours by cubics through four points, `(n, points)` to `(n, points - 1)`."""
    inner = (9 * (values[:, 1:-2] + values[:, 2:-1]) - values[:, :-3] - values[:, 3:]) / 16
    left = (5 * values[:, :1] + 15 * values[:, 1:2] - 5 * values[:, 2:3] + values[:, 3:4]) / 16
    right = (5 * values[:, -1:] + 15 * values[:, -2:-1] - 5 * values[:, -3:-2] + values[:, -4:-3]) / 16
    return torch.cat([left, inner, right], 1)


class DiffusionReaction(Problem):
    """`s_t = D s_xx + k s^2 + u(x)` on the unit interval, zero at first and at both ends.

    Crank-Nicolson in time with the reaction linearised at each step, central differences in space.

    Args:
        resolution: points in space, both ends included. n_times: points in time, the start included.
        diffusion: D. reaction: k. length_scale: of the random functions u.

    Raises:
        ConvergenceError: from `solve`, naming a sample that blows up.

    Source: Lu, Jin and Karniadakis (2019).
    """

    name, input_names, output_names, order = "diffusion-reaction", ("source",), ("concentration",), 2.0

    def __init__(
        self,
        *,
        resolution: int = 101,
        n_times: int = 101,
        final_time: float = 1.0,
        diffusion: float = 0.01,
        reaction: float = 0.01,
        length_scale: float = 0.2,
    ) -> None:
        self.grid = Grid((n_times, resolution), ((0.0, final_time), (0.0, 1.0)))
        self.diffusion, self.reaction = diffusion, reaction
        self._field = _Driving(length_scale)

    @property
    def input_grid(self) -> Grid:
        """The interval on which the source lives."""
        return Grid(self.grid.shape[1:], self.grid.bounds[1:])

    def sample(self, count: int, generator: torch.Generator) -> Float[torch.Tensor, "count 1 points"]:
        """Draw sources; see `Problem.sample`."""
        return self._field.sample(count, self.input_grid, generator)

    def solve(self, inputs: Float[torch.Tensor, "n inputs points"]) -> Float[torch.Tensor, "n 1 times points"]:
        """See `Problem.solve`."""
        self.check_inputs(inputs)
        value = torch.zeros_like(inputs[:, 0])
        values = [value]
        for _ in range(self.grid.shape[0] - 1):
            value = value + self._change(value, inputs[:, 0])
            values.append(value)
        found = torch.stack(values, 1)[:, None]
        bad = torch.nonzero(~torch.isfinite(found).flatten(1).all(1)).flatten().tolist()
        if bad:
            raise ConvergenceError(f"{self.name}: sample {bad[0]} blows up before time {self.grid.bounds[0][1]:g}.")
        return found

    def residual(
        self, inputs: Float[torch.Tensor, "n inputs points"], outputs: Float[torch.Tensor, "n 1 times points"]
    ) -> Float[torch.Tensor, "n 1 times points"]:
        """The first row and both ends, and the imbalance of each step in the scheme's own equations."""
        before, change = outputs[:, 0, :-1], outputs[:, 0].diff(dim=1)
        step = self.grid.spacings[0]
        rate = self._rate(before, inputs)
        implicit = self._second_difference(change) / 2 + self.reaction * (before * change)[..., 1:-1]
        inner = change[..., 1:-1] / step - rate - implicit
        ends = outputs[:, 0, 1:, [0, -1]]
        inside = torch.cat([ends[..., :1], inner, ends[..., 1:]], -1)
        return torch.cat([outputs[:, 0, :1], inside], 1)[:, None]

    def _rate(self, value: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        return self._second_difference(value) + self.reaction * value[..., 1:-1].square() + source[..., 1:-1]

    def _second_difference(self, value: torch.Tensor) -> torch.Tensor:
        return self.diffusion / self.grid.spacings[1] ** 2 * value.diff(n=2, dim=-1)

    def _change(self, value: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        step = self.grid.spacings[0]
        factor = step * self.diffusion / self.grid.spacings[1] ** 2 / 2
        diagonal = 1 + 2 * factor - step * self.reaction * value[:, 1:-1]
        found = _solve_tridiagonal(-factor, diagonal, step * self._rate(value, source))
        return torch.nn.functional.pad(found, (1, 1))


def _solve_tridiagonal(beside: float, diagonal: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Thomas' elimination for matrices with one number beside the diagonal, all at once; `(n, m)` each."""
    pivots: list[torch.Tensor] = []
    values: list[torch.Tensor] = []
    for pivot, value in zip(diagonal.unbind(1), right.unbind(1), strict=True):
        if pivots:
            factor = beside / pivots[-1]
            pivot, value = pivot - factor * beside, value - factor * values[-1]
        pivots.append(pivot)
        values.append(value)
    found = [values[-1] / pivots[-1]]
    for pivot, value in zip(pivots[-2::-1], values[-2::-1], strict=True):
        found.append((value - beside * found[-1]) / pivot)
    return torch.stack(found[::-1], 1)
