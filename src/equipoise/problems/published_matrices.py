"""The matrices of a published data generator, slips included: for comparison with printed figures, not for physics.

Their names say Darcy and Helmholtz; **they discretise neither**. The true equations are in `elliptic.py`. Two slips
make the matrices nonsymmetric and indefinite: a row holds the coefficients of its columns (`-Laplace(a u)` in place of
`-div(a grad u)`), and for the neighbour in the row of points before, the coefficient two points further back is taken.
Without the second slip a matrix is `L diag(a)` with one L for all samples, and no solve would be needed.

Source: Wang et al. (2024), sorted Krylov recycling, and their public code, from which the formulas are taken.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch
from jaxtyping import Float

from equipoise.problems.linear_problem import LinearProblem, System
from equipoise.problems.stencil import StencilPattern
from equipoise.spaces.grid import Grid

__all__ = ["DarcyPublished", "HelmholtzPublished"]

_ALPHA, _TAU = 2.5, 7.0


def _conductivity(count: int, points: int, generator: torch.Generator) -> torch.Tensor:
    """`exp(g)`, g a periodic Gaussian field of mean zero and covariance `tau^(2 alpha - 2) (-Laplace + tau^2)^-alpha`.

    Drawn in all discrete modes of the grid, as published: alpha 2.5, tau 7; between 0.5 and 1.7 nearly everywhere.
    """
    frequency = torch.fft.fftfreq(points, 1 / points, dtype=torch.float64, device=generator.device)
    squared = (2 * torch.pi) ** 2 * (frequency[:, None].square() + frequency.square())
    size = points**2 * 2**0.5 * _TAU ** (_ALPHA - 1) * (squared + _TAU**2) ** (-_ALPHA / 2)
    size[0, 0] = 0
    shape = (count, points, points)
    noise = torch.randn(shape, generator=generator, dtype=torch.complex128, device=generator.device)
    return torch.exp(torch.fft.ifft2(size * noise).real)


class _Published(LinearProblem):
    """What both share.

    Args:
        resolution: points along each side of the coefficient; the outermost carry no unknowns, so that there are
            `(resolution - 2)^2`.

    Raises:
        ValueError: for fewer than five points.
    """

    output_names = ("solution",)
    order = 2.0

    def __init__(self, resolution: int) -> None:
        if resolution < 5:
            raise ValueError(f"resolution={resolution} of {self.name} must be at least 5.")
        self.grid = Grid((resolution, resolution))
        self._pattern = StencilPattern(self.grid.shape)
        # Of the unknowns alone, as published; not the distance of the points of the grid.
        self.spacing = 1.0 / (resolution - 3)

    @abstractmethod
    def shift(self, inputs: torch.Tensor) -> torch.Tensor:
        """What is taken from the diagonal, broadcast over `(n, *inner)`."""

    def stencil(self, inputs: Float[torch.Tensor, "n inputs *grid"]) -> list[torch.Tensor]:
        """Entries of the inner points' rows, `(n, *inner)` each: of the point, the one above, below, left and right."""
        a = inputs[:, 0]
        inner = a[:, 1:-1, 1:-1]
        # The second slip: rows of points are read as one line, and the entry two places before is used.
        above = torch.roll(a[:, :-2, 1:-1].flatten(1), 2, 1).view_as(inner)
        return [4 * inner - self.shift(inputs), -above, -a[:, 2:, 1:-1], -a[:, 1:-1, :-2], -a[:, 1:-1, 2:]]

    def assemble(self, inputs: Float[torch.Tensor, "inputs ..."]) -> System:
        """Matrix and right-hand side of the inner points, numbered in the order of the grid."""
        self.check_inputs(inputs[None])
        entries = [part[0].numpy() for part in self.stencil(inputs[None].detach().double().cpu())]
        return self._pattern.matrix(entries), np.full(self._pattern.size, self.spacing**2)

    def embed(
        self, solution: Float[np.ndarray, " unknowns"], inputs: Float[torch.Tensor, "inputs ..."]
    ) -> Float[np.ndarray, "outputs ..."]:
        """The unknowns in a frame of zeros."""
        field = np.zeros((1, *self.grid.shape))
        field[0, self._pattern.inside] = solution
        return field

    def residual(
        self, inputs: Float[torch.Tensor, "n inputs *grid"], outputs: Float[torch.Tensor, "n 1 *grid"]
    ) -> Float[torch.Tensor, "n 1 *grid"]:
        """`A u - b` at inner points, u itself in the frame."""
        u = outputs[:, 0]
        inner = torch.zeros_like(u)
        inner[:, 1:-1, 1:-1] = u[:, 1:-1, 1:-1]
        result = u.clone()
        centre, *neighbours = self.stencil(inputs)
        balance = centre * inner[:, 1:-1, 1:-1] - self.spacing**2
        for entry, (axis, shift) in zip(neighbours, ((0, -1), (0, 1), (1, -1), (1, 1)), strict=True):
            balance = balance + entry * inner[(slice(None), *self._pattern.moved(axis, shift))]
        result[:, 1:-1, 1:-1] = balance
        return result[:, None]


class DarcyPublished(_Published):
    """Matrices of the published "Darcy" data; see the head of this file for what they are.

    Args:
        resolution: see `_Published`; the paper's sizes are 50, 80, 100, 150 and 200.
    """

    name, input_names = "darcy-published", ("conductivity",)

    def __init__(self, *, resolution: int = 100) -> None:
        super().__init__(resolution)

    def sample(self, count: int, generator: torch.Generator) -> Float[torch.Tensor, "count 1 *grid"]:
        """Draw conductivities; see `Problem.sample`."""
        return _conductivity(count, self.grid.shape[0], generator)[:, None]

    def shift(self, inputs: torch.Tensor) -> torch.Tensor:
        """Nothing."""
        return inputs.new_zeros(())


class HelmholtzPublished(_Published):
    """Matrices of the published "Helmholtz" data: those of "Darcy" less `h^2 k^2` on the diagonal, at most 1e-4.

    Args:
        resolution: see `_Published`; the paper's sizes are 50, 80, 100, 150 and 200.
    """

    name, input_names = "helmholtz-published", ("conductivity", "wavenumber")

    def __init__(self, *, resolution: int = 100) -> None:
        super().__init__(resolution)

    def sample(self, count: int, generator: torch.Generator) -> Float[torch.Tensor, "count 2 *grid"]:
        """Draw conductivities and, constant over the grid, wavenumbers k between 0 and 1."""
        conductivity = _conductivity(count, self.grid.shape[0], generator)
        k = torch.rand(count, 1, 1, generator=generator, dtype=torch.float64, device=generator.device)
        return torch.stack([conductivity, k.expand_as(conductivity)], 1)

    def shift(self, inputs: torch.Tensor) -> torch.Tensor:
        """`h^2 k^2`."""
        return (self.spacing * inputs[:, 1, 1:-1, 1:-1]) ** 2

    def features(self, inputs: Float[torch.Tensor, "n inputs ..."]) -> torch.Tensor:
        """The conductivity and, as one number, k."""
        return torch.cat([inputs[:, 0].flatten(1), inputs[:, 1].flatten(1)[:, :1]], 1)
