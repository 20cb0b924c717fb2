"""A trained EquiNO on a small cell: physics alone, its bounds, its run folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from equipoise.data.run_folder import read_run_folder, write_run_folder
from equipoise.data.sampling import latin_hypercube, symmetric_box, uniform
from equipoise.data.snapshot_solver import SnapshotSolver
from equipoise.data.snapshots import CellRecord, Snapshots
from equipoise.errors import FormatError, OutOfRangeError
from equipoise.multiscale.equino import EquiNOModel
from equipoise.multiscale.evaluation import evaluate_micro
from equipoise.multiscale.reduced_model import ReducedRVE
from equipoise.multiscale.runs import load_micro, save_micro
from equipoise.problems.mechanics.bases import ReducedBases
from equipoise.problems.mechanics.cubature import Cubature, empirical_cubature
from equipoise.problems.mechanics.materials import paper_materials
from equipoise.spaces.cells import fibre_cell
from equipoise.training.equino import train_equino

BOX = symmetric_box(0.04, 3)


@pytest.fixture(scope="module")
def solver() -> SnapshotSolver:
    return SnapshotSolver(fibre_cell(n=2, fraction=0.4), paper_materials())


@pytest.fixture(scope="module")
def model(solver: SnapshotSolver) -> tuple[EquiNOModel, Cubature]:
    solved = {name: torch.as_tensor(v) for name, v in solver(latin_hypercube(20, BOX, seed=0)).items()}
    cell = solver.solver.cell
    bases = ReducedBases.from_snapshots(
        cell, cell.restrict(solved["fluctuation"]), solved["stress"], strain=solved["strain"], n_modes=6
    )
    cubature = empirical_cubature(cell, bases)
    trained = train_equino(cell, bases, cubature, box=BOX, n_collocation=200, steps=1200, hidden=(32, 32, 32))
    return EquiNOModel(cell, bases, trained.operator, box=BOX), cubature


def test_errors_come_close_to_the_floor_of_the_bases_and_bounds_hold(
    model: tuple[EquiNOModel, Cubature], solver: SnapshotSolver
) -> None:
    solved = {name: torch.as_tensor(v) for name, v in solver(uniform(12, BOX, seed=5)).items()}
    names = ("strain", "fluctuation", "stress", "homogenised_stress", "homogenised_tangent", "energy", "iterations")
    test = Snapshots(cell=CellRecord.of(model[0].cell), **{name: solved[name] for name in names})
    figures = evaluate_micro(model[0], test)
    assert figures["bounds_hold"]
    assert figures["relative_gap"]["without_finite_bound"] <= 4
    assert figures["relative_gap"]["multiple_of_floor"] < 2
    assert figures["homogenised_stress"]["mean"] < 0.01
    assert figures["refined_homogenised_stress"]["mean"] < figures["homogenised_stress"]["mean"]
    assert figures["refined_homogenised_stress"]["multiple_of_floor"] == pytest.approx(1, abs=0.05)


def test_answer_is_the_average_of_the_stress_field(model: tuple[EquiNOModel, Cubature]) -> None:
    equino, strain = model[0], uniform(4, BOX, seed=6)
    fields = equino.localize(strain)
    average = equino.cell.average(fields.stress)
    torch.testing.assert_close(equino.respond(strain).stress, average, rtol=1e-9, atol=1e-9)


def test_tangent_is_the_derivative_of_the_stress(model: tuple[EquiNOModel, Cubature]) -> None:
    equino, strain, step = model[0], uniform(1, BOX, seed=7), 1e-6
    shifts = step * torch.eye(3, dtype=torch.float64)
    difference = (equino.respond(strain + shifts).stress - equino.respond(strain - shifts).stress) / (2 * step)
    torch.testing.assert_close(equino.respond(strain).tangent[0], difference.T, rtol=1e-6, atol=1e-4)


def test_a_run_folder_gives_the_same_answers(model: tuple[EquiNOModel, Cubature], tmp_path: Path) -> None:
    save_micro(tmp_path / "run", model[0], cubature=model[1], settings={"seed": 0})
    again, strain = load_micro(tmp_path / "run", certify="all"), uniform(5, BOX, seed=8)
    first, second = model[0].respond(strain), again.respond(strain)
    assert torch.equal(first.stress, second.stress)
    assert torch.equal(first.tangent, second.tangent)
    assert second.error_kind == "bound"
    assert again.cell.fingerprint == model[0].cell.fingerprint
    with pytest.raises(OutOfRangeError, match="outside the trained box"):
        again.check_box(2 * BOX[1:])


def test_a_reduced_model_is_kept_as_well(model: tuple[EquiNOModel, Cubature], tmp_path: Path) -> None:
    reduced = ReducedRVE(model[0].cell, model[0].bases, cubature=model[1], box=BOX)
    save_micro(tmp_path / "run", reduced, cubature=model[1])
    strain = uniform(3, BOX, seed=9)
    torch.testing.assert_close(load_micro(tmp_path / "run").respond(strain).stress, reduced.respond(strain).stress)


@pytest.mark.parametrize("name", ["weights.safetensors", "config.json", "cell.safetensors", "manifest.json"])
def test_damage_to_any_file_of_a_run_is_found(model: tuple[EquiNOModel, Cubature], tmp_path: Path, name: str) -> None:
    save_micro(tmp_path / "run", model[0], cubature=model[1])
    file = tmp_path / "run" / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(bytes(content))
    with pytest.raises(FormatError):
        load_micro(tmp_path / "run")


@pytest.mark.parametrize("change", ["no box", "other width", "other operator"])
def test_a_whole_run_of_another_version_is_refused_in_words(
    model: tuple[EquiNOModel, Cubature], tmp_path: Path, change: str
) -> None:
    save_micro(tmp_path / "run", model[0], cubature=model[1])
    config, tensors = read_run_folder(tmp_path / "run")
    if change == "no box":
        del config["box"]
    elif change == "other width":
        config["operator"]["hidden"][0] += 1
    else:
        config["operator"]["activation"] = "relu"
    write_run_folder(tmp_path / "other", config=config, tensors=tensors)
    with pytest.raises(FormatError, match=r"other was written by another version of Equipoise.*train the run again\.$"):
        load_micro(tmp_path / "other")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="not a whole run folder"):
        load_micro(tmp_path)
    with pytest.raises(FileNotFoundError, match="no run folder"):
        load_micro(tmp_path / "nothing")


@pytest.mark.parametrize("objective", ["gap", "energy-norm", "stress"])
def test_every_objective_lowers_its_loss(model: tuple[EquiNOModel, Cubature], objective: str) -> None:
    equino, cubature = model
    trained = train_equino(
        equino.cell, equino.bases, cubature, box=BOX, n_collocation=40, steps=60, objective=objective, hidden=(16, 16)
    )
    rows = trained.history.rows
    assert rows[-1]["loss"] < rows[0]["loss"]
