"""Snapshot files: what is written is read, and damage of any kind is one sentence."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stand_in_solver import snapshots_of

from equipoise.data.sealed_file import seal
from equipoise.data.snapshots import CellRecord
from equipoise.data.store import SnapshotWriter, inspect, read_snapshots, write_snapshots
from equipoise.errors import FormatError
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.materials import paper_materials
from equipoise.spaces.cells import fibre_cell, homogeneous_cell
from equipoise.spaces.mesh import CellBlock, FacetBlock, Mesh

FIELDS = ("strain", "fluctuation", "stress", "homogenised_stress", "homogenised_tangent", "energy", "iterations")


@pytest.fixture
def path(tmp_path: Path, plane_record: CellRecord) -> Path:
    """A whole snapshot file."""
    write_snapshots(tmp_path / "snapshots.h5", snapshots_of(plane_record, 4))
    return tmp_path / "snapshots.h5"


def altered(path: Path, change: Callable[[h5py.File], None]) -> Path:
    """Change a file's contents and seal it again, as another program of ours might have."""
    with h5py.File(path, "r+") as file:
        change(file)
    seal(path)
    return path


@pytest.mark.parametrize("compression", [0, 4])
def test_snapshots_come_back_to_the_last_bit(tmp_path: Path, record: CellRecord, compression: int) -> None:
    written = snapshots_of(record, 5)
    write_snapshots(tmp_path / "s.h5", written, compression=compression)
    read = read_snapshots(tmp_path / "s.h5", cell=record)
    for name in FIELDS:
        assert torch.equal(getattr(read, name), getattr(written, name)), name
        assert getattr(read, name).dtype == getattr(written, name).dtype
    assert read.settings == {"seed": 0}
    assert read.mesh.fingerprint == record.mesh.fingerprint
    assert read.cell.materials == record.materials
    assert [file.name for file in tmp_path.iterdir()] == ["s.h5"]


def test_names_of_tags_and_groups_of_facets_come_back(tmp_path: Path, plane_record: CellRecord) -> None:
    plain = plane_record.mesh
    groups = {"left / lower": (FacetBlock("line2", np.array([[0, 1]])),), "none": ()}
    named = Mesh(plain.points, plain.blocks, tag_names={1: "matrix (Ω)"}, facet_groups=groups)
    written = dataclasses.replace(snapshots_of(plane_record, 1), cell=dataclasses.replace(plane_record, mesh=named))
    write_snapshots(tmp_path / "s.h5", written)
    mesh = read_snapshots(tmp_path / "s.h5").mesh
    assert mesh.tag_names == {1: "matrix (Ω)"}
    assert list(mesh.facet_groups) == list(groups)
    assert np.array_equal(mesh.facet_groups["left / lower"][0].connectivity, [[0, 1]])


def test_same_snapshots_give_the_same_bytes(tmp_path: Path, record: CellRecord) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_snapshots(tmp_path / folder / "s.h5", snapshots_of(record, 3))
    assert (tmp_path / "a/s.h5").read_bytes() == (tmp_path / "b/s.h5").read_bytes()


def test_recorded_cell_can_be_built_again(tmp_path: Path) -> None:
    cell = PeriodicCell(fibre_cell(n=2), paper_materials())
    record = CellRecord.of(cell)
    write_snapshots(tmp_path / "s.h5", snapshots_of(record, 2))
    again = read_snapshots(tmp_path / "s.h5", cell=cell).cell.periodic_cell()
    assert again.fingerprint == cell.fingerprint
    with pytest.raises(FormatError, match="was recorded"):
        dataclasses.replace(record, material_fingerprint="0" * 64).periodic_cell()


def test_subset_keeps_the_chosen_samples(plane_record: CellRecord) -> None:
    snapshots = snapshots_of(plane_record, 6)
    chosen = snapshots.subset(torch.tensor([4, 1]))
    assert len(chosen) == 2
    for name in FIELDS:
        assert torch.equal(getattr(chosen, name), getattr(snapshots, name)[[4, 1]])


def test_snapshots_of_another_mesh_are_refused_naming_both_fingerprints(path: Path, plane_record: CellRecord) -> None:
    other = dataclasses.replace(plane_record, mesh=homogeneous_cell(n=3))
    with pytest.raises(FormatError) as caught:
        read_snapshots(path, cell=other)
    for words in (str(path), plane_record.mesh.fingerprint[:12], other.mesh.fingerprint[:12]):
        assert words in str(caught.value)


def test_snapshots_of_other_materials_are_refused_naming_both_fingerprints(
    path: Path, plane_record: CellRecord
) -> None:
    other = dataclasses.replace(plane_record, material_fingerprint="e" * 64)
    with pytest.raises(FormatError, match="materials of fingerprint ffffffffffff, those given have eeeeeeeeeeee"):
        read_snapshots(path, cell=other)


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_flipped_bit_anywhere_is_found(path: Path, place: float, bit: int) -> None:
    contents = bytearray(path.read_bytes())
    contents[int(place * len(contents))] ^= 1 << bit
    damaged = path.with_name("damaged.h5")
    damaged.write_bytes(contents)
    with pytest.raises(FormatError, match=r"damaged\.h5"):
        read_snapshots(damaged)


