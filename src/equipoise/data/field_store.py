"""Files of fields on grids: HDF5 in The Well's layout, our own and those of others.

Inputs that are given once are fields without time, solutions fields of one time. Where the outputs are later states of
the inputs, both are one field over time. `/equipoise`, which The Well's reader skips, holds channel order and settings.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from equipoise.data.field_dataset import FieldDataset
from equipoise.data.sealed_file import USER_BLOCK, is_sealed, open_sealed, seal
from equipoise.data.whole_files import check_room, whole_file
from equipoise.errors import FormatError
from equipoise.spaces.grid import Grid

__all__ = [
    "FIELD_FORMAT_VERSION",
    "NotFieldsError",
    "read_fields",
    "write_field_parts",
    "write_fields",
    "write_placed_fields",
]

FIELD_FORMAT_VERSION = 1
_FORMAT = "equipoise fields"
_AXES = "xyz"
# Attributes and coordinates beside the fields take less.
_FRAME_BYTES = 1 << 16


class NotFieldsError(FormatError):
    """The file is whole, but holds something else than fields on a grid."""


def write_fields(path: str | Path, data: FieldDataset, *, name: str | None = None) -> None:
    """Write a data set to one file, whole or not at all.

    Args:
        path: file to write; an existing one is replaced at the end. data: finite, with float32 or float64 values.
        name: of the data set; the file's by default.

    Raises:
        FormatError: for values that are not finite. ValueError: for channels of equal names, or inputs that live on
            other axes than the last ones of the outputs. OSError: where the disk is full.
    """
    write_field_parts(path, [data], len(data), name=name)


def write_field_parts(path: str | Path, parts: Iterable[FieldDataset], count: int, *, name: str | None = None) -> None:
    """Write the samples of several data sets on one grid, in order, to one file; only one is in memory at a time.

    Args:
        path, name: see `write_fields`. parts: at least one. count: samples of all of them.

    Raises:
        As `write_fields`; and `ValueError` where the parts hold another number of samples.
    """

    def placed() -> Iterator[tuple[FieldDataset, NDArray[np.int64]]]:
        first = 0
        for part in parts:
            yield part, np.arange(first, first + len(part))
            first += len(part)

    write_placed_fields(path, placed(), count, name=name)


def write_placed_fields(
    path: str | Path,
    parts: Iterable[tuple[FieldDataset, NDArray[np.int64]]],
    count: int,
    *,
    name: str | None = None,
) -> None:
    """Write the samples of several data sets on one grid to given places of one file.

    Args:
        path, name: see `write_fields`. parts: each with the places of its samples; together they fill the file.
        count: places.

    Raises:
        As `write_fields`; and `ValueError` for places that are not each filled once.
    """
    path, remaining = Path(path), iter(parts)
    first, leading = next(remaining)
    dropped = _dropped_axes(first)
    check_room(path, _FRAME_BYTES + count * (first.inputs[0].nbytes + first.outputs[0].nbytes))
    with whole_file(path) as scratch:
        filled = np.zeros(count, dtype=np.int64)
        with h5py.File(scratch, "w", userblock_size=USER_BLOCK) as file:
            _write_frame(file, first, count, name or path.stem)
            fields = file["t0_fields"]
            for part, places in chain([(first, leading)], remaining):
                part.check_finite()
                if len(places) and (places.min() < 0 or places.max() >= count):
                    filled = np.append(filled, np.zeros(len(places), dtype=np.int64))
                    break
                np.add.at(filled, places, 1)
                _write_channels(fields, part, count, places, dropped)
            fields.attrs["field_names"] = _names(list(fields))
        if len(filled) > count or (filled != 1).any():
            written = len(filled) if len(filled) > count else int(filled.sum())
            raise ValueError(f"{written} samples were given for {path}; {count} were announced, each once.")
        seal(scratch)


def read_fields(path: str | Path) -> FieldDataset:
    """Read a file in The Well's layout, ours or another's.

    Of others' files, fields without time are inputs and those with one time outputs; of those with more, the first time
    is an input and all later ones are outputs.

    Raises:
        FileNotFoundError: when there is no such file.
        FormatError: for a damaged file of ours, another format version, or one in another layout.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}.")
    try:
        if is_sealed(path):
            with open_sealed(path) as file:
                return _read(file, path)
        with h5py.File(path, "r") as file:
            return _read(file, path)
    except OSError as error:
        raise FormatError(f"{path} cannot be read as HDF5: {error}") from error
    except (KeyError, IndexError) as error:
        raise FormatError(f"{path} is not in The Well's layout: it lacks {error}.") from error


