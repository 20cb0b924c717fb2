"""`equipoise simulate` and its problem files: what they accept, what they say about mistakes, and what comes out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equipoise.cli.simulate_settings import read_problem
from equipoise.multiscale.builtin_structures import BUILTIN_STRUCTURES
from equipoise.multiscale.checkpoint import simulation_fingerprint
from equipoise.multiscale.constitutive import ConstitutiveModel
from equipoise.problems.mechanics.materials import paper_matrix
from equipoise.spaces.cells import BUILTIN_CELLS
from equipoise.spaces.mesh_files import write_mesh
from equipoise.spaces.structures import rectangle

Run = Callable[..., Any]
EXAMPLES = Path(__file__).parents[2] / "examples"

PROBLEM = """
name = "strip"
[mesh]
builtin = "rectangle"
parameters = { elements = [2, 1], size = [2.0, 1.0], element = "quad4" }
[[supports]]
on = "left"
x = 0.0
y = 0.0
[[loads]]
on = "right"
traction = [0.5, 0.0]
[time]
first_step = 0.5
[points]
tip = [2.0, 1.0]
[micro]
use = "constitutive"
law = { law = "linear_isotropic", young = 1000.0, poisson = 0.0 }
"""


@pytest.fixture
def problem(tmp_path: Path) -> Callable[..., Path]:
    """Writes the problem above, with replacements, to a file."""

    def write(*replacements: tuple[str, str]) -> Path:
        text = PROBLEM
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "strip.toml"
        path.write_text(text)
        return path

    return write


def test_a_problem_runs_and_prints_one_document(equipoise: Run, problem: Callable[..., Path], tmp_path: Path) -> None:
    outcome = equipoise("simulate", problem(), "-o", tmp_path / "out", "--json")
    assert outcome.status == 0, outcome.errors
    document = outcome.document
    assert document["steps"] == 2
    assert document["displacements"]["tip"][0] == pytest.approx(2.0 * 0.5 / 1000.0)
    assert document["reactions"]["left"] == pytest.approx([-0.5, 0.0], abs=1e-9)
    assert {"newton_iterations", "micro_evaluations", "fallbacks", "largest_gap", "seconds", "peak_memory_mib"} <= set(
        document
    )
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["steps"] == 2
    assert (tmp_path / "out" / "report.html").is_file()


def test_the_words_without_json_name_steps_times_and_the_report(
    equipoise: Run, problem: Callable[..., Path], tmp_path: Path
) -> None:
    outcome = equipoise("simulate", problem(), "-o", tmp_path / "out")
    assert "2 steps to time 1" in outcome.output
    assert "wall seconds" in outcome.output
    assert "report.html" in outcome.output


def test_a_built_in_structure_runs_by_name(equipoise: Run, tmp_path: Path) -> None:
    outcome = equipoise("simulate", "plate-with-hole", "--micro", "constitutive", "-o", tmp_path, "--json")
    assert outcome.status == 0, outcome.errors
    assert 0.01 < outcome.document["largest_strain"] < 0.04


def test_resuming_a_finished_problem_gives_the_same_document(
    equipoise: Run, problem: Callable[..., Path], tmp_path: Path
) -> None:
    words = ("simulate", problem(), "-o", tmp_path / "out", "--json")
    first, second = equipoise(*words).document, equipoise(*words, "--resume").document
    for name in ("displacements", "reactions", "newton_iterations", "micro_evaluations"):
        assert first[name] == second[name]


@pytest.mark.parametrize("name", ["fibre"])
def test_a_full_field_cell_answers_every_point_and_shows_its_fields(
    equipoise: Run, problem: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    path = problem(
        ('use = "constitutive"', 'use = "full"'),
        ('law = { law = "linear_isotropic", young = 1000.0, poisson = 0.0 }', f'cell = {{ builtin = "{name}:n=2" }}'),
        ("first_step = 0.5", "first_step = 1.0"),
    )
    outcome = equipoise("simulate", path, "-o", tmp_path / "out", "--json")
    assert outcome.status == 0, outcome.errors
    assert outcome.document["counts"]["full_field_solves"] > 0
    assert len(list((tmp_path / "out" / "localisation").glob("tip*"))) == 2


def test_mesh_files_with_groups_are_read_beside_the_problem(
    equipoise: Run, problem: Callable[..., Path], tmp_path: Path
) -> None:
    write_mesh(tmp_path / "part.vtu", rectangle(elements=(2, 1), size=(2.0, 1.0), element="quad4"))
    path = problem(
        ('builtin = "rectangle"', 'file = "part.vtu"'),
        ('parameters = { elements = [2, 1], size = [2.0, 1.0], element = "quad4" }', ""),
        ('on = "left"', "at = { x = 0.0 }"),
        ('on = "right"', "at = { x = [1.999, 2.001] }"),
    )
    outcome = equipoise("simulate", path, "-o", tmp_path / "out", "--json")
    assert outcome.status == 0, outcome.errors
    assert outcome.document["displacements"]["tip"][0] == pytest.approx(1e-3)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("first_step = 0.5", "frist_step = 0.5", r"time: unknown key 'frist_step'; did you mean 'first_step'\?"),
        ("[points]", "[point]", r"unknown key 'point'; did you mean 'points'\?"),
        ('on = "right"', 'on = "rihgt"', r"boundary group 'rihgt' is not in the mesh; it has .*did you mean 'right'\?"),
        ("traction = [0.5, 0.0]", "traction = [0.5]", r"load at right has 1 components; the mesh has dimension 2"),
        ("traction = [0.5, 0.0]", "", r"exactly one of traction, pressure, force and body_force"),
        ("traction = [0.5, 0.0]", 'traction = "a lot"', r"loads\.0\.traction: Input should be a valid list"),
        ("\ny = 0.0", "", r"rigid body motion free: translation in y"),
        ("\nx = 0.0\ny = 0.0", "", r"support at left holds nothing"),
        ('builtin = "rectangle"', 'builtin = "rectagle"', r"did you mean 'rectangle'\?"),
        ("poisson = 0.0", "poison = 0.0", r"poison"),
        ("first_step = 0.5", "first_step = 0.5\nsmallest_step = 0.7", r"smallest_step <= first_step"),
        ("tip = [2.0, 1.0]", "tip = [2.0]", r"monitored point 'tip' needs 2 coordinates"),
        ('name = "strip"', 'name = "strip', r"is not TOML"),
        ("[micro]", '[micro]\nrun = "r"\nplane = "stres"', r"micro\.plane: Input should be 'strain' or 'stress'"),
        ("traction = [0.5, 0.0]", 'traction = [0.5, 0.0]\nhistory = "ramp"', r"history 'ramp' is not in \[histories\]"),
    ],
)
def test_a_mistake_ends_in_one_sentence_before_work_starts(
    equipoise: Run, problem: Callable[..., Path], tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    outcome = equipoise("simulate", problem((old, new)), "-o", tmp_path / "out", "--json")
    assert outcome.status == 2
    assert outcome.output == ""
    assert len(outcome.errors.strip().splitlines()) == 1, outcome.errors
    import re

    assert re.search(sentence, outcome.errors), outcome.errors
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("nowhere.toml",), "does not exist"),
        (("plate-with-hole", "--micro", "no-such-run"), "is no folder"),
        (
            ("plate-with-hole", "--micro", "constitutive", "--refine-above", "1e-4"),
            "--refine-above goes with a learned",
        ),
        (("plate-with-hole", "--micro", "constitutive", "--device", "tpu"), "--device tpu is unknown"),
        (("plate-with-hole", "--micro", "constitutive", "--resume"), "nothing to resume"),
    ],
)
def test_a_command_that_cannot_run_says_why(
    equipoise: Run, tmp_path: Path, words: tuple[str, ...], sentence: str
) -> None:
    outcome = equipoise("simulate", *words, "-o", tmp_path / "out")
    assert outcome.status == 2
    assert sentence in outcome.errors


def test_a_simulation_that_stops_early_prints_its_summary_and_ends_with_status_two(
    equipoise: Run, problem: Callable[..., Path], tmp_path: Path
) -> None:
    law = '{ law = "saturating_shear", bulk = 100.0, alpha1 = 1.0, alpha2 = 0.01 }'
    path = problem(
        ('{ law = "linear_isotropic", young = 1000.0, poisson = 0.0 }', law),
        ("traction = [0.5, 0.0]", "traction = [0.0, 40.0]"),
        ("first_step = 0.5", "first_step = 0.002\nsmallest_step = 0.0015\nmax_iterations = 8\nlargest_step = 0.002"),
    )
    outcome = equipoise("simulate", path, "-o", tmp_path / "out", "--json")
    assert outcome.status == 2
    assert outcome.document["complete"] is False
    assert "did not converge at the smallest size" in outcome.errors
    assert outcome.document["steps"] == len(list((tmp_path / "out" / "steps").glob("*.vtu"))) > 0


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_example_problem_can_be_read(path: Path) -> None:
    settings = read_problem(path)
    assert settings.structure(path.parent).mesh.n_cells > 0


def test_the_example_of_cooks_membrane_is_the_built_in_one() -> None:
    model = ConstitutiveModel(paper_matrix())
    example = read_problem(EXAMPLES / "cooks-membrane.toml").structure(EXAMPLES)
    builtin = BUILTIN_STRUCTURES["cooks-membrane"].build()
    assert simulation_fingerprint(example, model) == simulation_fingerprint(builtin, model)
    assert example.monitored == builtin.monitored


def test_the_cantilever_example_springs_back_but_for_its_weight_and_tip_force(equipoise: Run, tmp_path: Path) -> None:
    outcome = equipoise("simulate", EXAMPLES / "cantilever-cycle.toml", "-o", tmp_path, "--json")
    assert outcome.status == 0, outcome.errors
    reaction = outcome.document["reactions"]["wall"]
    np.testing.assert_allclose(reaction, [0.0, 1.0 + 1.2e-5 * 60 * 8 * 2], atol=1e-6)


def test_problems_lists_every_built_in_structure_and_cell(equipoise: Run) -> None:
    document = equipoise("problems", "--json").document
    names = {row["name"] for row in document["structures"]}
    assert names == set(BUILTIN_STRUCTURES) == {"cooks-membrane", "l-profile", "plate-with-hole", "bracket"}
    assert {row["name"] for row in document["cells"]} == set(BUILTIN_CELLS)
    words = equipoise("problems").output
    assert all(name in words for name in [*BUILTIN_STRUCTURES, *BUILTIN_CELLS])


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """Puts a reduced model of a small cell in the place of what a run folder holds; records what was asked of it."""
    import sys
    import types

    import torch

    from equipoise.multiscale.certificate import Certificate
    from equipoise.multiscale.reduced_model import ReducedRVE
    from equipoise.problems.mechanics.bases import ReducedBases
    from equipoise.problems.mechanics.cell import PeriodicCell
    from equipoise.problems.mechanics.cell_solver import CellSolver
    from equipoise.problems.mechanics.materials import paper_materials
    from equipoise.spaces.cells import builtin_cell

    asked: dict[str, Any] = {}

    def load_micro(path: Path, *, device: str, certify: str, **thresholds: float | None) -> ReducedRVE:
        asked.update(path=path, device=device, certify=certify, **thresholds)
        cell = PeriodicCell(builtin_cell("fibre:n=2"), paper_materials())
        generator = torch.Generator().manual_seed(0)
        strain = 0.02 * (2 * torch.rand(16, 3, generator=generator, dtype=torch.float64) - 1)
        solution = CellSolver(cell).solve(strain, tangent=False)
        stress = cell.law.stress(cell.strain(strain, solution.fluctuation))
        bases = ReducedBases.from_snapshots(cell, solution.fluctuation, stress, n_modes=6, strain=strain)
        certificate = Certificate(cell, bases, policy=certify, **thresholds)  # type: ignore[arg-type]
        return ReducedRVE(cell, bases, certificate=certificate)

    module = types.ModuleType("equipoise.multiscale.runs")
    module.load_micro = load_micro  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "equipoise.multiscale.runs", module)
    (tmp_path / "run").mkdir()
    return asked


def test_a_learned_model_is_certified_falls_back_and_shows_the_full_field_beside_its_own(
    equipoise: Run, problem: Callable[..., Path], tmp_path: Path, trained: dict[str, Any]
) -> None:
    path = problem(("traction = [0.5, 0.0]", "traction = [10.0, 2.0]"))
    words = ("simulate", path, "--micro", tmp_path / "run", "-o", tmp_path / "out", "--json")
    outcome = equipoise(*words, "--fall-back-above", "1e-9", "--compare-full")
    assert outcome.status == 0, outcome.errors
    assert trained["certify"] == "flagged"
    assert trained["fall_back_above"] == 1e-9
    assert outcome.document["fallbacks"] > 0
    assert outcome.document["enrichment"] > 0
    assert outcome.document["gap_kind"] == "bound"
    assert (tmp_path / "out" / "enrichment.safetensors").is_file()
    assert len(list((tmp_path / "out" / "localisation").glob("tip-*.vtu"))) == 2
    assert (tmp_path / "out" / "figures" / "gap.png").is_file()


def test_full_field_solutions_outlive_an_interruption_but_not_another_simulation(
    equipoise: Run,
    problem: Callable[..., Path],
    tmp_path: Path,
    trained: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from equipoise.cli import simulate as command

    path = problem(("traction = [0.5, 0.0]", "traction = [10.0, 2.0]"), ("first_step = 0.5", "first_step = 0.25"))
    words = ("simulate", path, "--micro", tmp_path / "run", "--fall-back-above", "1e-9", "--json", "-o")
    whole = equipoise(*words, tmp_path / "whole").document
    show = command._progress

    def interrupted(step: Any) -> None:
        show(step)
        if step.number == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(command, "_progress", interrupted)
    assert equipoise(*words, tmp_path / "out").status == 130
    assert (tmp_path / "out" / "enrichment.safetensors").is_file()
    monkeypatch.setattr(command, "_progress", show)
    resumed = equipoise(*words, tmp_path / "out", "--resume").document
    assert resumed["steps"] == whole["steps"] > 2
    assert resumed["enrichment"] == whole["enrichment"]
    assert equipoise("simulate", path, "--micro", tmp_path / "run", "-o", tmp_path / "out").status == 0
    assert not (tmp_path / "out" / "enrichment.safetensors").exists()


def test_leaving_the_trained_box_is_an_error_unless_extrapolation_is_allowed_with_a_warning(
    equipoise: Run, problem: Callable[..., Path], tmp_path: Path, trained: dict[str, Any]
) -> None:
    path = problem(("traction = [0.5, 0.0]", "traction = [120.0, 5.0]"))
    words = ("simulate", path, "--micro", tmp_path / "run", "-o", tmp_path / "out", "--json", "--certify", "sampled")
    refused = equipoise(*words)
    assert refused.status == 2
    assert "outside the trained box" in refused.errors
    allowed = equipoise(*words, "--extrapolate")
    assert allowed.status == 0, allowed.errors
    assert allowed.document["outside_box"] > 0
    assert "left the strain range" in allowed.document["warnings"][0]
    assert "left the strain range" in (tmp_path / "out" / "report.html").read_text()
