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
from equipoise.data.field_layout import FIELD_FORMAT, FIELD_FORMAT_VERSION, NotFieldsError, field_layout
from equipoise.data.sealed_file import USER_BLOCK, is_sealed, open_sealed, seal
from equipoise.data.whole_files import check_room, whole_file
from equipoise.errors import FormatError

__all__ = [
    "FIELD_FORMAT_VERSION",
    "NotFieldsError",
    "read_fields",
    "write_field_parts",
    "write_fields",
    "write_placed_fields",
]

_AXES = "xyz"
# Attributes and coordinates beside the fields take less.
_FRAME_BYTES = 1 << 16


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
                return field_layout(file, path).read(file)
        with h5py.File(path, "r") as file:
            return field_layout(file, path).read(file)
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
    own.attrs.update(format=FIELD_FORMAT, format_version=FIELD_FORMAT_VERSION)
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


def _names(values: list[str]) -> np.ndarray:
    return np.array(values, dtype=h5py.string_dtype())