def _dropped_axes(data: FieldDataset) -> int:
    source = data.input_grid or data.grid
    dropped = data.grid.dim - source.dim
    if dropped < 0 or source.shape != data.grid.shape[dropped:] or source.bounds != data.grid.bounds[dropped:]:
        raise ValueError(
            f"inputs on a grid of shape {source.shape} cannot be written beside outputs on one of shape "
            f"{data.grid.shape}; they must live on its last axes."
        )
    names = [*data.input_names, *data.output_names]
    if len(set(names)) < len(names):
        raise ValueError(f"the channels {', '.join(names)} need names that differ.")
    if data.times and (dropped or data.inputs.shape[1] != 1):
        raise ValueError("states over time need one channel, and inputs and outputs on one grid.")
    return dropped


def _write_frame(file: h5py.File, data: FieldDataset, count: int, name: str) -> None:
    grid = data.grid
    file.attrs.update(dataset_name=name, grid_type="cartesian", n_spatial_dims=grid.dim, n_trajectories=count)
    file.attrs["simulation_parameters"] = _names([])
    axes = list(_AXES[: grid.dim])
    dimensions = file.create_group("dimensions")
    dimensions.attrs["spatial_dims"] = _names(axes)
    time = dimensions.create_dataset("time", data=np.array(data.times or (0.0,), dtype=np.float64))
    time.attrs.update(sample_varying=False, time_varying=True)
    conditions = file.create_group("boundary_conditions")
    for number, axis in enumerate(axes):
        points = dimensions.create_dataset(axis, data=grid.axis(number).numpy())
        points.attrs.update(sample_varying=False, time_varying=False)
        kind = "PERIODIC" if grid.wraps[number] else "WALL"
        condition = conditions.create_group(f"{axis}_{kind.lower()}")
        condition.attrs.update(bc_type=kind, sample_varying=False, time_varying=False)
        condition.attrs["associated_dims"] = _names([axis])
        condition.attrs["associated_fields"] = _names([])
        mask = np.zeros(grid.shape[number], dtype=bool)
        mask[[0, -1]] = True
        condition.create_dataset("mask", data=mask)
    file.create_group("scalars").attrs["field_names"] = _names([])
    for order in range(3):
        file.create_group(f"t{order}_fields").attrs["field_names"] = _names([])
    own = file.create_group("equipoise")
    own.attrs.update(format=_FORMAT, format_version=FIELD_FORMAT_VERSION)
    described: dict[str, Any] = {
        "bounds": grid.bounds,
        "periodic": grid.wraps,
        "inputs": data.input_names,
        "outputs": data.output_names,
        "settings": dict(data.settings),
    }
    for key, value in described.items():
        own.attrs[key] = json.dumps(value)


def _write_channels(group: h5py.Group, data: FieldDataset, count: int, places: NDArray[np.int64], dropped: int) -> None:
    """Write samples to their places; the fields are made with the first of them."""
    dim = data.grid.dim
    if data.times:
        series = torch.cat([data.inputs, data.outputs], 1)
        _write_field(group, data.input_names[0], series, count, places, [True] * dim, is_in_time=True)
        return
    varying = [False] * dropped + [True] * (dim - dropped)
    for channel, name in enumerate(data.input_names):
        _write_field(group, name, data.inputs[:, channel], count, places, varying, is_in_time=False)
    for channel, name in enumerate(data.output_names):
        values = data.outputs[:, channel : channel + 1]
        _write_field(group, name, values, count, places, [True] * dim, is_in_time=True)


def _write_field(
    group: h5py.Group,
    name: str,
    values: torch.Tensor,
    count: int,
    places: NDArray[np.int64],
    varying: list[bool],
    *,
    is_in_time: bool,
) -> None:
    name, array = name.replace("/", "|"), values.detach().cpu().numpy()
    if name not in group:
        made = group.create_dataset(name, shape=(count, *array.shape[1:]), dtype=array.dtype)
        made.attrs["dim_varying"] = np.array(varying)
        made.attrs.update(sample_varying=True, time_varying=is_in_time)
    if len(places) and (np.diff(places) == 1).all():
        group[name][places[0] : places[0] + len(array)] = array
        return
    # One by one: a list of places would cost HDF5 far more.
    for place, values in zip(places, array, strict=True):
        group[name][int(place)] = values


