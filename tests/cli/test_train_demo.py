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
    assert "Did you mean .equino.?" in capsys.readouterr().err.replace(chr(39), ".")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--modes", 0), "greater than or equal to 1"),
        (("--modes", 3, "--energy", 0.9), "not both"),
        (("--energy", 2), "--energy 2.0 must lie in (0, 1]"),
        (("--form", "papier"), "--form papier is unknown"),
        (("--objective", "gaps"), "objective 'gaps' is unknown"),
        (("-o", "s.h5", "--overwrite"), "is no run folder"),
        (("-o", ".", "--overwrite"), "is no run folder"),
        (("--box", "nan"), "not finite"),
        (("--box", "0.1,0.2"), "give 1 or 3"),
    ],
)
def test_a_training_that_cannot_end_well_does_not_begin(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[object, ...],
    sentence: str,
) -> None:
    from equipoise.cli import train as command

    def unreachable(*arguments: object, **options: object) -> None:
        raise AssertionError("work has begun")

    monkeypatch.chdir(tmp_path)
    assert run("generate", "rve", "--mesh", "homogeneous", "-n", 4, "-o", "s.h5") == 0
    monkeypatch.setattr(command, "_run", unreachable)
    assert run("train", "equino", "s.h5", *(() if "-o" in words else ("-o", "run")), *words) == 2
    assert sentence in capsys.readouterr().err


def test_demo_leaves_a_self_contained_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "demo"
    options = ("--snapshots", 24, "--steps", 400, "--elements", 1, "--json")
    assert run("demo", "-o", output, *options) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["displacement_error"] < 0.05
    page = (output / "report.html").read_text()
    assert "FE²" in page
    assert re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', page) == []
    assert run("demo", "-o", output, *options) == 2
    assert "not empty" in capsys.readouterr().err
