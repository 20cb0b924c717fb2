"""Snapshot files: HDF5 in The Well's layout, with what is Equipoise's own in two groups that its reader skips.

The Well's reader sees nodal displacement fluctuations as fields on one axis `node`, macroscopic strain and stress as
scalars (tensor shear there). `/mesh` holds the cell; `/equipoise` the strain (engineering shear), the stress at the
quadrature points, the homogenised stress and tangent, and the fingerprints. Everything is float64.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
import torch

from equipoise.data.mesh_group import read_mesh_group, write_mesh_group
from equipoise.data.sealed_file import USER_BLOCK, open_sealed, seal
from equipoise.data.snapshots import CellRecord, Fingerprinted, Snapshots
from equipoise.data.whole_files import check_room, replace_durably
from equipoise.errors import FormatError

__all__ = ["FORMAT_VERSION", "SnapshotWriter", "inspect", "read_snapshots", "write_snapshots"]

FORMAT_VERSION = 1
_FORMAT = "equipoise snapshots"
_UNITS = {"strain": "1", "stress": "MPa", "energy": "MPa", "tangent": "MPa", "displacement": "mm", "points": "mm"}
_AXES = "xyz"
_COMPONENTS = {3: ("xx", "yy", "xy"), 6: ("xx", "yy", "zz", "yz", "xz", "xy")}
_OWN = ("strain", "stress", "homogenised_stress", "homogenised_tangent", "energy", "iterations")


class SnapshotWriter:
    """Writes snapshots into one file, batch by batch; the file appears under its name when all of them are in.

    Args:
        path: file to write; an existing one is replaced at the end.
        cell: the cell that the snapshots belong to.
        count: number of snapshots to come.
        settings: how the strains were drawn, plain JSON values.
        compression: gzip level, 0 (none) to 9.
        scratch: where the unfinished file lives, on the same file system; beside `path` by default.

    Raises:
        ValueError: for a compression outside 0 to 9, arrays of wrong shapes, values that are not finite, or a wrong
            number of snapshots at the end.
    """

    def __init__(
        self,
        path: Path,
        cell: CellRecord,
        count: int,
        *,
        settings: Mapping[str, Any] | None = None,
        compression: int = 0,
        scratch: Path | None = None,
    ) -> None:
        if not 0 <= compression <= 9:
            raise ValueError(f"compression={compression} must lie between 0 (none) and 9.")
        self.path, self.cell, self.count = Path(path), cell, count
        self._options = {"compression": "gzip", "compression_opts": compression} if compression else {}
        self._scratch = scratch or self.path.with_name(self.path.name + ".unfinished")
        self._settings = dict(settings or {})
        self._written = 0
        self._file: h5py.File | None = None

    def __enter__(self) -> SnapshotWriter:
        self._file = h5py.File(self._scratch, "w", userblock_size=USER_BLOCK)
        _write_frame(self._file, self.path.stem, self.cell, self.count, self._settings)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
        if kind is None and self._written == self.count:
            seal(self._scratch)
            replace_durably(self._scratch, self.path)
            return
        self._scratch.unlink(missing_ok=True)
        if kind is None:
            raise ValueError(f"{self._written} snapshots were written to {self.path}; {self.count} were announced.")

    def append(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Write the next samples: the names and shapes of `Snapshots`, from `strain` to `iterations`."""
        if self._file is None:
            raise ValueError("a SnapshotWriter is used in a `with` statement.")
        check_arrays(arrays, self.cell, first=self._written)
        rows = slice(self._written, self._written + len(arrays["strain"]))
        if rows.stop > self.count:
            raise ValueError(f"{rows.stop} snapshots were appended where {self.count} were announced.")
        if self._written == 0:
            sample = sum(values.nbytes for values in arrays.values()) / len(arrays["strain"])
            check_room(self.path, int(1.1 * self.count * sample))
            self._create(arrays)
        for axis in range(self.cell.mesh.dim):
            self._file[f"t0_fields/displacement_fluctuation_{_AXES[axis]}"][rows, 0] = arrays["fluctuation"][..., axis]
        for name, values in _well_scalars(arrays).items():
            self._file[f"scalars/{name}"][rows] = values
        for name in _OWN:
            self._file[f"equipoise/{name}"][rows] = arrays[name]
        self._written = rows.stop

    def _create(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Create the datasets of all samples; the first batch tells the number of quadrature points."""
        assert self._file is not None
        fields = self._file["t0_fields"]
        for axis in range(self.cell.mesh.dim):
            data = self._dataset(
                fields, f"displacement_fluctuation_{_AXES[axis]}", (1, self.cell.mesh.n_nodes), np.float64
            )
            data.attrs["dim_varying"] = np.array([True])
            data.attrs.update(sample_varying=True, time_varying=True)
        scalars = self._file["scalars"]
        for name in _well_scalars(arrays):
            self._dataset(scalars, name, (), np.float64).attrs.update(sample_varying=True, time_varying=False)
        scalars.attrs["field_names"] = _names(list(_well_scalars(arrays)))
        for name in _OWN:
            kind = np.int64 if name == "iterations" else np.float64
            self._dataset(self._file["equipoise"], name, arrays[name].shape[1:], kind)

    def _dataset(self, group: h5py.Group, name: str, shape: tuple[int, ...], kind: type) -> h5py.Dataset:
        options = dict(self._options, chunks=(1, *shape)) if self._options and shape else {}
        return group.create_dataset(name, shape=(self.count, *shape), dtype=kind, **options)


def write_snapshots(path: str | Path, snapshots: Snapshots, *, compression: int = 0) -> None:
    """Write snapshots to one file, whole or not at all; `compression` is a gzip level, 0 (none) to 9."""
    with SnapshotWriter(
        Path(path), snapshots.cell, len(snapshots), settings=snapshots.settings, compression=compression
    ) as writer:
        writer.append({name: getattr(snapshots, name).cpu().numpy() for name in (*_OWN, "fluctuation")})


def read_snapshots(path: str | Path, *, cell: Fingerprinted | None = None) -> Snapshots:
    """Read a snapshot file and check all of it.

    Args:
        path: file that `generate_snapshots` or `write_snapshots` wrote.
        cell: the cell that the snapshots are wanted for, a `PeriodicCell` or `CellRecord`; not compared by default.

    Raises:
        FileNotFoundError: when there is no such file.
        FormatError: for a foreign, truncated or altered file, another format version, a dataset of wrong shape, a value
            that is not finite (its sample is named), or snapshots of another mesh or of other materials than `cell`.
    """
    path = Path(path)
    with open_sealed(path) as file:
        own = _own_group(file, path)
        try:
            record = CellRecord(
                mesh=read_mesh_group(file["mesh"]),
                materials={int(tag): config for tag, config in json.loads(own.attrs["materials"]).items()},
                material_fingerprint=str(own.attrs["material_fingerprint"]),
            )
            arrays = {name: own[name][()] for name in _OWN}
            axes = [file[f"t0_fields/displacement_fluctuation_{axis}"][:, 0] for axis in _AXES[: record.mesh.dim]]
            arrays["fluctuation"] = np.stack(axes, axis=-1)
            mesh_fingerprint, settings = str(own.attrs["mesh_fingerprint"]), json.loads(own.attrs["settings"])
        except (KeyError, ValueError, TypeError) as error:
            raise FormatError(f"{path} is not laid out as snapshots of version {FORMAT_VERSION}: {error}") from error
    if record.mesh.fingerprint != mesh_fingerprint:
        raise FormatError(
            f"{path}: its mesh has fingerprint {record.mesh.fingerprint[:12]}, not {mesh_fingerprint[:12]} as noted."
        )
    try:
        check_arrays(arrays, record)
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from error
    tensors = {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in arrays.items()}
    snapshots = Snapshots(cell=record, settings=settings, **tensors)
    if cell is not None:
        snapshots.check_cell(cell, name=f"the snapshots in {path}")
    return snapshots


def inspect(path: str | Path) -> dict[str, Any]:
    """What a snapshot file holds, without its large arrays; plain JSON values.

    Raises:
        FileNotFoundError, FormatError: as `read_snapshots`, but without looking at values.
    """
    path = Path(path)
    with open_sealed(path) as file:
        own = _own_group(file, path)
        try:
            iterations = own["iterations"][()]
            return {
                "path": str(path),
                "format_version": int(own.attrs["format_version"]),
                "count": int(file.attrs["n_trajectories"]),
                "bytes": path.stat().st_size,
                "iterations_mean": float(iterations.mean()),
                "iterations_max": int(iterations.max()),
                "mesh_fingerprint": str(own.attrs["mesh_fingerprint"]),
                "material_fingerprint": str(own.attrs["material_fingerprint"]),
                "materials": json.loads(own.attrs["materials"]),
                "units": json.loads(own.attrs["units"]),
                "settings": json.loads(own.attrs["settings"]),
                "shapes": {name: list(own[name].shape) for name in _OWN},
            }
        except (KeyError, ValueError) as error:
            raise FormatError(f"{path} is not laid out as snapshots of version {FORMAT_VERSION}: {error}") from error


def check_arrays(arrays: Mapping[str, np.ndarray], cell: CellRecord, *, first: int = 0) -> None:
    """Raise `ValueError` for arrays of wrong shapes, or values that are not finite; samples count from `first`."""
    missing = [name for name in (*_OWN, "fluctuation") if name not in arrays]
    if missing:
        raise ValueError(f"snapshots lack {', '.join(missing)}.")
    count, dim = len(arrays["strain"]), cell.mesh.dim
    components = {2: 3, 3: 6}[dim]
    points = arrays["stress"].shape[1] if arrays["stress"].ndim == 3 else -1
    expected = {
        "strain": (count, components),
        "fluctuation": (count, cell.mesh.n_nodes, dim),
        "stress": (count, points, components),
        "homogenised_stress": (count, components),
        "homogenised_tangent": (count, components, components),
        "energy": (count,),
        "iterations": (count,),
    }
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            raise ValueError(f"{name} has shape {arrays[name].shape}; expected {shape}.")
        finite = np.isfinite(arrays[name]).reshape(count, -1).all(axis=1)
        if not finite.all():
            raise ValueError(f"{name} of sample {first + int(np.argmin(finite))} is not finite.")


def _own_group(file: h5py.File, path: Path) -> h5py.Group:
    if "equipoise" not in file or file["equipoise"].attrs.get("format") != _FORMAT:
        raise FormatError(f"{path} does not hold snapshots of a unit cell.")
    version = int(file["equipoise"].attrs.get("format_version", -1))
    if version != FORMAT_VERSION:
        raise FormatError(
            f"{path} has snapshot format version {version}; this version of Equipoise reads version {FORMAT_VERSION}."
        )
    return file["equipoise"]


def _well_scalars(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Macroscopic strain and stress by component, with tensor shear as The Well's tensors have it."""
    names = _COMPONENTS[arrays["strain"].shape[1]]
    scalars = {}
    for number, name in enumerate(names):
        share = 1.0 if name[0] == name[1] else 0.5
        scalars[f"strain_{name}"] = share * arrays["strain"][:, number]
    for number, name in enumerate(names):
        scalars[f"stress_{name}"] = arrays["homogenised_stress"][:, number]
    return scalars


def _names(values: list[str]) -> np.ndarray:
    """List of names as HDF5 keeps it; an empty one too has a string type."""
    return np.array(values, dtype=h5py.string_dtype())


def _write_frame(file: h5py.File, name: str, cell: CellRecord, count: int, settings: dict[str, Any]) -> None:
    """Everything but the samples: The Well's required groups and attributes, the mesh, and our own attributes."""
    mesh = cell.mesh
    file.attrs.update(dataset_name=name, grid_type="mesh", n_spatial_dims=1, n_trajectories=count)
    file.attrs["simulation_parameters"] = _names([])
    dimensions = file.create_group("dimensions")
    dimensions.attrs["spatial_dims"] = _names(["node"])
    dimensions.create_dataset("time", data=np.zeros(1)).attrs.update(sample_varying=False, time_varying=True)
    nodes = dimensions.create_dataset("node", data=np.arange(mesh.n_nodes, dtype=np.float64))
    nodes.attrs.update(sample_varying=False, time_varying=False)
    periodic = file.create_group("boundary_conditions/node_periodic")
    periodic.attrs["bc_type"] = "PERIODIC"
    periodic.attrs["associated_dims"] = _names(["node"])
    periodic.attrs["associated_fields"] = _names([])
    periodic.attrs.update(sample_varying=False, time_varying=False)
    size = mesh.points.max(axis=0) - mesh.points.min(axis=0)
    at_side = (mesh.points - mesh.points.min(axis=0) <= 1e-6 * size) | (
        mesh.points.max(axis=0) - mesh.points <= 1e-6 * size
    )
    periodic.create_dataset("mask", data=at_side.any(axis=1))
    file.create_group("scalars")
    fields = file.create_group("t0_fields")
    fluctuations = [f"displacement_fluctuation_{_AXES[axis]}" for axis in range(mesh.dim)]
    positions = [f"position_{_AXES[axis]}" for axis in range(mesh.dim)]
    fields.attrs["field_names"] = _names(fluctuations + positions)
    for axis, position in enumerate(positions):
        data = fields.create_dataset(position, data=mesh.points[:, axis])
        data.attrs["dim_varying"] = np.array([True])
        data.attrs.update(sample_varying=False, time_varying=False)
    for order in (1, 2):
        file.create_group(f"t{order}_fields").attrs["field_names"] = _names([])
    write_mesh_group(file.create_group("mesh"), mesh)
    own = file.create_group("equipoise")
    own.attrs.update(format=_FORMAT, format_version=FORMAT_VERSION, shear_strain="engineering")
    own.attrs["components"] = _names(list(_COMPONENTS[{2: 3, 3: 6}[mesh.dim]]))
    own.attrs.update(mesh_fingerprint=mesh.fingerprint, material_fingerprint=cell.material_fingerprint)
    materials = {str(tag): dict(config) for tag, config in cell.materials.items()}
    for key, value in (("materials", materials), ("units", _UNITS), ("settings", settings)):
        own.attrs[key] = json.dumps(value, sort_keys=True)
