"""Fields left in their file: the same values, statistics and weights as in memory, in a small part of it."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from equipoise.data.field_dataset import FieldDataset
from equipoise.data.field_store import read_fields, write_fields
from equipoise.data.split import Split
from equipoise.data.streamed_fields import StreamedFields, open_fields, stream_fields
from equipoise.errors import FormatError
from equipoise.operators.fno import FNO
from equipoise.operators.normalisation import Normaliser
from equipoise.operators.pod_deeponet import PODDeepONet
from equipoise.operators.query_on_grid import QueryOnGrid
from equipoise.spaces import sample_chunks as chunking
from equipoise.spaces.grid import Grid
from equipoise.training.operators import predict_in_batches, train_operator


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    inputs = 2 + noise(30, 2, 16)
    data = FieldDataset(
        inputs, inputs[:, :1] * inputs[:, 1:].roll(1, -1), Grid((16,), periodic=True), settings={"a": 1}
    )
    write_fields(tmp_path / "d.h5", data)
    return tmp_path / "d.h5"


def series(path: Path) -> None:
    fields = noise(5, 4, 8)
    write_fields(path, FieldDataset(fields[:, :1], fields[:, 1:], Grid((8,)), times=(0.0, 1.0, 2.0, 3.0)))


def trailing(path: Path) -> None:
    write_fields(path, FieldDataset(noise(4, 1, 5), noise(4, 1, 3, 5), Grid((3, 5)), Grid((5,)), ("u",), ("s",)))


def foreign(path: Path) -> None:
    """Scalars, a vector that all samples share, and a field that varies along one axis."""
    inputs = noise(4, 1, 3, 5)
    write_fields(path, FieldDataset(inputs, noise(4, 1, 3, 5), Grid((3, 5))))
    with h5py.File(path, "r+") as held:
        del held["equipoise"]
        vectors = held["t1_fields"].create_dataset("wind", data=np.arange(30.0, dtype=np.float32).reshape(3, 5, 2))
        vectors.attrs.update(sample_varying=False, time_varying=False, dim_varying=np.array([True, True]))
        held["t1_fields"].attrs["field_names"] = np.array(["wind"], dtype=h5py.string_dtype())
        line = held["t0_fields"].create_dataset("line", data=np.arange(24.0, dtype=np.float32).reshape(4, 2, 3))
        line.attrs.update(sample_varying=True, time_varying=True, dim_varying=np.array([True, False]))
        names = [*held["t0_fields"].attrs["field_names"], "line"]
        held["t0_fields"].attrs["field_names"] = np.array(names, dtype=h5py.string_dtype())
    # Another program's file carries no seal.
    path.write_bytes(b"\n" * 512 + path.read_bytes()[512:])


@pytest.mark.parametrize("write", [series, trailing, foreign])
def test_all_layouts_give_what_reading_gives(tmp_path: Path, write) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "d.h5"
    write(path)
    whole, stream = read_fields(path), stream_fields(path)
    assert len(stream) == len(whole)
    for name in ("grid", "input_grid", "input_names", "output_names", "times", "settings", "fingerprint"):
        assert getattr(stream, name) == getattr(whole, name), name
    order = torch.tensor([3, 0, 2, 3])
    for side in ("inputs", "outputs"):
        stored, values = getattr(stream, side), getattr(whole, side)
        assert (stored.shape, stored.dtype, stored.ndim) == (values.shape, values.dtype, values.ndim)
        assert torch.equal(stored[order], values[order])
        assert torch.equal(stored[1:3], values[1:3])
        assert torch.equal(stored[torch.tensor([True, False, True, *[False] * (len(whole) - 3)])], values[[0, 2]])
        assert torch.equal(getattr(stream.subset(order), side)[1:], values[order][1:])
    assert torch.equal(stream.in_memory().outputs, whole.outputs)


def test_a_handle_is_of_its_process_and_pickles_without_it(file: Path) -> None:
    stream = stream_fields(file)
    other = pickle.loads(pickle.dumps(stream))
    assert torch.equal(other.inputs[4:6], stream.inputs[4:6])


def test_samples_that_are_not_finite_are_named_and_damage_is_seen(file: Path, tmp_path: Path) -> None:
    assert stream_fields(file).non_finite() == []
    with h5py.File(file, "r+") as held:
        held["t0_fields/output 0"][7, 0, 3] = np.nan
    with pytest.raises(FormatError, match="damaged"):
        stream_fields(file)
    file.write_bytes(b"\n" * 512 + file.read_bytes()[512:])
    with pytest.raises(FormatError, match="first sample 7"):
        stream_fields(file).check_finite()
    with pytest.raises(FileNotFoundError):
        open_fields(tmp_path / "none.h5")
    torch.save({"x": noise(2, 3, 4), "y": noise(2, 3, 4)}, tmp_path / "d.pt")
    assert len(open_fields(tmp_path / "d.pt")) == 2
    with pytest.raises(FormatError, match="only such files can be read in parts"):
        open_fields(tmp_path / "d.pt", stream=True)


def test_large_files_are_left_alone_and_small_ones_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not isinstance(open_fields(file), StreamedFields)
    monkeypatch.setattr("equipoise.data.streamed_fields._memory", lambda: 4.0 * file.stat().st_size - 1)
    assert isinstance(open_fields(file), StreamedFields)
    assert not isinstance(open_fields(file, stream=False), StreamedFields)


@pytest.mark.parametrize("kind", ["scalar", "channel", "point"])
def test_statistics_of_chunks_are_those_of_the_whole(file: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunking, "_CHUNK_VALUES", 100)
    stream = stream_fields(file)
    values = stream.inputs[:]
    assert len(list(chunking.sample_chunks(values))) == 10
    found, same = Normaliser.fit(stream.inputs, kind=kind), Normaliser.fit(values, kind=kind)
    assert torch.equal(found.mean, same.mean)
    assert torch.equal(found.std, same.std)
    axes = {"scalar": (0, 1, 2), "channel": (0, 2), "point": (0,)}[kind]
    std, mean = torch.std_mean(values.double(), axes, correction=0, keepdim=True)
    torch.testing.assert_close(found.mean.double(), mean[0], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.std.double(), std[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("loss", ["l2", "sobolev:-1"])
def test_training_from_the_file_gives_the_weights_of_training_in_memory(
    file: Path, loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunking, "_CHUNK_VALUES", 100)
    trained = []
    for data in (read_fields(file), stream_fields(file)):
        operator = FNO(in_channels=2, out_channels=1, n_modes=(4,), width=6, n_layers=2, seed=1)
        split = Split.random(len(data), seed=3)
        trained.append(train_operator(operator, data, split=split, loss=loss, epochs=3, batch_size=7, accumulate=2))
    first, second = (model.model.state_dict() for model in trained)
    assert all(torch.equal(first[name], second[name]) for name in first)
    rows = [[{**row} for row in model.history.rows] for model in trained]
    assert rows[0] == rows[1]
    inputs = stream_fields(file).inputs
    model = trained[0].model
    assert torch.equal(
        predict_in_batches(model, inputs, batch_size=4), predict_in_batches(model, inputs[:], batch_size=4)
    )


def test_operators_that_need_all_samples_at_once_say_so(file: Path) -> None:
    operator = QueryOnGrid(operator=PODDeepONet(sensors=(2, 16), shape=(16,)), shape=(16,), periodic=True)
    with pytest.raises(ValueError, match="PODDeepONet takes its modes from all training samples at once"):
        train_operator(operator, stream_fields(file), epochs=1)


_SCRIPT = """
import sys
import torch
from equipoise.data.split import Split
from equipoise.data.streamed_fields import open_fields
from equipoise.operators.fno import FNO
from equipoise.training.operators import train_operator

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024

def run(stream, warm=False):
    data = open_fields(sys.argv[1], stream=stream)
    if not warm:
        data.check_finite()
        data.fingerprint
    operator = FNO(in_channels=1, out_channels=1, n_modes=(4, 4), width=4, n_layers=1)
    part = Split(tuple(range(32)), tuple(range(32, 48)))
    train_operator(operator, data.subset(slice(0, 48)), split=part, epochs=1, batch_size=4)

torch.set_num_threads(1)
run(True, warm=True)
before = peak()
run(True)
streamed = peak()
run(False)
print(streamed - before, peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is measured as Linux counts it")
def test_peak_memory_of_a_stream_is_a_small_part_of_the_data(tmp_path: Path) -> None:
    grid = Grid((128, 128), periodic=True)
    path = tmp_path / "large.h5"
    fields = noise(1000, 1, 128, 128)
    write_fields(path, FieldDataset(fields, fields.roll(1, -1), grid))
    size = path.stat().st_size / 2**20
    found = subprocess.run([sys.executable, "-c", _SCRIPT, str(path)], capture_output=True, text=True, check=True)
    streamed, whole = (float(part) for part in found.stdout.split())
    assert streamed < 0.5 * size
    assert whole > size
