"""Plane stress from any three-dimensional law, for structures with a constitutive micro model."""

from __future__ import annotations

from typing import Any

import torch

from equipoise.errors import ConvergenceError
from equipoise.problems.mechanics.conjugate import Conjugate
from equipoise.problems.mechanics.material import Material

__all__ = ["PlaneStress"]

_IN_PLANE = [0, 1, 5]
_MAX_ITERATIONS = 50


class PlaneStress(Material):
    """Plane-stress form of a law: the out-of-plane normal strain is the one that makes its stress vanish.

    Transverse shear strains are zero, so that transverse shear stresses vanish for laws with that plane of symmetry,
    isotropic ones among them.

    Args:
        material: law that answers three-dimensional strains, `(..., 6)`.

    Raises:
        ConvergenceError: on evaluation, where no out-of-plane strain makes the stress vanish.
    """

    def __init__(self, material: Material) -> None:
        if not isinstance(material, Material) or isinstance(material, PlaneStress):
            raise TypeError(f"plane stress is made of a three-dimensional law, got {type(material).__name__}.")
        self.material = material
        self.name = f"{material.name}, plane stress"
        self.is_linear, self.is_hyperelastic = material.is_linear, material.is_hyperelastic
        self.is_odd = material.is_odd

    def energy(self, strain: torch.Tensor) -> torch.Tensor:
        return self.material.energy(self._space(strain))

    def stress(self, strain: torch.Tensor) -> torch.Tensor:
        return self.material.stress(self._space(strain))[..., _IN_PLANE]

    def stress_and_tangent(self, strain: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        stress, tangent = self.material.stress_and_tangent(self._space(strain))
        plane = tangent[..., _IN_PLANE, :][..., _IN_PLANE]
        column, row = tangent[..., _IN_PLANE, 2], tangent[..., 2, _IN_PLANE]
        condensed = plane - column[..., :, None] * row[..., None, :] / tangent[..., 2, 2, None, None]
        return stress[..., _IN_PLANE], condensed

    def conjugate(self, stress: torch.Tensor, start: torch.Tensor | None = None) -> Conjugate:
        """Complementary energy: that of the law in space with no stress out of the plane."""
        space = torch.nn.functional.pad(stress, (0, 3))[..., [0, 1, 3, 4, 5, 2]]
        answer = self.material.conjugate(space)
        return Conjugate(answer.strain[..., _IN_PLANE], answer.energy, answer.is_finite)

    def config(self) -> dict[str, Any]:
        return {"law": "plane_stress", "material": self.material.config()}

    def _space(self, strain: torch.Tensor) -> torch.Tensor:
        """Strains in space, `(..., 6)`; differentiable to first order, whatever iterations were needed."""
        if strain.ndim == 0 or strain.shape[-1] != 3:
            raise ValueError(f"plane stress answers strains of 3 components, got shape {tuple(strain.shape)}.")
        plane = torch.nn.functional.pad(strain, (0, 3))[..., [0, 1, 3, 4, 5, 2]]
        with torch.no_grad():
            thickness = self._thickness_strain(plane.detach())
        if torch.is_grad_enabled() and strain.requires_grad:
            thickness = self._newton_step(plane, thickness)
        return torch.cat([plane[..., :2], thickness[..., None], plane[..., 3:]], dim=-1)

    def _newton_step(self, plane: torch.Tensor, thickness: torch.Tensor) -> torch.Tensor:
        """One step from the solution changes nothing but brings its derivative along."""
        space = torch.cat([plane[..., :2], thickness[..., None], plane[..., 3:]], dim=-1)
        stress = self.material.stress(space)[..., 2]
        with torch.no_grad():
            stiffness = self.material.tangent(space.detach())[..., 2, 2]
        return thickness - stress / stiffness

    def _thickness_strain(self, plane: torch.Tensor) -> torch.Tensor:
        """Out-of-plane strains by Newton's method from the linearised answer, in a bracket that only shrinks."""
        space = plane.clone()
        initial = self.material.tangent(space.new_zeros(6))
        space[..., 2] = -(plane @ initial[2]) / initial[2, 2]
        scale = initial[2, 2] * plane.abs().amax(-1).clamp(min=torch.finfo(plane.dtype).tiny)
        tolerance = max(1e-12, 16 * torch.finfo(plane.dtype).eps) * scale
        low, high = torch.full_like(scale, -torch.inf), torch.full_like(scale, torch.inf)
        for _ in range(_MAX_ITERATIONS):
            stress, tangent = self.material.stress_and_tangent(space)
            residual, strain = stress[..., 2], space[..., 2]
            is_done = residual.abs() <= tolerance
            if bool(is_done.all()):
                return space[..., 2]
            # The stress grows with the strain of a convex law, so its sign says on which side the answer lies; where
            # the law has no answer at all (nan), it lies on the side of less compression.
            is_below = (residual < 0) | torch.isnan(residual)
            low, high = torch.where(is_below, strain, low), torch.where(is_below, high, strain)
            updated = strain - residual / tangent[..., 2, 2]
            inside = (updated > low) & (updated < high)
            middle = torch.where(torch.isinf(low) | torch.isinf(high), strain / 2, (low + high) / 2)
            space[..., 2] = torch.where(is_done, strain, torch.where(inside, updated, middle))
        raise ConvergenceError(f"plane stress of {self.material.name!r} found no out-of-plane strain for some points.")
