"""A small smoke solver on staggered grids, whose pressure equations are right-hand sides as they occur in a flow.

Smoke rises along the first axis towards its open end, around solid obstacles. First order throughout: a source of
frames, not a study of flows. The pressure matrix stands in `pressure.py`.

Source: Stam (1999), stable fluids, for advection along characteristics and projection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Bool, Float

from equipoise.problems.pressure import PressurePoisson
from equipoise.solvers.linear import LinearState, prepare, solve

__all__ = ["SmokePlume"]

PressureSolver = Callable[[torch.Tensor], torch.Tensor]


class SmokePlume:
    """Smoke from a source at the bottom of a box, driven by buoyancy; lengths in cells, float64.

    Args:
        fluid: cells that hold fluid, `(*grid)`, in two or three dimensions.
        buoyancy: acceleration of a cell full of smoke, cells per squared unit of time. time_step: of a frame.
        solve_pressure: maps right-hand sides `(1, *grid)` to pressures; sparse and direct by default.

    Attributes:
        system: the pressure matrix. density: of smoke, `(*grid)`, between 0 and 1.
        velocity: for each axis the velocities on its faces, one more than cells along that axis.

    Raises:
        ValueError: for another number of axes.
    """

    def __init__(
        self,
        fluid: Bool[torch.Tensor, "*grid"],
        *,
        buoyancy: float = 0.5,
        time_step: float = 1.0,
        solve_pressure: PressureSolver | None = None,
    ) -> None:
        if fluid.ndim not in (2, 3):
            raise ValueError(f"fluid has shape {tuple(fluid.shape)}; smoke rises in two or three dimensions.")
        self.system = PressurePoisson(fluid[None])
        self.fluid, self.buoyancy, self.time_step = fluid, buoyancy, time_step
        self._solve = self._solve_directly if solve_pressure is None else solve_pressure
        self._state: LinearState | None = None
        self._open = [_open_faces(fluid, axis, high=axis == 0) for axis in range(fluid.ndim)]
        self.density = torch.zeros(fluid.shape, dtype=torch.float64)
        self.velocity = [torch.zeros_like(faces, dtype=torch.float64) for faces in self._open]
        centre = [slice(3 * n // 8, max(5 * n // 8, 3 * n // 8 + 1)) for n in fluid.shape[1:]]
        self._source = torch.zeros_like(fluid)
        self._source[(slice(0, max(1, fluid.shape[0] // 16)), *centre)] = True
        self._source &= fluid

    def step(self) -> Float[torch.Tensor, " one *grid"]:
        """Go on by a frame; the right-hand side of its pressure equation, `-divergence` before the projection."""
        self.density[self._source] = 1.0
        lifted = self.velocity[0].clone()
        lifted[1:-1] += self.time_step * self.buoyancy * 0.5 * (self.density[1:] + self.density[:-1])
        velocity = [lifted, *self.velocity[1:]]
        moved = [self._carried(part, velocity, axis) for axis, part in enumerate(velocity)]
        self.density = self._carried(self.density, velocity, None) * self.fluid
        self.velocity = [part * faces for part, faces in zip(moved, self._open, strict=True)]
        rhs = self.system.project(-self.divergence()[None])
        pressure = (self._solve(rhs)[0] * self.fluid).to(torch.float64)
        for axis, faces in enumerate(self._open):
            self.velocity[axis] = self.velocity[axis] - _difference(pressure, axis) * faces
        return rhs

    def frames(self, numbers: Sequence[int]) -> Float[torch.Tensor, " count *grid"]:
        """Right-hand sides of the frames with these numbers, counted from 1, in ascending order.

        Raises:
            ValueError: for numbers that do not ascend from at least 1.
        """
        wanted = list(numbers)
        if not wanted or wanted[0] < 1 or any(b <= a for a, b in pairwise(wanted)):
            raise ValueError(f"frames {wanted} must ascend from at least 1.")
        kept = [rhs for number in range(1, wanted[-1] + 1) for rhs in [self.step()] if number in wanted]
        return torch.cat(kept)

    def divergence(self) -> Float[torch.Tensor, "*grid"]:
        """Net outflow of each cell, zero in solid ones."""
        total = sum((part.diff(dim=axis) for axis, part in enumerate(self.velocity)), torch.zeros_like(self.density))
        return total * self.fluid

    def _solve_directly(self, rhs: torch.Tensor) -> torch.Tensor:
        if self._state is None:
            self._state = prepare(self.system.matrix())
        return self.system.prolong(solve(self._state, self.system.restrict(rhs), rtol=1e-10).value.numpy())

    def _carried(self, field: torch.Tensor, velocity: Sequence[torch.Tensor], axis: int | None) -> torch.Tensor:
        """The field's values where the flow comes from; on the faces of an axis, or at the centres."""
        places = torch.meshgrid(
            *[
                torch.arange(n, dtype=torch.float64) + (0.0 if number == axis else 0.5)
                for number, n in enumerate(field.shape)
            ],
            indexing="ij",
        )
        speeds = [_interpolated(part, places, number) for number, part in enumerate(velocity)]
        origin = [place - self.time_step * speed for place, speed in zip(places, speeds, strict=True)]
        return _interpolated(field, origin, axis)


def _open_faces(fluid: torch.Tensor, axis: int, *, high: bool) -> torch.Tensor:
    """Faces of an axis through which fluid may pass: between fluid cells, and at an open high end."""
    count = fluid.shape[axis]
    shape = list(fluid.shape)
    shape[axis] = count + 1
    faces = torch.zeros(shape, dtype=torch.bool)
    faces.narrow(axis, 1, count - 1).copy_(fluid.narrow(axis, 0, count - 1) & fluid.narrow(axis, 1, count - 1))
    if high:
        faces.narrow(axis, count, 1).copy_(fluid.narrow(axis, count - 1, 1))
    return faces


def _difference(pressure: torch.Tensor, axis: int) -> torch.Tensor:
    """Differences across the faces of an axis, with zero pressure outside."""
    edge = torch.zeros_like(pressure.narrow(axis, 0, 1))
    return torch.cat([edge, pressure, edge], axis).diff(dim=axis)


def _interpolated(field: torch.Tensor, places: Sequence[torch.Tensor], axis: int | None) -> torch.Tensor:
    """Linear interpolation at places in units of cells, with the nearest value beyond the ends."""
    shares = []
    for number, (place, count) in enumerate(zip(places, field.shape, strict=True)):
        index = place - (0.0 if number == axis else 0.5)
        shares.append(2 * index / max(count - 1, 1) - 1)
    grid = torch.stack(shares[::-1], -1)[None]
    found = torch.nn.functional.grid_sample(field[None, None], grid, padding_mode="border", align_corners=True)
    return found[0, 0]
