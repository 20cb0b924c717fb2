"""The estimated cost of FE²: the same strains as FE² solves, counted in full, timed on a sample."""

from __future__ import annotations

import pytest

from equipoise.multiscale.constitutive import ConstitutiveModel
from equipoise.multiscale.full_field import FullFieldRVE
from equipoise.multiscale.full_field_estimate import estimate_full_field
from equipoise.multiscale.load_stepping import Stepping
from equipoise.multiscale.macroscale import simulate
from equipoise.multiscale.structure import Region, Structure, Support
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.materials import paper_materials
from equipoise.spaces.cells import builtin_cell
from equipoise.spaces.structures import cooks_membrane


@pytest.fixture(scope="module")
def structure() -> Structure:
    return Structure(
        cooks_membrane(elements=(2, 1)),
        [
            Support(Region(group="left"), {"x": 0.0, "y": 0.0}, name="clamp"),
            Support(Region(group="right"), {"y": 0.5}, name="edge"),
        ],
        stepping=Stepping(first_step=0.5),
    )


@pytest.fixture(scope="module")
def homogeneous() -> FullFieldRVE:
    return FullFieldRVE(PeriodicCell(builtin_cell("homogeneous"), {1: paper_materials()[1]}))


def test_estimate_follows_the_solves_of_fe_squared(structure: Structure, homogeneous: FullFieldRVE) -> None:
    law = ConstitutiveModel(paper_materials()[1])
    estimate = estimate_full_field(structure, law, homogeneous, sample=5)
    full = simulate(structure, homogeneous)
    assert estimate.evaluations == full.evaluations
    iterations = sum(len(step.residuals) for step in full.steps)
    assert estimate.sampled_evaluations == 5 * iterations
    assert estimate.largest_stress_difference < 1e-9
    macroscale = estimate.learned.timings.assembly + estimate.learned.timings.solve
    assert estimate.seconds == pytest.approx(macroscale + estimate.evaluations * estimate.seconds_per_evaluation)


def test_sample_of_more_points_than_there_are_takes_all(structure: Structure, homogeneous: FullFieldRVE) -> None:
    law = ConstitutiveModel(paper_materials()[1])
    estimate = estimate_full_field(structure, law, homogeneous, sample=10**6)
    assert estimate.sampled_evaluations == estimate.evaluations - 1  # the undeformed state is asked once for all


def test_empty_sample_is_refused(structure: Structure, homogeneous: FullFieldRVE) -> None:
    with pytest.raises(ValueError, match="sample=0"):
        estimate_full_field(structure, ConstitutiveModel(paper_materials()[1]), homogeneous, sample=0)
