"""`equipoise generate rve`: the file it makes, how it goes on after a kill, and a sentence for each bad input."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from equipoise.data.sampling import laplace, latin_hypercube, sobol, symmetric_box, uniform
from equipoise.data.store import read_snapshots
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.materials import paper_materials
from equipoise.spaces.cells import fibre_cell

CELL = "fibre:n=2"
DRAWS = {"lhs": latin_hypercube, "laplace": laplace, "sobol": sobol, "uniform": uniform}


def test_file_and_summary_agree_and_belong_to_the_cell(equipoise: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    outcome = equipoise("generate", "rve", "--mesh", CELL, "-n", 5, "--box", "0.03", "--seed", 4, "-o", path, "--json")
    assert outcome.status == 0
    assert outcome.errors == "", "no progress bar where standard error is no terminal"
    cell = PeriodicCell(fibre_cell(n=2), paper_materials())
    snapshots = read_snapshots(path, cell=cell)
    assert torch.equal(snapshots.strain, latin_hypercube(5, symmetric_box(0.03, 3), seed=4))
    document = outcome.document
    assert document["path"] == str(path)
    assert (document["count"], document["resumed"]) == (5, 0)
    assert document["mesh_fingerprint"] == cell.mesh.fingerprint
    assert document["material_fingerprint"] == cell.material_fingerprint
    assert document["iterations"]["max"] == int(snapshots.iterations.max())
    assert document["seconds"] > 0
    assert snapshots.settings["sampling"] == "lhs"
    assert snapshots.settings["seed"] == 4
    assert [file.name for file in tmp_path.iterdir()] == ["s.h5"]


@pytest.mark.parametrize("sampling", DRAWS)
def test_strains_are_drawn_as_asked_in_the_box_of_each_component(
    equipoise: Callable[..., Any], tmp_path: Path, sampling: str
) -> None:
    words = ("--mesh", CELL, "-n", 4, "--box", "0.01,0.02,0.03", "--sampling", sampling, "-o", tmp_path / "s.h5")
    assert equipoise("generate", "rve", *words).status == 0
    strain = read_snapshots(tmp_path / "s.h5").strain
    assert torch.equal(strain, DRAWS[sampling](4, symmetric_box([0.01, 0.02, 0.03], 3), seed=0))


def test_strains_of_a_file_are_solved_in_their_order(equipoise: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "strains.csv").write_text("0.01,0,0\n0,0,-0.02\n")
    words = ("--mesh", CELL, "--strains", tmp_path / "strains.csv", "-o", tmp_path / "s.h5")
    outcome = equipoise("generate", "rve", *words)
    assert outcome.status == 0
    assert "2 snapshots" in outcome.output
    assert read_snapshots(tmp_path / "s.h5").strain.tolist() == [[0.01, 0, 0], [0, 0, -0.02]]


def test_existing_file_is_kept_resumed_or_replaced_as_asked(equipoise: Callable[..., Any], tmp_path: Path) -> None:
    words = ("generate", "rve", "--mesh", CELL, "-o", tmp_path / "s.h5", "-n")
    assert equipoise(*words, 3).status == 0
    refused = equipoise(*words, 3)
    assert refused.status == 2
    assert "exists already; use --overwrite to replace it" in refused.errors
    resumed = equipoise(*words, 3, "--resume", "--json")
    assert resumed.document["resumed"] == 3
    other = equipoise(*words, 4, "--resume")
    assert other.status == 2
    assert "count was 3 and is now 4" in other.errors
    assert equipoise(*words, 4, "--overwrite").status == 0
    assert len(read_snapshots(tmp_path / "s.h5")) == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--box", "-0.04"], "half width -0.04 must be finite and greater than 0"),
        (["--box", "0.04,0.04"], "2 half widths; give 1 or 3"),
        (["--box", "wide"], "wide in wide is not a number"),
        (["--strains", "missing.csv"], "there is no file missing.csv"),
        (["--strains", "missing.csv", "-n", "3"], "-n and --strains exclude each other"),
        (["--resume", "--overwrite"], "--resume and --overwrite exclude each other"),
        (["--workers", "2", "--cluster", "tcp://127.0.0.1:9"], "exclude each other"),
        (["-o", "/no/such/folder/s.h5"], "there is no folder /no/such/folder"),
        (["--mesh", "nothing.msh"], "there is no mesh nothing.msh"),
        (["--seed", "-1"], "'--seed'"),
        (["--sampling", "sobel"], "sobel"),
    ],
)
def test_bad_options_are_refused_before_work_starts(
    equipoise: Callable[..., Any], tmp_path: Path, options: list[str], words: str
) -> None:
    outcome = equipoise("generate", "rve", "--mesh", CELL, "-o", tmp_path / "s.h5", "--json", *options)
    assert outcome.status == 2
    assert outcome.output == ""
    assert words in outcome.errors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_killed_command_goes_on_with_resume_and_makes_the_same_file(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from equipoise.cli.main import main; main()", "generate", "rve"]
    command += ["--mesh", "fibre:n=6", "-n", "60", "--json", "--workers", "2", "-o"]
    (tmp_path / "whole").mkdir()
    subprocess.run([*command, str(tmp_path / "whole" / "s.h5")], check=True, capture_output=True)
    path = tmp_path / "s.h5"
    parts = path.with_name("s.h5.parts")
    for finished in (1, 4):
        with subprocess.Popen([*command, str(path), "--resume"], stdout=subprocess.DEVNULL) as process:
            while len(list(parts.glob("*.safetensors"))) < finished and process.poll() is None:
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
        assert not path.exists()
    last = subprocess.run([*command, str(path), "--resume"], check=True, capture_output=True, text=True)
    assert json.loads(last.stdout)["resumed"] >= 4 * 8
    assert path.read_bytes() == (tmp_path / "whole" / "s.h5").read_bytes()
    assert {file.name for file in tmp_path.iterdir()} == {"s.h5", "whole"}
