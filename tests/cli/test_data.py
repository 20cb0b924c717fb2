"""`equipoise data inspect` on our own snapshots and other projects' fields."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from equipoise.cli.generate import FAMILIES
from equipoise.cli.main import main
from equipoise.problems.registry import PROBLEMS


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ending:
        main(["data", "inspect", *words])
    return int(ending.value.code or 0)


def test_fields_are_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = torch.arange(24, dtype=torch.float32).view(2, 3, 4)
    values[1, 2, 3] = torch.nan
    torch.save({"x": values > 5, "y": values}, tmp_path / "d.pt")
    assert run(str(tmp_path / "d.pt"), "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["count"] == 2
    assert document["non_finite_samples"] == [1]
    assert document["outputs"][0]["highest"] == 22.0
    assert run(str(tmp_path / "d.pt")) == 0
    assert "non_finite_samples" in capsys.readouterr().out


def test_snapshots_are_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["generate", "rve", "--mesh", "fibre:n=2,fraction=0.3", "-n", "3", "-o", str(tmp_path / "s.h5")])
    capsys.readouterr()
    assert run(str(tmp_path / "s.h5"), "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["kind"], document["count"]) == ("snapshots of a unit cell", 3)


def test_unknown_and_missing_files_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "d.txt").write_text("words")
    assert run(str(tmp_path / "d.txt")) == 2
    assert "known are .pt, .mat, .h5 and .hdf5" in capsys.readouterr().err
    assert run(str(tmp_path / "none.pt")) == 2
    assert "there is no file" in capsys.readouterr().err


def test_families_of_the_command_line_are_those_of_the_registry(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tuple(PROBLEMS) == FAMILIES
    words = ["generate", "darcy", "-n", "2", "--resolution", "9", "--set", "coefficient=log-normal"]
    with pytest.raises(SystemExit) as ending:
        main([*words, "-o", str(tmp_path / "d.h5"), "--json"])
    assert not ending.value.code
    assert json.loads(capsys.readouterr().out)["count"] == 2
    assert run(str(tmp_path / "d.h5"), "--json") == 0
    assert json.loads(capsys.readouterr().out)["settings"]["options"] == {"coefficient": "log-normal", "resolution": 9}
    with pytest.raises(SystemExit) as ending:
        main([*words, "--set", "coefficient", "-o", str(tmp_path / "e.h5")])
    assert ending.value.code == 2
    assert "must be NAME=VALUE" in capsys.readouterr().err
