"""Guaranteed bounds: they hold whatever the coefficients, close at the solution, and equal known energy errors."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.errors import MeshError
from equipoise.multiscale.bounds import Bounds, EnergyBounds, certify, relative_gap
from equipoise.problems.mechanics.bases import ReducedBases
from equipoise.problems.mechanics.reduced import ReducedProblem
from reduced_samples import complete_bases, sample, strains

ROUND_OFF = 1e-10


@cache
def energy_bounds(kind: str) -> EnergyBounds:
    return EnergyBounds(sample(kind).cell, sample(kind).bases)


def normal(shape: tuple[int, int], seed: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", ["plane", "space", "linear"])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), size_a=st.floats(0, 3), size_b=st.floats(0, 3))
def test_bounds_hold_for_random_coefficients(kind: str, seed: int, size_a: float, size_b: float) -> None:
    held, bounds = sample(kind), energy_bounds(kind)
    strain, exact = held.solution.strain, held.solution.energy
    a = size_a * normal((len(strain), held.bases.n_displacement_modes), seed)
    b = size_b * normal((len(strain), held.bases.n_stress_modes), seed + 1)
    found = bounds(strain, a, b)
    assert bool((found.upper >= exact * (1 - ROUND_OFF)).all())
    assert bool((found.lower <= exact * (1 + ROUND_OFF)).all())
    assert not bool(torch.isnan(found.relative_gap).any())
    assert bool((torch.isinf(found.relative_gap) == ~found.is_finite).all())


@pytest.mark.parametrize("kind", ["plane", "space"])
def test_bounds_hold_at_unseen_strains_and_contain_the_exact_energy(kind: str) -> None:
    held = sample(kind)
    strain = strains(held.cell, 5, seed=21)
    exact = held.solver.solve(strain).energy
    found = energy_bounds(kind)(strain, *energy_bounds(kind).problem.solve(strain))
    assert bool((found.upper >= exact * (1 - ROUND_OFF)).all())
    assert bool((found.lower <= exact * (1 + ROUND_OFF)).all())
    assert float(found.relative_gap.max()) < 1


@pytest.mark.parametrize("kind", ["plane", "space"])
def test_gap_is_zero_at_the_full_field_solution(kind: str) -> None:
    held, bases = sample(kind), complete_bases(kind)
    found = certify(held.cell, bases, held.solution.strain, bases.displacement_coefficients, bases.stress_coefficients)
    assert float(found.relative_gap.abs().max()) < ROUND_OFF
    assert torch.allclose(found.upper, held.solution.energy, rtol=ROUND_OFF)


def test_gap_is_the_constitutive_relation_error() -> None:
    held, bounds = sample(), energy_bounds("plane")
    strain = held.solution.strain
    a, b = normal((len(strain), 6), 1), 0.5 * normal((len(strain), 6), 2)
    found = bounds(strain, a, b)
    error, _ = bounds.problem.gap_and_energy(strain, a, b)
    assert bool(found.is_finite.all())
    assert torch.allclose(found.gap, error, rtol=1e-9)


def test_gap_of_a_linear_cell_is_the_sum_of_squared_energy_errors() -> None:
    held, bounds = sample("linear"), energy_bounds("linear")
    cell, strain = held.cell, held.solution.strain
    a = held.bases.displacement_coefficients + 0.1 * normal(held.bases.displacement_coefficients.shape, 1)
    b = held.bases.stress_coefficients + 0.1 * normal(held.bases.stress_coefficients.shape, 2)
    compatible = strain[:, None] + torch.einsum("qvr,nr->nqv", held.bases.strain_modes, a)
    error = compatible - cell.strain(strain, held.solution.fluctuation)
    stress_error = held.bases.stress(b) - held.stress
    squares = cell.average(cell.law.energy(error)) + cell.average(cell.law.conjugate(stress_error).energy)
    assert torch.allclose(bounds(strain, a, b).gap, squares, rtol=1e-8)


def test_gap_and_error_move_together() -> None:
    held, bounds = sample(), energy_bounds("plane")
    strain = strains(held.cell, 30, seed=31)
    exact = held.solver.solve(strain).stress
    a, b = bounds.problem.solve(strain)
    size = torch.logspace(-3, 0, 30, dtype=torch.float64)[:, None]
    a, b = a + size * normal(a.shape, 3), b + 0.3 * size * normal(b.shape, 4)
    gaps = bounds(strain, a, b).relative_gap
    errors = torch.linalg.vector_norm(b @ held.bases.homogenised_modes.T - exact, dim=-1) / exact.norm(dim=-1)
    finite = torch.isfinite(gaps)
    correlation = torch.corrcoef(torch.stack([gaps[finite].log(), errors[finite].log()]))[0, 1]
    assert int(finite.sum()) > 20
    assert float(correlation) > 0.8


def test_stress_beyond_the_law_has_no_finite_bound() -> None:
    held, bounds = sample(), energy_bounds("plane")
    strain = held.solution.strain[:2]
    b = held.bases.stress_coefficients[:2].clone()
    b[1] *= 1e4
    found = bounds(strain, held.bases.displacement_coefficients[:2], b)
    assert found.is_finite.tolist() == [True, False]
    assert found.relative_gap[1] == torch.inf
    assert found.lower[1] == -torch.inf


def test_relative_gap_is_never_nan() -> None:
    gap = torch.tensor([0.0, 1.0, torch.inf, torch.inf])
    upper = torch.tensor([0.0, 0.0, 0.0, 2.0])
    assert relative_gap(gap, upper).tolist() == [0.0, torch.inf, torch.inf, torch.inf]
    bounds = Bounds(torch.tensor([0.0]), torch.tensor([-torch.inf]), torch.tensor([False]))
    assert bounds.relative_gap.tolist() == [torch.inf]


def test_zero_strain_has_no_gap() -> None:
    zero = torch.zeros(1, 3, dtype=torch.float64)
    found = energy_bounds("plane")(zero, torch.zeros(1, 6).double(), torch.zeros(1, 6).double())
    assert found.relative_gap.tolist() == found.upper.tolist() == found.lower.tolist() == [0.0]


def test_refusals_name_the_value() -> None:
    held, bounds = sample(), energy_bounds("plane")
    strain, a, b = held.solution.strain[:2], torch.zeros(2, 6).double(), torch.zeros(2, 6).double()
    with pytest.raises(ValueError, match="displacement coefficients have shape"):
        bounds(strain, a[:, :3], b)
    with pytest.raises(ValueError, match="stress coefficients of sample 1 are not finite"):
        bounds(strain, a, torch.stack([b[0], b[1] * torch.nan]))
    with pytest.raises(MeshError, match="mesh or materials differ"):
        EnergyBounds(sample("linear").cell, held.bases)
    spoiled = ReducedBases.from_tensors({**held.bases.tensors(), "stress_modes": held.bases.stress_modes.flip(0)})
    with pytest.raises(ValueError, match=r"stress mode \d+ is not in equilibrium"):
        EnergyBounds(held.cell, spoiled)
    assert isinstance(bounds.problem, ReducedProblem)
