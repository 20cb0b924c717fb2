"""Equations with a random coefficient, as the DeepONet paper poses them: growth at a random rate, a random medium.

Coefficients are Gaussian processes whose length scale is drawn for each sample, cut to a few Karhunen-Loeve terms.
"""

from __future__ import annotations

import torch
from jaxtyping import Float

from equipoise.problems.problem import Problem
from equipoise.spaces.grid import Grid
from equipoise.spaces.random_functions import GaussianProcess

__all__ = ["RandomGrowth", "RandomMedium"]


class _RandomLength:
    """Processes on the unit interval whose length scale is uniform in a range."""

    def __init__(self, lowest: float, highest: float, kernel: str, n_terms: int) -> None:
        if not 0 < lowest <= highest:
            raise ValueError(f"length scales from {lowest} to {highest} must be positive and in order.")
        self.lowest, self.highest, self.kernel, self.n_terms = lowest, highest, kernel, n_terms
        # Names a kernel that is unknown before work starts.
        GaussianProcess(length_scale=lowest, kernel=kernel, n_terms=n_terms)

    def draw(self, generator: torch.Generator) -> GaussianProcess:
        share = float(torch.rand((), generator=generator, dtype=torch.float64, device=generator.device))
        scale = self.lowest + share * (self.highest - self.lowest)
        return GaussianProcess(length_scale=scale, kernel=self.kernel, n_terms=self.n_terms)


def _integral(values: torch.Tensor, spacing: float) -> torch.Tensor:
    """From the lower end to every point, by the trapezoidal rule along the last axis."""
    steps = spacing * (values[..., 1:] + values[..., :-1]) / 2
    return torch.nn.functional.pad(steps.cumsum(-1), (1, 0))


class RandomGrowth(Problem):
    """`y' = k(t; w) y`, `y(0) = 1` on the unit interval, with a Gaussian rate k of mean zero.

    The operator for `statistic="mean"` maps a process to the mean of all its solutions: inputs are its Karhunen-Loeve
    functions `sqrt(lambda_i) e_i`, one channel each, and `E y = exp(sum_i (integral of sqrt(lambda_i) e_i)^2 / 2)`,
    which for all terms is `exp(variance of the integral of k / 2)`. For `"path"` it maps one drawn rate to its
    solution. Integrals are taken by the trapezoidal rule.

    Args:
        statistic: `"mean"` or `"path"`. resolution: points in time, both ends included.
        n_terms: of the expansion. lowest_length, highest_length: range of the length scale, uniform.
        kernel: see `GaussianProcess`.

    Raises:
        ValueError: for another statistic, or options out of range.

    Source: Lu, Jin and Karniadakis (2019), with 5 terms at 20 sensors and length scales from 1 to 2.
    """

    name, order = "random-growth", 2.0

    def __init__(
        self,
        *,
        statistic: str = "mean",
        resolution: int = 101,
        n_terms: int = 5,
        lowest_length: float = 1.0,
        highest_length: float = 2.0,
        kernel: str = "squared-exponential",
    ) -> None:
        if statistic not in ("mean", "path"):
            raise ValueError(f"statistic={statistic!r} must be mean or path.")
        self.grid, self.statistic = Grid((resolution,)), statistic
        self._lengths = _RandomLength(lowest_length, highest_length, kernel, n_terms)
        is_mean = statistic == "mean"
        self.input_names = tuple(f"term {i + 1}" for i in range(n_terms)) if is_mean else ("rate",)
        self.output_names = ("mean",) if is_mean else ("solution",)

    def sample(self, count: int, generator: torch.Generator) -> Float[torch.Tensor, "count inputs points"]:
        """Draw processes, or rates of them; see `Problem.sample`."""
        points, rows = self.grid.axis(0, device=generator.device), []
        for _ in range(count):
            process = self._lengths.draw(generator)
            mean = self.statistic == "mean"
            rows.append(process.functions(points) if mean else process.sample(1, points, generator))
        return torch.stack(rows)

    def solve(self, inputs: Float[torch.Tensor, "n inputs points"]) -> Float[torch.Tensor, "n 1 points"]:
        """See `Problem.solve`."""
        self.check_inputs(inputs)
        return self._exponent(inputs).exp()

    def residual(
        self, inputs: Float[torch.Tensor, "n inputs points"], outputs: Float[torch.Tensor, "n 1 points"]
    ) -> Float[torch.Tensor, "n 1 points"]:
        """The first value less 1, and the growth over each step less that of its exponent, per unit of time."""
        grown = outputs[..., :-1] * self._exponent(inputs).diff(dim=-1).exp()
        return torch.cat([outputs[..., :1] - 1, (outputs[..., 1:] - grown) / self.grid.spacings[0]], -1)

    def _exponent(self, inputs: torch.Tensor) -> torch.Tensor:
        total = _integral(inputs, self.grid.spacings[0])
        return total.square().sum(1, keepdim=True) / 2 if self.statistic == "mean" else total


