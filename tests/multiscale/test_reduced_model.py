"""The reduced-order micro model: accuracy, tangents, warm starts, treatment by its certificate, microscopic fields."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from equipoise.errors import MeshError
from equipoise.multiscale.certificate import FULL_FIELD, OWN, REFINED, Certificate, Coefficients, Policy
from equipoise.multiscale.certified_model import CertifiedModel, OwnAnswer
from equipoise.multiscale.micro import State
from equipoise.multiscale.reduced_model import ReducedRVE
from equipoise.problems.mechanics.cubature import Cubature, empirical_cubature
from reduced_samples import complete_bases, sample, strains


@cache
def cubature(kind: str = "plane") -> Cubature:
    return empirical_cubature(sample(kind).cell, sample(kind).bases, rows=120)


def model(kind: str = "plane", **options: object) -> ReducedRVE:
    return ReducedRVE(sample(kind).cell, sample(kind).bases, cubature=cubature(kind), **options)  # type: ignore[arg-type]


def certified(policy: Policy = "sampled", **options: float) -> Certificate:
    held = sample()
    return Certificate(
        held.cell,
        held.bases,
        cubature=cubature(),
        policy=policy,
        solver=held.solver,
        **options,  # type: ignore[arg-type]
    )


class Careless(CertifiedModel):
    """Answers every strain with no fluctuation and stress in proportion: far from right, and cheap."""

    def coefficients(self, strain: torch.Tensor, state: State = None) -> Coefficients:
        return Coefficients(strain.new_zeros(len(strain), 6), strain.new_zeros(len(strain), 6))

    def answer(self, strain: torch.Tensor, state: State = None) -> OwnAnswer:
        tangent = 5000 * torch.eye(3, dtype=strain.dtype).expand(len(strain), 3, 3)
        return OwnAnswer(5000 * strain, tangent)


@pytest.mark.parametrize("kind", ["plane", "space"])
@pytest.mark.parametrize("stress", ["kinematic", "modal"])
def test_unseen_strains_are_answered_near_the_full_field(kind: str, stress: str) -> None:
    held, strain = sample(kind), strains(sample(kind).cell, 6, seed=51)
    response = model(kind, stress=stress).respond(strain)
    exact = held.solver.solve(strain)
    error = (response.stress - exact.stress).norm(dim=-1) / exact.stress.norm(dim=-1)
    # Six modes from twelve snapshots can't hold six strain components as well as three.
    assert float(error.median()) < (0.005 if kind == "plane" else 0.1)


@pytest.mark.parametrize("stress", ["kinematic", "modal"])
def test_tangent_equals_central_differences(stress: str) -> None:
    micro, strain = model(stress=stress), strains(sample().cell, 2, seed=52)
    tangent, step = micro.respond(strain).tangent, 1e-6
    for component in range(3):
        shift = torch.zeros_like(strain)
        shift[:, component] = step
        slope = (micro.respond(strain + shift).stress - micro.respond(strain - shift).stress) / (2 * step)
        assert torch.allclose(tangent[:, :, component], slope, atol=1e-6 * float(tangent.abs().max()))


def test_snapshots_are_reproduced_by_complete_bases() -> None:
    held, bases = sample(), complete_bases()
    micro = ReducedRVE(held.cell, bases, cubature=empirical_cubature(held.cell, bases, rows=400))
    response = micro.respond(held.solution.strain)
    assert torch.allclose(response.stress, held.solution.stress, rtol=1e-6)


def test_zero_strain_gives_exactly_zero_stress() -> None:
    zero = torch.zeros(1, 3, dtype=torch.float64)
    for stress in ("kinematic", "modal"):
        assert model(stress=stress).respond(zero).stress.abs().max() == 0


def test_warm_start_gives_the_same_answer() -> None:
    strain = strains(sample().cell, 4, seed=53)
    for stress in ("kinematic", "modal"):
        micro = model(stress=stress)
        first = micro.respond(0.9 * strain)
        warm, cold = micro.respond(strain, state=first.state), micro.respond(strain)
        assert torch.allclose(warm.stress, cold.stress, rtol=1e-9)


def test_batch_equals_loop() -> None:
    micro, strain = model(), strains(sample().cell, 5, seed=54)
    whole = micro.respond(strain)
    for row in range(5):
        single = micro.respond(strain[row : row + 1])
        assert torch.allclose(single.stress[0], whole.stress[row], rtol=1e-9)
        assert torch.allclose(single.tangent[0], whole.tangent[row], rtol=1e-8, atol=1e-6)


def test_without_a_certificate_there_is_no_estimate() -> None:
    response = model().respond(strains(sample().cell, 2, seed=0))
    assert response.error_estimate is None
    assert response.error_kind == "none"
    assert model().certify(strains(sample().cell, 2, seed=0)) is None
    assert model(certificate=certified("none")).certify(strains(sample().cell, 2, seed=0)) is None


def test_first_answer_carries_the_gap_and_says_what_it_is() -> None:
    strain = strains(sample().cell, 3, seed=55)
    for policy, kind in (("sampled", "estimate"), ("all", "bound")):
        response = model(certificate=certified(policy)).respond(strain)  # type: ignore[arg-type]
        assert response.error_kind == kind
        assert response.error_estimate is not None
        assert bool((response.error_estimate > 0).all())


def test_single_question_is_repaired_at_once() -> None:
    strain = strains(sample().cell, 6, seed=56)
    careless = Careless(sample().cell, sample().bases, certificate=certified(refine_above=1e-2))
    response = careless.respond(strain)
    exact = sample().solver.solve(strain)
    assert response.counts == {"refined": 6}
    assert torch.allclose(response.stress, exact.stress, rtol=0.05, atol=0.01 * float(exact.stress.abs().max()))
    fallen = Careless(sample().cell, sample().bases, certificate=certified(fall_back_above=1e-12)).respond(strain)
    assert fallen.counts == {"fallbacks": 6}
    assert torch.allclose(fallen.stress, exact.stress, rtol=1e-8)
    assert torch.allclose(fallen.tangent, exact.tangent, rtol=1e-6, atol=1e-4)


def test_answers_between_certificates_keep_their_treatment() -> None:
    strain = strains(sample().cell, 4, seed=57)
    careless = Careless(sample().cell, sample().bases, certificate=certified(refine_above=1e-2))
    state = {"treatment": torch.tensor([OWN, REFINED, FULL_FIELD, OWN])}
    response = careless.respond(strain, state=state)
    assert response.error_estimate is None
    assert response.counts == {"refined": 1, "fallbacks": 1}
    assert torch.equal(response.stress[[0, 3]], 5000 * strain[[0, 3]])


def test_certify_asks_for_another_equilibrium_until_nothing_changes() -> None:
    strain = strains(sample().cell, 4, seed=58)
    held = certified(fall_back_above=1e-12)
    careless = Careless(sample().cell, sample().bases, certificate=held)
    before = {"treatment": torch.zeros(4, dtype=torch.int64)}
    first = careless.certify(strain, before)
    assert first is not None
    assert not first.is_final
    assert not held.enrichment
    second = careless.certify(strain, first.state)
    assert second is not None
    assert second.is_final
    assert second.state["treatment"].tolist() == [FULL_FIELD] * 4
    assert bool((second.relative_gap == 0).all())
    assert len(held.enrichment) == 4


@pytest.mark.parametrize("kind", ["plane", "space"])
def test_microscopic_fields_average_to_the_strain_and_are_in_equilibrium(kind: str) -> None:
    held, strain = sample(kind), strains(sample(kind).cell, 2, seed=59)
    fields = model(kind).localize(strain)
    assert torch.allclose(held.cell.average(fields.strain), strain, atol=1e-12)
    force = held.cell.force(fields.stress).norm() / held.cell.force_magnitude(fields.stress).norm()
    assert float(force) < 1e-9
    assert fields.displacement.shape == (2, held.cell.mesh.n_nodes, held.cell.dim)


def test_microscopic_fields_of_a_fallen_back_strain_are_the_full_field() -> None:
    held, strain = sample(), strains(sample().cell, 2, seed=60)
    careless = Careless(held.cell, held.bases, certificate=certified(fall_back_above=1e-12))
    exact = held.solver.solve(strain)
    fields = careless.localize(strain)
    assert torch.allclose(fields.strain, held.cell.strain(strain, exact.fluctuation), atol=1e-9)
    assert torch.allclose(fields.stress, held.cell.law.stress(fields.strain))


def test_box_is_that_of_the_snapshots() -> None:
    micro = model()
    inside, outside = sample().solution.strain[:1], torch.full((1, 3), 0.06, dtype=torch.float64)
    assert micro.outside_box(torch.cat([inside, outside])).tolist() == [False, True]


def test_fingerprint_tells_apart_what_answers_differently() -> None:
    plain, modal = model(), model(stress="modal")
    refined = model(certificate=certified(refine_above=1e-3))
    assert len({plain.fingerprint, modal.fingerprint, refined.fingerprint}) == 3
    assert plain.fingerprint == model().fingerprint


@pytest.mark.usefixtures("unchecked_types")
def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match="'both' is unknown"):
        model(stress="both")
    with pytest.raises(MeshError, match="mesh or materials differ"):
        ReducedRVE(sample("linear").cell, sample().bases)
