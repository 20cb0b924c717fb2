"""Empirical cubature: a few hundred weighted points that stand for all quadrature points of a unit cell.

The points are fitted to the sums that the reduced problems need, at perturbed snapshots. What is summed on them lives
in `reduced.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import scipy.optimize
import torch

from equipoise.errors import ConvergenceError, FormatError
from equipoise.problems.mechanics.bases import ReducedBases
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.lockstep_newton import EnergyForms
from equipoise.problems.mechanics.material_field import MaterialField
from equipoise.problems.mechanics.reduced import ReducedProblem, linear_points

__all__ = ["Cubature", "empirical_cubature"]

_log = logging.getLogger(__name__)

_MEASURED = 10
"""Snapshots at which the excess of a cubature is measured."""

_LEAST_CANDIDATES = 2500

_STRESS_EMPHASIS = 30.0
"""Weight of the stress among the conditions: its error enters the answer at first order, a gradient's at second."""

LinearPhases = Literal["exact", "sampled"]


@dataclass(frozen=True, eq=False)
class Cubature:
    """Weighted points of a unit cell.

    Attributes:
        points: numbers of quadrature points of the cell, `(P,)`, ascending.
        weights: positive weights, `(P,)`; they sum to the volume that the points stand for.
        linear_phases: `"exact"`: the points stand for the nonlinear phases, and linear ones are summed over all their
            points in advance; `"sampled"`: they stand for the whole cell.
        rows: number R of compressed conditions fitted.
        excess: by how much the gap of both problems solved on these points exceeds the smallest gap that the bases
            allow, relative to it; predicted by one Newton step over all points, mean over strains that were not fitted.
    """

    points: torch.Tensor
    weights: torch.Tensor
    linear_phases: LinearPhases = "exact"
    rows: int = 0
    excess: float = 0.0

    def all_points(self, cell: PeriodicCell) -> tuple[torch.Tensor, torch.Tensor]:
        """Points and weights that stand for the whole cell, with every point of the linear phases where left out."""
        if self.linear_phases == "sampled":
            return self.points, self.weights
        linear = torch.nonzero(linear_points(cell.law)).flatten()
        return torch.cat([linear, self.points]), torch.cat([cell.weights[linear], self.weights])

    def tensors(self) -> dict[str, torch.Tensor]:
        """Everything as named tensors, ready for a safetensors file."""
        exact = float(self.linear_phases == "exact")
        figures = torch.tensor([exact, float(self.rows), self.excess], dtype=torch.float64)
        return {"points": self.points, "weights": self.weights, "figures": figures}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor]) -> Cubature:
        """Inverse of `tensors`; raises `FormatError` naming the first tensor that is missing."""
        missing = [name for name in ("points", "weights", "figures") if name not in tensors]
        if missing:
            raise FormatError(f"the cubature lacks the tensor {missing[0]!r}.")
        is_exact, rows, excess = tensors["figures"].tolist()
        phases: LinearPhases = "exact" if is_exact else "sampled"
        return cls(tensors["points"], tensors["weights"], phases, int(rows), excess)


