"""Objectives of equilibrium operators: what their networks minimise, from physics alone.

`CoefficientObjective` regresses the optima of the two reduced problems in their own energies; `GapObjective` minimises
the energies themselves; `StressObjective` is the published physics loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import nn

from equipoise.problems.mechanics.material_field import MaterialField
from equipoise.problems.mechanics.reduced import ReducedProblem

__all__ = ["CoefficientObjective", "GapObjective", "StressObjective"]

_BATCH = 512


class CoefficientObjective:
    """Distance of both coefficient vectors from their optima, measured by the gap that it causes.

    To second order an error `d` in a coefficient vector raises the gap by `d^T H d / 2`, with H the Hessian of its
    reduced problem. The terms are the mean relative gap from either side, and the mean square relative error of the
    homogenised stress. The labels are solutions of the reduced problems: no full-field solves, no stress data.

    Args:
        reduced: both problems, on weighted points. strain: collocation strains, `(n, v)`.
        homogenised_weight: weight of the last term.
    """

    def __init__(self, reduced: ReducedProblem, strain: torch.Tensor, *, homogenised_weight: float = 10.0) -> None:
        chunks = torch.split(strain, _BATCH)
        solved = [reduced.solve(chunk) for chunk in chunks]
        self.strain = strain
        self.displacement = torch.cat([pair[0] for pair in solved])
        self.stress = torch.cat([pair[1] for pair in solved])
        self.size, self.homogenised_weight = len(strain), homogenised_weight
        primal = [reduced.primal(chunk, pair[0]) for chunk, pair in zip(chunks, solved, strict=True)]
        dual = [reduced.dual(chunk, pair[1]) for chunk, pair in zip(chunks, solved, strict=True)]
        energy = torch.cat([forms.energy for forms in primal]).clamp(min=torch.finfo(strain.dtype).tiny)
        scale = (2 * energy)[:, None, None]
        self.displacement_factor = torch.linalg.cholesky(torch.cat([forms.hessian for forms in primal]) / scale)
        self.stress_factor = torch.linalg.cholesky(torch.cat([forms.hessian for forms in dual]) / scale)
        size = torch.linalg.vector_norm(self.stress @ reduced.homogenised_modes.T, dim=-1)
        self.homogenised = reduced.homogenised_modes / size[:, None, None]

    def __call__(self, model: nn.Module, samples: torch.Tensor | None) -> Mapping[str, torch.Tensor]:
        chosen = slice(None) if samples is None else samples
        displacement, stress = model(self.strain[chosen])
        displacement_error = displacement - self.displacement[chosen]
        stress_error = stress - self.stress[chosen]
        homogenised = torch.einsum("nvr,nr->nv", self.homogenised[chosen], stress_error)
        return {
            "displacement_gap": _energy(self.displacement_factor[chosen], displacement_error),
            "stress_gap": _energy(self.stress_factor[chosen], stress_error),
            "homogenised_stress": self.homogenised_weight * homogenised.square().sum(-1).mean(),
        }


def _energy(factor: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
    return torch.einsum("nij,ni->nj", factor, error).square().sum(-1).mean()


class GapObjective:
    """The certificate's gap itself: least energy for one network, least complementary energy for the other; no labels.

    Args:
        reduced: both problems, on weighted points. strain: collocation strains, `(n, v)`.
    """

    def __init__(self, reduced: ReducedProblem, strain: torch.Tensor) -> None:
        self.reduced, self.strain, self.size = reduced, strain, len(strain)
        scale = reduced.primal(strain, strain.new_zeros(self.size, reduced.n_displacement_modes)).energy
        self.scale = scale.clamp(min=torch.finfo(strain.dtype).tiny)

    def __call__(self, model: nn.Module, samples: torch.Tensor | None) -> Mapping[str, torch.Tensor]:
        chosen = slice(None) if samples is None else samples
        strain, scale = self.strain[chosen], self.scale[chosen]
        displacement, stress = model(strain)
        primal = self.reduced.primal(strain, displacement.detach())
        dual = self.reduced.dual(strain, stress.detach())
        # Outside the range of the law the complementary energy is infinite: such samples are led back by their size.
        finite = torch.isfinite(dual.energy)
        gradient = torch.where(finite[:, None], dual.gradient, stress.detach())
        energy = torch.where(finite, dual.energy, torch.zeros_like(dual.energy))
        return {
            "energy": ((primal.energy + _linear(primal.gradient, displacement)) / scale).mean(),
            "complementary_energy": ((energy + _linear(gradient, stress)) / scale).mean(),
        }


def _linear(gradient: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Zero, with the given gradient."""
    return (gradient.detach() * (value - value.detach())).sum(-1)


class StressObjective:
    """Distance of the modal stress from the law's stress at the kinematic strain.

    Args:
        law: materials at the points. strain_modes: G, `(P, v, r_u)`. stress_modes: S, `(P, v, r_s)`, MPa.
        strain: collocation strains, `(n, v)`.
        weights: quadrature weights `(P,)`, or `None` for the plain mean of the publication.
        norm: `"stress"`, or `"energy"` for the norm of the law's compliance.

    Source: Eivazi et al. (2026), section 3, for `"stress"` without weights.
    """

    def __init__(
        self,
        law: MaterialField,
        strain_modes: torch.Tensor,
        stress_modes: torch.Tensor,
        strain: torch.Tensor,
        *,
        weights: torch.Tensor | None = None,
        norm: Literal["stress", "energy"] = "stress",
    ) -> None:
        if norm not in ("stress", "energy"):
            raise ValueError(f"norm={norm!r} is unknown; use 'stress' or 'energy'.")
        self.law, self.strain, self.size, self.norm = law, strain, len(strain), norm
        self.points, self.components = stress_modes.shape[:2]
        self.strain_modes = strain_modes.flatten(0, 1).T.contiguous()
        self.stress_modes = stress_modes.flatten(0, 1).T.contiguous()
        uniform = strain.new_full((self.points,), 1 / self.points)
        self.weights = uniform if weights is None else weights / weights.sum()

    def __call__(self, model: nn.Module, samples: torch.Tensor | None) -> Mapping[str, torch.Tensor]:
        macro = self.strain if samples is None else self.strain[samples]
        displacement, stress = model(macro)
        shape = (len(macro), self.points, self.components)
        point_strain = (displacement @ self.strain_modes).view(shape) + macro[:, None]
        error = self.law.stress(point_strain) - (stress @ self.stress_modes).view(shape)
        if self.norm == "energy":
            tangent = self.law.tangent(point_strain.detach())
            density = (error * torch.linalg.solve(tangent, error[..., None])[..., 0]).sum(-1)
        else:
            density = error.square().mean(-1)
        return {"stress": (density @ self.weights).mean()}
