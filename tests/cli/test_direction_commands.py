"""Training and evaluating search directions through the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from equipoise.problems.obstacles import DOMAINS


def test_train_go_on_and_evaluate(
    equipoise: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {name: DOMAINS[name] for name in ("empty", "wall with gap")}
    monkeypatch.setattr("equipoise.problems.obstacles.DOMAINS", few)
    first, second = tmp_path / "first", tmp_path / "second"
    outcome = equipoise("train", "dcdm", "--size", 8, "--width", 2, "--steps", 3, "-o", first, "--json")
    assert outcome.status == 0
    assert outcome.document["sizes"] == [8]
    outcome = equipoise("train", "dcdm", "--size", 16, "--start", first, "--steps", 2, "-o", second, "--json")
    assert outcome.document["sizes"] == [16]
    outcome = equipoise("evaluate", second, "--resolution", 8, "--json")
    rows = outcome.document["results"]
    assert [row["domain"] for row in rows] == list(few)
    assert {row["trained_at"] for row in rows} == {8}
    assert all(row["solvers"]["learned, safeguarded"]["iterations"] > 0 for row in rows)
    text = equipoise("evaluate", second, "--resolution", 8)
    assert "wall with gap, 8 cells a side" in text.output
    assert "of CG" in text.output


def test_bad_settings_end_in_one_sentence(equipoise: Callable[..., Any], tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert equipoise("train", "dcdm", "--size", 8, "--width", 2, "--steps", 1, "-o", run, "--json").status == 0
    cases = {
        ("train", "dcdm", "--size", 9, "-o", tmp_path / "new"): "must be even",
        ("train", "dcdm", "--size", 8, "-o", run): "exists",
        ("train", "dcdm", "--steps", 2, "--seconds", 3, "-o", tmp_path / "new"): "not both",
        ("train", "dcdm", "--start", run, "--width", 3, "-o", tmp_path / "new"): "contradicts --start",
        ("train", "dcdm", "--start", tmp_path / "none", "-o", tmp_path / "new"): "no run folder",
        ("evaluate", run, "--resolution", 7): "must be even",
        ("evaluate", run, "--n-test", 7): "built-in domains",
    }
    for words, expected in cases.items():
        outcome = equipoise(*words)
        assert outcome.status == 2, words
        assert expected in outcome.errors, words
        assert outcome.errors.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_the_list_of_trainings_names_dcdm(equipoise: Callable[..., Any]) -> None:
    assert "dcdm" in equipoise("train", "--help").output
