"""From snapshots to a run, its evaluation and the demo's report, through the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from equipoise.cli.main import main


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ending:
        main([str(word) for word in words])
    return int(ending.value.code or 0)


def test_generate_train_evaluate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    snapshots, folder = tmp_path / "s.h5", tmp_path / "run"
    assert run("generate", "rve", "--mesh", "fibre:n=2,fraction=0.4", "-n", 12, "-o", snapshots) == 0
    capsys.readouterr()
    assert (
        run("train", "equino", snapshots, "-o", folder, "--modes", 5, "--steps", 100, "--collocation", 50, "--json")
        == 0
    )
    assert json.loads(capsys.readouterr().out)["stress_modes"] == 5
    assert run("evaluate", folder, "--n-test", 4, "--json") == 0
    assert json.loads(capsys.readouterr().out)["bounds_hold"] is True
    assert run("train", "equino", snapshots, "-o", folder) == 2
    assert "exists" in capsys.readouterr().err
    assert run("train", "equino", snapshots, "-o", tmp_path / "other", "--modes", 40) == 2
    assert "12 snapshots" in capsys.readouterr().err
    assert run("train", "equinox", snapshots, "-o", tmp_path / "other") == 2
    assert "equino, reduced" in capsys.readouterr().err


def test_demo_leaves_a_self_contained_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "demo"
    options = ("--snapshots", 24, "--steps", 150, "--elements", 1, "--json")
    assert run("demo", "-o", output, *options) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["displacement_error"] < 0.05
    page = (output / "report.html").read_text()
    assert "FE²" in page
    assert re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', page) == []
    assert run("demo", "-o", output, *options) == 2
    assert "not empty" in capsys.readouterr().err
