"""Fields of several laws: any order of points, and indices that fit nothing."""

from __future__ import annotations

import pytest
import torch

from equipoise.problems.mechanics.material_field import MaterialField
from equipoise.problems.mechanics.materials import NeoHookean, material_from_config, paper_materials

LAWS = [*paper_materials().values(), NeoHookean(shear=400.0, lame=4000.0)]
ORDERS = {"sorted": [0, 0, 1, 1, 2], "mixed": [2, 0, 1, 0, 2], "alone": [1, 1, 1, 1, 1], "split": [1, 0, 0, 1, 1]}


@pytest.mark.parametrize("numbers", ORDERS.values(), ids=ORDERS.keys())
def test_each_point_is_answered_by_its_own_law(numbers: list[int]) -> None:
    generator = torch.Generator().manual_seed(0)
    strain = 0.03 * torch.randn(2, 3, 5, 3, generator=generator, dtype=torch.float64)
    field = MaterialField(LAWS, torch.tensor(numbers))
    stress, tangent = field.stress_and_tangent(strain)
    conjugate = field.conjugate(stress, strain)
    for point, number in enumerate(numbers):
        law, local = LAWS[number], strain[:, :, point]
        expected = law.stress_and_tangent(local)
        torch.testing.assert_close(stress[:, :, point], expected[0])
        torch.testing.assert_close(tangent[:, :, point], expected[1])
        torch.testing.assert_close(field.energy(strain)[:, :, point], law.energy(local))
        torch.testing.assert_close(conjugate.energy[:, :, point], law.conjugate(expected[0]).energy)
    torch.testing.assert_close(field.stress(strain), stress)
    torch.testing.assert_close(field.tangent(strain), tangent)
    assert bool(conjugate.is_finite.all())


def test_gradients_flow_through_a_field() -> None:
    field = MaterialField(LAWS, torch.tensor(ORDERS["mixed"]))
    generator = torch.Generator().manual_seed(0)
    strain = 0.03 * torch.randn(5, 3, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(field.energy, strain.requires_grad_())
    assert torch.autograd.gradcheck(field.stress, strain)


def test_a_part_of_a_field_keeps_its_laws() -> None:
    field = MaterialField(LAWS, torch.tensor(ORDERS["mixed"]))
    assert field.at(torch.tensor([4, 1])).index.tolist() == [2, 0]
    assert field.at(torch.tensor([True, False, True, False, False])).index.tolist() == [2, 1]
    assert field.at(torch.tensor([], dtype=torch.int64)).stress(torch.zeros(1, 0, 3)).shape == (1, 0, 3)


def test_the_configuration_of_a_field_rebuilds_its_laws() -> None:
    again = [material_from_config(config) for config in MaterialField(LAWS, torch.tensor([0])).config]
    assert [law.fingerprint for law in again] == [law.fingerprint for law in LAWS]


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (torch.tensor([0, 3]), "index 3 has no material; there are 3"),
        (torch.tensor([-1, 0]), "index -1 has no material"),
        (torch.tensor([0.0]), "expected integers"),
        (torch.tensor([[0]]), "expected integers, one a point"),
    ],
)
def test_an_index_that_fits_no_law_is_refused(index: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MaterialField(LAWS, index)


def test_a_field_of_another_number_of_points_is_refused() -> None:
    with pytest.raises(ValueError, match="does not have 5 points"):
        MaterialField(LAWS, torch.tensor(ORDERS["alone"])).stress(torch.zeros(4, 3))
