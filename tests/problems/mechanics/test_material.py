"""A user's own law: automatic derivatives, what a wrong law is told, and checks of a law against itself."""

from __future__ import annotations

import pytest
import torch

from equipoise.problems.mechanics.automatic import automatic_stress, automatic_stress_and_tangent
from equipoise.problems.mechanics.materials import Material, NeoHookean, PlaneStress, SaturatingShear, paper_matrix

LAWS = [paper_matrix(), NeoHookean(shear=400.0, lame=4000.0)]


class Own(Material):
    """An energy given as a function."""

    name = "own"

    def __init__(self, function) -> None:
        self.function = function

    def energy(self, strain: torch.Tensor) -> torch.Tensor:
        return self.function(strain)


def strains(components: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return 0.04 * (2 * torch.rand(*shape, components, generator=generator, dtype=torch.float64) - 1)


@pytest.mark.parametrize("components", [3, 6])
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_automatic_derivatives_equal_the_written_ones_for_any_leading_shape(law: Material, components: int) -> None:
    strain = strains(components, 2, 3, 4)
    stress, tangent = automatic_stress_and_tangent(law.name, law.energy, strain)
    expected = law.stress_and_tangent(strain)
    assert stress.shape == strain.shape
    torch.testing.assert_close(stress, expected[0], rtol=1e-11, atol=1e-10)
    torch.testing.assert_close(tangent, expected[1], rtol=1e-10, atol=1e-8)
    torch.testing.assert_close(automatic_stress(law.name, law.energy, strain), stress)
    torch.testing.assert_close(tangent, tangent.mT, rtol=1e-12, atol=1e-9)


def test_automatic_derivatives_work_without_gradients_and_inside_them() -> None:
    law, strain = Own(lambda e: (e.square().sum(-1) + 1).square()), strains(3, 5)
    reference = law.tangent(strain)
    with torch.no_grad():
        assert torch.equal(law.tangent(strain), reference)
    with torch.inference_mode():
        assert torch.equal(law.tangent(strain.clone()), reference)
    assert torch.autograd.gradcheck(law.stress, strain.requires_grad_())


def test_an_energy_may_branch_on_its_values() -> None:
    def energy(strain: torch.Tensor) -> torch.Tensor:
        square = strain.square().sum(-1)
        return square if float(square.detach().max()) < 1 else 2 * square

    strain = strains(3, 4)
    torch.testing.assert_close(Own(energy).stress(strain), 2 * strain)


@pytest.mark.parametrize(
    "function",
    [lambda e: e.square(), lambda e: e.square().sum(), lambda e: e.square().sum(-1, keepdim=True)],
    ids=["components kept", "points summed", "axis kept"],
)
def test_an_energy_of_wrong_shape_is_refused_with_the_right_one(function) -> None:
    with pytest.raises(ValueError, match=r"energy of law 'own' has shape .* expected \(4,\)"):
        Own(function).stress(strains(3, 4))


@pytest.mark.parametrize("components", [3, 6])
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_the_laws_of_the_library_pass_their_own_check(law: Material, components: int) -> None:
    law.validate(n_strain=components)


def test_laws_with_an_unsymmetric_tangent_or_a_condensed_one_pass_the_check() -> None:
    SaturatingShear(bulk=4780.0, alpha1=50.0, alpha2=0.06, norm="planar").validate()
    PlaneStress(paper_matrix()).validate()


class WrongStress(Own):
    def stress(self, strain: torch.Tensor) -> torch.Tensor:
        return 3 * strain

    def stress_and_tangent(self, strain: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.stress(strain), 3 * torch.eye(3, dtype=strain.dtype).expand(*strain.shape, 3)


class WrongTangent(Own):
    def stress_and_tangent(self, strain: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.stress(strain), 3 * torch.eye(3, dtype=strain.dtype).expand(*strain.shape, 3)


@pytest.mark.parametrize(
    ("law", "message"),
    [
        (Own(lambda e: e[..., 0].square() - e[..., 1].square()), "not convex, so that bounds fail, at strain"),
        (Own(lambda e: e.square().sum(-1).sqrt()), "not finite at strain"),
        (Own(lambda e: e.square().sum(-1) * (1 + e.sum())), "depends on other points"),
        (WrongStress(lambda e: e.square().sum(-1)), "stress that is not its energy's derivative"),
        (WrongTangent(lambda e: e.square().sum(-1)), "a tangent that is not the derivative of its stress"),
    ],
    ids=["saddle", "kink", "coupled", "stress", "tangent"],
)
def test_a_wrong_law_is_refused_by_the_check_naming_what_is_wrong(law: Material, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        law.validate()


def test_the_check_takes_three_or_six_components_only() -> None:
    with pytest.raises(ValueError, match="n_strain=4"):
        paper_matrix().validate(n_strain=4)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_strains_of_another_length_are_refused(law: Material) -> None:
    with pytest.raises(ValueError, match="4 components; expected 3 or 6"):
        law.stress(torch.zeros(2, 4, dtype=torch.float64))


def test_equal_values_of_another_kind_have_the_same_fingerprint() -> None:
    assert SaturatingShear(bulk=4780, alpha1=50, alpha2=0.06, name="resin").fingerprint == paper_matrix().fingerprint
    assert SaturatingShear(bulk=4781, alpha1=50, alpha2=0.06).fingerprint != paper_matrix().fingerprint
