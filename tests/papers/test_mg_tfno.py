"""The smoke scale of the MG-TFNO reproduction, and its criterion on made-up figures."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from equipoise.papers.mg_tfno import REPRODUCTION, _verdicts
from equipoise.papers.mg_tfno_models import MODELS, Sizes, make_bench, parameters
from equipoise.papers.reproduction import Settings


def test_smoke_scale_holds() -> None:
    outcome = REPRODUCTION.run(Settings(scale="smoke"))
    assert outcome.held
    assert set(outcome.figures["models"]) | {"FNO"} == set(MODELS)
    assert all(len(row) == len(table.header) for table in outcome.tables for row in table.rows)


def test_parameters_at_the_cpu_scale_are_those_computed_for_it() -> None:
    sizes = Sizes(train=1, test=1, few=0, solver=32, training=32, max_step=0.1, epochs=1)
    counts = {name: parameters(name, sizes) for name in MODELS}
    assert counts["FNO"]["spectral_parameters"] == 2 * 4 * 82944
    assert counts["TFNO, by layer"]["spectral_parameters"] == 2 * 4 * 8418
    assert counts["FNO"]["parameters"] == pytest.approx(671e3, rel=1e-3)
    assert counts["TFNO, by layer"]["parameters"] == pytest.approx(75e3, rel=5e-3)


def test_coarse_fields_are_samples_of_the_fine_ones() -> None:
    sizes = Sizes(train=2, test=1, few=0, solver=32, training=16, max_step=0.1, epochs=1)
    bench = make_bench(sizes, seed=0)
    assert torch.equal(bench.test.outputs, bench.fine_test.outputs[..., ::2, ::2])
    assert bench.train.inputs.shape == (2, 1, 16, 16)


def test_criterion_asks_every_part() -> None:
    def row(l2: float, parameters: int, spectral: int) -> dict[str, Any]:
        return {"l2": l2, "parameters": parameters, "spectral_parameters": spectral}

    rows = {
        "FNO": row(0.02, 100, 100),
        "TFNO, by layer": row(0.021, 14, 11),
        "TFNO, joint": row(0.021, 14, 11),
        "MG-TFNO": row(0.026, 14, 11),
        "MG-TFNO without halo": row(0.05, 14, 11),
    }
    few = {"FNO": {"l2": 0.1}, "TFNO, by layer": {"l2": 0.1}, "TFNO, joint": {"l2": 0.09}}
    assert _verdicts(rows, few) == {"a": True, "b": True, "c": True, "d": True}
    for part, name, value in (
        ("a", "TFNO, joint", {"spectral_parameters": 13}),
        ("a", "TFNO, by layer", {"parameters": 16}),
        ("b", "TFNO, by layer", {"l2": 0.0221}),
        ("c", "MG-TFNO", {"l2": 0.0263}),
        ("d", "MG-TFNO without halo", {"l2": 0.026}),
    ):
        worse = copy.deepcopy(rows)
        worse[name].update(value)
        assert not _verdicts(worse, few)[part]
    assert not _verdicts(rows, {**few, "TFNO, joint": {"l2": 0.101}})["b"]
