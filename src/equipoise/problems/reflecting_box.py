"""Waves in a box with walls that reflect and one side that drives them: Helmholtz with Neumann conditions.

Families with prescribed boundary values stand in `elliptic.py`.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from equipoise.problems.linear_problem import LinearProblem, System
from equipoise.spaces.grid import Grid
from equipoise.spaces.random_fields import GaussianRandomField, matern_spectrum

__all__ = ["ReflectingBox"]

Array = NDArray[np.float64]


class ReflectingBox(LinearProblem):
    """`Laplace u + (omega / c)^2 u = 0` in the unit square, normal derivative 1 at the top (y = 1) and 0 elsewhere.

    The input is the wave speed `c = 20 + tanh(g)`, g Gaussian from `N(0, scale (-Laplace + 9)^-2)` with Neumann
    conditions. Finite volumes on the points of the grid, half and quarter volumes at the walls; symmetric, indefinite.

    Args:
        resolution: points along each side, both ends included; at the defaults a wavelength holds 12 intervals.
        frequency: omega. scale: of the covariance of g.

    Raises:
        ValueError: from `solve`, for a wave speed that is not positive.
        ConvergenceError: from `solve`, for a sample too close to a resonance.

    Source: the Helmholtz data of He, Liu and Xu (2024), as recalled; the law of g is not given there.
    """

    name, input_names, output_names, order = "reflecting-box", ("wave_speed",), ("amplitude",), 2.0
    is_symmetric = True

    def __init__(self, *, resolution: int = 101, frequency: float = 1000.0, scale: float = 1.0) -> None:
        if resolution < 3:
            raise ValueError(f"resolution={resolution} must be at least 3 points.")
        self.grid, self.frequency = Grid((resolution, resolution)), frequency
        self._field = GaussianRandomField(matern_spectrum(tau=3.0, alpha=2.0, scale=scale), n_modes=32, has_mean=True)
        along = self.grid.spacings[0] * np.ones(resolution)
        along[[0, -1]] /= 2
        steps = sp.diags_array(
            [-np.ones(resolution - 1), np.ones(resolution - 1)], offsets=[0, 1], shape=(resolution - 1, resolution)
        )
        between = steps.T @ steps / self.grid.spacings[0]
        widths = sp.diags_array(along)
        self._stiffness = sp.csr_array(sp.kron(between, widths) + sp.kron(widths, between))
        self._stiffness.sort_indices()
        rows = np.repeat(np.arange(resolution**2), np.diff(self._stiffness.indptr))
        self._diagonal = np.nonzero(rows == self._stiffness.indices)[0]
        self._drive = np.zeros((resolution, resolution))
        self._drive[:, -1] = along

    def sample(self, count: int, generator: torch.Generator) -> Float[torch.Tensor, "count 1 *grid"]:
        """Draw wave speeds; see `Problem.sample`."""
        return 20 + torch.tanh(self._field.sample(count, self.grid, generator))

    def assemble(self, inputs: Float[torch.Tensor, "inputs ..."]) -> System:
        """Matrix and right-hand side of one input's points, numbered in the order of the grid."""
        self.check_inputs(inputs[None])
        self._check_speed(inputs[None])
        squared = (self.frequency / inputs[0].detach().double().cpu().numpy()) ** 2
        matrix = self._stiffness.copy()
        matrix.data[self._diagonal] -= (squared * self.grid.weights().numpy()).ravel()
        return matrix, self._drive.ravel().copy()

    def embed(
        self, solution: Float[np.ndarray, " unknowns"], inputs: Float[torch.Tensor, "inputs ..."]
    ) -> Float[np.ndarray, "outputs ..."]:
        """See `LinearProblem.embed`; every point is an unknown."""
        return solution.reshape(1, *self.grid.shape)

    def residual(
        self, inputs: Float[torch.Tensor, "n inputs *grid"], outputs: Float[torch.Tensor, "n 1 *grid"]
    ) -> Float[torch.Tensor, "n 1 *grid"]:
        """Imbalance of each point's volume over its size: `-Laplace u - (omega / c)^2 u`, less what is driven."""
        self._check_speed(inputs)
        values, widths = outputs[:, 0], torch.as_tensor(self._drive[:, -1]).to(outputs)
        balance = -(self.frequency / inputs[:, 0]).square() * values
        for axis, across in ((1, widths[:, None]), (2, widths)):
            flux = values.diff(dim=axis) / self.grid.spacings[axis - 1]
            ends = torch.zeros_like(values.narrow(axis, 0, 1))
            balance = balance - torch.cat([ends, flux, ends], axis).diff(dim=axis) / across
        weights = self.grid.weights(dtype=outputs.dtype, device=outputs.device)
        return (balance - torch.as_tensor(self._drive).to(outputs) / weights)[:, None]

    def _check_speed(self, inputs: torch.Tensor) -> None:
        bad = torch.nonzero((inputs <= 0).flatten(1).any(1)).flatten().tolist()
        if bad:
            raise ValueError(f"the wave speed of sample {bad[0]} is not positive everywhere; give positive ones.")
