"""An interrupted training: what is refused before any work, and what is left when it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from equipoise.cli.interrupted_training import check_start, keep_settings, remove_state, state_file


def test_a_training_that_began_with_other_settings_is_not_resumed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    keep_settings(run, {"seed": 0, "modes": None})
    with pytest.raises(FileNotFoundError, match=r"no training state at .*run\.training"):
        check_start(run, {"seed": 0, "modes": None}, resume=True, overwrite=False)
    state_file(run).write_bytes(b"state")
    check_start(run, {"seed": 0, "modes": None}, resume=True, overwrite=False)
    with pytest.raises(ValueError, match="seed was 0 and is now 4"):
        check_start(run, {"seed": 4, "modes": None}, resume=True, overwrite=False)
    (tmp_path / "run.training.json").write_text("[")
    with pytest.raises(ValueError, match="damaged"):
        check_start(run, {"seed": 0, "modes": None}, resume=True, overwrite=False)


def test_an_unfinished_training_is_not_overwritten_unasked(tmp_path: Path) -> None:
    run = tmp_path / "run"
    keep_settings(run, {"seed": 0})
    check_start(run, {"seed": 1}, resume=False, overwrite=False)
    state_file(run).write_bytes(b"state")
    with pytest.raises(ValueError, match="--resume to go on"):
        check_start(run, {"seed": 1}, resume=False, overwrite=False)
    check_start(run, {"seed": 1}, resume=False, overwrite=True)
    remove_state(run)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_killed_training_is_resumed_or_refused_from_the_command_line(
    tmp_path: Path, equipoise: Callable[..., Any]
) -> None:
    snapshots, run = tmp_path / "s.h5", tmp_path / "run"
    assert equipoise("generate", "rve", "--mesh", "fibre:n=2", "-n", 6, "-o", snapshots).status == 0
    words = ["train", "equino", str(snapshots), "-o", str(run), "--collocation", "4", "--steps", "1000", "--modes", "1"]
    process = subprocess.Popen([sys.executable, "-c", "from equipoise.cli.main import main; main()", *words])
    try:
        deadline = time.monotonic() + 60
        while not state_file(run).exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not run.exists()
    other = equipoise(*words, "--resume", "--seed", 1)
    assert (other.status, other.output) == (2, "")
    assert "seed was 0 and is now 1" in other.errors
    assert equipoise(*words).status == 2
    assert equipoise(*words, "--resume").status == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["run", "s.h5"]


def test_enrichment_that_is_not_there_is_refused_before_work(tmp_path: Path, equipoise: Callable[..., Any]) -> None:
    snapshots = tmp_path / "s.h5"
    assert equipoise("generate", "rve", "--mesh", "fibre:n=2", "-n", 6, "-o", snapshots).status == 0
    refused = equipoise("train", "reduced", snapshots, "-o", tmp_path / "run", "--enrich", tmp_path)
    assert refused.status == 2
    assert "enrichment.safetensors" in refused.errors
