"""What a material is: an energy density of small strain, with everything else derived from it unless written.

The laws of the library and their configurations live in `materials.py`, fields of several materials in
`material_field.py`.
"""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC, abstractmethod
from typing import Any

import torch

from equipoise.problems.mechanics.automatic import automatic_stress, automatic_stress_and_tangent
from equipoise.problems.mechanics.conjugate import Conjugate, newton_conjugate
from equipoise.problems.mechanics.symmetric_forms import inverse_symmetric

__all__ = ["Material", "positive"]


class Material(ABC):
    """A hyperelastic law of small strain; write `energy`, the rest follows by automatic differentiation.

    Strains are `(..., v)` in Voigt order with engineering shear, v = 3 for plane strain and 6 in space; answers keep
    the leading shape, the dtype and the device.

    Attributes:
        name: for reports.
        is_linear: whether the tangent is constant.
        is_hyperelastic: whether there is an energy, and with it a symmetric tangent, a conjugate and bounds.
        is_odd: whether opposite strains have opposite stresses, as of an even energy; False says nothing.
    """

    name: str = "material"
    is_linear: bool = False
    is_hyperelastic: bool = True
    is_odd: bool = False

    @abstractmethod
    def energy(self, strain: torch.Tensor) -> torch.Tensor:
        """Energy density, MPa, of strains `(..., v)`; returns `(...)`."""

    def stress(self, strain: torch.Tensor) -> torch.Tensor:
        """Stress, MPa, `(..., v)`: the energy's gradient."""
        return automatic_stress(self.name, self.energy, strain)

    def tangent(self, strain: torch.Tensor) -> torch.Tensor:
        """Tangent, MPa, `(..., v, v)`: the energy's second derivatives."""
        return self.stress_and_tangent(strain)[1]

    def stress_and_tangent(self, strain: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Stress `(..., v)` and tangent `(..., v, v)` at once."""
        return automatic_stress_and_tangent(self.name, self.energy, strain)

    def conjugate(self, stress: torch.Tensor, start: torch.Tensor | None = None) -> Conjugate:
        """Complementary energy `sup (stress . strain - energy(strain))` with the strain that attains it.

        Args:
            stress: `(..., v)`, MPa. start: strains to start an iteration from, `(..., v)`; some laws need none.

        Returns:
            Strain, energy and whether it is finite; see `Conjugate` and, for what a law inherits, `newton_conjugate`.
        """
        return newton_conjugate(self, stress, start)

    def compliance(self, strain: torch.Tensor) -> torch.Tensor:
        """Inverse tangent `(..., v, v)`, 1/MPa: the second derivatives of `W*` at the stress of a strain."""
        return inverse_symmetric(self.tangent(strain))

    def config(self) -> dict[str, Any]:
        """Plain values that rebuild the material.

        Raises:
            TypeError: for a user's own law that neither defines it nor is registered, so that no run can store it.
        """
        from equipoise.problems.mechanics.own_laws import registered_config

        known = registered_config(self)
        if known is not None:
            return known
        raise TypeError(
            f"{type(self).__name__} defines no config(), so what is made with it cannot be stored or told apart; "
            "register the class with register_law, or return the name and the values of the law there."
        )

    @property
    def fingerprint(self) -> str:
        """SHA-256 digest of the configuration, names left out."""
        return hashlib.sha256(json.dumps(_without_names(self.config()), sort_keys=True).encode()).hexdigest()

    def validate(self, *, n_strain: int = 3, size: float = 0.01, count: int = 32, seed: int = 0) -> None:
        """Check a law on random strains: shapes, finite values, exact derivatives, symmetry and convexity.

        Meant for a user's own law before it goes into a long computation.

        Args:
            n_strain: 3 or 6. size: largest strain component tried. count: strains tried. seed: of the strains.

        Raises:
            ValueError: naming the first property that does not hold, and the strain.
        """
        from equipoise.problems.mechanics.law_check import check_law

        check_law(self, n_strain=n_strain, size=size, count=count, seed=seed)


def positive(law: str, name: str, value: float) -> float:
    """The value as a float.

    Raises:
        ValueError: naming law and value where it is no number, or not positive and finite.
    """
    if isinstance(value, bool | str):
        raise ValueError(f"{law}: {name}={value!r} must be a number.")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{law}: {name}={value!r} must be a number.") from None
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"{law}: {name}={value} must be positive and finite.")
    return number


def _without_names(config: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _without_names(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if key != "name"
    }