def empirical_cubature(
    cell: PeriodicCell,
    bases: ReducedBases,
    *,
    rows: int | Sequence[int] = (200, 300, 450, 700, 1000),
    candidates: int | None = None,
    displacement_perturbation: float = 0.05,
    stress_perturbation: float = 0.02,
    linear_phases: LinearPhases = "exact",
    held_back: float = 0.1,
    accept: float = 0.02,
    seed: int = 0,
) -> Cubature:
    """Fit points with positive weights to the sums of both reduced problems.

    Each snapshot is perturbed (at the solution itself the gradients vanish and teach nothing); the primal and dual
    gradients, the stress, the gap and the energy at each point are compressed by a random projection, and nonnegative
    least squares chooses among random candidate points.

    Args:
        cell: the unit cell. bases: its modes, made with the snapshots' macroscopic strains.
        rows: compressed conditions R; more give more points. Of several, the first whose `Cubature.excess` is at most
            `accept` is taken, or else the best.
        candidates: points preselected at random; by default four to a row, at least 2500.
        displacement_perturbation, stress_perturbation: relative to the mean size of each coefficient.
        linear_phases: see `Cubature`.
        held_back: share of the snapshots that is not fitted; up to ten of them measure the excess.
        accept: see `rows`.
        seed: of every random choice.

    Raises:
        ValueError: for bases without strains, or options outside their range.

    Source: the empirical cubature method, Hernández, Caicedo and Ferrer (2017), with Equipoise's conditions.
    """
    bases.check_cell(cell)
    choices = [rows] if isinstance(rows, int) else list(rows)
    _check_options(bases, choices, candidates, held_back)
    generator = torch.Generator().manual_seed(seed)
    covered = torch.nonzero(~linear_points(cell.law)).flatten().cpu()
    if linear_phases == "sampled":
        covered = torch.arange(cell.n_points)
    if len(covered) == 0:
        return Cubature(cell.point_tags.new_zeros(0), cell.weights.new_zeros(0), linear_phases)
    largest = _candidates(candidates, max(choices))
    picked = covered[torch.randperm(len(covered), generator=generator)[:largest]].to(cell.device)
    matrix, sums, snapshots = _conditions(
        cell, bases, covered.to(cell.device), picked, (displacement_perturbation, stress_perturbation), generator
    )
    order = torch.randperm(len(matrix), generator=generator).to(cell.device)
    n_held = min(len(matrix) - 1, round(held_back * len(matrix)))
    fitted, measured = order[n_held:], snapshots[order[:n_held] if n_held else order][:_MEASURED]
    volume = float(cell.weights[covered.to(cell.device)].sum())
    full = ReducedProblem.on_all_points(cell, bases)
    found: list[Cubature] = []
    for choice in choices:
        few = picked[: _candidates(candidates, choice)]
        weights = _fit(matrix[fitted, :, : len(few)], sums[fitted], volume, cell.weights[few], choice, generator)
        points, ascending = few[weights > 0].sort()
        cubature = Cubature(points, weights[weights > 0][ascending], linear_phases, choice)
        excess = _excess(cell, bases, cubature, full, bases.strain[measured])
        found.append(replace(cubature, excess=excess))
        _log.info("cubature of %d points from %d rows: excess gap %.1e", len(points), choice, excess)
        if excess <= accept:
            break
    return min(found, key=lambda cubature: cubature.excess)


def _candidates(given: int | None, rows: int) -> int:
    return max(_LEAST_CANDIDATES, 4 * rows) if given is None else given


def _check_options(bases: ReducedBases, rows: list[int], candidates: int | None, held_back: float) -> None:
    if len(bases.strain) == 0:
        raise ValueError("the bases hold no macroscopic strains; pass strain= to ReducedBases.from_snapshots.")
    if not rows or min(rows) < 1:
        raise ValueError(f"rows={rows} must be at least 1.")
    if candidates is not None and candidates < 1:
        raise ValueError(f"candidates={candidates} must be at least 1.")
    if not 0 <= held_back < 1:
        raise ValueError(f"held_back={held_back} must lie in [0, 1).")