class RandomMedium(Problem):
    """`-(e^b s')' = f` on the unit interval, `s = 0` at both ends, with a Gaussian b of mean zero; the input is b.

    `s = C v1 - v2` with `v1 = integral of e^-b`, `v2 = f integral of z e^-b` and `C = v2(1) / v1(1)`, by the
    trapezoidal rule.

    Args:
        resolution: points, both ends included. source: f. n_terms: of the expansion of b.
        lowest_length, highest_length: range of the length scale of b, uniform. kernel: see `GaussianProcess`.

    Raises:
        ValueError: for options out of range.

    Source: Lu, Jin and Karniadakis (2019), with f = 10 and 8 terms.
    """

    name, input_names, output_names, order = "random-medium", ("log_conductivity",), ("solution",), 2.0

    def __init__(
        self,
        *,
        resolution: int = 101,
        source: float = 10.0,
        n_terms: int = 8,
        lowest_length: float = 1.0,
        highest_length: float = 2.0,
        kernel: str = "squared-exponential",
    ) -> None:
        if resolution < 3:
            raise ValueError(f"resolution={resolution} must be at least 3 points.")
        self.grid, self.source = Grid((resolution,)), source
        self._lengths = _RandomLength(lowest_length, highest_length, kernel, n_terms)

    def sample(self, count: int, generator: torch.Generator) -> Float[torch.Tensor, "count 1 points"]:
        """Draw logarithms of the conductivity; see `Problem.sample`."""
        points = self.grid.axis(0, device=generator.device)
        return torch.stack([self._lengths.draw(generator).sample(1, points, generator) for _ in range(count)])

    def solve(self, inputs: Float[torch.Tensor, "n inputs points"]) -> Float[torch.Tensor, "n 1 points"]:
        """See `Problem.solve`."""
        self.check_inputs(inputs)
        resistance = torch.exp(-inputs)
        first = _integral(resistance, self.grid.spacings[0])
        second = _integral(self.source * self._points(inputs) * resistance, self.grid.spacings[0])
        return second[..., -1:] / first[..., -1:] * first - second

    def residual(
        self, inputs: Float[torch.Tensor, "n inputs points"], outputs: Float[torch.Tensor, "n 1 points"]
    ) -> Float[torch.Tensor, "n 1 points"]:
        """Both end values, and at inner points how far the flux departs from what the source makes of it."""
        resistance, spacing = torch.exp(-inputs), self.grid.spacings[0]
        through = (resistance[..., 1:] + resistance[..., :-1]) / 2
        loaded = self.source * self._points(inputs) * resistance
        slope = outputs.diff(dim=-1) / spacing + (loaded[..., 1:] + loaded[..., :-1]) / 2
        # The flux at the lower end, as each interval sees it.
        balance = -(slope / through).diff(dim=-1) / spacing
        return torch.cat([outputs[..., :1], balance, outputs[..., -1:]], -1)

    def _points(self, like: torch.Tensor) -> torch.Tensor:
        return self.grid.axis(0, dtype=like.dtype, device=like.device)
