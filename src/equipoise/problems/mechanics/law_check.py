"""Checks of a law against itself: whether its answers are what an energy density allows.

`Material.validate` is the public door; nothing here runs inside a computation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from equipoise.problems.mechanics.material import Material

__all__ = ["check_law"]

_DIFFERENCE_TOLERANCE = 1e-5
_SYMMETRY_TOLERANCE = 1e-9


def check_law(material: Material, *, n_strain: int, size: float, count: int, seed: int) -> None:
    """See `Material.validate`."""
    if n_strain not in (3, 6):
        raise ValueError(f"n_strain={n_strain} is not a number of strain components; use 3 or 6.")
    if not (size > 0 and count > 0):
        raise ValueError(f"size={size} and count={count} must be positive.")
    generator = torch.Generator().manual_seed(seed)
    strain = size * (2 * torch.rand(count, n_strain, generator=generator, dtype=torch.float64) - 1)
    strain = torch.cat([torch.zeros(1, n_strain, dtype=torch.float64), strain])
    stress, tangent = material.stress_and_tangent(strain)
    _check_shapes(material, strain, stress, tangent)
    if material.is_hyperelastic:
        _check_energy(material, strain, stress)
        _refuse(material, "a tangent that is not symmetric", strain, _asymmetry(tangent) > _SYMMETRY_TOLERANCE)
        lowest = torch.linalg.eigvalsh((tangent + tangent.mT) / 2)[:, 0]
        bound = -_SYMMETRY_TOLERANCE * torch.linalg.matrix_norm(tangent)
        _refuse(material, "an energy that is not convex, so that bounds fail,", strain, lowest < bound)
    if material.is_odd:
        odd_part = torch.linalg.vector_norm(stress + material.stress(-strain), dim=-1)
        scale = torch.linalg.vector_norm(stress, dim=-1).amax()
        _refuse(material, "is_odd set and a stress that is not odd", strain, odd_part > 1e-9 * scale)
    difference = _difference(material.stress, strain, size)
    error = torch.linalg.matrix_norm(difference - tangent) / torch.linalg.matrix_norm(tangent)
    _refuse(material, "a tangent that is not the derivative of its stress", strain, error > _DIFFERENCE_TOLERANCE)


def _check_shapes(material: Material, strain: torch.Tensor, stress: torch.Tensor, tangent: torch.Tensor) -> None:
    shapes = {"stress": (stress, strain.shape), "tangent": (tangent, (*strain.shape, strain.shape[-1]))}
    for what, (value, shape) in shapes.items():
        if value.shape != shape:
            raise ValueError(
                f"law {material.name!r}: {what} has shape {tuple(value.shape)} for strains {tuple(strain.shape)}; "
                f"expected {tuple(shape)}."
            )
        if value.dtype != strain.dtype:
            raise ValueError(f"law {material.name!r}: {what} is {value.dtype} for strains of {strain.dtype}.")
        _refuse(material, f"{what} that is not finite", strain, ~torch.isfinite(value).flatten(1).all(-1))


def _check_energy(material: Material, strain: torch.Tensor, stress: torch.Tensor) -> None:
    energy = material.energy(strain)
    if energy.shape != strain.shape[:1]:
        raise ValueError(
            f"law {material.name!r}: energy has shape {tuple(energy.shape)} for strains {tuple(strain.shape)}; "
            f"expected {tuple(strain.shape[:1])}."
        )
    _refuse(material, "energy that is not finite", strain, ~torch.isfinite(energy))
    alone = torch.stack([material.energy(row[None])[0] for row in strain])
    scale = energy.abs().amax()
    _refuse(material, "energy that depends on other points", strain, (alone - energy).abs() > 1e-9 * scale)
    size = float(strain.abs().amax())
    difference = _difference(material.energy, strain, size)
    error = torch.linalg.vector_norm(difference - stress, dim=-1)
    scale = torch.linalg.vector_norm(stress, dim=-1).amax()
    _refuse(material, "stress that is not its energy's derivative", strain, error > _DIFFERENCE_TOLERANCE * scale)


def _difference(function: Callable[[torch.Tensor], torch.Tensor], strain: torch.Tensor, size: float) -> torch.Tensor:
    """Central differences along the last axis of the answer."""
    columns = []
    for direction in torch.eye(strain.shape[-1], dtype=strain.dtype):
        shift = 1e-5 * size * direction
        columns.append((function(strain + shift) - function(strain - shift)) / (2e-5 * size))
    return torch.stack(columns, dim=-1)


def _asymmetry(tangent: torch.Tensor) -> torch.Tensor:
    return torch.linalg.matrix_norm(tangent - tangent.mT) / torch.linalg.matrix_norm(tangent)


def _refuse(material: Material, what: str, strain: torch.Tensor, is_wrong: torch.Tensor) -> None:
    if bool(is_wrong.any()):
        first = [float(f"{value:.4g}") for value in strain[is_wrong][0].tolist()]
        raise ValueError(f"law {material.name!r} has {what} at strain {first}.")
