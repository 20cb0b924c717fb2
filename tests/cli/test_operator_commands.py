"""Operators from the command line: generate, train, evaluate, predict, compare, export; and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from equipoise.cli.main import main
from equipoise.data import FieldDataset, read_fields, write_fields
from equipoise.spaces import Grid
from equipoise.training.operator_runs import load_operator_run

_SMALL = ("--epochs", 3, "--set", "width=4", "--set", "n_layers=1")


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set and a run trained on it."""
    home = tmp_path_factory.mktemp("operators")
    assert run("generate", "darcy", "-n", 24, "--resolution", 17, "-o", home / "darcy.h5") == 0
    assert run("train", "mgno", home / "darcy.h5", "-o", home / "run", *_SMALL) == 0
    return home


def last_json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def test_a_run_folder_holds_everything(folder: Path) -> None:
    names = {file.name for file in (folder / "run").iterdir()}
    assert {"weights.safetensors", "config.json", "settings.toml", "split.json", "metrics.csv", "card.md"} <= names
    assert (folder / "run" / "figures" / "loss.png").stat().st_size > 1000
    text = (folder / "run" / "settings.toml").read_text()
    settings = tomllib.loads(text)
    assert settings["epochs"] == 3
    assert settings["options"] == {"width": 4, "n_layers": 1}
    assert "epochs = 3  # commandline" in text
    assert "batch_size = 16  # default" in text
    split = json.loads((folder / "run" / "split.json").read_text())
    assert sorted(split["train"] + split["validation"] + split["test"]) == list(range(24))
    assert not list(folder.glob("run.training*"))


