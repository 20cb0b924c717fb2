"""Scalar elliptic equations on boxes by finite volumes on the points of a grid: Darcy, Poisson, Helmholtz.

The matrices that a published generator calls Darcy and Helmholtz are others; see `published_matrices.py`.

`-div(a grad u) - q u = f` inside, `u = g` at the boundary. The coefficient between two points is their harmonic mean.
All samples share one sparsity pattern and one analysis of it.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from equipoise.problems.linear_problem import LinearProblem, System
from equipoise.problems.stencil import StencilPattern
from equipoise.spaces.grid import Grid
from equipoise.spaces.random_fields import GaussianRandomField, matern_spectrum, threshold

__all__ = [
    "Darcy",
    "EllipticFields",
    "EllipticProblem",
    "Helmholtz",
    "HelmholtzMedium",
    "Poisson",
    "smooth_conductivity",
    "trigonometric_coefficients",
]

Array = NDArray[np.float64]


class EllipticFields(NamedTuple):
    """Fields of the equation, `(n, *grid)` each: conductivity a, reaction q, source f, boundary values g."""

    conductivity: torch.Tensor
    reaction: torch.Tensor
    source: torch.Tensor
    boundary: torch.Tensor


class _Arrays(NamedTuple):
    """The fields of one sample as arrays, `(*grid)` each."""

    conductivity: Array
    reaction: Array
    source: Array
    boundary: Array


class EllipticProblem(LinearProblem):
    """Elliptic family on a grid that is not periodic; second order for smooth coefficients.

    Args:
        grid: with at least three points along each axis.

    Raises:
        ValueError: for a periodic grid or too few points.
        ConvergenceError: from `solve`, for a sample without a unique solution.
    """

    output_names = ("solution",)
    order = 2.0
    is_symmetric = True

    def __init__(self, grid: Grid) -> None:
        if any(grid.wraps) or min(grid.shape) < 3:
            raise ValueError(f"{self.name} needs at least 3 points along each axis and no periodic axis.")
        self.grid = grid
        self._pattern = StencilPattern(grid.shape)
        self._inside = self._pattern.inside
        self.lattice = tuple(points - 2 for points in grid.shape), grid.spacings

    @abstractmethod
    def fields(self, inputs: torch.Tensor) -> EllipticFields:
        """What the inputs mean in the equation."""

    def assemble(self, inputs: Float[torch.Tensor, "inputs ..."]) -> System:
        """Matrix and right-hand side of one input's inner points, numbered in the order of the grid."""
        return next(self.systems(inputs[None]))

    def systems(self, inputs: Float[torch.Tensor, "n inputs ..."]) -> Iterator[System]:
        """See `LinearProblem.systems`."""
        self.check_inputs(inputs)
        fields = [field.detach().double().cpu().numpy() for field in self.fields(inputs)]
        for row in range(len(inputs)):
            data, rhs = self._discretise(_Arrays(*(field[row] for field in fields)))
            yield self._pattern.matrix(data), rhs

    def embed(
        self, solution: Float[np.ndarray, " unknowns"], inputs: Float[torch.Tensor, "inputs ..."]
    ) -> Float[np.ndarray, "outputs ..."]:
        """See `LinearProblem.embed`; the boundary values are those of the input."""
        field = self._boundary_values(inputs)
        inner = field[(slice(1, -1),) * self.grid.dim]
        inner[...] = solution.reshape(inner.shape)
        return field[None]

    def _boundary_values(self, inputs: torch.Tensor) -> Array:
        """A field with the boundary values of one input."""
        return self.fields(inputs[None]).boundary[0].detach().double().cpu().numpy().copy()

    def residual(
        self, inputs: Float[torch.Tensor, "n inputs *grid"], outputs: Float[torch.Tensor, "n 1 *grid"]
    ) -> Float[torch.Tensor, "n 1 *grid"]:
        """`-div(a grad u) - q u - f` at inner points, `u - g` at the boundary."""
        fields = self.fields(inputs)
        values = outputs[:, 0]
        balance = -fields.reaction * values - fields.source
        for axis in range(1, 1 + self.grid.dim):
            between = _harmonic_mean(fields.conductivity, axis)
            flux = between * values.diff(dim=axis) / self.grid.spacings[axis - 1] ** 2
            balance = balance - _padded(flux.diff(dim=axis), axis)
        inside = torch.as_tensor(self._inside, device=outputs.device)
        return torch.where(inside, balance, values - fields.boundary)[:, None]

    def _discretise(self, fields: _Arrays) -> tuple[list[Array], Array]:
        """Diagonal and, for each axis, lower and upper neighbours' entries of all inner points; right-hand side."""
        inner = (slice(1, -1),) * self.grid.dim
        diagonal, rhs = -fields.reaction[inner], fields.source[inner].copy()
        neighbours: list[Array] = []
        for axis, spacing in enumerate(self.grid.spacings):
            low, high = _ends(self.grid.shape, axis)
            a, b = fields.conductivity[low], fields.conductivity[high]
            between = a * b
            between *= 2 / spacing**2
            between /= a + b
            ends = [(slice(None),) * axis + (part,) for part in (slice(-1), slice(1, None))]
            for end, shift, edge in zip(ends, (-1, 1), (slice(1), slice(-1, None)), strict=True):
                diagonal += between[end]
                side = (slice(None),) * axis + (edge,)
                rhs[side] += between[side] * fields.boundary[self._pattern.moved(axis, shift)][side]
                neighbours.append(-between[end])
        return [diagonal, *neighbours], rhs.ravel()