def _conditions(
    cell: PeriodicCell,
    bases: ReducedBases,
    covered: torch.Tensor,
    picked: torch.Tensor,
    perturbation: tuple[float, float],
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Densities at the candidate points `(m, k, P)`, their weighted sums over the covered points `(m, k)`, and the
    numbers of the snapshots that they belong to, `(m,)`.
    """
    law, weights = cell.law.at(covered), cell.weights[covered]
    strain_modes, stress_modes = bases.strain_modes[covered], bases.stress_modes[covered]
    position = torch.searchsorted(covered, picked)
    columns, sums, sizes, snapshots = [], [], [], []
    for number, (strain, displacement, stress) in enumerate(_perturbed(bases, perturbation, generator)):
        groups = _densities(law, strain, strain_modes @ displacement + strain, stress, (strain_modes, stress_modes))
        if groups is None:
            continue
        snapshots.append(number)
        densities = torch.cat(groups, 1)
        sizes.append(densities.abs().mean(0))
        sums.append(weights @ densities)
        columns.append(densities[position].T)
    if not columns:
        raise ConvergenceError("no snapshot's stress lies in the range of the law; keep more stress modes.")
    # Each condition has its own scale: an error in a gradient counts relative to the curvature of its own mode.
    scale = torch.stack(sizes).mean(0)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    first = bases.n_displacement_modes + bases.n_stress_modes
    scale[first : first + cell.n_strain] /= _STRESS_EMPHASIS
    numbers = torch.tensor(snapshots, device=cell.device)
    return torch.stack(columns) / scale[:, None], torch.stack(sums) / scale, numbers


def _perturbed(
    bases: ReducedBases, perturbation: tuple[float, float], generator: torch.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Strain, perturbed displacement coefficients, and stress coefficients before and after, of each snapshot."""
    fields = (bases.displacement_coefficients, bases.stress_coefficients)
    noisy = []
    for coefficients, size in zip(fields, perturbation, strict=True):
        noise = torch.randn(coefficients.shape, generator=generator, dtype=torch.float64).to(coefficients)
        noisy.append(coefficients + size * coefficients.abs().mean(0) * noise)
    for strain, displacement, stress, disturbed in zip(bases.strain, noisy[0], fields[1], noisy[1], strict=True):
        yield strain, displacement, torch.stack([stress, disturbed])


def _densities(
    law: MaterialField,
    macro: torch.Tensor,
    strain: torch.Tensor,
    coefficients: torch.Tensor,
    modes: tuple[torch.Tensor, torch.Tensor],
) -> list[torch.Tensor] | None:
    """What the reduced problems sum, at each point: both gradients, the stress, the gap and the energy, `(P, k)` each.

    A perturbed stress outside the range of the law is drawn back towards the snapshot's own; `None` if that is outside.
    """
    strain_modes, stress_modes = modes
    stress, disturbance = stress_modes @ coefficients[0], stress_modes @ (coefficients[1] - coefficients[0])
    for factor in (1.0, 0.5, 0.25, 0.0):
        conjugate = law.conjugate(stress + factor * disturbance, strain)
        if bool(conjugate.is_finite.all()):
            break
    else:
        return None
    law_stress, energy = law.stress(strain), law.energy(strain)
    primal = torch.einsum("pvr,pv->pr", strain_modes, law_stress)
    dual = torch.einsum("pvr,pv->pr", stress_modes, conjugate.strain - macro)
    gap = energy + conjugate.energy - ((stress + factor * disturbance) * strain).sum(-1)
    return [primal, dual, law_stress, gap[:, None], energy[:, None]]


def _fit(
    matrix: torch.Tensor,
    sums: torch.Tensor,
    volume: float,
    point_weights: torch.Tensor,
    rows: int,
    generator: torch.Generator,
) -> torch.Tensor:
    """Weights of the candidate points, from nonnegative least squares on the compressed conditions and the volume."""
    conditions = matrix.flatten(0, 1) * point_weights
    target = sums.flatten()
    if rows < len(conditions):
        projection = torch.randn(rows, len(conditions), generator=generator, dtype=torch.float64).to(conditions)
        projection /= rows**0.5
        conditions, target = projection @ conditions, projection @ target
    emphasis = float(torch.linalg.vector_norm(conditions) / point_weights.norm() / len(conditions) ** 0.5)
    matrix_rows = torch.cat([conditions, emphasis * point_weights[None]]).cpu().numpy()
    right = np.append(target.cpu().numpy(), emphasis * volume)
    try:
        factors, _ = scipy.optimize.nnls(matrix_rows, right, maxiter=10 * matrix_rows.shape[1])
    except RuntimeError as error:
        raise ConvergenceError(f"nonnegative least squares over {matrix_rows.shape[1]} points: {error}.") from error
    weights = torch.as_tensor(factors, device=point_weights.device) * point_weights
    return weights * (volume / weights.sum())


def _excess(
    cell: PeriodicCell, bases: ReducedBases, cubature: Cubature, full: ReducedProblem, strain: torch.Tensor
) -> float:
    """Relative excess of the gap, predicted from the Newton decrements over all points at the optima on these."""
    problem = ReducedProblem.on_cubature(cell, bases, cubature)
    try:
        displacement, stress = problem.solve(strain)
    except ConvergenceError:
        return float("inf")
    removable = _decrement_energy(full.primal(strain, displacement)) + _decrement_energy(full.dual(strain, stress))
    gap, _ = full.gap_and_energy(strain, displacement, stress)
    excess = float((removable / (gap - removable).clamp(min=0)).mean())
    return excess if excess == excess else float("inf")


def _decrement_energy(forms: EnergyForms) -> torch.Tensor:
    """Energy that one Newton step would remove, `(n,)`; `inf` outside the domain."""
    factor, _ = torch.linalg.cholesky_ex(forms.hessian)
    step = torch.cholesky_solve(forms.gradient[..., None], factor)[..., 0]
    return torch.where(torch.isfinite(forms.energy), (step * forms.gradient).sum(-1) / 2, torch.inf)
