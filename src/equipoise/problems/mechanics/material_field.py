"""Several materials over many points: each law is evaluated once, on all of its points."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from equipoise.problems.mechanics.materials import Conjugate, Material

__all__ = ["MaterialField"]


class MaterialField:
    """Material of each point of a set.

    Args:
        materials: the laws.
        index: number of each point's law, `(Q,)`.
    """

    def __init__(self, materials: Sequence[Material], index: torch.Tensor) -> None:
        self.materials, self.index = tuple(materials), index
        numbers = torch.unique(index).tolist()
        self._groups = [(self.materials[n], torch.nonzero(index == n).flatten()) for n in numbers]

    def at(self, points: torch.Tensor) -> MaterialField:
        """The field at some of the points."""
        return MaterialField(self.materials, self.index[points])

    def energy(self, strain: torch.Tensor) -> torch.Tensor:
        """Energy density, `(..., Q, v)` to `(..., Q)`, MPa."""
        if len(self._groups) == 1:
            return self._groups[0][0].energy(strain)
        energy = strain.new_empty(strain.shape[:-1])
        for material, points in self._groups:
            energy[..., points] = material.energy(strain[..., points, :])
        return energy

    def stress(self, strain: torch.Tensor) -> torch.Tensor:
        """Stress, `(..., Q, v)` to the same shape, MPa."""
        if len(self._groups) == 1:
            return self._groups[0][0].stress(strain)
        stress = torch.empty_like(strain)
        for material, points in self._groups:
            stress[..., points, :] = material.stress(strain[..., points, :])
        return stress

    def tangent(self, strain: torch.Tensor) -> torch.Tensor:
        """Tangent, `(..., Q, v)` to `(..., Q, v, v)`, MPa."""
        return self.stress_and_tangent(strain)[1]

    def stress_and_tangent(self, strain: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Stress and tangent at once."""
        if len(self._groups) == 1:
            return self._groups[0][0].stress_and_tangent(strain)
        stress = torch.empty_like(strain)
        tangent = strain.new_empty(*strain.shape, strain.shape[-1])
        for material, points in self._groups:
            stress[..., points, :], tangent[..., points, :, :] = material.stress_and_tangent(strain[..., points, :])
        return stress, tangent

    def conjugate(self, stress: torch.Tensor, start: torch.Tensor | None = None) -> Conjugate:
        """Conjugate energies, `(..., Q, v)`; `inf` where a stress lies outside the range of its law."""
        if len(self._groups) == 1:
            return self._groups[0][0].conjugate(stress, start)
        strain, energy = torch.empty_like(stress), stress.new_empty(stress.shape[:-1])
        finite = torch.ones_like(energy, dtype=torch.bool)
        for material, points in self._groups:
            begin = None if start is None else start[..., points, :]
            part = material.conjugate(stress[..., points, :], begin)
            strain[..., points, :], energy[..., points], finite[..., points] = part
        return Conjugate(strain, energy, finite)
