"""Objectives of the baselines: energy of a displacement network on a unit cell, and fits to stress snapshots."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from equipoise.problems.mechanics.cell import PeriodicCell

__all__ = ["EnergyObjective", "RegressionObjective"]


class EnergyObjective:
    """Mean effective energy of a network's displacement, relative to that of no fluctuation.

    Args:
        cell: the unit cell. strain: macroscopic strains, `(n, v)`.
        fluctuation: maps (model, strains) to nodal fluctuations, `(n, nodes, dim)`.
        energy: `"strain"`, the true energy, or `"secant"`, half the work of the stress: the published code's
            functional, which is the energy of a linear material only.

    Source: Eivazi et al. (2026), baselines.
    """

    def __init__(
        self,
        cell: PeriodicCell,
        strain: torch.Tensor,
        fluctuation: Callable[[nn.Module, torch.Tensor], torch.Tensor],
        *,
        energy: str = "strain",
    ) -> None:
        if energy not in ("strain", "secant"):
            raise ValueError(f"energy={energy!r} is unknown; use 'strain' or 'secant'.")
        self.cell, self.strain, self.size, self.energy = cell, strain, len(strain), energy
        self.fluctuation = fluctuation
        affine = strain[:, None].expand(-1, cell.n_points, -1)
        self.scale = cell.average(cell.law.energy(affine)[..., None])[:, 0]

    def __call__(self, model: nn.Module, samples: torch.Tensor | None) -> Mapping[str, torch.Tensor]:
        chosen = slice(None) if samples is None else samples
        strain = self.strain[chosen]
        local = self.cell.strain(strain, self.cell.restrict(self.fluctuation(model, strain)))
        if self.energy == "strain":
            density = self.cell.law.energy(local)
        else:
            density = (self.cell.law.stress(local) * local).sum(-1) / 2
        return {"energy": (self.cell.average(density[..., None])[:, 0] / self.scale[chosen]).mean()}


class RegressionObjective:
    """Mean square error of a model's answers, scaled by the spread of each output.

    Args:
        inputs: `(n, k)`. targets: `(n, ...)`. answer: maps (model, inputs) to the shape of the targets.
        scale: of each output, broadcast against the targets.
    """

    def __init__(
        self,
        inputs: torch.Tensor,
        targets: torch.Tensor,
        answer: Callable[[nn.Module, torch.Tensor], torch.Tensor],
        *,
        scale: torch.Tensor,
    ) -> None:
        self.inputs, self.targets, self.answer, self.scale, self.size = inputs, targets, answer, scale, len(inputs)

    def __call__(self, model: nn.Module, samples: torch.Tensor | None) -> Mapping[str, torch.Tensor]:
        chosen = slice(None) if samples is None else samples
        error = (self.answer(model, self.inputs[chosen]) - self.targets[chosen]) / self.scale
        return {"error": error.square().mean()}
