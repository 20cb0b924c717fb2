"""Files of fields: what is written comes back, follows The Well's rules, and is refused where it is damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from equipoise.data.field_dataset import FieldDataset
from equipoise.data.field_store import NotFieldsError, read_fields, write_fields
from equipoise.errors import FormatError
from equipoise.spaces.grid import Grid


def steady() -> FieldDataset:
    generator = torch.Generator().manual_seed(0)
    grid = Grid((4, 6), ((0.0, 2.0), (-1.0, 1.0)), (False, True))
    return FieldDataset(
        torch.randn(3, 2, *grid.shape, generator=generator),
        torch.randn(3, 1, *grid.shape, generator=generator),
        grid,
        input_names=("conductivity", "source"),
        output_names=("pressure",),
        settings={"seed": 0},
    )


def series() -> FieldDataset:
    generator = torch.Generator().manual_seed(1)
    fields = torch.randn(2, 4, 8, generator=generator, dtype=torch.float64)
    return FieldDataset(
        fields[:, :1], fields[:, 1:], Grid((8,), periodic=True), input_names=("initial",),
        output_names=("t=1", "t=2", "t=3"), times=(0.0, 1.0, 2.0, 3.0),
    )  # fmt: skip


def trailing() -> FieldDataset:
    return FieldDataset(torch.ones(2, 1, 5), torch.zeros(2, 1, 4, 5), Grid((4, 5)), Grid((5,)), ("u",), ("s",))


@pytest.mark.parametrize("make", [steady, series, trailing])
def test_what_is_written_comes_back(tmp_path: Path, make: Callable[[], FieldDataset]) -> None:
    data = make()
    write_fields(tmp_path / "d.h5", data)
    back = read_fields(tmp_path / "d.h5")
    assert torch.equal(back.inputs, data.inputs)
    assert torch.equal(back.outputs, data.outputs)
    assert back.inputs.dtype == data.inputs.dtype
    for name in ("grid", "input_grid", "input_names", "output_names", "times", "settings"):
        assert getattr(back, name) == getattr(data, name), name
    assert list(tmp_path.iterdir()) == [tmp_path / "d.h5"]


@pytest.mark.parametrize("make", [steady, series, trailing])
def test_file_follows_the_rules_of_the_well(tmp_path: Path, make: Callable[[], FieldDataset]) -> None:
    data = make()
    write_fields(tmp_path / "d.h5", data)
    with h5py.File(tmp_path / "d.h5") as file:
        assert {"dataset_name", "grid_type", "n_spatial_dims", "n_trajectories", "simulation_parameters"} <= set(
            file.attrs
        )
        axes = list(file["dimensions"].attrs["spatial_dims"])
        assert len(axes) == file.attrs["n_spatial_dims"] == data.grid.dim
        assert file["dimensions/time"].attrs["time_varying"]
        sizes = [len(file["dimensions"][axis]) for axis in axes]
        for order in range(3):
            group = file[f"t{order}_fields"]
            assert sorted(group.attrs["field_names"]) == sorted(group)
            for field in group.values():
                shape = [len(data)] if field.attrs["sample_varying"] else []
                shape += [len(file["dimensions/time"])] if field.attrs["time_varying"] else []
                shape += [n for n, varies in zip(sizes, field.attrs["dim_varying"], strict=True) if varies]
                assert list(field.shape) == shape
        for name, condition in file["boundary_conditions"].items():
            assert name.endswith(condition.attrs["bc_type"].lower())
            assert condition["mask"].dtype == bool


def test_the_wells_own_reader_opens_the_file(tmp_path: Path) -> None:
    pytest.importorskip("the_well", reason="the package `the-well` is not installed")
    from the_well.data.datasets import WellDataset

    folder = tmp_path / "data" / "train"
    folder.mkdir(parents=True)
    write_fields(folder / "d.h5", steady())
    read = WellDataset(path=str(folder), n_steps_input=0, n_steps_output=1, use_normalization=False)
    np.testing.assert_allclose(np.asarray(read[0]["output_fields"])[0, ..., 0], steady().outputs[0, 0].numpy())


def test_file_of_another_program_in_the_layout_is_read(tmp_path: Path) -> None:
    velocity = np.random.default_rng(0).random((2, 3, 4, 5, 2))
    with h5py.File(tmp_path / "d.hdf5", "w") as file:
        file.attrs.update(dataset_name="flow", grid_type="cartesian", n_spatial_dims=2, n_trajectories=2)
        file.create_group("dimensions").attrs["spatial_dims"] = np.array(["x", "y"], dtype=h5py.string_dtype())
        file["dimensions/time"] = np.arange(3.0)
        file["dimensions/x"], file["dimensions/y"] = np.arange(4) / 4, np.linspace(0, 1, 5)
        file.create_group("boundary_conditions/x_periodic")
        for order, names in enumerate((["depth"], ["velocity"], [])):
            group = file.create_group(f"t{order}_fields")
            group.attrs["field_names"] = np.array(names, dtype=h5py.string_dtype())
        depth = file["t0_fields"].create_dataset("depth", data=np.ones((4, 5)))
        depth.attrs.update(sample_varying=False, time_varying=False, dim_varying=np.array([True, True]))
        flow = file["t1_fields"].create_dataset("velocity", data=velocity)
        flow.attrs.update(sample_varying=True, time_varying=True, dim_varying=np.array([True, True]))
    data = read_fields(tmp_path / "d.hdf5")
    assert data.grid == Grid((4, 5), ((0.0, 1.0), (0.0, 1.0)), (True, False))
    assert data.input_names == ("depth", "velocity_x", "velocity_y")
    np.testing.assert_array_equal(data.inputs[:, 1].numpy(), velocity[:, 0, ..., 0])
    np.testing.assert_array_equal(data.outputs[:, -1].numpy(), velocity[:, 2, ..., 1])


def test_damage_and_other_contents_are_told_apart(tmp_path: Path) -> None:
    write_fields(tmp_path / "d.h5", steady())
    raw = bytearray((tmp_path / "d.h5").read_bytes())
    raw[-10] ^= 1
    (tmp_path / "flipped.h5").write_bytes(raw)
    (tmp_path / "short.h5").write_bytes(raw[:-50])
    for name in ("flipped.h5", "short.h5"):
        with pytest.raises(FormatError, match="damaged"):
            read_fields(tmp_path / name)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["values"] = np.zeros(3)
    with pytest.raises(FormatError, match="not in The Well's layout: it holds values"):
        read_fields(tmp_path / "other.h5")
    assert issubclass(NotFieldsError, FormatError)


def test_nothing_is_left_of_a_refused_data_set(tmp_path: Path) -> None:
    data = steady()
    data.inputs[1, 0, 0, 0] = torch.nan
    with pytest.raises(FormatError, match="first sample 1"):
        write_fields(tmp_path / "d.h5", data)
    same = FieldDataset(torch.ones(1, 1, 4), torch.ones(1, 1, 4), Grid((4,)), input_names=("u",), output_names=("u",))
    with pytest.raises(ValueError, match="need names that differ"):
        write_fields(tmp_path / "d.h5", same)
    elsewhere = FieldDataset(torch.ones(1, 1, 3), torch.ones(1, 1, 4), Grid((4,)), Grid((3,)))
    with pytest.raises(ValueError, match="last axes"):
        write_fields(tmp_path / "d.h5", elsewhere)
    assert list(tmp_path.iterdir()) == []
