"""A compressible neo-Hookean law as a function of small strain."""

from __future__ import annotations

from typing import Any

import torch

from equipoise.problems.mechanics.materials import Material, check_positive

__all__ = ["NeoHookean"]


class NeoHookean(Material):
    """Compressible neo-Hookean energy of the symmetric stretch `U = I + eps`.

    `W = mu/2 (tr U^2 - 3 - 2 ln det U) + lambda/2 (ln det U)^2` with rotations left out, as small-strain kinematics
    do; stress and tangent follow automatically and equal those of linear elasticity at zero strain. Meant for strains
    of a few percent: it brings the tension-compression asymmetry of rubber-like matrices, not finite deformation. The
    energy is infinite where `det U <= 0`.

    Args:
        shear: shear modulus mu, MPa. lame: first Lame constant lambda, MPa. name: for reports.

    Source: Bonet and Wood (2008), chapter 6, with C replaced by U^2.
    """

    def __init__(self, *, shear: float, lame: float, name: str = "neo-hookean") -> None:
        check_positive("neo_hookean", shear=shear, lame=lame)
        self.shear, self.lame, self.name = shear, lame, name

    def energy(self, strain: torch.Tensor) -> torch.Tensor:
        trace, determinant = _invariants(strain)
        is_inside = determinant > 0
        logarithm = torch.where(is_inside, determinant, torch.ones_like(determinant)).log()
        energy = self.shear / 2 * (trace - 3 - 2 * logarithm) + self.lame / 2 * logarithm.square()
        return torch.where(is_inside, energy, torch.full_like(energy, torch.inf))

    def config(self) -> dict[str, Any]:
        return {"law": "neo_hookean", "shear": self.shear, "lame": self.lame, "name": self.name}


def _invariants(strain: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`tr U^2` and `det U` of `U = I + eps`; plane strain where v = 3."""
    if strain.shape[-1] == 3:
        x, y, xy = 1 + strain[..., 0], 1 + strain[..., 1], strain[..., 2] / 2
        return x.square() + y.square() + 1 + 2 * xy.square(), x * y - xy.square()
    x, y, z = 1 + strain[..., 0], 1 + strain[..., 1], 1 + strain[..., 2]
    yz, xz, xy = strain[..., 3] / 2, strain[..., 4] / 2, strain[..., 5] / 2
    trace = x.square() + y.square() + z.square() + 2 * (yz.square() + xz.square() + xy.square())
    determinant = x * (y * z - yz.square()) - xy * (xy * z - yz * xz) + xz * (xy * yz - y * xz)
    return trace, determinant
