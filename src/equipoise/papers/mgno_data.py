"""Multiscale Darcy flow as the MgNO paper learns it: solved on a fine grid, and every so many interior points kept."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from equipoise.data.field_dataset import FieldDataset
from equipoise.problems.elliptic import Darcy
from equipoise.spaces.grid import Grid

__all__ = ["Sampling", "multiscale_darcy"]

# Fine fields held at once.
_CHUNK = 50


@dataclass(frozen=True)
class Sampling:
    """Which points of a solution are kept.

    Attributes:
        resolution: of the solver, points along each side. first, stride, count: of the points kept, along each side.
    """

    resolution: int
    first: int
    stride: int
    count: int

    @property
    def grid(self) -> Grid:
        """The points kept."""
        low = self.first / (self.resolution - 1)
        high = low + self.stride * (self.count - 1) / (self.resolution - 1)
        return Grid((self.count, self.count), bounds=((low, high),) * 2)

    def kept(self, fields: torch.Tensor) -> torch.Tensor:
        """`(n, 1, *fine)` to `(n, 1, count, count)`."""
        points = slice(self.first, self.first + self.stride * self.count, self.stride)
        return fields[..., points, points]


def multiscale_darcy(count: int, sampling: Sampling, *, seed: int) -> FieldDataset:
    """Logarithms of conductivities, whose contrast is about 1e4, and solutions; float32."""
    problem = Darcy(resolution=sampling.resolution, coefficient="trigonometric")
    generator = torch.Generator().manual_seed(seed)
    inputs, outputs = [], []
    for begin in range(0, count, _CHUNK):
        conductivity = problem.sample(min(_CHUNK, count - begin), generator)
        inputs.append(sampling.kept(conductivity).log().float())
        outputs.append(sampling.kept(problem.solve(conductivity)).float())
    return FieldDataset(torch.cat(inputs), torch.cat(outputs), sampling.grid)
