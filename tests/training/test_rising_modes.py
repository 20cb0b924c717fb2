"""Modes that rise in training: by the step alone, resumed to the same weights, and never compared before all are in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from equipoise.data.field_dataset import FieldDataset
from equipoise.data.split import Split
from equipoise.operators.fno import FNO
from equipoise.operators.mgno import MgNO
from equipoise.operators.tfno import MGTFNO
from equipoise.spaces.grid import Grid
from equipoise.training.operators import TrainedOperator, train_operator
from equipoise.training.rising_modes import RisingModes


def fno() -> FNO:
    return FNO(in_channels=1, out_channels=1, n_modes=(6, 8), width=4, n_layers=1)


def data() -> FieldDataset:
    fields = torch.randn(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return FieldDataset(fields, fields.roll(1, -1), Grid((8, 8), periodic=True))


def train(operator: FNO, **options: Any) -> TrainedOperator:
    split = Split(tuple(range(8)), tuple(range(8, 12)))
    return train_operator(operator, data(), split=split, batch_size=4, **{"first_modes": 2, "epochs": 4, **options})


def test_modes_rise_evenly_over_the_first_half_and_stay() -> None:
    operator = fno()
    rising, seen = RisingModes(operator, 2), []
    for step in range(8):
        rising(step, 8)
        seen.append(operator.config["active_modes"])
    assert seen == [(2, 2), (3, 3), (4, 5), (5, 6), (6, 8), (6, 8), (6, 8), (6, 8)]
    RisingModes(operator, 7)(0, 8)
    assert operator.config["active_modes"] == (6, 7)
    patched = MGTFNO(in_channels=1, out_channels=1, n_modes=(4, 4), width=4, n_layers=1, levels=1)
    RisingModes(patched, 2)(0, 4)
    assert patched.operator.config["active_modes"] == (2, 2)


def test_training_ends_with_all_modes_and_a_best_validation_that_had_them() -> None:
    operator = fno()
    trained = train(operator)
    assert operator.config["active_modes"] == (6, 8)
    rows = [row for row in trained.history.rows if "validation" in row]
    assert len(rows) == 4
    late = [row["validation"] for row in rows if row["step"] >= 4]
    assert trained.history.best_metric == min(late)


def test_a_resumed_training_gives_the_same_weights(tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(row: Any) -> None:
        if row.get("step") == 3 and "validation" in row:
            raise Stop

    options = {"checkpoint": tmp_path / "state", "checkpoint_every": 1}
    whole = train(fno())
    with pytest.raises(Stop):
        train(fno(), on_row=stop, **options)
    again = train(fno(), resume=True, **options)
    first, second = whole.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_operators_without_modes_are_refused() -> None:
    with pytest.raises(ValueError, match="MgNO has no modes to raise"):
        RisingModes(MgNO(grid=(8, 8), width=2, n_layers=1), 2)
    with pytest.raises(ValueError, match="first_modes=0"):
        RisingModes(fno(), 0)
