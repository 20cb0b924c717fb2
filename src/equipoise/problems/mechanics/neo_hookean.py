"""A compressible neo-Hookean law as a function of small strain."""

from __future__ import annotations

from typing import Any

import torch

from equipoise.problems.mechanics.isotropic import excess_over_logarithm
from equipoise.problems.mechanics.material import Material, positive

__all__ = ["NeoHookean"]

_LAW = "neo_hookean"
# Tensor indices of each Voigt component.
_PAIRS = {3: ((0, 1, 0), (0, 1, 1)), 6: ((0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1))}


class NeoHookean(Material):
    """Compressible neo-Hookean energy of the symmetric stretch `U = I + eps`.

    `W = mu/2 (tr U^2 - 3 - 2 ln det U) + lambda/2 (ln det U)^2` with rotations left out, as small-strain kinematics
    do; it equals linear elasticity to second order. Meant for strains of a few percent: it brings the
    tension-compression asymmetry of rubber-like matrices, not finite deformation. The energy is infinite where U is not
    positive definite. It is convex at least where `lambda ln det U <= mu`, while the volume grows by less than
    about `mu/lambda`; complementary energies and bounds can be relied on while strains stay there.

    Args:
        shear: shear modulus mu, MPa. lame: first Lame constant lambda, MPa. name: for reports.

    Raises:
        ValueError: for a parameter that is not positive and finite.

    Source: Bonet and Wood (2008), chapter 6, with C replaced by U^2.
    """

    def __init__(self, *, shear: float, lame: float, name: str = "neo-hookean") -> None:
        self.shear, self.lame, self.name = positive(_LAW, "shear", shear), positive(_LAW, "lame", lame), name

    def energy(self, strain: torch.Tensor) -> torch.Tensor:
        # tr U^2 - 3 - 2 ln J with J = 1 + j loses every digit at small strain; its terms of first order cancel by hand.
        trace, second, third, square = _invariants(strain)
        growth = trace + second + third
        is_inside = _is_positive_definite(strain, growth)
        growth = torch.where(is_inside, growth, torch.zeros_like(growth))
        excess = square - 2 * (second + third) + 2 * excess_over_logarithm(growth)
        energy = self.shear / 2 * excess + self.lame / 2 * torch.log1p(growth).square()
        return torch.where(is_inside, energy, torch.full_like(energy, torch.inf))

    def stress(self, strain: torch.Tensor) -> torch.Tensor:
        stress, _, _ = self._stress(strain)
        return stress

    def stress_and_tangent(self, strain: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        stress, inverse, logarithm = self._stress(strain)
        first, second = _PAIRS[strain.shape[-1]]
        i, j = torch.tensor(first, device=strain.device), torch.tensor(second, device=strain.device)
        voigt = inverse[..., i, j]
        # U^-1 (x) U^-1 symmetrised in each pair of indices, and the identity among symmetric tensors.
        square = inverse[..., i, :][..., i] * inverse[..., j, :][..., j]
        square = (square + inverse[..., i, :][..., j] * inverse[..., j, :][..., i]) / 2
        identity = torch.diag((i == j).to(strain) / 2 + 0.5)
        factor = self.shear - self.lame * logarithm
        tangent = self.shear * identity + factor[..., None, None] * square
        return stress, tangent + self.lame * voigt[..., :, None] * voigt[..., None, :]

    def config(self) -> dict[str, Any]:
        return {"law": _LAW, "shear": self.shear, "lame": self.lame, "name": self.name}

    def _stress(self, strain: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Stress `mu (U - U^-1) + lambda ln J U^-1`, `U^-1` and `ln J`; nan outside the domain of the energy."""
        trace, second, third, _ = _invariants(strain)
        growth = trace + second + third
        outside = ~_is_positive_definite(strain, growth)
        growth = torch.where(outside, torch.full_like(growth, torch.nan), growth)
        tensor = _tensor(strain)
        inverse = _adjugate_of_stretch(tensor) / (1 + growth)[..., None, None]
        logarithm = torch.log1p(growth)
        # U - U^-1 = U^-1 (2 eps + eps^2), without cancellation.
        stress = self.shear * (2 * tensor + tensor @ tensor) + self.lame * logarithm[..., None, None] * torch.eye(
            tensor.shape[-1], dtype=strain.dtype, device=strain.device
        )
        stress = inverse @ stress
        i, j = _PAIRS[strain.shape[-1]]
        return (stress + stress.mT)[..., list(i), list(j)] / 2, inverse, logarithm


def _tensor(strain: torch.Tensor) -> torch.Tensor:
    """Symmetric tensors `(..., 2, 2)` or `(..., 3, 3)` of Voigt strains."""
    if strain.shape[-1] == 3:
        x, y, xy = strain[..., 0], strain[..., 1], strain[..., 2] / 2
        return torch.stack([x, xy, xy, y], dim=-1).unflatten(-1, (2, 2))
    if strain.shape[-1] != 6:
        raise ValueError(f"strains of shape {tuple(strain.shape)} have {strain.shape[-1]} components; expected 3 or 6.")
    x, y, z = strain[..., 0], strain[..., 1], strain[..., 2]
    yz, xz, xy = strain[..., 3] / 2, strain[..., 4] / 2, strain[..., 5] / 2
    return torch.stack([x, xy, xz, xy, y, yz, xz, yz, z], dim=-1).unflatten(-1, (3, 3))


def _invariants(strain: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Principal invariants of the strain and its squared norm; `det U = 1 + I1 + I2 + I3`."""
    if strain.shape[-1] == 3:
        x, y, xy = strain[..., 0], strain[..., 1], strain[..., 2] / 2
        second = x * y - xy.square()
        return x + y, second, torch.zeros_like(second), x.square() + y.square() + 2 * xy.square()
    tensor = _tensor(strain)
    x, y, z = tensor[..., 0, 0], tensor[..., 1, 1], tensor[..., 2, 2]
    yz, xz, xy = tensor[..., 1, 2], tensor[..., 0, 2], tensor[..., 0, 1]
    second = x * y + y * z + x * z - yz.square() - xz.square() - xy.square()
    third = x * (y * z - yz.square()) - xy * (xy * z - yz * xz) + xz * (xy * yz - y * xz)
    return x + y + z, second, third, tensor.square().flatten(-2).sum(-1)


def _adjugate_of_stretch(tensor: torch.Tensor) -> torch.Tensor:
    """`det U` times the inverse of `U = I + eps`."""
    if tensor.shape[-1] == 2:
        x, y, xy = 1 + tensor[..., 0, 0], 1 + tensor[..., 1, 1], tensor[..., 0, 1]
        return torch.stack([y, -xy, -xy, x], dim=-1).unflatten(-1, (2, 2))
    x, y, z = 1 + tensor[..., 0, 0], 1 + tensor[..., 1, 1], 1 + tensor[..., 2, 2]
    yz, xz, xy = tensor[..., 1, 2], tensor[..., 0, 2], tensor[..., 0, 1]
    xx, yy, zz = y * z - yz * yz, x * z - xz * xz, x * y - xy * xy
    xy, xz, yz = xz * yz - xy * z, xy * yz - xz * y, xy * xz - x * yz
    return torch.stack([xx, xy, xz, xy, yy, yz, xz, yz, zz], dim=-1).unflatten(-1, (3, 3))


def _is_positive_definite(strain: torch.Tensor, growth: torch.Tensor) -> torch.Tensor:
    """Whether all leading minors of `U = I + eps` are positive."""
    is_positive = (growth > -1) & (strain[..., 0] > -1)
    if strain.shape[-1] == 6:
        minor = (1 + strain[..., 0]) * (1 + strain[..., 1]) - (strain[..., 5] / 2).square()
        is_positive = is_positive & (minor > 0)
    return is_positive
