"""Empirical cubature: exact volume, positive weights, solutions near those on all points, refusals."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from equipoise.errors import ConvergenceError, FormatError
from equipoise.problems.mechanics.bases import ReducedBases
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.cubature import Cubature, LinearPhases, empirical_cubature
from equipoise.problems.mechanics.materials import paper_materials
from equipoise.problems.mechanics.reduced import ReducedProblem, linear_points
from equipoise.spaces.cells import homogeneous_cell
from reduced_samples import sample, strains

ROWS = 60


@cache
def cubature(kind: str = "plane", phases: LinearPhases = "exact") -> Cubature:
    return empirical_cubature(sample(kind).cell, sample(kind).bases, rows=ROWS, linear_phases=phases)


@pytest.mark.parametrize("kind", ["plane", "space"])
@pytest.mark.parametrize("phases", ["exact", "sampled"])
def test_positive_weights_sum_to_the_volume(kind: str, phases: LinearPhases) -> None:
    cell, found = sample(kind).cell, cubature(kind, phases)
    assert float(found.weights.min()) > 0
    assert len(found.points) <= ROWS + 1
    assert float(found.all_points(cell)[1].sum()) == pytest.approx(cell.volume, rel=1e-12)


def test_exact_linear_phases_leave_linear_points_out() -> None:
    cell, found = sample().cell, cubature()
    linear = linear_points(cell.law)
    assert not bool(linear[found.points].any())
    assert float(found.weights.sum()) == pytest.approx(float(cell.weights[~linear].sum()), rel=1e-12)


@pytest.mark.parametrize("kind", ["plane", "space"])
def test_solutions_on_few_points_are_near_those_on_all(kind: str) -> None:
    held = sample(kind)
    few, all_points = (
        ReducedProblem.on_cubature(held.cell, held.bases, cubature(kind)),
        ReducedProblem.on_all_points(held.cell, held.bases),
    )
    strain = strains(held.cell, 10, seed=11)
    floor, energy = all_points.gap_and_energy(strain, *all_points.solve(strain))
    reached, _ = all_points.gap_and_energy(strain, *few.solve(strain))
    assert float((reached / floor).median()) < 1.2
    estimate, _ = few.gap_and_energy(strain, *few.solve(strain))
    assert float((estimate / reached - 1).abs().median()) < 0.2
    assert bool((estimate >= 0).all())
    assert bool((floor < energy).all())


def test_excess_predicts_what_the_points_lose() -> None:
    held = sample()
    all_points = ReducedProblem.on_all_points(held.cell, held.bases)
    few = ReducedProblem.on_cubature(held.cell, held.bases, cubature())
    strain = held.solution.strain
    floor, _ = all_points.gap_and_energy(strain, *all_points.solve(strain))
    reached, _ = all_points.gap_and_energy(strain, *few.solve(strain))
    lost = float((reached / floor - 1).mean())
    assert lost / 5 < cubature().excess < 5 * lost + 1e-3


def test_more_rows_are_taken_until_the_excess_is_accepted() -> None:
    held = sample()
    coarse = empirical_cubature(held.cell, held.bases, rows=15)
    chosen = empirical_cubature(held.cell, held.bases, rows=(15, ROWS, 120), accept=max(cubature().excess, 1e-3))
    assert coarse.excess > chosen.excess
    assert chosen.rows > 15


def test_same_seed_gives_the_same_points() -> None:
    again = empirical_cubature(sample().cell, sample().bases, rows=ROWS)
    assert torch.equal(again.points, cubature().points)
    assert torch.equal(again.weights, cubature().weights)


def test_cell_of_linear_materials_needs_no_points() -> None:
    held = sample("linear")
    found = empirical_cubature(held.cell, held.bases)
    assert len(found.points) == 0
    reduced = ReducedProblem.on_cubature(held.cell, held.bases, found)
    strain = strains(held.cell, 3, seed=1)
    stress, tangent = reduced.kinematic_response(strain, reduced.solve_primal(strain))
    assert torch.allclose(stress, held.solver.solve(strain).stress, rtol=1e-8)
    assert torch.allclose(tangent[0], tangent[2], rtol=1e-8)


def test_homogeneous_cell_is_answered_by_its_law() -> None:
    cell = PeriodicCell(homogeneous_cell(n=2), paper_materials())
    strain = strains(cell, 6, seed=0)
    fluctuation = cell.weights.new_zeros(6, cell.n_unknowns)
    stress = cell.law.stress(cell.strain(strain, fluctuation))
    bases = ReducedBases.from_snapshots(cell, fluctuation, stress, strain=strain, n_modes=3)
    reduced = ReducedProblem.on_cubature(cell, bases, empirical_cubature(cell, bases, rows=5))
    unseen = strains(cell, 3, seed=1)
    answer, _ = reduced.kinematic_response(unseen, reduced.solve_primal(unseen))
    assert torch.allclose(answer, cell.law.stress(unseen[:, None].expand(-1, cell.n_points, -1))[:, 0], rtol=1e-12)


def test_tensors_rebuild_the_cubature() -> None:
    again = Cubature.from_tensors(cubature().tensors())
    assert torch.equal(again.points, cubature().points)
    assert (again.rows, again.excess, again.linear_phases) == (ROWS, cubature().excess, "exact")
    with pytest.raises(FormatError, match="weights"):
        Cubature.from_tensors({"points": again.points})


def test_bad_options_are_refused() -> None:
    held = sample()
    without = ReducedBases.from_snapshots(held.cell, held.solution.fluctuation, held.stress, n_modes=2)
    with pytest.raises(ValueError, match="no macroscopic strains"):
        empirical_cubature(held.cell, without)
    with pytest.raises(ValueError, match="rows"):
        empirical_cubature(held.cell, held.bases, rows=0)
    with pytest.raises(ValueError, match="candidates"):
        empirical_cubature(held.cell, held.bases, candidates=0)
    with pytest.raises(ValueError, match="held_back"):
        empirical_cubature(held.cell, held.bases, held_back=1.0)


def test_a_failing_least_squares_is_a_convergence_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **options: object) -> None:
        raise RuntimeError("maximum number of iterations reached")

    monkeypatch.setattr("scipy.optimize.nnls", fail)
    with pytest.raises(ConvergenceError, match="nonnegative least squares"):
        empirical_cubature(sample().cell, sample().bases, rows=ROWS)
