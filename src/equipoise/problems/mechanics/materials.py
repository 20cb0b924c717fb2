"""Materials as energy densities of small strain: the base class, automatic derivatives and the laws of the library.

A material knows points, not meshes. Fields of several materials live in `material_field.py`.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

__all__ = [
    "Conjugate",
    "LinearIsotropic",
    "Material",
    "SaturatingShear",
    "material_from_config",
    "paper_fibre",
    "paper_materials",
    "paper_matrix",
]


class Conjugate(NamedTuple):
    """Complementary energy of a stress: its strain `(..., v)`, energy `(...)`, and whether it is finite `(...)`."""

    strain: torch.Tensor
    energy: torch.Tensor
    is_finite: torch.Tensor


class Material(ABC):
    """A hyperelastic law of small strain; write `energy`, the derivatives follow by automatic differentiation.

    Attributes:
        name: for reports. is_linear: whether the tangent is constant. is_hyperelastic: whether there is an energy.
    """

    name: str = "material"
    is_linear: bool = False
    is_hyperelastic: bool = True

    @abstractmethod
    def energy(self, strain: torch.Tensor) -> torch.Tensor:
        """Energy density, MPa, of strains `(..., v)` with engineering shear; returns `(...)`."""

    def stress(self, strain: torch.Tensor) -> torch.Tensor:
        """Stress, MPa, `(..., v)`: the energy's gradient."""
        flat = strain.reshape(-1, strain.shape[-1])
        gradient: torch.Tensor = torch.func.vmap(torch.func.grad(self.energy))(flat)
        return gradient.reshape(strain.shape)

    def tangent(self, strain: torch.Tensor) -> torch.Tensor:
        """Tangent, MPa, `(..., v, v)`: the energy's second derivatives."""
        flat = strain.reshape(-1, strain.shape[-1])
        hessian: torch.Tensor = torch.func.vmap(torch.func.hessian(self.energy))(flat)
        return hessian.reshape(*strain.shape, strain.shape[-1])

    def stress_and_tangent(self, strain: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Stress and tangent at once."""
        return self.stress(strain), self.tangent(strain)

    def conjugate(self, stress: torch.Tensor, start: torch.Tensor | None = None) -> Conjugate:
        """Conjugate energy `sup (stress . strain - energy(strain))` by a safeguarded Newton iteration."""
        flat = stress.reshape(-1, stress.shape[-1])
        strain = torch.zeros_like(flat) if start is None else start.reshape(flat.shape).clone()
        value = self.energy(strain) - (strain * flat).sum(-1)
        scale = torch.linalg.vector_norm(flat, dim=-1).clamp(min=torch.finfo(flat.dtype).tiny)
        finite = torch.zeros(len(flat), dtype=torch.bool, device=flat.device)
        for _ in range(60):
            residual = self.stress(strain) - flat
            finite = torch.linalg.vector_norm(residual, dim=-1) <= 1e-12 * scale
            if bool(finite.all()):
                break
            step = -torch.linalg.solve(self.tangent(strain), residual[..., None])[..., 0]
            length = torch.ones_like(value)
            for _ in range(30):
                trial = strain + length[:, None] * step
                trial_value = self.energy(trial) - (trial * flat).sum(-1)
                worse = ~(trial_value <= value + 1e-14 * value.abs()) & ~finite
                if not bool(worse.any()):
                    break
                length = torch.where(worse, length / 2, length)
            better = ~worse & ~finite
            strain = torch.where(better[:, None], trial, strain)
            value = torch.where(better, trial_value, value)
        energy = torch.where(finite, -value, torch.full_like(value, torch.inf))
        shape = stress.shape[:-1]
        return Conjugate(strain.reshape(stress.shape), energy.reshape(shape), finite.reshape(shape))

    def config(self) -> dict[str, Any]:
        """Plain values that rebuild the material.

        Raises:
            TypeError: for a user's own law that does not define it, so that it cannot be stored in a run.
        """
        raise TypeError(f"{type(self).__name__} defines no config(), so it cannot be stored in a file.")

    @property
    def fingerprint(self) -> str:
        """Digest of the configuration."""
        values = {key: value for key, value in self.config().items() if key != "name"}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _deviator(strain: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Trace, in-Voigt deviator with tensor shear, and squared norm of the three-dimensional deviator."""
    plane = strain.shape[-1] == 3
    normals = 2 if plane else 3
    trace = _sum_of_components(strain[..., :normals])
    deviator = torch.cat([strain[..., :normals] - trace[..., None] / 3, strain[..., normals:] / 2], -1)
    squares = deviator.square()
    square = _sum_of_components(squares[..., :normals]) + 2 * _sum_of_components(squares[..., normals:])
    return trace, deviator, square + (trace / 3).square() if plane else square


def _sum_of_components(tensor: torch.Tensor) -> torch.Tensor:
    """Sum over the last axis, far faster than `sum(-1)` for the few components of a strain."""
    total = tensor[..., 0]
    for component in range(1, tensor.shape[-1]):
        total = total + tensor[..., component]
    return total


def _projections(strain: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`m m^T` and the deviatoric projection D in Voigt form, `(v, v)`."""
    size = strain.shape[-1]
    normals = 2 if size == 3 else 3
    volume, deviatoric = strain.new_zeros(size, size), strain.new_zeros(size, size)
    volume[:normals, :normals] = 1.0
    deviatoric[:normals, :normals] = -1 / 3
    for i in range(size):
        deviatoric[i, i] = 2 / 3 if i < normals else 0.5
    return volume, deviatoric


def check_positive(law: str, **values: float) -> None:
    """Raise `ValueError` naming the first value that is not positive and finite."""
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{law}: {name}={value} must be positive and finite.")


class LinearIsotropic(Material):
    """Linear isotropic elasticity, `sigma = K tr(eps) I + 2 G dev(eps)`; plane strain where v = 3.

    Args:
        bulk: bulk modulus K, MPa. shear: shear modulus G, MPa. name: for reports.
    """

    is_linear = True

    def __init__(self, *, bulk: float, shear: float, name: str = "linear") -> None:
        check_positive("linear_isotropic", bulk=bulk, shear=shear)
        self.bulk, self.shear, self.name = bulk, shear, name

    @classmethod
    def from_young(cls, *, young: float, poisson: float, name: str = "linear") -> LinearIsotropic:
        """From Young's modulus, MPa, and Poisson's ratio."""
        check_positive("linear_isotropic", young=young)
        if not -1 < poisson < 0.5:
            raise ValueError(f"linear_isotropic: poisson={poisson} must lie between -1 and 0.5.")
        return cls(bulk=young / (3 * (1 - 2 * poisson)), shear=young / (2 * (1 + poisson)), name=name)

    def energy(self, strain: torch.Tensor) -> torch.Tensor:
        trace, _, square = _deviator(strain)
        return self.bulk / 2 * trace.square() + self.shear * square

    def _matrix(self, strain: torch.Tensor) -> torch.Tensor:
        volume, deviatoric = _projections(strain)
        return self.bulk * volume + 2 * self.shear * deviatoric

    def stress(self, strain: torch.Tensor) -> torch.Tensor:
        return strain @ self._matrix(strain)

    def tangent(self, strain: torch.Tensor) -> torch.Tensor:
        return self._matrix(strain).expand(*strain.shape, strain.shape[-1])

    def conjugate(self, stress: torch.Tensor, start: torch.Tensor | None = None) -> Conjugate:
        strain = stress @ torch.linalg.inv(self._matrix(stress))
        energy = (strain * stress).sum(-1) / 2
        return Conjugate(strain, energy, torch.ones_like(energy, dtype=torch.bool))

    def config(self) -> dict[str, Any]:
        return {"law": "linear_isotropic", "bulk": self.bulk, "shear": self.shear, "name": self.name}


class SaturatingShear(Material):
    """Isotropic law whose shear stress saturates: `sigma = K tr(eps) I + alpha1/(alpha2 + n) dev(eps)`.

    `n` is the Frobenius norm of the three-dimensional deviator, also in plane strain.

    Args:
        bulk: bulk modulus K, MPa. alpha1: bound of the deviatoric stress, MPa. alpha2: strain at half of it.
        norm: `"spatial"`, or `"planar"` for the published code's norm, which leaves the out-of-plane deviator out in
            the plane. That law has no energy and an unsymmetric tangent; it serves comparison with published data only.
        name: for reports.

    Source: Eivazi et al. (2026), section 2, with the out-of-plane deviator included so that an energy exists.
    """

    def __init__(
        self, *, bulk: float, alpha1: float, alpha2: float, norm: str = "spatial", name: str = "matrix"
    ) -> None:
        check_positive("saturating_shear", bulk=bulk, alpha1=alpha1, alpha2=alpha2)
        if norm not in ("spatial", "planar"):
            raise ValueError(f"saturating_shear: norm={norm!r} is unknown; use 'spatial' or 'planar'.")
        self.bulk, self.alpha1, self.alpha2, self.norm, self.name = bulk, alpha1, alpha2, norm, name
        self.is_hyperelastic = norm == "spatial"

    def _square(self, strain: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        trace, deviator, square = _deviator(strain)
        if self.norm == "planar" and strain.shape[-1] == 3:
            square = deviator[..., :2].square().sum(-1) + 2 * deviator[..., 2].square()
        return trace, deviator, square

    def _need_energy(self) -> None:
        if not self.is_hyperelastic:
            raise ValueError(f"law {self.name!r} with norm='planar' has no energy; use norm='spatial'.")

    def energy(self, strain: torch.Tensor) -> torch.Tensor:
        self._need_energy()
        trace, _, square = _deviator(strain)
        ratio = _safe_root(square) / self.alpha2
        series = ratio.square() * (0.5 - ratio / 3 + ratio.square() / 4)
        shear = torch.where(ratio < 1e-4, series, ratio - torch.log1p(ratio))
        return self.bulk / 2 * trace.square() + self.alpha1 * self.alpha2 * shear

    def stress(self, strain: torch.Tensor) -> torch.Tensor:
        trace, deviator, square = self._square(strain)
        normals = 2 if strain.shape[-1] == 3 else 3
        stress = deviator * (self.alpha1 / (self.alpha2 + _safe_root(square)))[..., None]
        stress[..., :normals] += self.bulk * trace[..., None]
        return stress

    def tangent(self, strain: torch.Tensor) -> torch.Tensor:
        return self.stress_and_tangent(strain)[1]

    def stress_and_tangent(self, strain: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        trace, deviator, square = self._square(strain)
        volume, deviatoric = _projections(strain)
        normals = 2 if strain.shape[-1] == 3 else 3
        norm = _safe_root(square)
        secant = self.alpha1 / (self.alpha2 + norm)
        slope = -secant / ((self.alpha2 + norm) * norm.clamp(min=torch.finfo(norm.dtype).tiny ** 0.5))
        stress = deviator * secant[..., None]
        stress[..., :normals] += self.bulk * trace[..., None]
        gradient = deviator
        if self.norm == "planar" and normals == 2:
            # d n / d strain without the out-of-plane part: the deviator times the projection, in Voigt form.
            gradient = torch.cat(
                [deviator[..., :2] - deviator[..., :2].sum(-1, keepdim=True) / 3, deviator[..., 2:]], -1
            )
        tangent = (slope[..., None] * deviator)[..., :, None] * gradient[..., None, :]
        tangent += secant[..., None, None] * deviatoric
        tangent += self.bulk * volume
        return stress, tangent

    def conjugate(self, stress: torch.Tensor, start: torch.Tensor | None = None) -> Conjugate:
        """Conjugate energy by the scalar equation of an isotropic law; see `Material.conjugate`."""
        self._need_energy()
        if stress.shape[-1] == 3:
            return self._plane_conjugate(stress)
        mean = stress[..., :3].mean(-1)
        deviator = torch.cat([stress[..., :3] - mean[..., None], stress[..., 3:]], -1)
        size = (deviator[..., :3].square().sum(-1) + 2 * deviator[..., 3:].square().sum(-1)).sqrt()
        finite = size < self.alpha1
        norm = self.alpha2 * size / torch.where(finite, self.alpha1 - size, torch.ones_like(size))
        inverse = ((self.alpha2 + norm) / self.alpha1)[..., None]
        strain = torch.cat([deviator[..., :3] * inverse, 2 * deviator[..., 3:] * inverse], -1)
        strain[..., :3] += (mean / (3 * self.bulk))[..., None]
        return self._conjugate_of(stress, strain, finite)

    def _plane_conjugate(self, stress: torch.Tensor) -> Conjugate:
        mean = (stress[..., 0] + stress[..., 1]) / 2
        half = (stress[..., 0] - stress[..., 1]) / 2
        shear = half.square() + stress[..., 2].square()
        finite = 2 * shear < self.alpha1**2
        shear = torch.where(finite, shear, torch.zeros_like(shear))
        root = (2 * shear).sqrt()
        # Above the root, whose first part alone gives root alpha2/(alpha1 - root): from there Newton descends.
        norm = self.alpha2 * root / (self.alpha1 - root) + mean.abs() / (6**0.5 * self.bulk)
        for _ in range(40):
            secant = self.alpha1 / (self.alpha2 + norm)
            slope = -secant / (self.alpha2 + norm)
            stiffness = self.bulk + secant / 6
            value = norm.square() - 2 * shear / secant.square() - mean.square() / (6 * stiffness.square())
            derivative = 2 * norm + 4 * shear * slope / secant**3 + mean.square() * slope / 6 / (3 * stiffness**3)
            step = value / torch.where(derivative.abs() > 0, derivative, torch.ones_like(derivative))
            updated = torch.where(norm - step > 0, norm - step, norm / 2)
            # After a step of this relative size the error is its square: round-off.
            moved = (updated - norm).abs() > 1e-9 * norm
            norm = updated
            if not bool(moved.any()):
                break
        secant = self.alpha1 / (self.alpha2 + norm)
        trace = mean / (self.bulk + secant / 6)
        strain = torch.stack([trace / 2 + half / secant, trace / 2 - half / secant, 2 * stress[..., 2] / secant], -1)
        return self._conjugate_of(stress, strain, finite)

    def _conjugate_of(self, stress: torch.Tensor, strain: torch.Tensor, finite: torch.Tensor) -> Conjugate:
        strain = torch.where(finite[..., None], strain, torch.zeros_like(strain))
        energy = (stress * strain).sum(-1) - self.energy(strain)
        return Conjugate(strain, torch.where(finite, energy, torch.full_like(energy, torch.inf)), finite)

    def config(self) -> dict[str, Any]:
        return {
            "law": "saturating_shear",
            "bulk": self.bulk,
            "alpha1": self.alpha1,
            "alpha2": self.alpha2,
            "norm": self.norm,
            "name": self.name,
        }


def _safe_root(square: torch.Tensor) -> torch.Tensor:
    """Square root whose derivative at zero is zero instead of infinite."""
    positive = square > 0
    return torch.where(
        positive, torch.where(positive, square, torch.ones_like(square)).sqrt(), torch.zeros_like(square)
    )


def _laws() -> dict[str, tuple[type[Material], tuple[str, ...]]]:
    """Laws by the name that files use, with the values each takes."""
    from equipoise.problems.mechanics.neo_hookean import NeoHookean

    return {
        "linear_isotropic": (LinearIsotropic, ("bulk", "shear")),
        "saturating_shear": (SaturatingShear, ("bulk", "alpha1", "alpha2", "norm")),
        "neo_hookean": (NeoHookean, ("shear", "lame")),
    }


def material_from_config(config: Mapping[str, Any]) -> Material:
    """Rebuild a material from plain values, as in a run folder or a TOML file.

    Raises:
        ValueError: for an unknown law or key, naming the nearest known one, or a missing value.
    """
    law, laws = config.get("law"), _laws()
    if law not in laws:
        close = difflib.get_close_matches(str(law), list(laws), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"law {law!r} is unknown; use one of {', '.join(laws)}{hint}")
    kind, keys = laws[law]
    values = {key: value for key, value in config.items() if key != "law"}
    is_young = law == "linear_isotropic" and not {"bulk", "shear"} & set(values)
    keys = ("young", "poisson") if is_young and values else keys
    for key, value in values.items():
        if key not in (*keys, "name"):
            raise ValueError(f"law {law!r} has no value {key!r}; it takes {', '.join(keys)} and name.")
        if key not in ("name", "norm") and not isinstance(value, int | float):
            raise ValueError(f"law {law!r}: {key}={value!r} must be a number.")
    for key in keys:
        if key not in values and key != "norm":
            raise ValueError(f"law {law!r} needs {key}.")
    return LinearIsotropic.from_young(**values) if keys[0] == "young" else kind(**values)


def paper_matrix() -> SaturatingShear:
    """Matrix of the EquiNO paper, MPa."""
    return SaturatingShear(bulk=4780.0, alpha1=50.0, alpha2=0.06, name="matrix")


def paper_fibre() -> LinearIsotropic:
    """Fibre of the EquiNO paper, MPa."""
    return LinearIsotropic(bulk=43452.3810, shear=29918.0328, name="fibre")


def paper_materials() -> dict[int, Material]:
    """Materials of the EquiNO paper by tag: 1 matrix, 2 fibre."""
    return {1: paper_matrix(), 2: paper_fibre()}
