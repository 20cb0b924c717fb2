"""How far each answer of a reduced or learned micro model can be trusted, and what is done where that is not enough.

An estimate of the energy gap on a few weighted points is cheap; the guaranteed bound of `bounds.py` visits every point.
Where the gap is too large an answer is refined in the reduced bases, then replaced by a full-field solution.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, get_args, runtime_checkable

import torch

from equipoise.multiscale.bounds import EnergyBounds, relative_gap
from equipoise.problems.mechanics.bases import ReducedBases
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.cell_solver import CellSolution, CellSolver
from equipoise.problems.mechanics.cubature import Cubature, empirical_cubature
from equipoise.problems.mechanics.reduced import ReducedProblem

__all__ = [
    "FULL_FIELD",
    "OWN",
    "REFINED",
    "Certificate",
    "Coefficients",
    "FullFieldSolver",
    "Gaps",
    "Policy",
    "Treated",
]

Policy = Literal["none", "sampled", "flagged", "all"]

OWN, REFINED, FULL_FIELD = 0, 1, 2
"""Treatments of a point: the model's own answer, Newton steps in the bases, a full-field solution."""

_KEPT_SOLUTIONS = 256
_MARGIN = 0.8


@runtime_checkable
class FullFieldSolver(Protocol):
    """What a fall-back needs: `CellSolver`, or something that spreads its solves over processes."""

    def solve(self, strain: torch.Tensor, *, start: torch.Tensor | None = None, tangent: bool = True) -> CellSolution:
        """See `CellSolver.solve`."""


@dataclass(frozen=True, eq=False)
class Coefficients:
    """Coefficients of both fields at n strains.

    Attributes:
        displacement: a, `(n, r_u)`. stress: b, `(n, r_s)`.
    """

    displacement: torch.Tensor
    stress: torch.Tensor

    def rows(self, chosen: torch.Tensor) -> Coefficients:
        """Those of the chosen samples."""
        return Coefficients(self.displacement[chosen], self.stress[chosen])

    def replaced(self, rows: torch.Tensor, other: Coefficients) -> Coefficients:
        """The same with some samples taken from another."""
        displacement, stress = self.displacement.clone(), self.stress.clone()
        displacement[rows], stress[rows] = other.displacement, other.stress
        return Coefficients(displacement, stress)


@dataclass(frozen=True, eq=False)
class Gaps:
    """Relative energy gaps of n answers.

    Attributes:
        relative_gap: `(n,)`; `inf` stands for "no finite bound".
        is_bound: guaranteed (True) or estimated, `(n,)` booleans.
        figures: mean and largest ratio of bound to estimate where both are known, number of points without a finite
            bound, and what one estimate and one bound cost, in milliseconds.
    """

    relative_gap: torch.Tensor
    is_bound: torch.Tensor
    figures: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Treated:
    """Answers after refinement, and which points need a full-field solution.

    Attributes:
        coefficients: of every point, refined where `treatment` says so.
        treatment: `OWN`, `REFINED` or `FULL_FIELD` for each point, `(n,)` integers.
        gaps: of the coefficients; zero, and a bound, where a full-field solution takes their place.
    """

    coefficients: Coefficients
    treatment: torch.Tensor
    gaps: Gaps


