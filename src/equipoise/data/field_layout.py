"""Where the inputs and outputs of an operator stand in an open file in The Well's layout, ours or another's.

A layout is worked out once; values of chosen samples are then read without the others. Files are opened elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from equipoise.data.field_dataset import FieldDataset
from equipoise.errors import FormatError
from equipoise.spaces.grid import Grid

__all__ = ["FIELD_FORMAT", "FIELD_FORMAT_VERSION", "FieldLayout", "NotFieldsError", "field_layout"]

FIELD_FORMAT = "equipoise fields"
FIELD_FORMAT_VERSION = 1
_AXES = "xyz"

Rows = NDArray[np.int64]


class NotFieldsError(FormatError):
    """The file is whole, but holds something else than fields on a grid."""


@dataclass(frozen=True)
class StoredField:
    """Channels in one data set of the file.

    Attributes:
        path: of the data set. times: taken where it varies in time; `None` where it does not.
        is_shared: whether all samples have the same values. missing: axes of space that it does not vary along.
        shape: of the grid that it is spread over, where axes are missing. component: of a vector or tensor.
    """

    path: str
    times: slice | None = None
    is_shared: bool = False
    missing: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()
    component: tuple[int, ...] = ()

    def read(self, file: h5py.File, rows: Rows) -> torch.Tensor:
        """Values of samples whose numbers increase, `(rows, channel, *grid)`."""
        data = file[self.path]
        rest = (() if self.times is None else (self.times,)) + (Ellipsis, *self.component)
        if self.is_shared:
            values = np.repeat(data[rest][None], len(rows), axis=0)
        else:
            # Numbers that follow one another are read at once; a list of numbers would cost HDF5 far more.
            runs = np.split(rows, np.nonzero(np.diff(rows) != 1)[0] + 1)
            parts = [data[(slice(int(run[0]), int(run[-1]) + 1), *rest)] for run in runs if len(run)]
            values = parts[0] if len(parts) == 1 else np.concatenate(parts)
        found = torch.as_tensor(np.ascontiguousarray(values))
        if self.times is None:
            found = found[:, None]
        for axis in self.missing:
            found = found.unsqueeze(2 + axis)
        return found.expand(*found.shape[:2], *self.shape) if self.missing else found


@dataclass(frozen=True)
class FieldLayout:
    """What a file holds, and where.

    Attributes:
        count: of samples. inputs, outputs: data sets of both sides, in the order of the channels.
        others: see `FieldDataset`.
    """

    count: int
    grid: Grid
    input_grid: Grid
    inputs: tuple[StoredField, ...]
    outputs: tuple[StoredField, ...]
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    times: tuple[float, ...]
    settings: dict[str, Any]

    def read_side(self, file: h5py.File, side: str, rows: Rows) -> torch.Tensor:
        """`"inputs"` or `"outputs"` of samples whose numbers increase."""
        parts = [field.read(file, rows) for field in getattr(self, side)]
        return parts[0].contiguous() if len(parts) == 1 else torch.cat(parts, 1)

    def read(self, file: h5py.File) -> FieldDataset:
        """All samples."""
        rows = np.arange(self.count)
        return FieldDataset(
            self.read_side(file, "inputs", rows),
            self.read_side(file, "outputs", rows),
            self.grid,
            self.input_grid,
            self.input_names,
            self.output_names,
            self.times,
            self.settings,
        )


def field_layout(file: h5py.File, path: Path) -> FieldLayout:
    """The layout of an open file.

    Of others' files, fields without time are inputs and those with one time outputs; of those with more, the first time
    is an input and all later ones are outputs.

    Raises:
        FormatError: for another format version, or a file in another layout.
    """
    if "t0_fields" not in file or "dimensions" not in file:
        raise FormatError(f"{path} is not in The Well's layout: it holds {', '.join(file) or 'nothing'}.")
    return _own_layout(file, path) if "equipoise" in file else _other_layout(file, path)


_Named = tuple[tuple[str, ...], StoredField]


def _other_layout(file: h5py.File, path: Path) -> FieldLayout:
    axes = [str(axis) for axis in file["dimensions"].attrs["spatial_dims"]]
    wraps = tuple(any(name.startswith(f"{axis}_periodic") for name in file["boundary_conditions"]) for axis in axes)
    grid = _grid_of([file["dimensions"][axis][()] for axis in axes], wraps)
    inputs: list[_Named] = []
    outputs: list[_Named] = []
    for order in range(3):
        group = file[f"t{order}_fields"]
        for name in map(str, group.attrs["field_names"]):
            for component in np.ndindex(*group[name].shape[group[name].ndim - order :]):
                _place(group[name], name, tuple(component), grid, inputs, outputs)
    if not inputs or not outputs:
        raise FormatError(f"{path} has {len(inputs)} input fields and {len(outputs)} output fields; a pair needs both.")
    return FieldLayout(
        int(file.attrs["n_trajectories"]),
        grid,
        grid,
        tuple(field for _, field in inputs),
        tuple(field for _, field in outputs),
        tuple(name for names, _ in inputs for name in names),
        tuple(name for names, _ in outputs for name in names),
        (),
        {"read_from": path.name, "dataset_name": str(file.attrs.get("dataset_name", path.stem))},
    )


def _place(
    data: h5py.Dataset,
    name: str,
    component: tuple[int, ...],
    grid: Grid,
    inputs: list[_Named],
    outputs: list[_Named],
) -> None:
    """Say of one component of a field what is an input and what an output."""
    suffix = "".join(_AXES[i] for i in component)
    name = f"{name}_{suffix}" if suffix else name
    is_shared, in_time = not data.attrs["sample_varying"], bool(data.attrs["time_varying"])
    missing = tuple(axis for axis, varies in enumerate(data.attrs["dim_varying"]) if not varies)

    def stored(times: slice | None) -> StoredField:
        return StoredField(str(data.name), times, is_shared, missing, grid.shape, component)

    if not in_time:
        inputs.append(((name,), stored(None)))
        return
    count = data.shape[0 if is_shared else 1]
    if count == 1:
        outputs.append(((name,), stored(slice(None))))
        return
    inputs.append(((name,), stored(slice(0, 1))))
    later = tuple(f"{name}, time {i + 1}" for i in range(count - 1))
    outputs.append((later, stored(slice(1, None))))


def _grid_of(coordinates: Sequence[np.ndarray], wraps: tuple[bool, ...]) -> Grid:
    bounds = []
    for points, periodic in zip(coordinates, wraps, strict=True):
        step = float(points[1] - points[0])
        bounds.append((float(points[0]), float(points[-1]) + (step if periodic else 0.0)))
    return Grid(tuple(len(points) for points in coordinates), tuple(bounds), wraps)


def _own_layout(file: h5py.File, path: Path) -> FieldLayout:
    own = file["equipoise"]
    if own.attrs.get("format") != FIELD_FORMAT:
        raise NotFieldsError(f"{path} does not hold fields on a grid.")
    if int(own.attrs["format_version"]) != FIELD_FORMAT_VERSION:
        version = int(own.attrs["format_version"])
        raise FormatError(f"{path} has field format version {version}; this version reads {FIELD_FORMAT_VERSION}.")
    held = {key: json.loads(own.attrs[key]) for key in ("bounds", "periodic", "inputs", "outputs", "settings")}
    shape = tuple(len(file["dimensions"][axis]) for axis in _AXES[: len(held["bounds"])])
    grid = Grid(shape, tuple(map(tuple, held["bounds"])), tuple(held["periodic"]))
    times = tuple(file["dimensions/time"][()].tolist())
    fields = file["t0_fields"]

    def stored(name: str, times: slice | None) -> StoredField:
        return StoredField(str(fields[name.replace("/", "|")].name), times)

    dropped, first = 0, held["inputs"][0]
    if len(times) > 1:
        inputs, outputs = [stored(first, slice(0, 1))], [stored(first, slice(1, None))]
    else:
        inputs = [stored(name, None) for name in held["inputs"]]
        outputs = [stored(name, slice(None)) for name in held["outputs"]]
        times = ()
        dropped = grid.dim - (file[inputs[0].path].ndim - 1)
    return FieldLayout(
        len(file[inputs[0].path]),
        grid,
        Grid(grid.shape[dropped:], grid.bounds[dropped:], grid.wraps[dropped:]),
        tuple(inputs),
        tuple(outputs),
        tuple(held["inputs"]),
        tuple(held["outputs"]),
        times,
        held["settings"],
    )