def _ends(shape: tuple[int, ...], axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Both ends of all faces across an axis that touch inner points."""
    inner = [slice(1, -1)] * len(shape)
    before, after = inner[:axis], inner[axis + 1 :]
    return (*before, slice(None, -1), *after), (*before, slice(1, None), *after)


def _harmonic_mean(field: torch.Tensor, axis: int) -> torch.Tensor:
    count = field.shape[axis] - 1
    low, high = field.narrow(axis, 0, count), field.narrow(axis, 1, count)
    return 2 * low * high / (low + high)


def _padded(inner: torch.Tensor, axis: int) -> torch.Tensor:
    shape = list(inner.shape)
    shape[axis] = 1
    edge = inner.new_zeros(shape)
    return torch.cat([edge, inner, edge], axis)


def trigonometric_coefficients(points: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """Six octaves of crossed waves, `(count, *grid)`:
    `prod_k (1 + cos(a_k pi (x + y)) / 2) (1 + sin(a_k pi (y - 3 x)) / 2)`, `a_k` uniform in `[2^(k-1), 1.5 2^(k-1)]`.

    Source: as recalled by He et al. (2024) for their multiscale Darcy data.
    """
    x, y = points[..., 0], points[..., 1]
    result = torch.ones(count, *x.shape, dtype=points.dtype, device=points.device)
    for octave in range(6):
        draw = torch.rand(count, 1, 1, generator=generator, dtype=torch.float64, device=generator.device)
        wave = (2.0**octave * (1 + 0.5 * draw) * torch.pi).to(points)
        result = result * (1 + 0.5 * torch.cos(wave * (x + y))) * (1 + 0.5 * torch.sin(wave * (y - 3 * x)))
    return result


def smooth_conductivity(count: int, grid: Grid, generator: torch.Generator) -> torch.Tensor:
    """`exp(g)`, `(count, 1, *grid)`, g periodic, Gaussian, of mean zero: `N(0, 7^(5 - dim) (-Laplace + 49)^-2.5)`."""
    field = GaussianRandomField(matern_spectrum(tau=7.0, alpha=2.5, scale=7.0 ** (5 - grid.dim)), n_modes=48)
    around = field.sample(count, Grid(grid.intervals, grid.bounds, periodic=True), generator)
    return torch.exp(torch.nn.functional.pad(around, (0, 1) * grid.dim, mode="circular"))


class Darcy(EllipticProblem):
    """`-div(a grad u) = 1` on the unit square or cube, `u = 0` at its boundary.

    Args:
        resolution: points along each side, both ends included.
        coefficient: `"piecewise"`, 3 and 12 by the sign of a random field; `"log-normal"`, of log-variance 1;
            `"smooth"`, log-normal and periodic, mostly between 0.5 and 1.7; `"trigonometric"`, multiscale.
        dim: 2, or 3 for the unit cube; `"trigonometric"` is plane only.

    Source: Li et al. (2021) for the piecewise constant one, `N(0, (-Laplace + 9)^-2)` with Neumann conditions;
    Wang et al. (2024) for the smooth one, `exp N(0, 7^(5 - dim) (-Laplace + 49)^-2.5)`.
    """

    name = "darcy"
    is_positive_definite = True
    input_names = ("conductivity",)

    def __init__(self, *, resolution: int = 65, coefficient: str = "piecewise", dim: int = 2) -> None:
        if coefficient not in ("piecewise", "log-normal", "smooth", "trigonometric"):
            raise ValueError(
                f"coefficient={coefficient!r} is unknown; use piecewise, log-normal, smooth or trigonometric."
            )
        if dim not in (2, 3) or (dim == 3 and coefficient == "trigonometric"):
            raise ValueError(f"dim={dim} must be 2 or 3, and 2 for the trigonometric coefficient.")
        super().__init__(Grid((resolution,) * dim))
        self.coefficient = coefficient
        self._field = GaussianRandomField(matern_spectrum(tau=3.0, alpha=2.0), n_modes=64)

    def sample(self, count: int, generator: torch.Generator) -> Float[torch.Tensor, "count 1 *grid"]:
        """Draw conductivities; see `Problem.sample`."""
        if self.coefficient == "trigonometric":
            return trigonometric_coefficients(self.grid.points(device=generator.device), count, generator)[:, None]
        if self.coefficient == "smooth":
            return smooth_conductivity(count, self.grid, generator)
        field = self._field.sample(count, self.grid, generator)
        if self.coefficient == "piecewise":
            return threshold(field, low=3.0, high=12.0)
        return torch.exp(field / self._deviation())

    def _deviation(self) -> float:
        modes = torch.pi * torch.arange(self._field.n_modes + 1, dtype=torch.float64)
        squared = torch.zeros((), dtype=torch.float64)
        for _ in range(self.grid.dim):
            squared = squared[..., None] + modes.square()
        variance = torch.where(squared == 0, 0.0, self._field.spectrum(squared))
        return math.sqrt(float(variance.sum()))

    def fields(self, inputs: torch.Tensor) -> EllipticFields:
        """See `EllipticProblem.fields`; raises `ValueError` for a conductivity that is not positive."""
        a = inputs[:, 0]
        _check_positive(a)
        zero = torch.zeros_like(a)
        return EllipticFields(a, zero, torch.ones_like(a), zero)

    def _boundary_values(self, inputs: torch.Tensor) -> Array:
        return np.zeros(self.grid.shape)


def _check_positive(a: torch.Tensor) -> None:
    if bool((a <= 0).any()):
        sample = int(torch.nonzero((a <= 0).flatten(1).any(1))[0])
        raise ValueError(
            f"the conductivity of sample {sample} falls to {float(a[sample].min()):g}; give positive ones."
        )


class Poisson(EllipticProblem):
    """`-Laplace u = f` in the unit square with prescribed boundary values; inputs are f and, on the boundary, g.

    One matrix for all samples.

    Args:
        resolution: points along each side, both ends included.
        data: `"gaussian"`, random fields of x and y; `"chebyshev"`, f and the values on each of the four edges are sums
            `sum_k c_k T_k(x)` up to order 5, c_k uniform between -1 and 1, with jumps at the corners.

    Source: Wang et al. (2024) for the Chebyshev sums, which they solve with quadratic triangles.
    """

    name = "poisson"
    is_positive_definite = True
    input_names = ("source", "boundary")

    def __init__(self, *, resolution: int = 65, data: str = "gaussian") -> None:
        if data not in ("gaussian", "chebyshev"):
            raise ValueError(f"data={data!r} is unknown; use gaussian or chebyshev.")
        super().__init__(Grid((resolution, resolution)))
        self.data = data
        self._field = GaussianRandomField(matern_spectrum(tau=3.0, alpha=2.0, scale=81.0), n_modes=32, has_mean=True)

    def sample(self, count: int, generator: torch.Generator) -> Float[torch.Tensor, "count 2 *grid"]:
        """Draw sources and boundary values; the second channel is zero inside."""
        if self.data == "chebyshev":
            return self._chebyshev(count, generator)
        source = self._field.sample(count, self.grid, generator)
        boundary = self._field.sample(count, self.grid, generator)
        inside = torch.as_tensor(self._inside, device=source.device)
        return torch.cat([source, torch.where(inside, 0.0, boundary)], 1)

    def _chebyshev(self, count: int, generator: torch.Generator) -> torch.Tensor:
        device = generator.device
        draw = 2 * torch.rand(count, 5, 6, generator=generator, dtype=torch.float64, device=device) - 1
        x = self.grid.axis(0, device=device)
        along = draw @ torch.cos(torch.arange(6, device=device)[:, None] * torch.acos(x))
        source, bottom, right, top, left = along.unbind(1)
        fields = torch.zeros(count, 2, *self.grid.shape, dtype=torch.float64, device=device)
        fields[:, 0] = source[:, :, None]
        fields[:, 1, :, 0], fields[:, 1, :, -1] = bottom, top
        # Functions of x, which is constant along these two.
        fields[:, 1, 0, :], fields[:, 1, -1, :] = left[:, :1], right[:, -1:]
        return fields

    def fields(self, inputs: torch.Tensor) -> EllipticFields:
        """See `EllipticProblem.fields`."""
        return EllipticFields(torch.ones_like(inputs[:, 0]), torch.zeros_like(inputs[:, 0]), inputs[:, 0], inputs[:, 1])


class Helmholtz(EllipticProblem):
    """`-Laplace u - (omega / c)^2 u = f` in the unit square, `u = 0` at its boundary; the input is the wave speed c.

    The source is a Gaussian pulse of width 0.05 at the middle.

    Args:
        resolution: points along each side, both ends included. frequency: omega.
    """

    name = "helmholtz"
    input_names = ("wave_speed",)

    def __init__(self, *, resolution: int = 65, frequency: float = 20.0) -> None:
        super().__init__(Grid((resolution, resolution)))
        self.frequency = frequency
        self._field = GaussianRandomField(matern_spectrum(tau=3.0, alpha=2.0, scale=81.0), n_modes=32, has_mean=True)

    def sample(self, count: int, generator: torch.Generator) -> Float[torch.Tensor, "count 1 *grid"]:
        """Draw wave speeds between 0.8 and 1.2."""
        return 1 + 0.2 * torch.tanh(self._field.sample(count, self.grid, generator))

    def fields(self, inputs: torch.Tensor) -> EllipticFields:
        """See `EllipticProblem.fields`."""
        points = self.grid.points(dtype=inputs.dtype, device=inputs.device)
        pulse = torch.exp(-(points - 0.5).square().sum(-1) / (2 * 0.05**2)).expand(len(inputs), -1, -1)
        speed = inputs[:, 0]
        return EllipticFields(torch.ones_like(speed), (self.frequency / speed).square(), pulse, torch.zeros_like(speed))


class HelmholtzMedium(EllipticProblem):
    """`-div(a grad u) - k^2 u = 1` in the unit square, `u = 0` at its boundary; indefinite for k above about 4.5.

    The input is the conductivity a, smooth as in `Darcy(coefficient="smooth")`. Close to a resonance the solution is
    large and the matrix nearly singular.

    Args:
        resolution: points along each side, both ends included. wavenumber: k; 10 points a wavelength need `1.6 k`.
    """

    name = "helmholtz-medium"
    input_names = ("conductivity",)

    def __init__(self, *, resolution: int = 65, wavenumber: float = 25.0) -> None:
        super().__init__(Grid((resolution, resolution)))
        self.wavenumber = wavenumber

    def sample(self, count: int, generator: torch.Generator) -> Float[torch.Tensor, "count 1 *grid"]:
        """Draw conductivities; see `Problem.sample`."""
        return smooth_conductivity(count, self.grid, generator)

    def fields(self, inputs: torch.Tensor) -> EllipticFields:
        """See `EllipticProblem.fields`; raises `ValueError` for a conductivity that is not positive."""
        a = inputs[:, 0]
        _check_positive(a)
        return EllipticFields(a, torch.full_like(a, self.wavenumber**2), torch.ones_like(a), torch.zeros_like(a))
