"""The certificate: what each policy measures, and that refinement and fall-back do what they promise."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from equipoise.errors import MeshError
from equipoise.multiscale.certificate import FULL_FIELD, OWN, REFINED, Certificate, Coefficients, Policy
from equipoise.problems.mechanics.bases import ReducedBases
from equipoise.problems.mechanics.cubature import Cubature, empirical_cubature
from reduced_samples import sample, strains

COUNT = 24


@cache
def cubature() -> Cubature:
    return empirical_cubature(sample().cell, sample().bases, rows=90)


def certificate(
    policy: Policy = "sampled", *, refine_above: float | None = None, fall_back_above: float | None = None
) -> Certificate:
    held = sample()
    return Certificate(
        held.cell,
        held.bases,
        cubature=cubature(),
        policy=policy,
        refine_above=refine_above,
        fall_back_above=fall_back_above,
        solver=held.solver,
    )


@cache
def poor_answers() -> tuple[torch.Tensor, Coefficients]:
    """Strains with coefficients disturbed by more and more."""
    held = sample()
    strain = strains(held.cell, COUNT, seed=41)
    displacement, stress = certificate().reduced.solve(strain)
    generator = torch.Generator().manual_seed(1)
    size = torch.logspace(-4, -0.5, COUNT, dtype=torch.float64)[:, None]
    noise = [torch.randn(c.shape, dtype=torch.float64, generator=generator) for c in (displacement, stress)]
    return strain, Coefficients(displacement + size * noise[0], stress + size * noise[1])


def test_policy_none_measures_nothing() -> None:
    assert certificate("none").measure(*poor_answers()) is None
    with pytest.raises(ValueError, match="treating answers needs"):
        certificate("none").treat(*poor_answers())


def test_sampled_estimates_every_point_and_bounds_none() -> None:
    gaps = certificate("sampled").measure(*poor_answers())
    assert gaps is not None
    assert not bool(gaps.is_bound.any())
    assert torch.equal(gaps.relative_gap, certificate().estimate(*poor_answers()))


def test_flagged_bounds_the_largest_estimates_and_reports_the_ratio() -> None:
    gaps = certificate("flagged").measure(*poor_answers())
    estimate = certificate().estimate(*poor_answers())
    assert gaps is not None
    assert bool(gaps.is_bound[estimate.argmax()])
    assert 1 <= int(gaps.is_bound.sum()) <= 2
    assert gaps.figures["bound_to_estimate_mean"] == pytest.approx(1.0, abs=0.3)
    assert gaps.figures["without_finite_bound"] == 0
    assert gaps.figures["bound_milliseconds"] > 0


def test_flagged_draws_the_same_points_again() -> None:
    first, second = (certificate("flagged").measure(*poor_answers()) for _ in range(2))
    assert first is not None
    assert second is not None
    assert torch.equal(first.is_bound, second.is_bound)


def test_flagged_bounds_the_points_that_it_is_asked_for() -> None:
    also = torch.zeros(COUNT, dtype=torch.bool)
    also[3] = True
    gaps = certificate("flagged").measure(*poor_answers(), also=also)
    assert gaps is not None
    assert bool(gaps.is_bound[3])


def test_all_bounds_every_point_and_estimates_are_near() -> None:
    gaps = certificate("all").measure(*poor_answers())
    assert gaps is not None
    assert bool(gaps.is_bound.all())
    ratio = certificate().estimate(*poor_answers()) / gaps.relative_gap
    assert 0.8 < float(ratio.median()) < 1.25


def test_refinement_reaches_the_floor_of_the_bases() -> None:
    strain, poor = poor_answers()
    held = certificate()
    floor = held.estimate(strain, Coefficients(*held.reduced.solve(strain)))
    refined = held.estimate(strain, held.refine(strain, poor))
    assert bool((held.estimate(strain, poor) > floor * (1 - 1e-9)).all())
    assert float((refined / floor).max()) < 1.01


def test_refinement_never_raises_the_estimate() -> None:
    strain, poor = poor_answers()
    hopeless = Coefficients(poor.displacement * 50, poor.stress * 50)
    held = Certificate(sample().cell, sample().bases, cubature=cubature(), policy="sampled", refine_steps=1)
    before, after = held.estimate(strain, hopeless), held.estimate(strain, held.refine(strain, hopeless))
    assert bool((after <= before).all())


def test_only_points_above_the_threshold_are_refined() -> None:
    strain, poor = poor_answers()
    estimate = certificate().estimate(strain, poor)
    threshold = float(estimate.median())
    treated = certificate(refine_above=threshold).treat(strain, poor)
    assert bool((treated.treatment[estimate > threshold] == REFINED).all())
    assert bool((treated.treatment[estimate < 0.8 * threshold] == OWN).all())
    own = treated.treatment == OWN
    assert torch.equal(treated.coefficients.displacement[own], poor.displacement[own])


def test_nothing_is_treated_below_the_threshold() -> None:
    strain, poor = poor_answers()
    treated = certificate(refine_above=1e9, fall_back_above=1e9).treat(strain, poor)
    assert bool((treated.treatment == OWN).all())


def test_what_refinement_cannot_repair_falls_back_with_no_gap_left() -> None:
    strain, poor = poor_answers()
    held = certificate("all", fall_back_above=1e-12)
    treated = held.treat(strain, poor)
    assert bool((treated.treatment == FULL_FIELD).all())
    assert bool((treated.gaps.relative_gap == 0).all())
    solution = held.fall_back(strain, treated.coefficients)
    exact = sample().solver.solve(strain)
    assert torch.allclose(solution.stress, exact.stress, rtol=1e-7)
    assert not held.enrichment


def test_treatments_only_rise() -> None:
    strain, poor = poor_answers()
    before = torch.full((COUNT,), OWN)
    before[:4], before[4:6] = REFINED, FULL_FIELD
    treated = certificate(refine_above=1e9).treat(strain, poor, before)
    assert torch.equal(treated.treatment, before)
    assert bool((treated.gaps.relative_gap[4:6] == 0).all())
    assert not torch.equal(treated.coefficients.displacement[3], poor.displacement[3])


def test_stress_without_a_finite_bound_is_repaired() -> None:
    strain, poor = poor_answers()
    beyond = Coefficients(poor.displacement, 1e4 * poor.stress)
    held = certificate("all", refine_above=0.1)
    assert bool(torch.isinf(held.estimate(strain, beyond)).all())
    treated = Certificate(
        sample().cell, sample().bases, cubature=cubature(), policy="all", refine_above=0.1, refine_steps=30
    ).treat(strain, beyond)
    assert bool(torch.isfinite(treated.gaps.relative_gap).all())


def test_kept_fall_backs_enrich_the_bases() -> None:
    strain, poor = poor_answers()
    held = certificate("sampled", fall_back_above=1e-12)
    empty = held.enrichment_snapshots()
    assert [len(part) for part in empty] == [0, 0, 0]
    held.fall_back(strain[:5], poor.rows(torch.arange(5)), keep=True)
    held.fall_back(strain[3:6], poor.rows(torch.arange(3, 6)), keep=True)
    kept, fluctuation, stress = held.enrichment_snapshots()
    assert torch.equal(kept, strain[[0, 1, 2, 3, 4, 5]])
    cell, snapshots = sample().cell, sample().solution
    richer = ReducedBases.from_snapshots(
        cell,
        torch.cat([snapshots.fluctuation, fluctuation]),
        torch.cat([sample().stress, stress]),
        strain=torch.cat([snapshots.strain, kept]),
        n_modes=18,
    )
    again = Certificate(cell, richer, policy="all", cubature=empirical_cubature(cell, richer, rows=200))
    answers = Coefficients(richer.displacement_coefficients[12:], richer.stress_coefficients[12:])
    assert float(again.bound(kept, answers).abs().max()) < 1e-9


def test_zero_strain_has_no_gap() -> None:
    zero = torch.zeros(2, 3, dtype=torch.float64)
    gaps = certificate("all").measure(zero, Coefficients(*certificate().reduced.solve(zero)))
    assert gaps is not None
    assert gaps.relative_gap.tolist() == [0.0, 0.0]


@pytest.mark.usefixtures("unchecked_types")
def test_bad_options_are_refused() -> None:
    held = sample()
    options = {"cubature": cubature()}
    with pytest.raises(ValueError, match="'often' is unknown"):
        Certificate(held.cell, held.bases, policy="often", **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"refine_above=0\.01 needs an estimate"):
        Certificate(held.cell, held.bases, policy="none", refine_above=0.01, **options)
    with pytest.raises(ValueError, match=r"fall_back_above=-1\.0 must be positive"):
        Certificate(held.cell, held.bases, fall_back_above=-1.0, **options)
    with pytest.raises(ValueError, match="refine_steps=0"):
        Certificate(held.cell, held.bases, refine_steps=0, **options)
    with pytest.raises(ValueError, match="flagged_share"):
        Certificate(held.cell, held.bases, flagged_share=2.0, **options)
    with pytest.raises(MeshError, match="mesh or materials differ"):
        Certificate(sample("linear").cell, held.bases, **options)
