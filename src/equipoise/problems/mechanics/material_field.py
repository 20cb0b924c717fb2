"""Several materials over many points: each law is evaluated once, on all of its points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float

from equipoise.problems.mechanics.conjugate import Conjugate
from equipoise.problems.mechanics.material import Material

__all__ = ["MaterialField"]

_Points = slice | torch.Tensor


class MaterialField:
    """Material of each point of a set; answers keep the order of the points, whatever it is.

    Args:
        materials: the laws.
        index: number of each point's law, `(Q,)`. Points of a law that follow one another are evaluated without a copy.

    Raises:
        ValueError: for an index of another shape or kind, or a number without a law.
    """

    def __init__(self, materials: Sequence[Material], index: torch.Tensor) -> None:
        self.materials, self.index = tuple(materials), index
        if index.ndim != 1 or index.is_floating_point():
            raise ValueError(f"index of shape {tuple(index.shape)} and {index.dtype}: expected integers, one a point.")
        numbers = torch.unique(index).tolist()
        if numbers and not 0 <= numbers[0] <= numbers[-1] < len(self.materials):
            wrong = numbers[0] if numbers[0] < 0 else numbers[-1]
            raise ValueError(f"index {wrong} has no material; there are {len(self.materials)}.")
        self._groups = [(self.materials[number], _points(index, number)) for number in numbers]

    def at(self, points: torch.Tensor) -> MaterialField:
        """The field at some of the points, `(P,)` numbers or a mask."""
        return MaterialField(self.materials, self.index[points])

    @property
    def config(self) -> list[dict[str, Any]]:
        """Configuration of each law, in the order of their numbers."""
        return [material.config() for material in self.materials]

    def energy(self, strain: Float[torch.Tensor, "*batch points v"]) -> Float[torch.Tensor, "*batch points"]:
        """Energy density, `(..., Q, v)` to `(..., Q)`, MPa."""
        self._check(strain)
        if len(self._groups) == 1:
            return self._groups[0][0].energy(strain)
        energy = strain.new_empty(strain.shape[:-1])
        for material, points in self._groups:
            energy[..., points] = material.energy(strain[..., points, :])
        return energy

    def stress(self, strain: Float[torch.Tensor, "*batch points v"]) -> Float[torch.Tensor, "*batch points v"]:
        """Stress, `(..., Q, v)` to the same shape, MPa."""
        self._check(strain)
        if len(self._groups) == 1:
            return self._groups[0][0].stress(strain)
        stress = torch.empty_like(strain)
        for material, points in self._groups:
            stress[..., points, :] = material.stress(strain[..., points, :])
        return stress

    def tangent(self, strain: Float[torch.Tensor, "*batch points v"]) -> Float[torch.Tensor, "*batch points v v"]:
        """Tangent, `(..., Q, v)` to `(..., Q, v, v)`, MPa."""
        return self.stress_and_tangent(strain)[1]

    def stress_and_tangent(
        self, strain: Float[torch.Tensor, "*batch points v"]
    ) -> tuple[Float[torch.Tensor, "*batch points v"], Float[torch.Tensor, "*batch points v v"]]:
        """Stress `(..., Q, v)` and tangent `(..., Q, v, v)` at once, MPa."""
        self._check(strain)
        if len(self._groups) == 1:
            return self._groups[0][0].stress_and_tangent(strain)
        stress = torch.empty_like(strain)
        tangent = strain.new_empty(*strain.shape, strain.shape[-1])
        for material, points in self._groups:
            stress[..., points, :], tangent[..., points, :, :] = material.stress_and_tangent(strain[..., points, :])
        return stress, tangent

    def conjugate(self, stress: torch.Tensor, start: torch.Tensor | None = None) -> Conjugate:
        """Conjugate energies, `(..., Q, v)`; `inf` where a stress lies outside the range of its law."""
        self._check(stress)
        if len(self._groups) == 1:
            return self._groups[0][0].conjugate(stress, start)
        strain, energy = torch.empty_like(stress), stress.new_empty(stress.shape[:-1])
        is_finite = torch.ones_like(energy, dtype=torch.bool)
        for material, points in self._groups:
            begin = None if start is None else start[..., points, :]
            part = material.conjugate(stress[..., points, :], begin)
            strain[..., points, :], energy[..., points], is_finite[..., points] = part
        return Conjugate(strain, energy, is_finite)

    def _check(self, field: torch.Tensor) -> None:
        if field.ndim < 2 or field.shape[-2] != len(self.index):
            raise ValueError(f"a field of shape {tuple(field.shape)} does not have {len(self.index)} points.")


def _points(index: torch.Tensor, number: int) -> _Points:
    """Points of a law: a slice where they follow one another."""
    points = torch.nonzero(index == number).flatten()
    first, last = int(points[0]), int(points[-1])
    return slice(first, last + 1) if last - first + 1 == len(points) else points
