"""The smoke scale of the DeepONet reproduction, and the figures it is made of."""

from __future__ import annotations

import pytest

from equipoise.papers import deeponet
from equipoise.papers.deeponet_models import CASES, Job, run_job
from equipoise.papers.deeponet_studies import SENSOR_COUNTS, study_jobs
from equipoise.papers.reproduction import Settings


def test_smoke_scale_holds() -> None:
    outcome = deeponet.run(Settings(scale="smoke"))
    assert outcome.held
    assert set(outcome.baseline["antiderivative"]) == {"deeponet", "ridge"}


@pytest.mark.parametrize("case", CASES)
def test_ridge_stands_beside_every_case(case: str) -> None:
    found = run_job(Job("ridge", case, 40, tests=10))
    assert 0 < found["mean"] < 1
    assert found == run_job(Job("ridge", case, 40, tests=10)) | {"seconds": found["seconds"]}


@pytest.mark.parametrize("kind", ["deeponet_triples", "plain_triples"])
def test_triples_are_learned_from_one_point_a_function(kind: str) -> None:
    found = run_job(Job(kind, "pendulum, T = 3", 200, 30, tests=50))
    assert found["gap"] == pytest.approx(found["test"] - found["train"])


def test_order_of_a_power_law_is_its_exponent() -> None:
    counts = (200, 400, 800)
    assert deeponet._order(counts, [3 * count**-1.5 for count in counts]) == pytest.approx(1.5)


def test_fresh_functions_are_others_than_those_looked_at() -> None:
    found = run_job(Job("ridge", "pendulum, T = 3", 40, tests=10))
    assert found["fresh_mean"] != found["mean"]
    assert 0.2 < found["fresh_mean"] / found["mean"] < 5


def test_error_of_a_linear_map_falls_with_the_sensors_until_they_resolve_the_functions() -> None:
    jobs = study_jobs(0, 0, count=100)
    errors = [run_job(jobs["ridge map on the antiderivative", 0.2, m, 0])["mean"] for m in SENSOR_COUNTS[:3]]
    assert errors[0] > 100 * errors[1]
    # Half the length scale at twice the sensors is as hard.
    finer = run_job(jobs["ridge map on the antiderivative", 0.1, 21, 0])["mean"]
    assert errors[0] / 10 < finer < 10 * errors[0]
