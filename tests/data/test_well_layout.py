"""Snapshot files follow The Well's data layout: its rules written out as checks, and its reader where installed.

Install the package `the-well` to run the last test; it is no dependency of ours. Source of the rules: The Well's data
format page and its reader (Ohana et al., 2024).
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from stand_in_solver import snapshots_of

from equipoise.data.snapshots import CellRecord
from equipoise.data.store import write_snapshots

COUNT = 4


@pytest.fixture
def path(tmp_path: Path, record: CellRecord) -> Path:
    """A snapshot file in a folder of its own."""
    folder = tmp_path / "data" / "train"
    folder.mkdir(parents=True)
    write_snapshots(folder / "cell.h5", snapshots_of(record, COUNT))
    return folder / "cell.h5"


def is_flag(value: object) -> bool:
    return isinstance(value, bool | np.bool_)


def is_name_list(values: object) -> bool:
    return isinstance(values, np.ndarray) and values.ndim == 1 and all(isinstance(value, str) for value in values)


def expected_shape(file: h5py.File, data: h5py.Dataset | h5py.Group) -> tuple[int, ...]:
    """Leading shape that the flags of a dataset promise: samples, then times."""
    shape: tuple[int, ...] = ()
    if data.attrs["sample_varying"]:
        shape += (int(file.attrs["n_trajectories"]),)
    if data.attrs["time_varying"]:
        shape += (file["dimensions/time"].shape[-1],)
    return shape


def test_root_tells_name_grid_and_counts(path: Path) -> None:
    with h5py.File(path) as file:
        assert isinstance(file.attrs["dataset_name"], str)
        assert isinstance(file.attrs["grid_type"], str)
        assert isinstance(file.attrs["n_spatial_dims"], np.integer)
        assert file.attrs["n_spatial_dims"] == 1
        assert isinstance(file.attrs["n_trajectories"], np.integer)
        assert file.attrs["n_trajectories"] == COUNT
        assert is_name_list(file.attrs["simulation_parameters"])
        for name in file.attrs["simulation_parameters"]:
            assert name in file.attrs
            assert name in file["scalars"]


def test_dimensions_are_one_time_and_the_nodes(path: Path, record: CellRecord) -> None:
    with h5py.File(path) as file:
        dimensions = file["dimensions"]
        assert is_name_list(dimensions.attrs["spatial_dims"])
        assert list(dimensions.attrs["spatial_dims"]) == ["node"]
        for name, shape, varies in (("time", (1,), True), ("node", (record.mesh.n_nodes,), False)):
            data = dimensions[name]
            assert data.shape == shape
            assert is_flag(data.attrs["sample_varying"])
            assert not data.attrs["sample_varying"]
            assert is_flag(data.attrs["time_varying"])
            assert data.attrs["time_varying"] == varies


def test_every_field_has_the_shape_that_its_flags_promise(path: Path) -> None:
    with h5py.File(path) as file:
        for order in range(3):
            group = file[f"t{order}_fields"]
            assert is_name_list(group.attrs["field_names"])
            assert sorted(group.attrs["field_names"]) == sorted(group)
            for name in group:
                data = group[name]
                assert all(is_flag(data.attrs[flag]) for flag in ("sample_varying", "time_varying"))
                dims = data.attrs["dim_varying"]
                assert isinstance(dims, np.ndarray)
                assert dims.dtype == bool
                assert dims.tolist() == [True]
                assert data.shape == (*expected_shape(file, data), file["dimensions/node"].shape[0])
                assert data.dtype == np.float64


def test_scalars_have_the_shape_that_their_flags_promise(path: Path) -> None:
    with h5py.File(path) as file:
        group = file["scalars"]
        assert is_name_list(group.attrs["field_names"])
        assert sorted(group.attrs["field_names"]) == sorted(group)
        assert len(group) > 0
        for name in group:
            assert all(is_flag(group[name].attrs[flag]) for flag in ("sample_varying", "time_varying"))
            assert group[name].shape == expected_shape(file, group[name])


def test_boundary_condition_is_named_and_masked(path: Path) -> None:
    with h5py.File(path) as file:
        assert list(file["boundary_conditions"]) == ["node_periodic"]
        condition = file["boundary_conditions/node_periodic"]
        assert condition.attrs["bc_type"] == "PERIODIC"
        assert condition.attrs["bc_type"].lower() in condition.name
        assert list(condition.attrs["associated_dims"]) == ["node"]
        assert is_name_list(condition.attrs["associated_fields"])
        assert all(is_flag(condition.attrs[flag]) for flag in ("sample_varying", "time_varying"))
        assert condition["mask"].dtype == bool
        assert condition["mask"].shape == file["dimensions/node"].shape


def test_mask_marks_the_nodes_on_the_sides_of_the_cell(path: Path, record: CellRecord) -> None:
    with h5py.File(path) as file:
        mask = file["boundary_conditions/node_periodic/mask"][()]
    low, high = record.mesh.bounds
    assert np.array_equal(mask, ((record.mesh.points == low) | (record.mesh.points == high)).any(axis=1))
    assert 0 < mask.sum() < len(mask)


def test_scalars_hold_tensor_shear_and_fields_hold_the_fluctuation(path: Path, record: CellRecord) -> None:
    snapshots = snapshots_of(record, COUNT)
    with h5py.File(path) as file:
        shear = snapshots.strain[:, -1].numpy()
        assert np.array_equal(file["scalars/strain_xy"][()], shear / 2)
        assert np.array_equal(file["equipoise/strain"][:, -1], shear)
        assert np.array_equal(file["scalars/strain_xx"][()], snapshots.strain[:, 0].numpy())
        assert np.array_equal(file["scalars/stress_xy"][()], snapshots.homogenised_stress[:, -1].numpy())
        for axis, name in enumerate("xyz"[: record.mesh.dim]):
            field = file[f"t0_fields/displacement_fluctuation_{name}"][:, 0]
            assert np.array_equal(field, snapshots.fluctuation[..., axis].numpy())
            assert np.array_equal(file[f"t0_fields/position_{name}"][()], record.mesh.points[:, axis])


def test_the_wells_own_reader_opens_the_file(path: Path, record: CellRecord) -> None:
    pytest.importorskip("the_well", reason="the package `the-well` is not installed")
    from the_well.data.datasets import WellDataset

    data = WellDataset(path=str(path.parent), n_steps_input=0, n_steps_output=1, use_normalization=False)
    assert len(data) == COUNT
    sample = data[2]
    snapshots = snapshots_of(record, COUNT)
    assert torch.equal(sample["output_fields"][0], snapshots.fluctuation[2])
    assert torch.equal(sample["constant_fields"], torch.from_numpy(record.mesh.points))
    assert sample["constant_scalars"].shape == (2 * snapshots.strain.shape[1],)
