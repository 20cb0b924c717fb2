"""The nonlinear matrix of the EquiNO paper: an isotropic law whose shear stress saturates, with its conjugate."""

from __future__ import annotations

from typing import Any

import torch

from equipoise.problems.mechanics.conjugate import Conjugate, complementary_energy
from equipoise.problems.mechanics.isotropic import Deviator, deviator, excess_over_logarithm
from equipoise.problems.mechanics.material import Material, positive

__all__ = ["SaturatingShear"]

_LAW = "saturating_shear"
_MAX_ITERATIONS = 60


class SaturatingShear(Material):
    """Isotropic law whose shear stress saturates: `sigma = K tr(eps) I + g(n) dev(eps)`, `g = alpha1/(alpha2 + n)`.

    `n` is the Frobenius norm of the three-dimensional deviator, also in plane strain. The energy is
    `K/2 tr^2 + alpha1 (n - alpha2 ln(1 + n/alpha2))`, strictly convex; its deviatoric stress stays below `alpha1`.

    Args:
        bulk: bulk modulus K, MPa. alpha1: bound of the deviatoric stress, MPa. alpha2: strain at half of it.
        norm: `"spatial"`, or `"planar"` for the published code's norm, which leaves the out-of-plane deviator out in
            the plane. That law has no energy and an unsymmetric tangent; it serves comparison with published data only.
        name: for reports.

    Raises:
        ValueError: for a parameter that is not positive and finite, or an unknown norm.

    Source: Eivazi et al. (2026), section 2, with the out-of-plane deviator included so that an energy exists.
    """

    is_odd = True

    def __init__(
        self, *, bulk: float, alpha1: float, alpha2: float, norm: str = "spatial", name: str = "matrix"
    ) -> None:
        self.bulk = positive(_LAW, "bulk", bulk)
        self.alpha1, self.alpha2 = positive(_LAW, "alpha1", alpha1), positive(_LAW, "alpha2", alpha2)
        if norm not in ("spatial", "planar"):
            raise ValueError(f"{_LAW}: norm={norm!r} is unknown; use 'spatial' or 'planar'.")
        self.norm, self.name = norm, name
        self.is_hyperelastic = norm == "spatial"

    def energy(self, strain: torch.Tensor) -> torch.Tensor:
        self._need_energy()
        parts = deviator(strain)
        # Branches are written in the square, so that first and second derivatives at zero strain are those of the law.
        is_positive = parts.square > _vanishing(parts.square)
        norm = torch.where(is_positive, parts.square, torch.ones_like(parts.square)).sqrt()
        saturating = self.alpha1 * self.alpha2 * excess_over_logarithm(norm / self.alpha2)
        initial = self.alpha1 / (2 * self.alpha2) * parts.square
        shear = torch.where(is_positive, saturating, initial)
        return torch.addcmul(shear, parts.trace, parts.trace, value=self.bulk / 2)

    def stress(self, strain: torch.Tensor) -> torch.Tensor:
        parts = self._deviator(strain)
        secant = self.alpha1 / (self.alpha2 + _root(parts.square))
        return self._stress(parts, secant)

    def stress_and_tangent(self, strain: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        parts = self._deviator(strain)
        norm = _root(parts.square)
        total = self.alpha2 + norm
        secant = self.alpha1 / total
        # (g'/n) d d^T vanishes with n: the clamp keeps the quotient finite, and with it the product negligible.
        slope = -secant / (total * norm.clamp(min=_vanishing(norm) ** 0.5))
        return self._stress(parts, secant), self._tangent(parts, secant, slope)

    def conjugate(self, stress: torch.Tensor, start: torch.Tensor | None = None) -> Conjugate:
        """Complementary energy: closed in space, one scalar equation in the plane; `start` is not needed.

        It is finite exactly where the deviatoric stress that does work is below `alpha1`: its norm in space, and
        `2 s^2 < alpha1^2` in the plane with `s^2 = ((sxx - syy)/2)^2 + sxy^2`, whatever the mean stress.
        """
        self._need_energy()
        with torch.no_grad():
            strain, is_finite = self._conjugate_in_plane(stress) if stress.shape[-1] == 3 else self._conjugate(stress)
        return complementary_energy(self, stress, strain, is_finite)

    def config(self) -> dict[str, Any]:
        return {
            "law": _LAW,
            "bulk": self.bulk,
            "alpha1": self.alpha1,
            "alpha2": self.alpha2,
            "norm": self.norm,
            "name": self.name,
        }

    def _need_energy(self) -> None:
        if not self.is_hyperelastic:
            raise ValueError(f"law {self.name!r} with norm='planar' has no energy; use norm='spatial'.")

    def _deviator(self, strain: torch.Tensor) -> Deviator:
        return deviator(strain, out_of_plane=self.is_hyperelastic)

    def _stress(self, parts: Deviator, secant: torch.Tensor) -> torch.Tensor:
        pressure = self.bulk * parts.trace
        return torch.stack(
            [
                torch.addcmul(pressure, secant, part) if number < parts.normals else secant * part
                for number, part in enumerate(parts.components)
            ],
            dim=-1,
        )

    def _tangent(self, parts: Deviator, secant: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
        """`K m m^T + g D + (g'/n) d q^T`, where `n q` is the norm times its gradient: d, but for the planar norm."""
        gradient, normals = self._norm_gradient(parts), parts.normals
        scaled = [slope * part for part in parts.components]
        diagonal, side, shear = secant * (2 / 3) + self.bulk, secant * (-1 / 3) + self.bulk, secant / 2
        size = len(scaled)
        entries: dict[tuple[int, int], torch.Tensor] = {}
        for i in range(size):
            for j in range(size):
                if self.is_hyperelastic and j < i:
                    entries[i, j] = entries[j, i]
                elif i == j:
                    entries[i, j] = torch.addcmul(diagonal if i < normals else shear, scaled[i], gradient[j])
                elif i < normals and j < normals:
                    entries[i, j] = torch.addcmul(side, scaled[i], gradient[j])
                else:
                    entries[i, j] = scaled[i] * gradient[j]
        return torch.stack(list(entries.values()), dim=-1).unflatten(-1, (size, size))

    def _norm_gradient(self, parts: Deviator) -> list[torch.Tensor]:
        if self.is_hyperelastic or parts.normals == 3:
            return parts.components
        first, second, shear = parts.components
        third = (first + second) / 3
        return [first - third, second - third, shear]

    def _conjugate(self, stress: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Strain of stresses in space: `g n = |s|` gives `1/g = alpha2/(alpha1 - |s|)`."""
        # `deviator` halves engineering shear; a stress has none.
        parts = deviator(torch.cat([stress[..., :3], 2 * stress[..., 3:]], dim=-1))
        size = parts.square.sqrt()
        is_finite = (size < self.alpha1) & torch.isfinite(parts.trace)
        inverse = self.alpha2 / torch.where(is_finite, self.alpha1 - size, torch.ones_like(size))
        volume = parts.trace / (9 * self.bulk)
        strain = [torch.addcmul(volume, inverse, part) for part in parts.components[:3]]
        strain += [2 * inverse * part for part in parts.components[3:]]
        return torch.stack(strain, dim=-1), is_finite

    def _conjugate_in_plane(self, stress: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Strain of stresses in the plane, where the out-of-plane stress does no work.

        With `p = (sxx + syy)/2` and `s` as for `conjugate`, the strain follows from g, and n from
        `n^2 = 2 s^2/g^2 + p^2/(6 (K + g/6)^2)`. Divided by `(alpha2 + n)^2` and written in `v = t/(K + c t)` with
        `t = g/alpha1` and `c = alpha1/6`, this is `1 - alpha2 K v/(1 - c v) = (rho^2 + p^2 v^2/6)^(1/2)` with
        `rho^2 = 2 s^2/alpha1^2`. Left minus right is concave and falls with v, so Newton's method from any v above the
        root descends to it monotonically, for any moduli.
        """
        first, second, shear = stress.unbind(-1)
        mean, half = (first + second) / 2, (first - second) / 2
        ratio = torch.addcmul(half.square(), shear, shear) * (2 / self.alpha1**2)
        is_finite = (ratio < 1) & torch.isfinite(mean)
        ratio = torch.where(is_finite, ratio, torch.zeros_like(ratio))
        pressure = torch.where(is_finite, mean.square() / 6, torch.zeros_like(mean))
        c, stiffness = self.alpha1 / 6, self.alpha2 * self.bulk
        # Two values above the root: that without pressure, and that without shear and c.
        slack = (1 - ratio.sqrt()) / self.alpha2
        v = torch.minimum(slack / (self.bulk + c * slack), 1 / (stiffness + pressure.sqrt()))
        # After a step of this relative size the error is its square: round-off.
        enough = 0.1 * torch.finfo(v.dtype).eps ** 0.5
        tiny = torch.finfo(v.dtype).tiny
        for _ in range(_MAX_ITERATIONS):
            inverse = 1 / (1 - c * v)
            loaded = pressure * v
            root = torch.addcmul(ratio, loaded, v).sqrt()
            value = 1 - stiffness * v * inverse - root
            derivative = torch.addcdiv(stiffness * inverse.square(), loaded, root.clamp(min=tiny))
            step = value / derivative
            v = v + step
            is_near = step.abs() <= enough * v
            if bool(is_near.all()):
                break
        # Where the shear is far stiffer than the volume, 1 - c v has lost digits; in t the equation has none to lose.
        t = self.bulk * v / (1 - c * v)
        for _ in range(2):
            total = self.bulk + c * t
            v = t / total
            loaded = pressure * v
            root = torch.addcmul(ratio, loaded, v).sqrt()
            derivative = self.alpha2 + loaded * (self.bulk / total.square()) / root.clamp(min=tiny)
            t = t + (1 - self.alpha2 * t - root) / derivative
        secant = self.alpha1 * t
        volume, side = mean / (2 * self.bulk + secant / 3), half / secant
        return torch.stack([volume + side, volume - side, 2 * shear / secant], dim=-1), is_finite & is_near


def _root(square: torch.Tensor) -> torch.Tensor:
    """Square root whose derivative at zero is zero instead of infinite."""
    is_positive = square > _vanishing(square)
    root = torch.where(is_positive, square, torch.ones_like(square)).sqrt()
    return torch.where(is_positive, root, torch.zeros_like(root))


def _vanishing(square: torch.Tensor) -> float:
    """Squared norm that counts as zero, far below any strain that matters and far above what loses digits."""
    return float(torch.finfo(square.dtype).tiny ** 0.5)
