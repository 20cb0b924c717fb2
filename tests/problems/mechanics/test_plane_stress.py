"""Plane stress: no stress out of the plane, exact derivatives, both precisions, and when there is no answer."""

from __future__ import annotations

import pytest
import torch

from equipoise.errors import ConvergenceError
from equipoise.problems.mechanics.materials import (
    LinearIsotropic,
    Material,
    NeoHookean,
    PlaneStress,
    material_from_config,
    paper_matrix,
)

LAWS = [PlaneStress(paper_matrix()), PlaneStress(NeoHookean(shear=400.0, lame=4000.0))]


def strains(size: float = 0.04) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return size * (2 * torch.rand(20, 3, generator=generator, dtype=torch.float64) - 1)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
@pytest.mark.parametrize("size", [1e-8, 0.04, 0.3])
def test_stress_out_of_the_plane_vanishes_and_derivatives_are_those_of_the_energy(
    law: PlaneStress, size: float
) -> None:
    strain = strains(size).requires_grad_()
    (gradient,) = torch.autograd.grad(law.energy(strain).sum(), strain, create_graph=True)
    stress, tangent = law.stress_and_tangent(strain.detach())
    torch.testing.assert_close(gradient.detach(), stress, rtol=1e-8, atol=1e-8 * size)
    rows = [torch.autograd.grad(gradient[:, i].sum(), strain, retain_graph=True)[0] for i in range(3)]
    torch.testing.assert_close(torch.stack(rows, dim=1), tangent, rtol=1e-8, atol=1e-6)
    torch.testing.assert_close(tangent, tangent.mT, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_stress_differentiates_at_zero_strain(law: PlaneStress) -> None:
    zero = torch.zeros(3, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(law.stress, zero)
    torch.testing.assert_close(jacobian, law.tangent(zero), rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_single_precision_is_answered_in_single_precision(law: PlaneStress) -> None:
    stress, tangent = law.stress_and_tangent(strains().float())
    assert stress.dtype == tangent.dtype == torch.float32
    torch.testing.assert_close(stress.double(), law.stress(strains()), rtol=1e-3, atol=1e-2)


def test_a_law_survives_its_configuration() -> None:
    again = material_from_config(LAWS[0].config())
    assert again.fingerprint == LAWS[0].fingerprint
    torch.testing.assert_close(again.stress(strains()), LAWS[0].stress(strains()))


def test_strains_in_space_and_laws_already_in_the_plane_are_refused() -> None:
    with pytest.raises(ValueError, match="strains of 3 components"):
        LAWS[0].stress(torch.zeros(2, 6, dtype=torch.float64))
    with pytest.raises(TypeError, match="three-dimensional law, got PlaneStress"):
        PlaneStress(LAWS[0])


class Pushed(Material):
    """Its stress out of the plane is between 1 and 3 MPa whatever the strain."""

    name = "pushed"

    def energy(self, strain: torch.Tensor) -> torch.Tensor:
        thickness = strain[..., 2]
        return strain.square().sum(-1) - thickness.square() + (1 + thickness.square()).sqrt() + 2 * thickness


def test_a_law_whose_stress_never_vanishes_is_reported() -> None:
    with pytest.raises(ConvergenceError, match="'pushed' found no out-of-plane strain"):
        PlaneStress(Pushed()).stress(strains())


def test_linear_laws_are_answered_linearly() -> None:
    law = PlaneStress(LinearIsotropic.from_young(young=1000.0, poisson=0.25))
    assert law.is_linear
    torch.testing.assert_close(law.stress(strains()), (law.tangent(strains()) @ strains()[..., None])[..., 0])