def _read(file: h5py.File, path: Path) -> FieldDataset:
    if "t0_fields" not in file or "dimensions" not in file:
        raise FormatError(f"{path} is not in The Well's layout: it holds {', '.join(file) or 'nothing'}.")
    if "equipoise" in file:
        return _read_own(file, path)
    axes = [str(axis) for axis in file["dimensions"].attrs["spatial_dims"]]
    wraps = tuple(any(name.startswith(f"{axis}_periodic") for name in file["boundary_conditions"]) for axis in axes)
    grid = _grid_of([file["dimensions"][axis][()] for axis in axes], wraps)
    inputs, outputs, input_names, output_names = [], [], [], []
    for name, values in _expanded(file, grid):
        if values.ndim == 1 + grid.dim:
            inputs.append(values[:, None])
            input_names.append(name)
            continue
        steady = values.shape[1] == 1
        if not steady:
            inputs.append(values[:, :1])
            input_names.append(name)
        later = values if steady else values[:, 1:]
        outputs.append(later)
        output_names += [name] if steady else [f"{name}, time {i + 1}" for i in range(later.shape[1])]
    if not inputs or not outputs:
        raise FormatError(f"{path} has {len(inputs)} input fields and {len(outputs)} output fields; a pair needs both.")
    settings = {"read_from": path.name, "dataset_name": str(file.attrs.get("dataset_name", path.stem))}
    return FieldDataset(
        torch.cat(inputs, 1),
        torch.cat(outputs, 1),
        grid,
        input_names=tuple(input_names),
        output_names=tuple(output_names),
        settings=settings,
    )


def _expanded(file: h5py.File, grid: Grid) -> list[tuple[str, torch.Tensor]]:
    """All fields with all samples, axes and, where they vary, times; vectors and tensors by component."""
    count, found = int(file.attrs["n_trajectories"]), []
    for order in range(3):
        group = file[f"t{order}_fields"]
        for name in group.attrs["field_names"]:
            data = group[str(name)]
            values = torch.as_tensor(data[()])
            if not data.attrs["sample_varying"]:
                values = values[None]
            in_time = int(bool(data.attrs["time_varying"]))
            for axis, varies in enumerate(data.attrs["dim_varying"]):
                if not varies:
                    values = values.unsqueeze(1 + in_time + axis)
            shape = [count, *values.shape[1 : 1 + in_time], *grid.shape, *values.shape[1 + in_time + grid.dim :]]
            values = values.expand(shape)
            for index in np.ndindex(*values.shape[values.ndim - order :]):
                suffix = "".join(_AXES[i] for i in index)
                found.append((f"{name}_{suffix}" if suffix else str(name), values[(..., *index)]))
    return found


def _grid_of(coordinates: list[np.ndarray], wraps: tuple[bool, ...]) -> Grid:
    bounds = []
    for points, periodic in zip(coordinates, wraps, strict=True):
        step = float(points[1] - points[0])
        bounds.append((float(points[0]), float(points[-1]) + (step if periodic else 0.0)))
    return Grid(tuple(len(points) for points in coordinates), tuple(bounds), wraps)


def _read_own(file: h5py.File, path: Path) -> FieldDataset:
    own = file["equipoise"]
    if own.attrs.get("format") != _FORMAT:
        raise NotFieldsError(f"{path} does not hold fields on a grid.")
    if int(own.attrs["format_version"]) != FIELD_FORMAT_VERSION:
        version = int(own.attrs["format_version"])
        raise FormatError(f"{path} has field format version {version}; this version reads {FIELD_FORMAT_VERSION}.")
    held = {key: json.loads(own.attrs[key]) for key in ("bounds", "periodic", "inputs", "outputs", "settings")}
    shape = tuple(len(file["dimensions"][axis]) for axis in _AXES[: len(held["bounds"])])
    grid = Grid(shape, tuple(map(tuple, held["bounds"])), tuple(held["periodic"]))
    names: dict[str, Any] = {"input_names": tuple(held["inputs"]), "output_names": tuple(held["outputs"])}
    times = tuple(file["dimensions/time"][()].tolist())
    fields = {name: torch.as_tensor(data[()]) for name, data in file["t0_fields"].items()}
    if len(times) > 1:
        series = fields[held["inputs"][0]]
        return FieldDataset(series[:, :1], series[:, 1:], grid, times=times, settings=held["settings"], **names)
    inputs = torch.stack([fields[name.replace("/", "|")] for name in held["inputs"]], 1)
    outputs = torch.cat([fields[name.replace("/", "|")] for name in held["outputs"]], 1)
    dropped = grid.dim - (inputs.ndim - 2)
    source = Grid(grid.shape[dropped:], grid.bounds[dropped:], grid.wraps[dropped:])
    return FieldDataset(inputs, outputs, grid, source, settings=held["settings"], **names)


def _names(values: list[str]) -> np.ndarray:
    return np.array(values, dtype=h5py.string_dtype())
