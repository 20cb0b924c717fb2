"""Laws against their energies, their conjugates and closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.problems.mechanics.material_field import MaterialField
from equipoise.problems.mechanics.materials import (
    LinearIsotropic,
    Material,
    SaturatingShear,
    material_from_config,
    paper_fibre,
    paper_materials,
    paper_matrix,
)
from equipoise.problems.mechanics.neo_hookean import NeoHookean
from equipoise.problems.mechanics.plane_stress import PlaneStress


class Quartic(Material):
    """A user's own law: only the energy is written."""

    name = "quartic"

    def energy(self, strain: torch.Tensor) -> torch.Tensor:
        square = strain.square().sum(-1)
        return 500 * square + 2e5 * square.square()


LAWS = [paper_matrix(), paper_fibre(), NeoHookean(shear=400.0, lame=4000.0), Quartic()]


def strains(components: int, count: int = 20, size: float = 0.04) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return size * (2 * torch.rand(count, components, generator=generator, dtype=torch.float64) - 1)


@pytest.mark.parametrize("components", [3, 6])
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_stress_and_tangent_are_the_derivatives_of_the_energy(law: Material, components: int) -> None:
    strain = strains(components)
    gradient = torch.func.vmap(torch.func.grad(law.energy))(strain)
    hessian = torch.func.vmap(torch.func.hessian(law.energy))(strain)
    stress, tangent = law.stress_and_tangent(strain)
    torch.testing.assert_close(stress, gradient, rtol=1e-10, atol=1e-9)
    torch.testing.assert_close(law.stress(strain), stress)
    torch.testing.assert_close(tangent, hessian, rtol=1e-9, atol=1e-7)
    torch.testing.assert_close(tangent, tangent.mT, rtol=1e-12, atol=1e-9)


def test_matrix_gives_the_values_computed_by_hand() -> None:
    stress, tangent = paper_matrix().stress_and_tangent(torch.tensor([0.03, -0.01, 0.02], dtype=torch.float64))
    expected = torch.tensor([108.191, 86.606, 5.396], dtype=torch.float64)
    torch.testing.assert_close(stress, expected, rtol=0, atol=6e-4)
    rows = [[5042.659, 4669.473, -41.605], [4669.473, 5090.208, 29.718], [-41.605, 29.718, 251.973]]
    torch.testing.assert_close(tangent, torch.tensor(rows, dtype=torch.float64), rtol=0, atol=6e-4)


@pytest.mark.parametrize("components", [3, 6])
def test_zero_strain_has_finite_derivatives_and_the_initial_shear_modulus(components: int) -> None:
    zero = torch.zeros(1, components, dtype=torch.float64, requires_grad=True)
    tangent = paper_matrix().tangent(zero)
    assert math.isclose(float(tangent.detach()[0, -1, -1]), 50.0 / 0.12, rel_tol=1e-12)
    (gradient,) = torch.autograd.grad(paper_matrix().energy(zero).sum(), zero)
    assert gradient.abs().max() == 0
    (slope,) = torch.autograd.grad(paper_matrix().stress(zero).sum(), zero)
    assert bool(torch.isfinite(slope).all())


@pytest.mark.parametrize("components", [3, 6])
def test_energy_keeps_its_digits_at_tiny_strains(components: int) -> None:
    strain = 1e-9 * strains(components)
    linear = LinearIsotropic(bulk=4780.0, shear=50.0 / 0.12)
    torch.testing.assert_close(paper_matrix().energy(strain), linear.energy(strain), rtol=1e-7, atol=0)


