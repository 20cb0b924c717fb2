"""Pressure equation of incompressible flow on staggered grids with solid obstacles, as a matrix and as a stencil.

Pressures live at the centres of cells. The row of a fluid cell is `(faces to fluid cells + faces to an open side) p -
sum of p over fluid neighbours`; faces to solids and closed sides contribute nothing (Neumann), beyond an open side the
pressure is zero. Rows are not divided by the squared spacing, and solid cells have empty ones. Obstacles are drawn in
`obstacles.py`.

Source: Kaneda et al. (2023), whose matrices are of this kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from equipoise.spaces.grid import Grid
from equipoise.spaces.random_fields import GaussianRandomField, matern_spectrum

__all__ = ["PressurePoisson", "smooth_divergence"]

Sides = Sequence[tuple[bool, bool]]


class _Tables(NamedTuple):
    """Coefficients in one dtype on one device."""

    diagonal: torch.Tensor
    fluid: torch.Tensor


class PressurePoisson:
    """The pressure matrix of one domain or of a batch of domains on the same grid.

    Fields are `(n, *grid)`; with one domain it serves all rows of a batch, with several there is one for each row.

    Args:
        fluid: cells that hold fluid, `(domains, *grid)`, in one to three dimensions.
        open_sides: for each axis whether its low and its high side are open; by default the high side of the first.

    Attributes:
        shape: of the grid. fluid, open_sides: as given.
        n_singular: components of each domain that touch no open side, `(domains,)`: on each of them the matrix has
            the constants as null space. is_singular: whether there is any.

    Raises:
        ValueError: for a domain without fluid, or sides that do not fit the grid.
    """

    def __init__(self, fluid: Bool[torch.Tensor, " domains *grid"], *, open_sides: Sides | None = None) -> None:
        shape = tuple(fluid.shape[1:])
        if not 1 <= len(shape) <= 3 or min(fluid.shape) < 1:
            raise ValueError(f"fluid has shape {tuple(fluid.shape)}; give (domains, *grid) with one to three axes.")
        if open_sides is None:
            open_sides = ((False, True), *(((False, False),) * (len(shape) - 1)))
        if len(open_sides) != len(shape):
            raise ValueError(f"open_sides={open_sides!r} must name two sides for each of the {len(shape)} axes.")
        dry = torch.nonzero(~fluid.flatten(1).any(1)).flatten().tolist()
        if dry:
            raise ValueError(f"domain {dry[0]} holds no fluid cell.")
        self.shape, self.fluid, self.open_sides = shape, fluid.cpu(), tuple(open_sides)
        self._open_faces, self._diagonal = self._count_faces()
        self._labels, self._sizes, self.n_singular = self._label()
        self.is_singular = bool((self.n_singular > 0).any())
        self._is_full = bool(self.fluid.all())
        self._kept: dict[Any, _Tables] = {}
        self._kept_labels: dict[Any, tuple[torch.Tensor, torch.Tensor]] = {}

    def __len__(self) -> int:
        return len(self.fluid)

    def select(self, domains: Sequence[int] | torch.Tensor) -> PressurePoisson:
        """The system of some of the domains, in this order."""
        return PressurePoisson(self.fluid[torch.as_tensor(domains).cpu()], open_sides=self.open_sides)

    def _count_faces(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Faces of each cell to an open side; faces that contribute to its diagonal."""
        fluid = self.fluid.to(torch.float64)
        opened, diagonal = torch.zeros_like(fluid), torch.zeros_like(fluid)
        for axis, sides in enumerate(self.open_sides, start=1):
            count = fluid.shape[axis]
            diagonal.narrow(axis, 1, count - 1).add_(fluid.narrow(axis, 0, count - 1))
            diagonal.narrow(axis, 0, count - 1).add_(fluid.narrow(axis, 1, count - 1))
            for is_open, place in zip(sides, (0, count - 1), strict=True):
                if is_open:
                    opened.narrow(axis, place, 1).add_(1)
        opened *= fluid
        return opened, (diagonal + opened) * fluid

    def _label(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Numbers of the singular components, 0 elsewhere `(domains, cells)`; their sizes; how many there are."""
        from scipy.ndimage import label

        labels = np.zeros((len(self.fluid), int(np.prod(self.shape))), dtype=np.int64)
        counts = []
        for row, (fluid, faces) in enumerate(zip(self.fluid.numpy(), self._open_faces.numpy(), strict=True)):
            found, count = label(fluid)
            opened = np.bincount(found.ravel(), weights=faces.ravel(), minlength=count + 1)
            closed = (opened == 0) & (np.arange(count + 1) > 0)
            number = np.where(closed, np.cumsum(closed), 0)
            labels[row] = number[found.ravel()]
            counts.append(int(closed.sum()))
        table = torch.from_numpy(labels)
        sizes = torch.zeros(len(labels), max(counts) + 1, dtype=torch.float64)
        sizes.scatter_add_(1, table, torch.ones_like(table, dtype=torch.float64))
        return table, sizes, torch.tensor(counts)

    def _tables(self, field: torch.Tensor) -> _Tables:
        key = (field.dtype, field.device)
        if key not in self._kept:
            self._kept[key] = _Tables(self._diagonal.to(field), self.fluid.to(field))
        return self._kept[key]

    def _check(self, field: torch.Tensor) -> None:
        if tuple(field.shape[1:]) != self.shape or len(self) not in (1, len(field)):
            raise ValueError(
                f"the field has shape {tuple(field.shape)}; this system has {len(self)} domains of {self.shape} cells."
            )

    def apply(self, field: Float[torch.Tensor, " n *grid"]) -> Float[torch.Tensor, " n *grid"]:
        """The product with the matrix; values in solid cells are ignored, and zero in the result.

        Differentiable to any order at the cost of a product, as the matrix is symmetric.
        """
        self._check(field)
        if field.requires_grad:
            product: torch.Tensor = _Product.apply(field, self)
            return product
        return self.product(field)

    def product(self, field: torch.Tensor) -> torch.Tensor:
        """As `apply`, without checks and without derivatives."""
        diagonal, fluid = self._tables(field)
        if not self._is_full:
            field = field * fluid
        result = field * diagonal
        for axis in range(1, field.ndim):
            count = field.shape[axis] - 1
            low, high = field.narrow(axis, 0, count), field.narrow(axis, 1, count)
            result.narrow(axis, 1, count).sub_(low)
            result.narrow(axis, 0, count).sub_(high)
        if not self._is_full:
            result *= fluid
        return result

    def project(self, field: Float[torch.Tensor, " n *grid"]) -> Float[torch.Tensor, " n *grid"]:
        """The field with zeros in solid cells and zero mean on each component that touches no open side.

        For a right-hand side this is the nearest one that has a solution.
        """
        self._check(field)
        if not self._is_full:
            field = field * self._tables(field).fluid
        if not self.is_singular:
            return field
        key = (field.dtype, field.device)
        if key not in self._kept_labels:
            inverse = 1 / self._sizes.clamp_min(1)
            inverse[:, 0] = 0
            self._kept_labels[key] = (self._labels.to(field.device), inverse.to(field))
        labels, inverse = self._kept_labels[key]
        flat, labels = field.flatten(1), labels.expand(len(field), -1)
        sums = field.new_zeros(len(field), inverse.shape[1]).scatter_add(1, labels, flat)
        return (flat - (sums * inverse).gather(1, labels)).view_as(field)

    def matrix(self, number: int = 0) -> sp.csr_array:
        """The matrix of one domain on its fluid cells, in the order of `restrict`."""
        fluid = self.fluid[number].numpy()
        index = np.full(fluid.shape, -1, dtype=np.int64)
        size = int(fluid.sum())
        index[fluid] = np.arange(size)
        rows, columns = [np.arange(size)], [np.arange(size)]
        values = [self._diagonal[number].numpy()[fluid]]
        for axis in range(fluid.ndim):
            low = np.take(index, np.arange(fluid.shape[axis] - 1), axis).ravel()
            high = np.take(index, np.arange(1, fluid.shape[axis]), axis).ravel()
            both = (low >= 0) & (high >= 0)
            low, high = low[both], high[both]
            rows += [low, high]
            columns += [high, low]
            values += [-np.ones(len(low))] * 2
        entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
        return sp.csr_array(sp.coo_array(entries, shape=(size, size)))

    def restrict(self, field: torch.Tensor, number: int = 0) -> NDArray[np.float64]:
        """The values in the fluid cells of one domain, `(n, cells)`."""
        values = field.detach().double().cpu().numpy()
        return np.ascontiguousarray(values[:, self.fluid[number].numpy()])

    def prolong(self, values: NDArray[np.float64], number: int = 0) -> torch.Tensor:
        """Fields with these values in the fluid cells of one domain and zeros in the others, `(n, *grid)`."""
        field = np.zeros((len(values), *self.shape))
        field[:, self.fluid[number].numpy()] = values
        return torch.from_numpy(field)


class _Product(torch.autograd.Function):
    """The product with a symmetric matrix, whose derivative is the product itself."""

    @staticmethod
    def forward(ctx: Any, field: torch.Tensor, system: PressurePoisson) -> torch.Tensor:
        ctx.system = system
        return system.product(field)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return ctx.system.apply(gradients[0]), None


def smooth_divergence(
    system: PressurePoisson, count: int, generator: torch.Generator
) -> Float[torch.Tensor, " count *grid"]:
    """Right-hand sides: a smooth random velocity along the first axis, differenced once; float64.

    Made compatible by `PressurePoisson.project`. Velocities live on faces and vanish at the sides of the axis.

    Raises:
        ValueError: where `count` does not fit the number of domains.
    """
    grid = Grid(system.shape)
    field = GaussianRandomField(matern_spectrum(tau=3.0, alpha=2.0), n_modes=16)
    velocity = field.sample(count, grid, generator)[:, 0]
    inner = velocity.narrow(1, 0, system.shape[0] - 1)
    edge = torch.zeros_like(velocity.narrow(1, 0, 1))
    divergence = torch.cat([edge, inner, edge], 1).diff(dim=1)
    return system.project(divergence)