class Certificate:
    """Measures the energy gap of coefficients `(a, b)`, whoever made them, and repairs those that are too large.

    Args:
        cell: the unit cell. bases: its modes.
        cubature: weighted points for estimates and refinement; found by `empirical_cubature` if not given.
        policy: `"none"`; `"sampled"`: the estimate everywhere; `"flagged"`: besides, the guaranteed bound at the points
            with the largest estimates and at a random share; `"all"`: the bound everywhere.
        refine_above: relative gap above which `refine_steps` Newton steps are taken in the bases; `None`: never.
        fall_back_above: relative gap above which, after refinement, the full field is solved; `None`: never.
        refine_steps: Newton steps of a refinement, on each of the two reduced problems.
        flagged_share, random_share: shares of the points that `"flagged"` bounds, at least one point each.
        seed: of the random share, which depends on nothing else but the estimates: a resumed simulation draws the same.
        solver: full-field solver for fall-backs; a `CellSolver` if needed and not given.

    Attributes:
        enrichment: full-field solutions that fall-backs have left, as `{strain bytes: (strain, fluctuation)}`.

    Raises:
        MeshError: for bases of another cell.
        ValueError: for an unknown policy, thresholds that are not positive or stand beside the policy `"none"`.
    """

    def __init__(
        self,
        cell: PeriodicCell,
        bases: ReducedBases,
        *,
        cubature: Cubature | None = None,
        policy: Policy = "flagged",
        refine_above: float | None = None,
        fall_back_above: float | None = None,
        refine_steps: int = 4,
        flagged_share: float = 0.01,
        random_share: float = 0.005,
        seed: int = 0,
        solver: FullFieldSolver | None = None,
    ) -> None:
        _check_options(policy, refine_above, fall_back_above, refine_steps, (flagged_share, random_share))
        self.cell, self.bases, self.policy = cell, bases, policy
        self.refine_above, self.fall_back_above, self.refine_steps = refine_above, fall_back_above, refine_steps
        self.shares = (flagged_share, random_share)
        self.cubature = empirical_cubature(cell, bases) if cubature is None else cubature
        self.reduced = ReducedProblem.on_cubature(cell, bases, self.cubature)
        self.enrichment: OrderedDict[bytes, tuple[torch.Tensor, torch.Tensor]] = OrderedDict()
        self._seed = seed
        self._bounds: EnergyBounds | None = None
        self._solver = solver

    @property
    def acts(self) -> bool:
        """Whether large gaps have consequences."""
        return self.refine_above is not None or self.fall_back_above is not None

    @property
    def bounds(self) -> EnergyBounds:
        """Guaranteed bounds over every quadrature point, prepared on first use."""
        if self._bounds is None:
            self._bounds = EnergyBounds(self.cell, self.bases)
        return self._bounds

    @property
    def solver(self) -> FullFieldSolver:
        """Full-field solver of the fall-backs, prepared on first use."""
        if self._solver is None:
            self._solver = CellSolver(self.cell)
        return self._solver

    @solver.setter
    def solver(self, solver: FullFieldSolver) -> None:
        self._solver = solver

    def estimate(self, strain: torch.Tensor, coefficients: Coefficients) -> torch.Tensor:
        """Estimated relative gap of each strain, `(n,)`, on the weighted points; `inf` for "no finite bound"."""
        gap, upper = self.reduced.gap_and_energy(strain, coefficients.displacement, coefficients.stress)
        return relative_gap(gap, upper)

    def bound(self, strain: torch.Tensor, coefficients: Coefficients) -> torch.Tensor:
        """Guaranteed relative gap of each strain, `(n,)`, over every point; `inf` for "no finite bound"."""
        return self.bounds(strain, coefficients.displacement, coefficients.stress).relative_gap

    def measure(
        self, strain: torch.Tensor, coefficients: Coefficients, *, also: torch.Tensor | None = None
    ) -> Gaps | None:
        """Gaps as the policy asks for; `None` for the policy `"none"`.

        Args:
            strain: `(n, v)`. coefficients: at these strains.
            also: further points that `"flagged"` has to bound, `(n,)` booleans.
        """
        if self.policy == "none":
            return None
        began = time.perf_counter()
        gaps = self.estimate(strain, coefficients)
        figures = {"estimate_milliseconds": _milliseconds(began, len(strain))}
        rows = self._bounded_rows(gaps, also)
        is_bound = torch.zeros_like(gaps, dtype=torch.bool)
        if len(rows):
            began = time.perf_counter()
            bounds = self.bound(strain[rows], coefficients.rows(rows))
            figures["bound_milliseconds"] = _milliseconds(began, len(rows))
            figures.update(_ratio_figures(bounds, gaps[rows]))
            gaps[rows], is_bound[rows] = bounds, True
        return Gaps(gaps, is_bound, figures)

    def refine(self, strain: torch.Tensor, coefficients: Coefficients) -> Coefficients:
        """A few Newton steps on both reduced problems; a sample whose estimate would grow keeps its coefficients."""
        steps = self.refine_steps
        displacement = self.reduced.solve_primal(strain, coefficients.displacement, max_iterations=steps, throw=False)
        stress = self.reduced.solve_dual(strain, coefficients.stress, max_iterations=steps, throw=False)
        refined = Coefficients(displacement, stress)
        worse = torch.nonzero(~(self.estimate(strain, refined) <= self.estimate(strain, coefficients))).flatten()
        return refined.replaced(worse, coefficients.rows(worse))

    def treat(self, strain: torch.Tensor, coefficients: Coefficients, treatment: torch.Tensor | None = None) -> Treated:
        """Measure, refine where the gap passes `refine_above`, and mark what still passes `fall_back_above`.

        Treatments only rise, so that a simulation that iterates on them comes to an end. Where one point passes a
        threshold, points within 20 % of it are treated too.

        Args:
            strain: `(n, v)`. coefficients: the model's own.
            treatment: of these points so far, `(n,)`; `OWN` by default.

        Raises:
            ValueError: for the policy `"none"`.
        """
        treatment = self._no_treatment(strain) if treatment is None else treatment.clone()
        refined = torch.nonzero(treatment == REFINED).flatten()
        if len(refined):
            coefficients = coefficients.replaced(refined, self.refine(strain[refined], coefficients.rows(refined)))
        gaps = self._measured(strain, coefficients, treatment)
        thresholds = [t for t in (self.refine_above, self.fall_back_above) if t is not None]
        chosen = self._above(gaps, min(thresholds, default=None), treatment == OWN)
        if len(chosen):
            treatment[chosen] = REFINED
            coefficients = coefficients.replaced(chosen, self.refine(strain[chosen], coefficients.rows(chosen)))
            gaps = self._measured(strain, coefficients, treatment)
        treatment[self._above(gaps, self.fall_back_above, treatment == REFINED)] = FULL_FIELD
        full = treatment == FULL_FIELD
        values = torch.where(full, torch.zeros_like(gaps.relative_gap), gaps.relative_gap)
        return Treated(coefficients, treatment, Gaps(values, gaps.is_bound | full, gaps.figures))

    def fall_back(
        self, strain: torch.Tensor, coefficients: Coefficients, *, keep: bool = False, tangent: bool = True
    ) -> CellSolution:
        """Full-field solutions, started from the reduced fields.

        Args:
            strain: `(n, v)`. coefficients: the best known at these strains.
            keep: whether to keep the solutions for enriching the bases, the last 256 of them.
            tangent: whether tangents are needed.
        """
        start = self.bases.fluctuation(coefficients.displacement)
        solution = self.solver.solve(strain, start=start, tangent=tangent)
        if keep:
            for row, fluctuation in zip(solution.strain.cpu(), solution.fluctuation.cpu(), strict=True):
                self.enrichment[row.numpy().tobytes()] = (row.clone(), fluctuation.clone())
            while len(self.enrichment) > _KEPT_SOLUTIONS:
                self.enrichment.popitem(last=False)
        return solution

    def enrichment_snapshots(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Strains `(k, v)`, fluctuations `(k, N)` and stresses `(k, Q, v)` that fall-backs have left, for new bases."""
        cell = self.cell
        if not self.enrichment:
            return (
                cell.weights.new_zeros(0, cell.n_strain),
                cell.weights.new_zeros(0, cell.n_unknowns),
                cell.weights.new_zeros(0, cell.n_points, cell.n_strain),
            )
        strain = torch.stack([pair[0] for pair in self.enrichment.values()]).to(cell.device)
        fluctuation = torch.stack([pair[1] for pair in self.enrichment.values()]).to(cell.device)
        return strain, fluctuation, cell.law.stress(cell.strain(strain, fluctuation))

    def _no_treatment(self, strain: torch.Tensor) -> torch.Tensor:
        return torch.full((len(strain),), OWN, dtype=torch.int64, device=strain.device)

    def _measured(self, strain: torch.Tensor, coefficients: Coefficients, treatment: torch.Tensor) -> Gaps:
        gaps = self.measure(strain, coefficients, also=treatment == REFINED)
        if gaps is None:
            raise ValueError(
                "the certificate's policy is 'none'; treating answers needs 'sampled', 'flagged' or 'all'."
            )
        return gaps

    def _above(self, gaps: Gaps, threshold: float | None, eligible: torch.Tensor) -> torch.Tensor:
        none = torch.zeros(0, dtype=torch.int64, device=eligible.device)
        if threshold is None or not bool((eligible & (gaps.relative_gap > threshold)).any()):
            return none
        return torch.nonzero(eligible & (gaps.relative_gap > _MARGIN * threshold)).flatten()

    def _bounded_rows(self, estimates: torch.Tensor, also: torch.Tensor | None) -> torch.Tensor:
        count = len(estimates)
        if self.policy == "all":
            return torch.arange(count, device=estimates.device)
        if self.policy == "sampled" or count == 0:
            return torch.zeros(0, dtype=torch.int64, device=estimates.device)
        largest, random = (min(count, max(1, round(share * count))) for share in self.shares)
        digest = hashlib.sha256(estimates.cpu().numpy().tobytes()).digest()[:6]
        generator = torch.Generator().manual_seed(self._seed + int.from_bytes(digest, "big"))
        drawn = torch.randperm(count, generator=generator)[:random].to(estimates.device)
        chosen = [estimates.topk(largest).indices, drawn]
        if also is not None:
            chosen.append(torch.nonzero(also).flatten())
        marked = torch.zeros(count, dtype=torch.bool, device=estimates.device)
        marked[torch.cat(chosen)] = True
        return torch.nonzero(marked).flatten()


def _milliseconds(began: float, count: int) -> float:
    return 1e3 * (time.perf_counter() - began) / max(1, count)


def _ratio_figures(bounds: torch.Tensor, estimates: torch.Tensor) -> dict[str, float]:
    """How well the estimates did, where both are finite and positive."""
    known = torch.isfinite(bounds) & torch.isfinite(estimates) & (estimates > 0)
    figures = {"without_finite_bound": float((~torch.isfinite(bounds)).sum())}
    if bool(known.any()):
        ratio = bounds[known] / estimates[known]
        figures["bound_to_estimate_mean"] = float(ratio.mean())
        figures["bound_to_estimate_largest"] = float(ratio.max())
    return figures


def _check_options(
    policy: str,
    refine_above: float | None,
    fall_back_above: float | None,
    refine_steps: int,
    shares: tuple[float, float],
) -> None:
    if policy not in get_args(Policy):
        raise ValueError(f"certificate policy {policy!r} is unknown; use one of {', '.join(get_args(Policy))}.")
    for name, threshold in (("refine_above", refine_above), ("fall_back_above", fall_back_above)):
        if threshold is not None and not threshold > 0:
            raise ValueError(f"{name}={threshold} must be positive.")
        if threshold is not None and policy == "none":
            raise ValueError(f"{name}={threshold} needs an estimate of the gap, but the policy is 'none'.")
    if refine_steps < 1:
        raise ValueError(f"refine_steps={refine_steps} must be at least 1.")
    if not all(0 <= share <= 1 for share in shares):
        raise ValueError(f"flagged_share={shares[0]} and random_share={shares[1]} must lie in [0, 1].")
