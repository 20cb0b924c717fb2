"""Structures of a plain material against closed forms, in plane strain, plane stress and space."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sample_structures import at

from equipoise.multiscale.constitutive import ConstitutiveModel
from equipoise.multiscale.load_stepping import Stepping
from equipoise.multiscale.macroscale import simulate
from equipoise.multiscale.structure import Load, Region, Structure, Support
from equipoise.problems.mechanics.materials import LinearIsotropic, paper_matrix
from equipoise.problems.mechanics.plane_stress import PlaneStress
from equipoise.spaces.structures import box, plate_with_hole, rectangle

YOUNG, POISSON = 70_000.0, 0.3
STEEL = LinearIsotropic.from_young(young=YOUNG, poisson=POISSON)


def pulled_strip(load: float, *, thickness: float = 1.0) -> Structure:
    mesh = rectangle(elements=(3, 2), size=(3.0, 1.0))
    supports = [Support(at(x=0.0), is_symmetric=True, name="x"), Support(at(y=0.0), is_symmetric=True, name="y")]
    return Structure(mesh, supports, [Load(Region(group="right"), traction=(load, 0.0))], Stepping(), thickness)


@pytest.mark.parametrize("thickness", [1.0, 0.1])
def test_a_pulled_strip_has_the_closed_form_strain_in_plane_stress(thickness: float) -> None:
    strain = simulate(pulled_strip(70.0, thickness=thickness), ConstitutiveModel(PlaneStress(STEEL))).strain.numpy()
    np.testing.assert_allclose(strain[:, 0], 70.0 / YOUNG, rtol=1e-8)
    np.testing.assert_allclose(strain[:, 1], -POISSON * 70.0 / YOUNG, rtol=1e-8)


def test_a_pulled_strip_has_the_closed_form_strain_in_plane_strain() -> None:
    strain = simulate(pulled_strip(70.0), ConstitutiveModel(STEEL)).strain.numpy()
    np.testing.assert_allclose(strain[:, 0], (1 - POISSON**2) * 70.0 / YOUNG, rtol=1e-8)
    np.testing.assert_allclose(strain[:, 1], -POISSON * (1 + POISSON) * 70.0 / YOUNG, rtol=1e-8)


def test_a_nonlinear_strip_in_plane_stress_equals_a_bar_in_space() -> None:
    flat = simulate(pulled_strip(20.0), ConstitutiveModel(PlaneStress(paper_matrix())))
    mesh = box(elements=(1, 1, 1))
    supports = [Support(at(**{axis: 0.0}), is_symmetric=True, name=axis) for axis in "xyz"]
    solid = simulate(
        Structure(mesh, supports, [Load(Region(group="right"), traction=(20.0, 0.0, 0.0))]),
        ConstitutiveModel(paper_matrix(), dim=3),
    )
    np.testing.assert_allclose(flat.strain[0, :2].numpy(), solid.strain[0, :2].numpy(), rtol=1e-7)


def test_stress_around_a_small_hole_is_the_closed_form_of_kirsch() -> None:
    hole = 0.06 * 10.0
    mesh = plate_with_hole(elements=24, radius=0.06, size=10.0)
    supports = [
        Support(Region(group="left"), is_symmetric=True, name="x"),
        Support(Region(group="bottom"), is_symmetric=True, name="y"),
    ]
    structure = Structure(mesh, supports, [Load(Region(group="right"), traction=(1.0, 0.0))])
    simulation = simulate(structure, ConstitutiveModel(PlaneStress(STEEL)))
    x, y = simulation.positions.T
    ratio, angle = hole / np.hypot(x, y), np.arctan2(y, x)
    exact = 1 - ratio**2 * (1.5 * np.cos(2 * angle) + np.cos(4 * angle)) + 1.5 * ratio**4 * np.cos(4 * angle)
    near = ratio > 0.3
    error = np.abs(simulation.stress[:, 0].numpy() - exact)[near].max()
    assert exact[near].max() > 2.6
    assert error < 0.05


def test_a_constitutive_model_has_no_microscopic_fields_and_no_gap() -> None:
    model = ConstitutiveModel(STEEL)
    assert model.respond(torch.zeros(1, 3, dtype=torch.float64)).error_estimate is None
    with pytest.raises(ValueError, match="no microstructure"):
        model.localize(torch.zeros(1, 3, dtype=torch.float64))


def test_a_dimension_that_no_structure_has_is_refused() -> None:
    with pytest.raises(ValueError, match="dim=4"):
        ConstitutiveModel(STEEL, dim=4)