@pytest.mark.parametrize("law", [*LAWS[:2], LAWS[3]], ids=lambda law: law.name)
@pytest.mark.parametrize("components", [3, 6])
def test_conjugate_of_a_stress_is_its_strain_and_closes_fenchels_inequality(law: Material, components: int) -> None:
    strain = strains(components)
    stress = law.stress(strain)
    conjugate = law.conjugate(stress)
    assert bool(conjugate.is_finite.all())
    torch.testing.assert_close(conjugate.strain, strain, rtol=1e-8, atol=1e-10)
    gap = law.energy(strain) + conjugate.energy - (stress * strain).sum(-1)
    assert float(gap.abs().max()) < 1e-11 * float(law.energy(strain).max()) + 1e-12


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), size=st.floats(1e-4, 0.3), components=st.sampled_from([3, 6]))
def test_fenchels_inequality_holds_for_any_strain_and_stress(seed: int, size: float, components: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    law = paper_matrix()
    strain = size * torch.randn(8, components, generator=generator, dtype=torch.float64)
    other = size * torch.randn(8, components, generator=generator, dtype=torch.float64)
    stress = law.stress(other)
    gap = law.energy(strain) + law.conjugate(stress).energy - (stress * strain).sum(-1)
    assert float(gap.min()) > -1e-10


@pytest.mark.parametrize("components", [3, 6])
def test_a_stress_beyond_the_bound_has_no_finite_conjugate(components: int) -> None:
    stress = torch.zeros(2, components, dtype=torch.float64)
    stress[0, -1], stress[1, -1] = 50.0 / 2**0.5 + 1e-6, 50.0 / 2**0.5 - 1e-3
    conjugate = paper_matrix().conjugate(stress)
    assert conjugate.is_finite.tolist() == [False, True]
    assert conjugate.energy[0] == math.inf
    assert bool(torch.isfinite(conjugate.strain).all())


@pytest.mark.parametrize("law", LAWS[:3], ids=lambda law: law.name)
def test_plane_strain_is_the_law_in_space_with_no_strain_out_of_the_plane(law: Material) -> None:
    plane = strains(3)
    space = torch.zeros(len(plane), 6, dtype=torch.float64)
    space[:, [0, 1, 5]] = plane
    torch.testing.assert_close(law.energy(plane), law.energy(space), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(law.stress(plane), law.stress(space)[:, [0, 1, 5]], rtol=1e-11, atol=1e-10)


@pytest.mark.parametrize("law", LAWS[:3], ids=lambda law: law.name)
def test_energy_does_not_change_under_rotation(law: Material) -> None:
    strain = strains(3)
    c, s = math.cos(0.7), math.sin(0.7)
    e = torch.stack([strain[:, 0], strain[:, 2] / 2, strain[:, 2] / 2, strain[:, 1]], -1).view(-1, 2, 2)
    q = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
    r = q @ e @ q.T
    rotated = torch.stack([r[:, 0, 0], r[:, 1, 1], 2 * r[:, 0, 1]], -1)
    torch.testing.assert_close(law.energy(rotated), law.energy(strain), rtol=1e-11, atol=1e-13)


def test_neo_hookean_starts_as_linear_elasticity() -> None:
    zero = torch.zeros(1, 6, dtype=torch.float64)
    linear = LinearIsotropic(bulk=4000.0 + 2 * 400.0 / 3, shear=400.0)
    torch.testing.assert_close(NeoHookean(shear=400.0, lame=4000.0).tangent(zero), linear.tangent(zero))


def test_plane_stress_of_a_linear_law_has_the_closed_form() -> None:
    young, poisson = 210000.0, 0.3
    law = PlaneStress(LinearIsotropic.from_young(young=young, poisson=poisson))
    factor = young / (1 - poisson**2)
    expected = factor * torch.tensor([[1, poisson, 0], [poisson, 1, 0], [0, 0, (1 - poisson) / 2]], dtype=torch.float64)
    torch.testing.assert_close(law.tangent(torch.zeros(3, dtype=torch.float64)), expected, rtol=1e-12, atol=1e-6)


def test_plane_stress_of_a_nonlinear_law_has_no_stress_out_of_the_plane_and_an_exact_tangent() -> None:
    law, strain = PlaneStress(paper_matrix()), strains(3, 4)
    stress, tangent = law.stress_and_tangent(strain)
    step = 1e-6
    for component in range(3):
        shift = torch.zeros(3, dtype=torch.float64)
        shift[component] = step
        difference = (law.stress(strain + shift) - law.stress(strain - shift)) / (2 * step)
        torch.testing.assert_close(tangent[..., component], difference, rtol=1e-6, atol=1e-4)
    conjugate = law.conjugate(stress)
    torch.testing.assert_close(conjugate.strain, strain, rtol=1e-8, atol=1e-10)


def test_published_norm_has_no_energy_and_an_exact_unsymmetric_tangent() -> None:
    law = SaturatingShear(bulk=4780.0, alpha1=50.0, alpha2=0.06, norm="planar")
    strain = torch.tensor([0.03, -0.01, 0.02], dtype=torch.float64)
    jacobian = torch.func.jacrev(law.stress)(strain)
    tangent = law.tangent(strain)
    torch.testing.assert_close(tangent, jacobian, rtol=1e-10, atol=1e-8)
    assert float((tangent - tangent.T).abs().max()) > 1.0
    with pytest.raises(ValueError, match="has no energy"):
        law.energy(strain)


def test_single_precision_stays_single() -> None:
    strain = strains(3).float()
    for law in LAWS:
        assert law.energy(strain).dtype == law.stress(strain).dtype == law.tangent(strain).dtype == torch.float32


def test_a_field_answers_as_its_laws_do_point_by_point() -> None:
    laws = list(paper_materials().values())
    index = torch.tensor([0, 1, 1, 0, 1])
    field, strain = MaterialField(laws, index), strains(3, 10).view(2, 5, 3)
    stress, tangent = field.stress_and_tangent(strain)
    conjugate = field.conjugate(stress)
    for point, law in enumerate(index.tolist()):
        expected = laws[law].stress_and_tangent(strain[:, point])
        torch.testing.assert_close(stress[:, point], expected[0])
        torch.testing.assert_close(tangent[:, point], expected[1])
        torch.testing.assert_close(field.energy(strain)[:, point], laws[law].energy(strain[:, point]))
    torch.testing.assert_close(conjugate.strain, strain, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(field.at(torch.tensor([2])).stress(strain[:, [2]]), stress[:, [2]])


@pytest.mark.parametrize("law", [*LAWS[:3]], ids=lambda law: law.name)
def test_a_law_survives_its_configuration(law: Material) -> None:
    again = material_from_config(law.config())
    assert again.fingerprint == law.fingerprint
    torch.testing.assert_close(again.stress(strains(3)), law.stress(strains(3)))


def test_youngs_modulus_is_accepted_in_files() -> None:
    law = material_from_config({"law": "linear_isotropic", "young": 3.0, "poisson": 0.0})
    assert law.config()["shear"] == 1.5


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"law": "saturating_sheer"}, "did you mean 'saturating_shear'"),
        ({"law": ["linear_isotropic"]}, "is unknown; use one of"),
        ({"bulk": 1.0}, "needs a law"),
        ({"law": "saturating_shear", "bulk": 1.0, "alpha": 1.0}, "did you mean 'alpha"),
        (
            {"law": "saturating_shear", "bulk": 1.0, "alpha1": 1.0, "alpha2": 1.0, "norm": "flat"},
            "norm='flat' is unknown",
        ),
        ({"law": "linear_isotropic", "bulk": True, "shear": 1.0}, "must be a number"),
        ({"law": "linear_isotropic", "bulk": 1.0, "shear": 1.0, "name": 3}, "name=3 must be a text"),
        ({"law": "linear_isotropic", "bulk": 1.0}, "needs shear"),
        ({"law": "linear_isotropic", "bulk": 1.0, "shear": 1.0, "hear": 2.0}, "no value 'hear'"),
        ({"law": "linear_isotropic", "bulk": "stiff", "shear": 1.0}, "must be a number"),
        ({"law": "linear_isotropic", "bulk": -1.0, "shear": 1.0}, "bulk=-1.0 must be positive"),
        ({"law": "linear_isotropic", "young": 1.0, "poisson": 0.5}, "between -1 and 0.5"),
    ],
)
def test_bad_configurations_are_refused_in_one_sentence(config: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        material_from_config(config)


def test_a_users_law_without_configuration_says_that_it_cannot_be_stored() -> None:
    with pytest.raises(TypeError, match="Quartic defines no config"):
        _ = Quartic().fingerprint


@pytest.mark.parametrize("law", [*LAWS, PlaneStress(paper_matrix())], ids=lambda law: law.name)
def test_a_law_that_says_so_is_odd(law: Material) -> None:
    strain = strains(3)
    odd_part = (law.stress(strain) + law.stress(-strain)).abs().max() / law.stress(strain).abs().max()
    assert law.is_odd == (odd_part < 1e-12) or isinstance(law, Quartic)


def test_a_law_that_is_wrongly_called_odd_is_found_out() -> None:
    law = NeoHookean(shear=400.0, lame=4000.0)
    law.is_odd = True
    with pytest.raises(ValueError, match="not odd"):
        law.validate()
