"""Complementary energies: Fenchel's equality and inequality, range, derivatives, and the iteration's safeguards."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from equipoise.problems.mechanics.conjugate import newton_conjugate
from equipoise.problems.mechanics.materials import (
    LinearIsotropic,
    Material,
    NeoHookean,
    PlaneStress,
    SaturatingShear,
    paper_fibre,
    paper_matrix,
)


class Quartic(Material):
    """Only the energy is written."""

    name = "quartic"

    def energy(self, strain: torch.Tensor) -> torch.Tensor:
        square = strain.square().sum(-1)
        return 500 * square + 2e5 * square.square()


class Slice(Material):
    """Convex, but its tangent is singular: all stresses but those along xx are out of range."""

    name = "slice"

    def energy(self, strain: torch.Tensor) -> torch.Tensor:
        return strain[..., 0].square()


LAWS = [paper_matrix(), paper_fibre(), NeoHookean(shear=400.0, lame=4000.0), Quartic()]


def strains(components: int, count: int = 30, size: float = 0.04, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return size * (2 * torch.rand(count, components, generator=generator, dtype=torch.float64) - 1)


def gap(law: Material, strain: torch.Tensor, stress: torch.Tensor) -> torch.Tensor:
    return law.energy(strain) + law.conjugate(stress).energy - (stress * strain).sum(-1)


@pytest.mark.parametrize("components", [3, 6])
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_fenchels_inequality_is_an_equality_at_the_stress_of_a_strain(law: Material, components: int) -> None:
    strain = strains(components)
    stress = law.stress(strain)
    conjugate = law.conjugate(stress)
    assert bool(conjugate.is_finite.all())
    torch.testing.assert_close(conjugate.strain, strain, rtol=1e-11, atol=1e-13)
    assert float((gap(law, strain, stress) / law.energy(strain)).abs().max()) < 1e-12


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31 - 1),
    size=st.floats(1e-6, 10.0),
    components=st.sampled_from([3, 6]),
    bulk=st.floats(1e-1, 1e5),
    alpha1=st.floats(1e-1, 1e4),
    alpha2=st.floats(1e-3, 10.0),
)
@example(seed=0, size=0.00390625, components=3, bulk=0.1, alpha1=6935.0, alpha2=0.00390625)
def test_conjugate_of_the_saturating_law_is_exact_for_any_moduli(
    seed: int, size: float, components: int, bulk: float, alpha1: float, alpha2: float
) -> None:
    law = SaturatingShear(bulk=bulk, alpha1=alpha1, alpha2=alpha2)
    strain, other = strains(components, 8, size, seed), strains(components, 8, size, seed + 1)
    stress = law.stress(strain)
    scale = law.energy(strain) + (stress * strain).sum(-1).abs()
    assert bool(law.conjugate(stress).is_finite.all())
    assert float((gap(law, strain, stress).abs() / scale).max()) < 1e-12
    scale = law.energy(other) + (stress * other).sum(-1).abs() + law.conjugate(stress).energy
    assert float((gap(law, other, stress) / scale).min()) > -1e-12


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), components=st.sampled_from([3, 6]), law=st.sampled_from(LAWS))
def test_fenchels_inequality_holds_for_any_pair(seed: int, components: int, law: Material) -> None:
    strain, stress = strains(components, 8, 0.04, seed), law.stress(strains(components, 8, 0.04, seed + 1))
    assert float(gap(law, strain, stress).min()) >= -1e-12


@pytest.mark.parametrize("components", [3, 6])
def test_own_conjugate_of_the_saturating_law_is_that_of_the_general_iteration(components: int) -> None:
    law = paper_matrix()
    stress = law.stress(strains(components))
    own, general = law.conjugate(stress), newton_conjugate(law, stress)
    torch.testing.assert_close(general.strain, own.strain, rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(general.energy, own.energy, rtol=1e-12, atol=0)


def test_energy_in_space_is_the_closed_form() -> None:
    law, stress = paper_matrix(), torch.tensor([40.0, -10.0, 5.0, 8.0, -3.0, 12.0], dtype=torch.float64)
    mean = stress[:3].mean()
    size = math.sqrt(float((stress[:3] - mean).square().sum() + 2 * stress[3:].square().sum()))
    ratio = Decimal(size) / 50
    exact = float(mean) ** 2 / (2 * 4780) + 50 * 0.06 * float(-ratio - (1 - ratio).ln())
    assert float(law.conjugate(stress).energy) == pytest.approx(exact, rel=1e-13)


@pytest.mark.parametrize("mean", [0.0, 300.0, -1e5])
@pytest.mark.parametrize("inside", [True, False])
def test_range_in_the_plane_is_bounded_by_shear_alone(mean: float, inside: bool) -> None:
    angle = torch.linspace(0, math.pi, 7, dtype=torch.float64)
    size = 50 / math.sqrt(2) * (1 - 1e-7 if inside else 1 + 1e-12)
    stress = torch.stack([mean + size * angle.cos(), mean - size * angle.cos(), size * angle.sin()], dim=-1)
    conjugate = paper_matrix().conjugate(stress)
    assert conjugate.is_finite.tolist() == [inside] * 7
    assert torch.isfinite(conjugate.energy).tolist() == [inside] * 7
    assert bool(torch.isfinite(conjugate.strain).all())


def test_complementary_energy_in_space_bounds_that_in_the_plane() -> None:
    # In the plane only in-plane components do work: W* is the least over the out-of-plane stress, reached at its own.
    law, strain = paper_matrix(), strains(3)
    space = torch.zeros(len(strain), 6, dtype=torch.float64)
    space[:, [0, 1, 5]] = strain
    stress = law.stress(space)
    plane = law.conjugate(stress[:, [0, 1, 5]]).energy
    torch.testing.assert_close(law.conjugate(stress).energy, plane, rtol=1e-12, atol=0)
    stress[:, 2] += 3.0
    assert bool((law.conjugate(stress).energy > plane).all())


@pytest.mark.parametrize("law", [*LAWS, PlaneStress(paper_matrix())], ids=lambda law: law.name)
def test_derivatives_of_the_complementary_energy_are_strain_and_compliance(law: Material) -> None:
    stress = law.stress(strains(3, 3)).requires_grad_()

    def energy(stress: torch.Tensor) -> torch.Tensor:
        return law.conjugate(stress).energy

    def strain(stress: torch.Tensor) -> torch.Tensor:
        return law.conjugate(stress).strain

    (gradient,) = torch.autograd.grad(energy(stress).sum(), stress)
    torch.testing.assert_close(gradient, strain(stress).detach(), rtol=1e-9, atol=1e-13)
    assert torch.autograd.gradcheck(strain, stress, eps=1e-3, atol=1e-9, rtol=1e-4)
    jacobian = torch.autograd.functional.jacobian(strain, stress)
    compliance = law.compliance(strain(stress).detach())
    torch.testing.assert_close(torch.einsum("piqj->pqij", jacobian).diagonal().permute(2, 0, 1), compliance)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
@pytest.mark.parametrize("components", [3, 6])
def test_compliance_inverts_the_tangent(law: Material, components: int) -> None:
    strain = strains(components, 5)
    identity = torch.eye(components, dtype=torch.float64).expand(5, -1, -1)
    torch.testing.assert_close(law.compliance(strain) @ law.tangent(strain), identity, rtol=0, atol=1e-10)


def test_a_stress_without_a_strain_has_an_infinite_energy_instead_of_an_error() -> None:
    conjugate = Slice().conjugate(torch.tensor([[1.0, 1.0, 0.0], [math.nan, 0.0, 0.0]], dtype=torch.float64))
    assert not bool(conjugate.is_finite.any())
    assert conjugate.energy.tolist() == [math.inf, math.inf]
    assert bool(torch.isfinite(conjugate.strain).all())


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_a_stress_that_is_no_number_has_no_finite_energy(law: Material) -> None:
    stress = torch.tensor([[1.0, 2.0, 3.0], [math.nan, 0.0, 0.0], [0.0, math.inf, 0.0]], dtype=torch.float64)
    conjugate = law.conjugate(stress)
    assert conjugate.is_finite.tolist() == [True, False, False]
    assert not bool(torch.isnan(conjugate.energy).any() | torch.isnan(conjugate.strain).any())


def test_a_start_where_the_energy_is_infinite_is_not_used() -> None:
    law, strain = NeoHookean(shear=400.0, lame=4000.0), strains(6, 4)
    start = torch.full_like(strain, -2.0)
    torch.testing.assert_close(law.conjugate(law.stress(strain), start).strain, strain, rtol=1e-10, atol=1e-13)


def test_the_iteration_never_falls_below_the_exact_complementary_energy() -> None:
    law = LinearIsotropic(bulk=4780.0, shear=417.0)
    stress = law.stress(strains(6, 500))
    exact, found = law.conjugate(stress).energy, newton_conjugate(law, stress).energy
    assert float(((found - exact) / exact).min()) > -1e-14


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_single_precision_conjugates_are_found_in_single_precision(law: Material) -> None:
    strain = strains(3).float()
    conjugate = law.conjugate(law.stress(strain))
    assert conjugate.energy.dtype == conjugate.strain.dtype == torch.float32
    assert bool(conjugate.is_finite.all())
    torch.testing.assert_close(conjugate.strain, strain, rtol=1e-3, atol=1e-5)


def test_no_points_have_no_energies() -> None:
    for law in LAWS:
        assert law.conjugate(torch.zeros(0, 3, dtype=torch.float64)).energy.shape == (0,)
        assert law.conjugate(torch.zeros(2, 4, 3, dtype=torch.float64)).energy.shape == (2, 4)
