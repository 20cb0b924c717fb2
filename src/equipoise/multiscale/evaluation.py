"""Errors of a reduced or learned micro model on full-field solutions it has not seen, beside what its bases allow."""

from __future__ import annotations

from typing import Any

import torch

from equipoise.data.snapshots import Snapshots
from equipoise.multiscale.bounds import EnergyBounds
from equipoise.multiscale.certified_model import CertifiedModel
from equipoise.problems.mechanics.bases import ReducedBases
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.reduced import ReducedProblem

__all__ = ["evaluate_micro", "local_stress_error", "projected_stress_coefficients", "relative_error", "summary"]

_VOIGT = {3: ("xx", "yy", "xy"), 6: ("xx", "yy", "zz", "yz", "xz", "xy")}


def summary(values: torch.Tensor) -> dict[str, float]:
    """Mean, median, 95th percentile and largest of errors `(n,)`, and the number of the worst sample."""
    return {
        "mean": float(values.mean()),
        "median": float(values.median()),
        "percentile_95": float(torch.quantile(values, 0.95)),
        "worst": float(values.max()),
        "worst_sample": int(values.argmax()),
    }


def relative_error(value: torch.Tensor, exact: torch.Tensor) -> torch.Tensor:
    """Euclidean error of each sample relative to the exact value's norm, `(n, v)` to `(n,)`."""
    norm = torch.linalg.vector_norm(exact, dim=-1).clamp(min=torch.finfo(exact.dtype).tiny)
    return torch.linalg.vector_norm(value - exact, dim=-1) / norm


def local_stress_error(stress: torch.Tensor, exact: torch.Tensor) -> torch.Tensor:
    """Relative error of each component over the quadrature points, `(n, Q, v)` to `(n, v)`."""
    norm = torch.linalg.vector_norm(exact, dim=1).clamp(min=torch.finfo(exact.dtype).tiny)
    return torch.linalg.vector_norm(stress - exact, dim=1) / norm


def projected_stress_coefficients(cell: PeriodicCell, bases: ReducedBases, stress: torch.Tensor) -> torch.Tensor:
    """Coefficients `(n, r_s)` of the stress field nearest to given ones `(n, Q, v)` in the volume-averaged norm."""
    weighted = (bases.stress_modes * (cell.weights / cell.volume)[:, None, None]).flatten(0, 1)
    gramian = weighted.T @ bases.stress_modes.flatten(0, 1)
    return torch.linalg.solve(gramian, (stress.flatten(1) @ weighted).T).T


def evaluate_micro(model: CertifiedModel, snapshots: Snapshots) -> dict[str, Any]:
    """Errors on snapshots that the model was not made from.

    Args:
        model: a reduced or learned micro model. snapshots: of the same cell.

    Returns:
        Plain values: `homogenised_stress` (summary of relative errors, its `floor` at the optimum of the dual problem
        and the multiple of it), `refined_homogenised_stress` (the same after at most four reduced Newton steps, its
        floor at the optimum of the primal problem), `relative_gap` (mean, floor, multiple, strains without a finite
        bound), `local_stress` by component (mean, projection error, multiple), `bounds_hold`.

    Raises:
        FormatError: for snapshots of another cell.
    """
    cell, bases = model.cell, model.bases
    snapshots.check_cell(cell)
    strain, exact = snapshots.strain.to(cell.device), snapshots.homogenised_stress.to(cell.device)
    stress_field, energy = snapshots.stress.to(cell.device), snapshots.energy.to(cell.device)
    full = ReducedProblem.on_all_points(cell, bases)
    found = model.coefficients(strain)
    displacement, stress = full.solve(strain)
    gap, upper = full.gap_and_energy(strain, found.displacement, found.stress)
    floor_gap, floor_upper = full.gap_and_energy(strain, displacement, stress)
    error = relative_error(model.answer(strain).stress, exact)
    floor = relative_error(stress @ bases.homogenised_modes.T, exact)
    refined = full.solve_primal(strain, found.displacement, max_iterations=4, throw=False)
    refined_error = relative_error(full.kinematic_response(strain, refined)[0], exact)
    refined_floor = relative_error(full.kinematic_response(strain, displacement)[0], exact)
    bounds = EnergyBounds(cell, bases)(strain, found.displacement, found.stress)
    slack = 1e-9 * energy.abs().clamp(min=torch.finfo(energy.dtype).tiny)
    holds = (bounds.lower <= energy + slack) & (energy <= bounds.upper + slack)
    return {
        "n_samples": len(strain),
        "homogenised_stress": _beside_floor(error, floor),
        "refined_homogenised_stress": _beside_floor(refined_error, refined_floor),
        "relative_gap": _gap_figures(gap / upper, floor_gap / floor_upper),
        "local_stress": _local(model, found.stress, stress_field),
        "bounds_hold": bool(holds.all()),
    }


def _beside_floor(error: torch.Tensor, floor: torch.Tensor) -> dict[str, float]:
    """Summary of errors `(n,)` with the mean of what the bases allow at best, and the multiple of it."""
    return {
        **summary(error),
        "floor": float(floor.mean()),
        "multiple_of_floor": float(error.mean() / floor.mean().clamp(min=torch.finfo(floor.dtype).tiny)),
    }


def _gap_figures(gap: torch.Tensor, floor: torch.Tensor) -> dict[str, Any]:
    """Gaps where there is a finite bound, beside the floor of the same strains, and how many have none."""
    finite = torch.isfinite(gap) & torch.isfinite(floor)
    figures: dict[str, Any] = {"without_finite_bound": int((~finite).sum())}
    if bool(finite.any()):
        figures.update(_beside_floor(gap[finite], floor[finite]))
    return figures


def _local(model: CertifiedModel, coefficients: torch.Tensor, exact: torch.Tensor) -> dict[str, dict[str, float]]:
    bases = model.bases
    projected = projected_stress_coefficients(model.cell, bases, exact)
    error = local_stress_error(bases.stress(coefficients), exact).mean(0)
    floor = local_stress_error(bases.stress(projected), exact).mean(0)
    return {
        name: {
            "mean": float(error[i]),
            "projection": float(floor[i]),
            "multiple_of_projection": float(error[i] / floor[i]),
        }
        for i, name in enumerate(_VOIGT[model.n_strain])
    }
