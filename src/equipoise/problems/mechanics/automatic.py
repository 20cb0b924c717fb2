"""Stress and tangent of a law of which only the energy is written, by automatic differentiation.

All points are differentiated at once through the sum of their energies, which is right because no point's energy
depends on another point. Hand-written derivatives live with their laws.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

__all__ = ["automatic_stress", "automatic_stress_and_tangent"]

_Energy = Callable[[torch.Tensor], torch.Tensor]


def automatic_stress(name: str, energy: _Energy, strain: torch.Tensor) -> torch.Tensor:
    """Gradient of an energy at strains `(..., v)`, of the same shape.

    Args:
        name: of the law, for errors. energy: from `(..., v)` to `(...)`. strain: `(..., v)`.

    Raises:
        ValueError: for an energy of another shape.
    """
    flat = strain.reshape(-1, strain.shape[-1])
    gradient: torch.Tensor = torch.func.grad(_total(name, energy))(flat)
    return gradient.reshape(strain.shape)


def automatic_stress_and_tangent(name: str, energy: _Energy, strain: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradient `(..., v)` and second derivatives `(..., v, v)` of an energy; arguments as for `automatic_stress`."""
    flat = strain.reshape(-1, strain.shape[-1])
    derivatives: Any = torch.func.vjp(torch.func.grad(_total(name, energy)), flat)
    stress, pull_back = derivatives
    directions = torch.eye(flat.shape[-1], dtype=flat.dtype, device=flat.device)
    rows = [pull_back(direction.expand_as(flat).contiguous())[0] for direction in directions]
    tangent = torch.stack(rows, dim=-2)
    return stress.reshape(strain.shape), tangent.reshape(*strain.shape, strain.shape[-1])


def _total(name: str, energy: _Energy) -> _Energy:
    def total(strain: torch.Tensor) -> torch.Tensor:
        value = energy(strain)
        if value.shape != strain.shape[:-1]:
            raise ValueError(
                f"energy of law {name!r} has shape {tuple(value.shape)} for strains {tuple(strain.shape)}; expected "
                f"{tuple(strain.shape[:-1])}, one value for each strain along the last axis."
            )
        return value.sum()

    return total
