"""Evaluation: which samples, at which resolution, against what."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from equipoise.data import FieldDataset, Split, generate_fields, read_fields
from equipoise.errors import FormatError
from equipoise.operators.mgno import MgNO
from equipoise.spaces import Grid, relative_error, resample
from equipoise.training.operator_evaluation import at_resolution, evaluate_operator, held_back
from equipoise.training.operator_runs import load_operator_run, save_operator_run
from equipoise.training.operators import train_operator


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> FieldDataset:
    file = tmp_path_factory.mktemp("fields") / "burgers.h5"
    generate_fields("burgers", 10, file, options={"resolution": 32, "final_time": 0.2, "viscosity": 0.05})
    return read_fields(file)


def test_generated_data_are_solved_again_at_another_resolution(data: FieldDataset) -> None:
    fine, source = at_resolution(data, 64, (3, 7))
    assert source == "solved"
    assert fine.grid.shape == (64,)
    assert torch.allclose(fine.inputs[..., ::2], data.inputs[[3, 7]], atol=1e-5)
    assert torch.allclose(fine.outputs[..., ::2], data.outputs[[3, 7]], atol=5e-3)


def test_other_data_are_resampled(data: FieldDataset) -> None:
    plain = FieldDataset(data.inputs, data.outputs, data.grid)
    fine, source = at_resolution(plain, 48, (0, 1))
    assert source == "resampled"
    assert torch.equal(fine.inputs, resample(data.inputs[:2], data.grid, (48,)))
    assert at_resolution(plain, 32, (0,))[1] == "as given"


def test_held_back_samples_are_those_of_the_split_for_the_training_data_alone(
    data: FieldDataset, tmp_path: Path
) -> None:
    operator = MgNO(grid=(32,), width=4, n_layers=1, boundary="periodic")
    trained = train_operator(operator, data, split=Split((0, 1, 2, 5), (3,), (4, 9)), epochs=1)
    save_operator_run(tmp_path / "run", trained, data, name="mgno")
    run = load_operator_run(tmp_path / "run")
    assert run.split == trained.split
    assert held_back(run, data) == (4, 9)
    assert held_back(run, data.subset(slice(0, 4))) == (0, 1, 2, 3)
    found = evaluate_operator(run, data)
    assert found.figures["n_samples"] == 2
    with torch.no_grad():
        errors = relative_error(run.model(data.inputs[[4, 9]]), data.outputs[[4, 9]], data.grid)
    worst = int(errors.argmax())
    assert found.figures["relative_l2"]["worst_sample"] == (4, 9)[worst]
    assert found.figures["relative_l2"]["mean"] == pytest.approx(float(errors.mean()), rel=1e-5)
    with torch.no_grad():
        assert torch.allclose(found.worst_prediction, run.model(found.worst.inputs))
    assert torch.equal(found.worst.inputs, data.inputs[[(4, 9)[worst]]])
    fine = evaluate_operator(run, data, resolution=64, batch_size=1)
    assert (fine.figures["reference"], fine.figures["grid"]) == ("solved", [64])
    other = Grid((32,), ((0.0, 5.0),), True)
    with pytest.raises(ValueError, match="the run was trained on"):
        evaluate_operator(run, FieldDataset(data.inputs, data.outputs, other))


def test_a_run_of_another_kind_and_a_run_without_held_back_samples_are_refused(
    data: FieldDataset, tmp_path: Path
) -> None:
    operator = MgNO(grid=(32,), width=4, n_layers=1, boundary="periodic")
    trained = train_operator(operator, data, epochs=1)
    save_operator_run(tmp_path / "run", trained, data, name="mgno")
    with pytest.raises(ValueError, match="none is left"):
        held_back(load_operator_run(tmp_path / "run"), data)
    config = tmp_path / "run" / "config.json"
    config.write_text(config.read_text().replace("grid operator", "something else"))
    with pytest.raises(FormatError, match="differs from the manifest"):
        load_operator_run(tmp_path / "run")
