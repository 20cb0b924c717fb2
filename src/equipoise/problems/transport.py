"""Advection `s_t + a s_x = 0` over space and time by the box scheme: the four cases of the DeepONet paper.

`equations_1d.advection` is the periodic equation at constant speed alone, from one time to others.
"""

from __future__ import annotations

import torch
from jaxtyping import Float

from equipoise.problems.problem import Problem
from equipoise.spaces.grid import Grid
from equipoise.spaces.random_functions import GaussianProcess

__all__ = ["Transport"]

_CASES = ("I", "II", "III", "IV")
_INPUTS = {"I": "initial", "II": "profile", "III": "speed_change", "IV": "speed_change"}
_CHUNK_BYTES = 2**25


class Transport(Problem):
    """`s_t + a(x) s_x = 0` on the unit square of time and space, by Wendroff's box scheme; inputs are functions u(x).

    | case | speed a | at time zero | at x = 0 | u |
    | --- | --- | --- | --- | --- |
    | I | 1 | u | periodic | V(sin^2 pi x) |
    | II | 1 | x u | 0 | V |
    | III | 1 + u / 10 | x^2 | sin pi t | V |
    | IV | 1 + u / 10 | sin 2 pi x | periodic | (V(x) + V(1 - x)) / 2 |

    V is Gaussian of mean zero and covariance `exp(-r^2 / (2 l^2))`. At constant speed and as many intervals in time as
    in space the scheme is exact. It is stable at any step, and solved for all points of a time at once.

    Args:
        case: one of the four. resolution: points in space; both ends included in cases II and III, the upper one left
            out in the periodic ones. n_times: points in time, both ends included. length_scale: l.

    Raises:
        ValueError: for another case. From `solve`, for a speed that is not positive, naming the sample.

    Source: Lu, Jin and Karniadakis (2019); Wendroff (1960).
    """

    name, output_names, order = "transport", ("value",), 2.0

    def __init__(
        self, *, case: str = "III", resolution: int = 100, n_times: int = 100, length_scale: float = 0.2
    ) -> None:
        if case not in _CASES:
            raise ValueError(f"case={case!r} must be one of {', '.join(_CASES)}.")
        self.case, self.wraps = case, case in ("I", "IV")
        self.input_names = (_INPUTS[case],)
        self.grid = Grid((n_times, resolution), ((0.0, 1.0), (0.0, 1.0)), (False, self.wraps))
        self._process = GaussianProcess(length_scale=length_scale)

    @property
    def input_grid(self) -> Grid:
        """The interval on which u lives."""
        return Grid(self.grid.shape[1:], self.grid.bounds[1:], self.wraps)

    def sample(self, count: int, generator: torch.Generator) -> Float[torch.Tensor, "count 1 points"]:
        """Draw functions u; see `Problem.sample`."""
        x = self.grid.axis(1, device=generator.device)
        if self.case == "I":
            return self._process.sample(count, torch.sin(torch.pi * x).square(), generator)[:, None]
        if self.case == "IV":
            both = self._process.sample(count, torch.cat([x, 1 - x]), generator)
            return (both[:, : len(x)] + both[:, len(x) :])[:, None] / 2
        return self._process.sample(count, x, generator)[:, None]

    def solve(self, inputs: Float[torch.Tensor, "n inputs points"]) -> Float[torch.Tensor, "n 1 times points"]:
        """See `Problem.solve`."""
        self.check_inputs(inputs)
        speed = self._speed(inputs)
        bad = torch.nonzero((speed <= 0).any(1)).flatten().tolist()
        if bad:
            raise ValueError(
                f"the speed of sample {bad[0]} falls to {float(speed[bad[0]].min()):g}; give inputs above -10."
            )
        per_sample = 3 * inputs.shape[-1] ** 2 * inputs.element_size()
        parts = torch.split(inputs, max(1, _CHUNK_BYTES // per_sample))
        return torch.cat([self._solve(part) for part in parts])[:, None]

    def residual(
        self, inputs: Float[torch.Tensor, "n inputs points"], outputs: Float[torch.Tensor, "n 1 times points"]
    ) -> Float[torch.Tensor, "n 1 times points"]:
        """What is prescribed at time zero and at the inflow, and the balance of each box over its area."""
        values = outputs[:, 0]
        behind = values.roll(1, -1) if self.wraps else values[..., :-1]
        here = values if self.wraps else values[..., 1:]
        courant = self._courant(inputs)[:, None]
        change, slope = (here + behind).diff(dim=1), here - behind
        balance = (change + courant * (slope[:, 1:] + slope[:, :-1])) / (2 * self.grid.spacings[0])
        if not self.wraps:
            inflow = values[:, 1:, :1] - self._inflow(outputs)[1:, None]
            balance = torch.cat([inflow, balance], -1)
        first = values[:, :1] - self._initial(inputs)[:, None]
        return torch.cat([first, balance], 1)[:, None]

    def _solve(self, inputs: torch.Tensor) -> torch.Tensor:
        """`P s_new = Q s_old` with two entries in a row each; one solve with all columns of Q gives the step."""
        courant, count = self._courant(inputs), inputs.shape[-1]
        eye = torch.eye(count, dtype=inputs.dtype, device=inputs.device)
        behind = eye.roll(-1, 1) if self.wraps else torch.diag(eye.new_ones(count - 1), -1)
        if not self.wraps:
            # The first value is prescribed: its row is the identity, and takes nothing from the time before.
            courant = torch.nn.functional.pad(courant, (1, 0))
        plus, minus = (1 + courant)[..., None], (1 - courant)[..., None]
        left, right = plus * eye + minus * behind, minus * eye + plus * behind
        if not self.wraps:
            right[:, 0] = 0
            sides = torch.cat([right, eye[:, :1].expand(len(right), -1, -1)], -1)
            step, entering = torch.linalg.solve_triangular(left, sides, upper=False).split([count, 1], -1)
            inflow = self._inflow(inputs)
        else:
            step = torch.linalg.solve(left, right)
        states = [self._initial(inputs)]
        for number in range(1, self.grid.shape[0]):
            state = (step @ states[-1][..., None])[..., 0]
            states.append(state if self.wraps else state + inflow[number] * entering[..., 0])
        return torch.stack(states, 1)

    def _speed(self, inputs: torch.Tensor) -> torch.Tensor:
        return 1 + inputs[:, 0] / 10 if self.case in ("III", "IV") else torch.ones_like(inputs[:, 0])

    def _courant(self, inputs: torch.Tensor) -> torch.Tensor:
        """Speed in the middle of each interval, times step over spacing; at its upper end where it is not periodic."""
        speed = self._speed(inputs)
        middle = (speed + speed.roll(1, -1)) / 2 if self.wraps else (speed[:, 1:] + speed[:, :-1]) / 2
        return middle * self.grid.spacings[0] / self.grid.spacings[1]

    def _initial(self, inputs: torch.Tensor) -> torch.Tensor:
        u, x = inputs[:, 0], self.grid.axis(1, dtype=inputs.dtype, device=inputs.device)
        if self.case == "I":
            return u
        if self.case == "II":
            return x * u
        return (x.square() if self.case == "III" else torch.sin(2 * torch.pi * x)).expand_as(u)

    def _inflow(self, like: torch.Tensor) -> torch.Tensor:
        t = self.grid.axis(0, dtype=like.dtype, device=like.device)
        return torch.sin(torch.pi * t) if self.case == "III" else torch.zeros_like(t)
