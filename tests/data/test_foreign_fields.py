"""Field data of other projects: read unchanged, refused where damaged, and never run."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import torch

from equipoise.data.field_dataset import FieldDataset
from equipoise.data.foreign_fields import read_foreign_fields, read_mat, read_tensor_dictionary
from equipoise.errors import FormatError
from equipoise.spaces.grid import Grid


def test_published_darcy_files_of_neuraloperator_are_read(shared_data: Path) -> None:
    train = read_foreign_fields(shared_data / "neuraloperator" / "darcy_train_16.pt")
    test = read_foreign_fields(shared_data / "neuraloperator" / "darcy_test_16.pt")
    assert (len(train), len(test)) == (1000, 50)
    assert train.inputs.shape[1:] == train.outputs.shape[1:] == (1, 16, 16)
    assert sorted(set(train.inputs.flatten().tolist())) == [0.0, 1.0]
    assert train.non_finite() == []
    assert train.fingerprint != test.fingerprint


class Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("code in the file was run",))


def test_code_in_a_tensor_dictionary_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"x": torch.zeros(1, 4), "y": Runs()}, tmp_path / "bad.pt")
    (tmp_path / "worse.pt").write_bytes(pickle.dumps(Runs()))
    for name in ("bad.pt", "worse.pt"):
        with pytest.raises(FormatError, match="cannot be read as a dictionary of tensors"):
            read_tensor_dictionary(tmp_path / name)
    assert "was run" not in capsys.readouterr().out


@pytest.mark.parametrize("shape", [(3, 8), (3, 8, 9), (3, 2, 8, 9), (3, 1, 4, 5, 6)])
def test_axes_of_tensor_dictionaries(tmp_path: Path, shape: tuple[int, ...]) -> None:
    torch.save({"x": torch.ones(shape), "y": torch.zeros(shape)}, tmp_path / "d.pt")
    read = read_foreign_fields(tmp_path / "d.pt")
    assert read.inputs.shape == (shape if len(shape) > 3 else (3, 1, *shape[1:]))


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_mat_files_of_both_kinds_agree(tmp_path: Path, version: str) -> None:
    generator = np.random.default_rng(0)
    start, later = generator.random((3, 4, 5)), generator.random((3, 4, 5, 6))
    if version == "5":
        scipy.io.savemat(tmp_path / "d.mat", {"a": start, "u": later})
    else:
        with h5py.File(tmp_path / "d.mat", "w") as file:
            file["a"], file["u"] = start.T, later.T
    read = read_foreign_fields(tmp_path / "d.mat")
    np.testing.assert_array_equal(read.inputs[:, 0].numpy(), start)
    np.testing.assert_array_equal(read.outputs.numpy(), np.moveaxis(later, -1, 1))
    assert read.grid.wraps == (True, True)


def test_mat_file_of_darcy_and_an_unknown_one(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "darcy.mat", {"coeff": np.ones((2, 5, 5)), "sol": np.zeros((2, 5, 5))})
    assert read_mat(tmp_path / "darcy.mat").grid == Grid((5, 5))
    scipy.io.savemat(tmp_path / "other.mat", {"foo": np.ones(3)})
    with pytest.raises(FormatError, match="holds foo; known are coeff with sol"):
        read_mat(tmp_path / "other.mat")


def test_pdebench_files_give_first_time_and_later_ones(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((2, 5, 8))
    with h5py.File(tmp_path / "burgers.hdf5", "w") as file:
        file["tensor"] = values
        file["x-coordinate"] = (np.arange(8) + 0.5) / 4
        file["t-coordinate"] = np.arange(6)
    read = read_foreign_fields(tmp_path / "burgers.hdf5")
    np.testing.assert_array_equal(read.inputs.numpy(), values[:, :1])
    np.testing.assert_array_equal(read.outputs.numpy(), values[:, 1:])
    assert read.grid.bounds == ((0.0, 2.0),)
    with h5py.File(tmp_path / "darcy.hdf5", "w") as file:
        file["nu"], file["tensor"] = np.ones((2, 4, 4)), np.zeros((2, 1, 4, 4))
    assert read_foreign_fields(tmp_path / "darcy.hdf5").outputs.shape == (2, 1, 4, 4)
    with h5py.File(tmp_path / "swe.h5", "w") as file:
        for name in ("0000", "0001"):
            file[f"{name}/data"] = np.full((3, 4, 5, 2), float(name))
    read = read_foreign_fields(tmp_path / "swe.h5")
    assert (read.inputs.shape, read.outputs.shape) == ((2, 2, 4, 5), (2, 4, 4, 5))


@pytest.mark.parametrize("suffix", [".pt", ".mat", ".h5"])
def test_damaged_and_missing_files_are_named(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"d{suffix}").write_bytes(b"nothing of the kind" * 20)
    with pytest.raises(FormatError, match=f"d{suffix}"):
        read_foreign_fields(tmp_path / f"d{suffix}")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_foreign_fields(tmp_path / f"missing{suffix}")


def test_values_that_are_not_finite_are_found() -> None:
    inputs = torch.zeros(3, 1, 4)
    inputs[2, 0, 1] = torch.inf
    data = FieldDataset(inputs, torch.zeros(3, 2, 4), Grid((4,)))
    assert data.describe()["non_finite_samples"] == [2]
    assert data.describe()["outputs"][1]["name"] == "output 1"
    with pytest.raises(FormatError, match="1 of 3 samples hold values that are not finite, first sample 2"):
        data.check_finite()


@pytest.mark.parametrize(
    ("inputs", "outputs", "words"),
    [
        ((2, 1, 5), (2, 1, 4), "inputs has shape"),
        ((3, 1, 4), (2, 1, 4), "3 inputs and 2 outputs"),
        ((0, 1, 4), (0, 1, 4), "0 inputs"),
    ],
)
def test_mismatched_fields_are_refused(inputs: tuple, outputs: tuple, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        FieldDataset(torch.zeros(inputs), torch.zeros(outputs), Grid((4,)))
