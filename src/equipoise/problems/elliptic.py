"""Scalar elliptic equations on boxes by finite volumes on the points of a grid: Darcy, Poisson, Helmholtz.

`-div(a grad u) - q u = f` inside, `u = g` at the boundary. The coefficient between two points is their harmonic mean.
All samples share one sparsity pattern and one analysis of it.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from equipoise.problems.linear_problem import LinearProblem, System
from equipoise.spaces.grid import Grid
from equipoise.spaces.random_fields import GaussianRandomField, matern_spectrum, threshold

__all__ = ["Darcy", "EllipticFields", "EllipticProblem", "Helmholtz", "Poisson", "trigonometric_coefficients"]

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
        self._inside = np.zeros(grid.shape, dtype=bool)
        self._inside[(slice(1, -1),) * grid.dim] = True
        self._entries = _Entries(self._inside)

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
            yield self._entries.matrix(data), rhs

    def embed(
        self, solution: Float[np.ndarray, " unknowns"], inputs: Float[torch.Tensor, "inputs ..."]
    ) -> Float[np.ndarray, "outputs ..."]:
        """See `LinearProblem.embed`; the boundary values are those of the input."""
        field = self.fields(inputs[None]).boundary[0].detach().double().cpu().numpy().copy()
        field[self._inside] = solution
        return field[None]

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
                rhs[side] += between[side] * fields.boundary[_moved(self.grid.shape, axis, shift)][side]
                neighbours.append(-between[end])
        return [diagonal, *neighbours], rhs.ravel()


class _Entries:
    """Where the entries of all inner points stand in the compressed matrix."""

    def __init__(self, inside: NDArray[np.bool_]) -> None:
        number = np.full(inside.shape, -1, dtype=np.int64)
        self.size = int(inside.sum())
        number[inside] = np.arange(self.size)
        inner = (slice(1, -1),) * inside.ndim
        here = number[inner].ravel()
        rows, columns = [here], [here]
        for axis in range(inside.ndim):
            for shift in (-1, 1):
                moved = _moved(inside.shape, axis, shift)
                rows.append(here)
                columns.append(number[moved].ravel())
        row, column = np.concatenate(rows), np.concatenate(columns)
        self._kept = np.nonzero(column >= 0)[0]
        row, column = row[self._kept], column[self._kept]
        order = np.lexsort((column, row))
        self._kept = self._kept[order]
        self._indices = column[order].astype(np.int32)
        self._indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=self.size))]).astype(np.int32)

    def ordered(self, data: list[Array]) -> Array:
        return np.concatenate([part.ravel() for part in data])[self._kept]

    def matrix(self, data: list[Array]) -> sp.csr_array:
        return sp.csr_array((self.ordered(data), self._indices, self._indptr), shape=(self.size, self.size))


def _moved(shape: tuple[int, ...], axis: int, shift: int) -> tuple[slice, ...]:
    """The inner points, moved by one along an axis."""
    return tuple(slice(1 + shift, n - 1 + shift) if i == axis else slice(1, -1) for i, n in enumerate(shape))


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


class Darcy(EllipticProblem):
    """`-div(a grad u) = 1` on the unit square, `u = 0` at its boundary.

    Args:
        resolution: points along each side, both ends included.
        coefficient: `"piecewise"`, 3 and 12 by the sign of a random field; `"log-normal"`; `"trigonometric"`,
            multiscale.

    Source: Li et al. (2021) for the piecewise constant one, `N(0, (-Laplace + 9)^-2)` with Neumann conditions.
    """

    name = "darcy"
    is_positive_definite = True
    input_names = ("conductivity",)

    def __init__(self, *, resolution: int = 65, coefficient: str = "piecewise") -> None:
        if coefficient not in ("piecewise", "log-normal", "trigonometric"):
            raise ValueError(f"coefficient={coefficient!r} is unknown; use piecewise, log-normal or trigonometric.")
        super().__init__(Grid((resolution, resolution)))
        self.coefficient = coefficient
        self._field = GaussianRandomField(matern_spectrum(tau=3.0, alpha=2.0), n_modes=64)

    def sample(self, count: int, generator: torch.Generator) -> Float[torch.Tensor, "count 1 *grid"]:
        """Draw conductivities; see `Problem.sample`."""
        if self.coefficient == "trigonometric":
            return trigonometric_coefficients(self.grid.points(device=generator.device), count, generator)[:, None]
        field = self._field.sample(count, self.grid, generator)
        if self.coefficient == "piecewise":
            return threshold(field, low=3.0, high=12.0)
        return torch.exp(field / self._deviation())

    def _deviation(self) -> float:
        modes = torch.pi * torch.arange(self._field.n_modes + 1, dtype=torch.float64)
        squared = modes[:, None].square() + modes.square()
        variance = self._field.spectrum(squared)
        variance[0, 0] = 0
        return math.sqrt(float(variance.sum()))

    def fields(self, inputs: torch.Tensor) -> EllipticFields:
        """See `EllipticProblem.fields`; raises `ValueError` for a conductivity that is not positive."""
        a = inputs[:, 0]
        if bool((a <= 0).any()):
            sample = int(torch.nonzero((a <= 0).flatten(1).any(1))[0])
            raise ValueError(
                f"the conductivity of sample {sample} falls to {float(a[sample].min()):g}; give positive ones."
            )
        zero = torch.zeros_like(a)
        return EllipticFields(a, zero, torch.ones_like(a), zero)


class Poisson(EllipticProblem):
    """`-Laplace u = f` in the unit square with prescribed boundary values; inputs are f and, on the boundary, g.

    Args:
        resolution: points along each side, both ends included.
    """

    name = "poisson"
    is_positive_definite = True
    input_names = ("source", "boundary")

    def __init__(self, *, resolution: int = 65) -> None:
        super().__init__(Grid((resolution, resolution)))
        self._field = GaussianRandomField(matern_spectrum(tau=3.0, alpha=2.0, scale=81.0), n_modes=32, has_mean=True)

    def sample(self, count: int, generator: torch.Generator) -> Float[torch.Tensor, "count 2 *grid"]:
        """Draw sources and boundary values; the second channel is zero inside."""
        source = self._field.sample(count, self.grid, generator)
        boundary = self._field.sample(count, self.grid, generator)
        inside = torch.as_tensor(self._inside, device=source.device)
        return torch.cat([source, torch.where(inside, 0.0, boundary)], 1)

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