@given(share=st.floats(0, 1, exclude_max=True))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_cut_anywhere_is_found(path: Path, share: float) -> None:
    contents = path.read_bytes()
    damaged = path.with_name("damaged.h5")
    damaged.write_bytes(contents[: int(share * len(contents))])
    with pytest.raises(FormatError, match=r"damaged\.h5"):
        inspect(damaged)


def test_a_file_with_bytes_added_is_found(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(FormatError, match="bytes where"):
        read_snapshots(path)


def test_foreign_and_missing_files_are_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["x"] = 1
    (tmp_path / "text.h5").write_text("not HDF5")
    with pytest.raises(FormatError, match=r"foreign\.h5 is an HDF5 file of another program"):
        read_snapshots(tmp_path / "foreign.h5")
    with pytest.raises(FormatError, match=r"text\.h5 is not an HDF5 file"):
        read_snapshots(tmp_path / "text.h5")
    with pytest.raises(FileNotFoundError, match=r"missing\.h5"):
        read_snapshots(tmp_path / "missing.h5")


def test_another_format_version_is_named(path: Path) -> None:
    altered(path, lambda file: file["equipoise"].attrs.modify("format_version", 7))
    with pytest.raises(FormatError, match="format version 7; this version of Equipoise reads version 1"):
        read_snapshots(path)


def test_sealed_file_that_holds_something_else_is_named(path: Path) -> None:
    def strip(file: h5py.File) -> None:
        del file["equipoise"]

    with pytest.raises(FormatError, match="does not hold snapshots"):
        read_snapshots(altered(path, strip))


@pytest.mark.parametrize("name", ["strain", "stress", "homogenised_tangent"])
def test_missing_dataset_is_named(path: Path, name: str) -> None:
    def strip(file: h5py.File) -> None:
        del file[f"equipoise/{name}"]

    with pytest.raises(FormatError, match=f"not laid out as snapshots.*{name}"):
        read_snapshots(altered(path, strip))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_value_that_is_not_finite_names_dataset_and_sample(path: Path, value: float) -> None:
    def spoil(file: h5py.File) -> None:
        file["equipoise/stress"][2, 1, 0] = value

    with pytest.raises(FormatError, match="stress of sample 2 is not finite"):
        read_snapshots(altered(path, spoil))


def test_dataset_of_wrong_shape_is_named(path: Path) -> None:
    def shorten(file: h5py.File) -> None:
        values = file["equipoise/energy"][:-1]
        del file["equipoise/energy"]
        file["equipoise/energy"] = values

    with pytest.raises(FormatError, match=r"energy has shape \(3,\); expected \(4,\)"):
        read_snapshots(altered(path, shorten))


def test_mesh_that_differs_from_its_fingerprint_is_found(path: Path) -> None:
    def move(file: h5py.File) -> None:
        file["mesh/points"][0, 0] += 1e-9

    with pytest.raises(FormatError, match="its mesh has fingerprint"):
        read_snapshots(altered(path, move))


def test_inspection_tells_count_fingerprints_materials_and_units(path: Path, plane_record: CellRecord) -> None:
    described = inspect(path)
    assert described["count"] == 4
    assert described["format_version"] == 1
    assert described["mesh_fingerprint"] == plane_record.mesh.fingerprint
    assert described["material_fingerprint"] == "f" * 64
    assert described["materials"] == {"1": plane_record.materials[1]}
    assert described["units"]["stress"] == "MPa"
    assert described["settings"] == {"seed": 0}


def test_writing_fewer_or_more_samples_than_announced_leaves_no_file(tmp_path: Path, plane_record: CellRecord) -> None:
    snapshots = snapshots_of(plane_record, 3)
    arrays = {name: getattr(snapshots, name).numpy() for name in FIELDS}
    for count, words in ((5, r"3 snapshots were written to .*; 5 were announced"), (2, r"3 snapshots were appended")):
        with (
            pytest.raises(ValueError, match=words),
            SnapshotWriter(tmp_path / "s.h5", plane_record, count) as writer,
        ):
            writer.append(arrays)
    assert list(tmp_path.iterdir()) == []


def test_an_error_while_writing_leaves_the_older_file(path: Path, plane_record: CellRecord) -> None:
    before = path.read_bytes()
    spoiled = dataclasses.replace(snapshots_of(plane_record, 2), energy=torch.tensor([1.0, torch.nan]))
    with pytest.raises(ValueError, match="energy of sample 1 is not finite"):
        write_snapshots(path, spoiled)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("compression", [-1, 10])
def test_compression_outside_its_range_is_refused(path: Path, plane_record: CellRecord, compression: int) -> None:
    with pytest.raises(ValueError, match=f"compression={compression}"):
        write_snapshots(path, snapshots_of(plane_record, 1), compression=compression)


def test_blocks_of_several_elements_come_back(tmp_path: Path) -> None:
    points = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [2.0, 0.0]])
    blocks = (
        CellBlock("quad4", np.array([[0, 1, 2, 3]]), np.array([1])),
        CellBlock("tri3", np.array([[1, 4, 2]]), np.array([2])),
    )
    record = CellRecord(mesh=Mesh(points, blocks), materials={}, material_fingerprint="0" * 64)
    write_snapshots(tmp_path / "s.h5", snapshots_of(record, 1))
    assert read_snapshots(tmp_path / "s.h5").mesh.fingerprint == record.mesh.fingerprint
