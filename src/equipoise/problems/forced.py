"""Systems driven by a random function: antiderivative, gravity pendulum, and diffusion with reaction.

The examples of the DeepONet paper; inputs are the driving function, outputs the response over time.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float

from equipoise.errors import ConvergenceError
from equipoise.problems.problem import Problem
from equipoise.spaces.grid import Grid
from equipoise.spaces.random_fields import GaussianRandomField, squared_exponential_spectrum

__all__ = ["Antiderivative", "DiffusionReaction", "Pendulum"]


def _driving(length_scale: float) -> GaussianRandomField:
    """Random functions of the grid's interval; modes beyond these have no weight left."""
    spectrum = squared_exponential_spectrum(length_scale=length_scale, dim=1)
    return GaussianRandomField(spectrum, n_modes=max(32, math.ceil(2 / length_scale)), has_mean=True)


class Antiderivative(Problem):
    """`s' = u`, `s(0) = 0` on the unit interval, by the trapezoidal rule.

    Args:
        resolution: points, both ends included. length_scale: of the random functions u.

    Source: Lu, Jin and Karniadakis (2019).
    """

    name, input_names, output_names, order = "antiderivative", ("rate",), ("antiderivative",), 2.0

    def __init__(self, *, resolution: int = 101, length_scale: float = 0.2) -> None:
        self.grid = Grid((resolution,))
        self._field = _driving(length_scale)

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


class Pendulum(Problem):
    """`s1' = s2`, `s2' = -k sin s1 + u(t)` from rest, by the classical Runge-Kutta method, one step to a point.

    The driving function is interpolated by cubics between its points.

    Args:
        resolution: points in time, both ends included. final_time: length of the interval.
        stiffness: k. length_scale: of the random functions u.

    Source: Lu, Jin and Karniadakis (2019).
    """

    name, input_names, output_names, order = "pendulum", ("torque",), ("angle", "velocity"), 4.0

    def __init__(
        self, *, resolution: int = 101, final_time: float = 1.0, stiffness: float = 1.0, length_scale: float = 0.2
    ) -> None:
        if resolution < 4:
            raise ValueError(f"resolution={resolution} must be at least 4 points, for cubic interpolation.")
        self.grid = Grid((resolution,), ((0.0, final_time),))
        self.stiffness = stiffness
        self._field = _driving(length_scale)

    def sample(self, count: int, generator: torch.Generator) -> Float[torch.Tensor, "count 1 points"]:
        """Draw torques; see `Problem.sample`."""
        return self._field.sample(count, self.grid, generator)

    def solve(self, inputs: Float[torch.Tensor, "n inputs points"]) -> Float[torch.Tensor, "n 2 points"]:
        """See `Problem.solve`."""
        self.check_inputs(inputs)
        torque, middle = inputs[:, 0], _midpoints(inputs[:, 0])
        state = inputs.new_zeros(len(inputs), 2)
        states = [state]
        for i in range(self.grid.shape[0] - 1):
            state = self._step(state, torque[:, i], middle[:, i], torque[:, i + 1])
            states.append(state)
        return torch.stack(states, -1)

    def residual(
        self, inputs: Float[torch.Tensor, "n inputs points"], outputs: Float[torch.Tensor, "n 2 points"]
    ) -> Float[torch.Tensor, "n 2 points"]:
        """The first state, and the defect of each step per unit of time."""
        torque, middle = inputs[:, 0], _midpoints(inputs[:, 0])
        before = outputs[..., :-1].movedim(1, -1)
        after = self._step(before, torque[:, :-1], middle, torque[:, 1:]).movedim(-1, 1)
        return torch.cat([outputs[..., :1], (outputs[..., 1:] - after) / self.grid.spacings[0]], -1)

    def _step(self, state: torch.Tensor, first: torch.Tensor, middle: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        def rate(state: torch.Tensor, torque: torch.Tensor) -> torch.Tensor:
            return torch.stack([state[..., 1], torque - self.stiffness * state[..., 0].sin()], -1)

        h = self.grid.spacings[0]
        k1 = rate(state, first)
        k2 = rate(state + h / 2 * k1, middle)
        k3 = rate(state + h / 2 * k2, middle)
        k4 = rate(state + h * k3, last)
        return state + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


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
        self._field = _driving(length_scale)

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
        step, count = self.grid.spacings[0], value.shape[1] - 2
        factor = step * self.diffusion / self.grid.spacings[1] ** 2 / 2
        off = torch.full((count - 1,), -factor, dtype=value.dtype, device=value.device)
        matrix = torch.diag(off, 1) + torch.diag(off, -1)
        matrix = matrix + torch.diag_embed(1 + 2 * factor - step * self.reaction * value[:, 1:-1])
        return torch.nn.functional.pad(torch.linalg.solve(matrix, step * self._rate(value, source)), (1, 1))
