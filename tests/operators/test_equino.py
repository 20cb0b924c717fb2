"""EquiNO's networks: exact at zero, exact derivatives, published sizes."""

from __future__ import annotations

import pytest
import torch

from equipoise.operators.equino import EquiNO
from equipoise.operators.vpionet import VPIONet


def operator(form: str, n_strain: int = 3, depth: int = 3) -> EquiNO:
    generator = torch.Generator().manual_seed(0)
    model = EquiNO(n_strain=n_strain, form=form, n_displacement_modes=5, n_stress_modes=7, hidden=(16,) * depth)
    strain = torch.randn(40, n_strain, generator=generator, dtype=torch.float64)
    model.set_input_scale(torch.full((n_strain,), 0.04, dtype=torch.float64))
    model.fit_scales(
        strain,
        torch.randn(40, 5, generator=generator, dtype=torch.float64),
        torch.randn(40, 7, generator=generator, dtype=torch.float64),
        torch.randn(n_strain, 7, generator=generator, dtype=torch.float64),
    )
    return model


@pytest.mark.parametrize("form", ["anchored", "paper"])
@pytest.mark.parametrize(("n_strain", "depth"), [(3, 3), (6, 3), (3, 0), (3, 1)])
def test_response_equals_the_network_and_its_automatic_derivative(form: str, n_strain: int, depth: int) -> None:
    model = operator(form, n_strain, depth)
    strain = 0.04 * torch.randn(2100, n_strain, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    stress, tangent = model.response(strain)

    def homogenised(one: torch.Tensor) -> torch.Tensor:
        return model.homogenised_modes @ model.stress_branch(one[None])[0]

    torch.testing.assert_close(stress, torch.func.vmap(homogenised)(strain), rtol=1e-12, atol=1e-12)
    jacobian = torch.func.vmap(torch.func.jacrev(homogenised))(strain)
    torch.testing.assert_close(tangent, jacobian, rtol=1e-10, atol=1e-10)


def test_zero_strain_gives_exact_zeros_in_the_anchored_form() -> None:
    model = operator("anchored")
    zero = torch.zeros(2, 3, dtype=torch.float64)
    for value in (*model(zero), model.response(zero)[0]):
        assert value.abs().max() == 0


def test_anchored_form_has_its_linear_part_as_tangent_at_zero_strain() -> None:
    model = operator("anchored")
    exact = model.homogenised_modes @ model.stress_branch.linear
    torch.testing.assert_close(model.response(torch.zeros(1, 3, dtype=torch.float64))[1][0], exact, rtol=1e-14, atol=0)
    direction = torch.tensor([[0.6, -0.5, 0.62]], dtype=torch.float64)
    for size in (1e-4, 1e-6, 1e-8):
        error = (model.response(size * direction)[0][0] / size - exact @ direction[0]).abs().max()
        assert error < 1e6 * size


def test_gradients_of_the_branches_match_differences() -> None:
    model = operator("anchored")
    strain = 0.02 * torch.randn(3, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert torch.autograd.gradcheck(model.stress_branch, strain.requires_grad_())


def test_a_batch_answers_as_single_strains_do() -> None:
    model = operator("anchored")
    strain = 0.04 * torch.randn(7, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    stress, tangent = model.response(strain)
    for row in range(7):
        alone = model.response(strain[row : row + 1])
        torch.testing.assert_close(alone[0][0], stress[row], rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(alone[1][0], tangent[row], rtol=1e-12, atol=1e-12)


def test_vpionets_output_scale_is_a_factor() -> None:
    generator = torch.Generator().manual_seed(0)
    strain, points = (torch.rand(n, 3, generator=generator, dtype=torch.float64) for n in (2, 7))
    published, own = VPIONet(seed=3), VPIONet(displacement_scale=1e-2, seed=3)
    torch.testing.assert_close(own(strain, points), 100 * published(strain, points), rtol=1e-12, atol=0)
    with pytest.raises(ValueError, match=r"displacement_scale=0\.0 must be positive"):
        VPIONet(displacement_scale=0.0)


def test_published_networks_have_their_published_numbers_of_parameters() -> None:
    assert EquiNO(form="paper").n_parameters == 27_552
    assert sum(parameter.numel() for parameter in VPIONet().parameters()) == 37_168


def test_vpionet_is_periodic() -> None:
    model = VPIONet()
    strain = torch.tensor([[0.01, 0.02, 0.03]], dtype=torch.float64)
    points = torch.tensor([[-0.5, 0.1, 1.0], [0.5, 0.1, 1.0], [0.2, -0.5, -1.0], [0.2, 0.5, -1.0]], dtype=torch.float64)
    field = model(strain, points)[0]
    torch.testing.assert_close(field[0], field[1], rtol=1e-10, atol=1e-18)
    torch.testing.assert_close(field[2], field[3], rtol=1e-10, atol=1e-18)


@pytest.mark.parametrize(
    ("options", "message"), [({"form": "fancy"}, "anchored, paper"), ({"n_strain": 4}, "3 in the")]
)
def test_bad_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EquiNO(**options)


def test_an_odd_network_gives_opposite_answers_to_opposite_strains() -> None:
    model = EquiNO(n_displacement_modes=4, n_stress_modes=5, hidden=(8, 8), is_odd=True)
    generator = torch.Generator().manual_seed(1)
    known = [torch.randn(30, count, generator=generator, dtype=torch.float64) for count in (3, 4, 5)]
    model.fit_scales(*known, torch.randn(3, 5, generator=generator, dtype=torch.float64))
    strain = 0.04 * torch.randn(10, 3, generator=generator, dtype=torch.float64)
    for there, back in zip(model(strain), model(-strain), strict=True):
        torch.testing.assert_close(back, -there, rtol=1e-14, atol=1e-14)
    (stress, tangent), (opposite, same) = model.response(strain), model.response(-strain)
    torch.testing.assert_close(opposite, -stress, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(same, tangent, rtol=1e-12, atol=1e-12)
    assert model.n_parameters == 2 * (3 * 8 + 8 * 8) + 8 * 4 + 8 * 5
