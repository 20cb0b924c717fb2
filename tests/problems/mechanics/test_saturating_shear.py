"""The saturating matrix near zero strain, in all digits, under rotation, and through automatic derivatives."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext

import pytest
import torch

from equipoise.problems.mechanics.isotropic import excess_over_logarithm
from equipoise.problems.mechanics.materials import NeoHookean, paper_fibre, paper_matrix


def test_excess_over_the_logarithm_keeps_all_digits() -> None:
    size = torch.logspace(-12, math.log10(0.9), 400, dtype=torch.float64)
    value = torch.cat([size, -size, 10 * size, torch.tensor([0.15, -0.15], dtype=torch.float64)])
    with localcontext(prec=50):
        exact = [float(Decimal(x) - (1 + Decimal(x)).ln()) for x in value.tolist()]
    torch.testing.assert_close(
        excess_over_logarithm(value), torch.tensor(exact, dtype=torch.float64), rtol=6e-15, atol=0
    )


@pytest.mark.parametrize("components", [3, 6])
def test_second_derivatives_of_the_energy_at_zero_strain_are_the_tangent(components: int) -> None:
    zero = torch.zeros(components, dtype=torch.float64)
    torch.testing.assert_close(torch.func.hessian(paper_matrix().energy)(zero), paper_matrix().tangent(zero))


@pytest.mark.parametrize("size", [0.0, 1e-300, 1e-160, 1e-77, 1e-76, 1e-30])
@pytest.mark.parametrize("components", [3, 6])
def test_answers_and_their_gradients_are_finite_at_vanishing_strain(components: int, size: float) -> None:
    strain = torch.full((1, components), size, dtype=torch.float64, requires_grad=True)
    law = paper_matrix()
    for answer in (law.energy(strain), *law.stress_and_tangent(strain), law.stress(strain)):
        (gradient,) = torch.autograd.grad(answer.sum(), strain, retain_graph=True)
        assert bool(torch.isfinite(answer).all() & torch.isfinite(gradient).all())


@pytest.mark.parametrize("components", [3, 6])
def test_gradients_pass_the_numerical_check(components: int) -> None:
    generator = torch.Generator().manual_seed(0)
    strain = 0.03 * torch.randn(3, components, generator=generator, dtype=torch.float64)
    strain.requires_grad_()
    assert torch.autograd.gradcheck(paper_matrix().energy, strain)
    assert torch.autograd.gradcheck(paper_matrix().stress, strain)
    assert torch.autograd.gradcheck(paper_matrix().tangent, strain, atol=1e-3)


@pytest.mark.parametrize(
    "law", [paper_matrix(), paper_fibre(), NeoHookean(shear=400.0, lame=4000.0)], ids=lambda law: law.name
)
def test_stress_in_space_turns_with_the_strain(law) -> None:
    generator = torch.Generator().manual_seed(1)
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    strain = 0.04 * torch.randn(3, 3, generator=generator, dtype=torch.float64)
    strain = (strain + strain.T) / 2
    pairs = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]

    def stress(tensor: torch.Tensor) -> torch.Tensor:
        voigt = torch.stack([tensor[i, j] * (1 if i == j else 2) for i, j in pairs])
        answer, matrix = law.stress(voigt), torch.zeros(3, 3, dtype=torch.float64)
        for value, (i, j) in zip(answer, pairs, strict=True):
            matrix[i, j] = matrix[j, i] = value
        return matrix

    turned = stress(rotation @ strain @ rotation.T)
    torch.testing.assert_close(turned, rotation @ stress(strain) @ rotation.T, rtol=1e-11, atol=1e-10)


def test_stress_in_space_stays_below_its_bound() -> None:
    strain = torch.tensor([[1e6, 0.0, 0.0, 0.0, 0.0, 1e6]], dtype=torch.float64)
    stress = paper_matrix().stress(strain)[0]
    deviator = stress[:3] - stress[:3].mean()
    size = float((deviator.square().sum() + 2 * stress[3:].square().sum()).sqrt())
    assert 49.99 < size < 50.0 + 1e-6
