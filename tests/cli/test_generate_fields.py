"""`equipoise generate FAMILY`: solver, plan and failures on the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from equipoise.cli.generate import FAMILIES, Solver
from equipoise.data.field_store import read_fields
from equipoise.data.generate_fields import draw_inputs
from equipoise.data.linear_chains import SOLVERS
from equipoise.problems import Poisson
from equipoise.problems.registry import PROBLEMS, NamedProblem


def test_command_line_knows_every_family_and_solver() -> None:
    assert set(FAMILIES) == set(PROBLEMS)
    assert [solver.value for solver in Solver] == ["auto", *SOLVERS]


def test_solver_is_said_on_standard_error_in_the_document_and_in_the_file(
    equipoise: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "d.h5"
    words = ("generate", "darcy", "-n", 6, "--resolution", 17, "-o", path, "--json")
    outcome = equipoise(*words, "--solver", "skr", "--tolerance", "1e-6")
    assert outcome.status == 0
    assert "solver skr (DeflatedCG + ic), tolerance 1e-06" in outcome.errors
    assert "sorted 6 inputs (greedy)" in outcome.errors
    document = outcome.document
    assert (document["count"], document["left_out"], document["family"]) == (6, [], "darcy")
    assert document["solver"]["tolerance"] == 1e-6
    assert document["sorting"]["mean_step"] > 0
    assert document["bytes_on_disk"] == path.stat().st_size
    assert read_fields(path).settings["solved_by"] == document["solver"]
    automatic = equipoise(*words, "--overwrite")
    assert "solver auto: direct" in automatic.errors
    assert list(automatic.document["solver"]["timings"]) == ["direct"]


@pytest.mark.parametrize("words", [("darcy", "--resolution", 17), ("burgers", "--resolution", 16)])
def test_plan_writes_nothing_and_needs_no_output(
    equipoise: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[Any, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = equipoise("generate", *words, "-n", 50, "--plan", "--json")
    assert outcome.status == 0
    assert list(tmp_path.iterdir()) == []
    document = outcome.document
    assert document["count"] == 50
    assert min(document["seconds"], document["peak_memory_bytes"], document["bytes_on_disk"]) > 0
    told = equipoise("generate", *words, "-n", 50, "--plan").output
    assert "50 samples, " in told
    assert "made and thrown away" in told


def test_plan_of_snapshots_has_the_bytes_of_their_file(equipoise: Callable[..., Any], tmp_path: Path) -> None:
    words = ("generate", "rve", "--mesh", "fibre:n=2", "-n", 40, "--json")
    plan = equipoise(*words, "--plan")
    assert plan.status == 0
    assert list(tmp_path.iterdir()) == []
    assert equipoise(*words, "-o", tmp_path / "s.h5").status == 0
    assert plan.document["bytes_on_disk"] == pytest.approx((tmp_path / "s.h5").stat().st_size, rel=0.02)


class Unsolvable(Poisson):
    """Sample 1 has a right-hand side that is not finite."""

    name = "unsolvable"

    def systems(self, inputs: torch.Tensor) -> Iterator[Any]:
        bad = draw_inputs(self, [1], seed=0)[0]
        for row, (matrix, rhs) in zip(inputs, super().systems(inputs), strict=True):
            yield matrix, np.full_like(rhs, np.nan) if torch.equal(row, bad) else rhs


def test_failed_samples_are_named_and_left_out_where_that_is_allowed(
    equipoise: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PROBLEMS, "poisson", NamedProblem("fails once", Unsolvable))
    words = ("generate", "poisson", "-n", 4, "--resolution", 9, "-o", tmp_path / "d.h5", "--json")
    refused = equipoise(*words)
    assert refused.status == 2
    assert refused.output == ""
    assert "1 of 4 samples could not be solved: 1 (sample 1: " in refused.errors
    outcome = equipoise(*words, "--resume", "--skip-failed")
    assert outcome.status == 0
    assert (outcome.document["count"], outcome.document["left_out"]) == (3, [1])
    assert "left out what could not be solved, samples 1" in outcome.errors
    assert len(read_fields(tmp_path / "d.h5")) == 3


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["darcy"], "-o is missing: give the file to write, or --plan"),
        (
            ["burgers", "-o", "d.h5", "--solver", "direct"],
            "takes no solver 'direct': families of linear systems",
        ),
        (["darcy", "-o", "d.h5", "--tolerance", "1e-18"], "below round-off"),
        (["darcy", "-o", "d.h5", "--solver", "cholesky"], "cholesky"),
        (["helmholtz", "-o", "d.h5", "--solver", "spectral"], "positive definite families"),
        (["burgers", "--plan", "--solver", "skr"], "burgers takes no solver 'skr'"),
    ],
)
def test_bad_options_are_refused(
    equipoise: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = equipoise("generate", *words)
    assert (outcome.status, outcome.output) == (2, "")
    assert sentence in outcome.errors
    assert list(tmp_path.iterdir()) == []
