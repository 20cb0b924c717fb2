"""Checkpoints: going on from one is bit for bit the same as never stopping; bad ones are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sample_structures import Certified, Hardening, Linear, at

from equipoise.errors import FormatError
from equipoise.multiscale.checkpoint import CHECKPOINT_NAME
from equipoise.multiscale.load_stepping import Stepping
from equipoise.multiscale.macroscale import simulate
from equipoise.multiscale.micro import MicroModel, Response, State
from equipoise.multiscale.simulation import LoadStep
from equipoise.multiscale.structure import Load, Structure, Support
from equipoise.spaces.structures import rectangle


class Interrupted(Exception):
    """Stands for a killed process."""


def structure(load: float = 12.0, first_step: float = 0.2) -> Structure:
    mesh = rectangle(elements=(6, 2), size=(6.0, 1.0), element="quad8")
    return Structure(
        mesh,
        [Support(at(x=0.0), {"x": 0.0, "y": 0.0}, name="wall")],
        [Load(at(x=6.0), traction=(0.0, load / 10), name="tip")],
        Stepping(first_step=first_step),
        monitored={"tip": (6.0, 1.0)},
    )


def stop_after(steps: int):  # type: ignore[no-untyped-def]
    def watch(step: LoadStep) -> None:
        if step.number == steps:
            raise Interrupted

    return watch


class Wandering(MicroModel):
    """An iterative cell: its answer depends, within its tolerance, on where it started, as that of any solver does."""

    dim, n_strain = 2, 3

    def __init__(self) -> None:
        self.inner = Hardening(2)

    def respond(self, strain: torch.Tensor, *, state: State = None) -> Response:
        last = {"strain": torch.zeros_like(strain)} if state is None else state
        exact = self.inner.respond(strain)
        noise = 1e-9 * torch.sin(1e6 * last["strain"])
        return Response(exact.stress + noise, exact.tangent, state={"strain": strain.clone()})


@pytest.mark.parametrize("micro", [Hardening(2), Certified(2), Wandering()], ids=["plain", "certified", "wandering"])
@pytest.mark.parametrize("solver", ["superlu", "pardiso"])
@pytest.mark.parametrize("chunk", [20_000, 11])
def test_a_resumed_simulation_is_bit_equal(tmp_path: Path, micro: MicroModel, solver: str, chunk: int) -> None:
    if solver == "pardiso":
        pytest.importorskip("pypardiso")
    options = {"linear_solver": solver, "chunk": chunk}
    whole = simulate(structure(), micro, output=tmp_path / "whole", **options)  # type: ignore[arg-type]
    with pytest.raises(Interrupted):
        simulate(structure(), micro, output=tmp_path / "part", on_step=stop_after(3), **options)  # type: ignore[arg-type]
    resumed = simulate(structure(), micro, output=tmp_path / "part", resume=True, **options)  # type: ignore[arg-type]
    np.testing.assert_array_equal(resumed.displacement, whole.displacement)
    assert torch.equal(resumed.stress, whole.stress)
    assert resumed.steps == whole.steps
    assert [step.number for step in resumed.steps] == [1, 2, 3, 4, 5]
    for name in ("reactions.csv", "points.csv", "convergence.csv", "steps.pvd"):
        assert (tmp_path / "part" / name).read_text() == (tmp_path / "whole" / name).read_text()


def test_resuming_a_finished_simulation_changes_nothing(tmp_path: Path) -> None:
    whole = simulate(structure(), Hardening(2), output=tmp_path)
    again = simulate(structure(), Hardening(2), output=tmp_path, resume=True)
    np.testing.assert_array_equal(again.displacement, whole.displacement)
    assert again.steps == whole.steps


def test_resuming_without_a_checkpoint_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing to resume"):
        simulate(structure(), Hardening(2), output=tmp_path, resume=True)
    with pytest.raises(ValueError, match="output folder"):
        simulate(structure(), Hardening(2), resume=True)


def test_a_checkpoint_of_another_structure_or_model_is_refused(tmp_path: Path) -> None:
    simulate(structure(), Hardening(2), output=tmp_path)
    with pytest.raises(FormatError, match="another structure or micro model"):
        simulate(structure(load=11.0), Hardening(2), output=tmp_path, resume=True)
    with pytest.raises(FormatError, match="another structure or micro model"):
        simulate(structure(), Linear(2), output=tmp_path, resume=True)


@pytest.mark.parametrize("damage", ["truncated", "foreign", "text"])
def test_a_damaged_or_foreign_checkpoint_is_refused(tmp_path: Path, damage: str) -> None:
    simulate(structure(), Linear(2), output=tmp_path)
    path = tmp_path / CHECKPOINT_NAME
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "text":
        path.write_text("not a checkpoint")
    else:
        from safetensors.torch import save_file

        save_file({"weights": torch.zeros(3)}, path)
    with pytest.raises(FormatError, match=r"checkpoint\.safetensors"):
        simulate(structure(), Linear(2), output=tmp_path, resume=True)


def test_a_warm_start_that_no_checkpoint_holds_is_refused(tmp_path: Path) -> None:
    class Opaque(Linear):
        def respond(self, strain: torch.Tensor, *, state: State = None) -> Response:
            answer = super().respond(strain)
            return Response(answer.stress, answer.tangent, state=object())

    with pytest.raises(TypeError, match="cannot be kept in a checkpoint"):
        simulate(structure(), Opaque(2), output=tmp_path)


def test_no_part_file_is_left_behind(tmp_path: Path) -> None:
    simulate(structure(), Linear(2), output=tmp_path)
    assert not [path for path in tmp_path.rglob("*") if "part" in path.suffix or path.name.startswith(".")]
    assert json.loads((tmp_path / "summary.json").read_text())["complete"] is True
