"""Plane stress from any three-dimensional law, for structures with a constitutive micro model."""

from __future__ import annotations

from typing import Any

import torch

from equipoise.errors import ConvergenceError
from equipoise.problems.mechanics.materials import Conjugate, Material

__all__ = ["PlaneStress"]

_IN_PLANE = [0, 1, 5]
_ROUND_OFF = 1e-12


class PlaneStress(Material):
    """Plane-stress form of a law: the out-of-plane normal strain is the one that makes its stress vanish.

    Args:
        material: law that answers three-dimensional strains, `(..., 6)`.

    Raises:
        ConvergenceError: where no out-of-plane strain makes the stress vanish.
    """

    def __init__(self, material: Material) -> None:
        self.material = material
        self.name = f"{material.name}, plane stress"
        self.is_linear, self.is_hyperelastic = material.is_linear, material.is_hyperelastic

    def energy(self, strain: torch.Tensor) -> torch.Tensor:
        return self.material.energy(self._space(strain))

    def stress(self, strain: torch.Tensor) -> torch.Tensor:
        return self.material.stress(self._space(strain))[..., _IN_PLANE]

    def tangent(self, strain: torch.Tensor) -> torch.Tensor:
        return self.stress_and_tangent(strain)[1]

    def stress_and_tangent(self, strain: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        stress, tangent = self.material.stress_and_tangent(self._space(strain))
        plane = tangent[..., _IN_PLANE, :][..., _IN_PLANE]
        column, row = tangent[..., _IN_PLANE, 2], tangent[..., 2, _IN_PLANE]
        condensed = plane - column[..., :, None] * row[..., None, :] / tangent[..., 2, 2, None, None]
        return stress[..., _IN_PLANE], condensed

    def conjugate(self, stress: torch.Tensor, start: torch.Tensor | None = None) -> Conjugate:
        """Conjugate energy: that of the law in space with no stress out of the plane."""
        space = stress.new_zeros(*stress.shape[:-1], 6)
        space[..., _IN_PLANE] = stress
        answer = self.material.conjugate(space)
        return Conjugate(answer.strain[..., _IN_PLANE], answer.energy, answer.is_finite)

    def config(self) -> dict[str, Any]:
        return {"law": "plane_stress", "material": self.material.config(), "name": self.name}

    def _space(self, strain: torch.Tensor) -> torch.Tensor:
        if strain.shape[-1] != 3:
            raise ValueError(f"plane stress answers strains of 3 components, got {strain.shape[-1]}.")
        space = strain.new_zeros(*strain.shape[:-1], 6)
        space[..., _IN_PLANE] = strain
        stiffness = self.material.tangent(space.new_zeros(6))[2, 2]
        scale = strain.detach().abs().amax(-1).clamp(min=torch.finfo(strain.dtype).tiny)
        for _ in range(50):
            stress, tangent = self.material.stress_and_tangent(space)
            if bool((stress[..., 2].abs() <= _ROUND_OFF * stiffness * scale).all()):
                return space
            space = space.clone()
            space[..., 2] = space[..., 2] - stress[..., 2] / tangent[..., 2, 2]
        raise ConvergenceError(f"plane stress of {self.material.name!r} found no out-of-plane strain for some points.")
