"""The smoke scale of the NNs-to-NOs reproduction, and its criterion on made-up figures."""

from __future__ import annotations

import copy
from typing import Any

from equipoise.papers.nns_to_nos import REPRODUCTION, _held
from equipoise.papers.nns_to_nos_models import FORMS
from equipoise.papers.reproduction import Settings


def test_smoke_scale_holds() -> None:
    outcome = REPRODUCTION.run(Settings(scale="smoke"))
    assert outcome.held
    assert outcome.baseline["U-Net"]["error"]["32"] > outcome.figures["models"]["U-Net, fixed offsets"]["error"]["32"]
    assert all(len(row) == len(table.header) for table in outcome.tables for row in table.rows)


def test_criterion_asks_every_model() -> None:
    rows: dict[str, dict[str, Any]] = {}
    for name in (name for forms in FORMS.values() for name, _ in forms):
        is_original = name in ("U-Net", "attention")
        error = {"16": 0.5, "32": 0.1, "64": 0.5} if is_original else {"16": 0.1, "32": 0.1, "64": 0.11}
        rows[name] = {"error": error, "ratio": error["64"] / error["32"]}
    assert _held(rows)
    for name in ("FNO", "FNO + local integrals", "U-Net, input and output resampled", "U-Net, kernels interpolated"):
        worse = copy.deepcopy(rows)
        worse[name]["ratio"] = 2.6
        assert not _held(worse)
    for name in ("U-Net, fixed offsets", "attention, fixed offsets"):
        worse = copy.deepcopy(rows)
        worse[name]["error"]["16"] = 0.6
        assert not _held(worse)