def test_a_loaded_run_predicts_in_physical_units(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("predict", folder / "run", folder / "darcy.h5", "-o", folder / "predicted.h5", "--json") == 0
    assert last_json(capsys)["count"] == 24
    data, predicted = read_fields(folder / "darcy.h5"), read_fields(folder / "predicted.h5")
    loaded = load_operator_run(folder / "run")
    with torch.no_grad():
        assert torch.allclose(loaded.model(data.inputs), predicted.outputs, atol=1e-7)
    assert torch.equal(predicted.inputs, data.inputs)
    assert run("predict", folder / "run", folder / "darcy.h5", "-o", folder / "predicted.h5") == 2
    assert "--overwrite" in capsys.readouterr().err


def test_evaluation_asks_the_held_back_samples_at_every_resolution(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("evaluate", folder / "run", folder / "darcy.h5", "--resolution", 17, "--resolution", 33, "--json")
    assert run(*words) == 0
    found = last_json(capsys)
    held = json.loads((folder / "run" / "split.json").read_text())["test"]
    assert [row["reference"] for row in found["results"]] == ["as given", "solved"]
    for row in found["results"]:
        assert row["n_samples"] == len(held)
        assert row["relative_l2"]["worst_sample"] in held
        assert row["relative_l2"]["mean"] <= row["relative_l2"]["worst"]
        assert Path(row["worst_figure"]).stat().st_size > 1000
        assert sum(band["share_of_error"] for band in row["by_wavenumber"]) == pytest.approx(1.0)
    assert Path(found["resolution_figure"]).exists()


def test_runs_are_compared_by_what_differs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "mgno", folder / "darcy.h5", "-o", folder / "other", *_SMALL, "--loss", "h1") == 0
    capsys.readouterr()
    figure = folder / "compared.png"
    assert run("runs", "compare", folder / "run", folder / "other", "-o", figure, "--json") == 0
    found = last_json(capsys)
    assert found["same_data"] is True
    assert set(found["different_settings"]) == {"loss"}
    assert figure.stat().st_size > 1000


@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
def test_an_exported_operator_runs_without_equipoise(folder: Path, suffix: str) -> None:
    if suffix == ".onnx":
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
    file = folder / f"model{suffix}"
    assert run("export", folder / "run", "-o", file) == 0
    inputs = read_fields(folder / "darcy.h5").inputs[:5]
    np.save(folder / "inputs.npy", inputs.numpy())
    script = f"""
import sys, numpy as np
inputs = np.load({str(folder / "inputs.npy")!r})
if {suffix!r} == ".pt2":
    import torch
    outputs = torch.export.load({str(file)!r}).module()(torch.from_numpy(inputs)).detach().numpy()
else:
    import onnxruntime
    outputs = onnxruntime.InferenceSession({str(file)!r}).run(None, {{"inputs": inputs}})[0]
assert not any(name.split(".")[0] == "equipoise" for name in sys.modules)
np.save({str(folder / "outputs.npy")!r}, outputs)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-1500:]
    with torch.no_grad():
        ours = load_operator_run(folder / "run").model(inputs).numpy()
    assert np.abs(ours - np.load(folder / "outputs.npy")).max() <= 1e-5 * np.abs(ours).max()


def test_an_interrupted_training_goes_on_to_the_same_bits(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from equipoise.training.trainer import Trainer

    inner = Trainer._step

    def stopping(self: Trainer, number: int, phase: Any, step: int, *rest: Any) -> None:
        if step == 4:
            raise KeyboardInterrupt
        inner(self, number, phase, step, *rest)

    words = ("train", "mgno", folder / "darcy.h5", "-o", folder / "stopped", *_SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", stopping)
        with pytest.raises((SystemExit, KeyboardInterrupt)):
            main([str(word) for word in words])
    assert not (folder / "stopped").exists()
    assert run(*words) == 2
    assert "--resume" in capsys.readouterr().err
    assert run(*words, "--loss", "h1", "--resume") == 2
    assert "loss was l2 and is now h1" in capsys.readouterr().err
    assert run(*words, "--resume") == 0
    ours, whole = (load_operator_run(folder / name).model.state_dict() for name in ("stopped", "run"))
    assert all(torch.equal(ours[name], whole[name]) for name in whole)


def test_tensorboard_gets_the_metrics(folder: Path) -> None:
    pytest.importorskip("tensorboard")
    words = ("train", "mgno", folder / "darcy.h5", "-o", folder / "watched", *_SMALL)
    assert run(*words, "--tensorboard", folder / "events") == 0
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "events")).Reload()
    assert {"loss", "validation", "data"} <= set(events.Tags()["scalars"])
    assert len(events.Scalars("validation")) == 3


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert run(*words) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    return error[0]


def test_bad_input_gets_one_sentence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, home = read_fields(folder / "darcy.h5"), folder
    wide = FieldDataset(data.inputs.repeat(1, 2, 1, 1), data.outputs, data.grid, settings={})
    write_fields(home / "wide.h5", wide)
    assert "2 channels of inputs; the run has 1" in refused(capsys, "evaluate", home / "run", home / "wide.h5")
    moved = FieldDataset(data.inputs, data.outputs, Grid((17, 17), ((0.0, 2.0), (0.0, 1.0))))
    write_fields(home / "moved.h5", moved)
    assert "the run was trained on" in refused(capsys, "predict", home / "run", home / "moved.h5", "-o", home / "x.h5")
    spoilt = data.inputs.clone()
    spoilt[9, 0, 2, 3] = float("inf")
    torch.save({"x": spoilt[:, 0], "y": data.outputs[:, 0]}, home / "spoilt.pt")
    assert "first sample 9" in refused(capsys, "train", "mgno", home / "spoilt.pt", "-o", home / "x")
    message = refused(capsys, "train", "mgno", home / "darcy.h5", "-o", home / "x", "--set", "depth=3")
    assert "mgno has no option 'depth'; it has" in message
    message = refused(
        capsys, "train", "mgno", home / "darcy.h5", "-o", home / "x", "--validation", "0.6", "--test", 0.5
    )
    assert "leave none to train on" in message
    message = refused(capsys, "train", "mgno", home / "darcy.h5", "-o", home / "x", "--device", "tpu")
    assert "use cpu or cuda" in message
    message = refused(capsys, "train", "mgno", home / "spoilt.pt", "-o", home / "x", "--residual-weight", 1)
    assert "first sample 9" in message
    assert "belongs to micro models" in refused(capsys, "evaluate", home / "run", home / "darcy.h5", "--n-test", 3)
    assert "ends in '.txt'" in refused(capsys, "export", home / "run", "-o", home / "model.txt")
    weights = home / "damaged" / "weights.safetensors"
    import shutil

    shutil.copytree(home / "run", home / "damaged")
    weights.write_bytes(weights.read_bytes()[:-3])
    assert "differs from the manifest" in refused(capsys, "evaluate", home / "damaged", home / "darcy.h5")
    assert not (home / "x").exists()
    assert not (home / "x.h5").exists()


def test_a_micro_model_and_an_operator_are_not_taken_for_one_another(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("generate", "rve", "--mesh", "fibre:n=2,fraction=0.4", "-n", 6, "-o", tmp_path / "s.h5") == 0
    assert run("train", "reduced", tmp_path / "s.h5", "-o", tmp_path / "micro", "--modes", 3) == 0
    capsys.readouterr()
    words = ("predict", tmp_path / "micro", folder / "darcy.h5", "-o", tmp_path / "x.h5")
    assert "model of the kind 'reduced'; expected a grid operator" in refused(capsys, *words)
    assert "operators" in refused(capsys, "evaluate", tmp_path / "micro", "--resolution", 32)
    message = refused(capsys, "train", "mgno", tmp_path / "s.h5", "-o", tmp_path / "x")
    assert "s.h5" in message


def test_a_linear_map_is_fitted_evaluated_and_exported(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("train", "linear", folder / "darcy.h5", "-o", tmp_path / "run", "--set", "rank=6") == 0
    capsys.readouterr()
    assert run("evaluate", tmp_path / "run", folder / "darcy.h5", "--json") == 0
    assert 0 < last_json(capsys)["results"][0]["relative_l2"]["mean"] < 1
    assert run("export", tmp_path / "run", "-o", tmp_path / "linear.pt2") == 0
    # Fitting takes all samples at once.
    assert run("train", "linear", folder / "darcy.h5", "-o", tmp_path / "other", "--stream") == 2


def test_data_left_in_their_file_give_the_same_run_and_errors(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("train", "mgno", folder / "darcy.h5", "-o", tmp_path / "run", "--stream", *_SMALL) == 0
    weights = [path / "run" / "weights.safetensors" for path in (folder, tmp_path)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    capsys.readouterr()
    rows = []
    for choice in ("--stream", "--no-stream"):
        assert run("evaluate", tmp_path / "run", folder / "darcy.h5", "--resolution", 33, choice, "--json") == 0
        rows.append(last_json(capsys)["results"])
        assert run("predict", tmp_path / "run", folder / "darcy.h5", "-o", tmp_path / f"p{choice}.h5", choice) == 0
    assert rows[0] == rows[1]
    assert (tmp_path / "p--stream.h5").read_bytes() == (tmp_path / "p--no-stream.h5").read_bytes()


def test_models_lists_what_can_be_trained(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "--json") == 0
    names = [row["name"] for row in last_json(capsys)["models"]]
    assert names[:2] == ["equino", "reduced"]
    from equipoise.cli.train_operator import OPERATOR_NAMES
    from equipoise.operators.registry import OPERATORS

    assert names[2:] == list(OPERATORS) == list(OPERATOR_NAMES)


def test_a_file_of_another_project_trains_and_is_evaluated(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, test = (shared_data / "neuraloperator" / f"darcy_{part}_16.pt" for part in ("train", "test"))
    assert run("train", "mgno", train, "-o", tmp_path / "run", "--epochs", 1, "--batch-size", 64, *_SMALL[2:]) == 0
    capsys.readouterr()
    assert run("evaluate", tmp_path / "run", test, "--resolution", 16, "--resolution", 32, "--json") == 0
    found = last_json(capsys)
    assert [row["reference"] for row in found["results"]] == ["as given", "resampled"]
    assert found["results"][0]["n_samples"] == 50
