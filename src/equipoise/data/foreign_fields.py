"""Readers of other projects' field data: neuraloperator's tensor dictionaries, the FNO authors' `.mat`, PDEBench.

Nothing in a file is run: tensor dictionaries are read with weights only, the others hold plain arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from equipoise.data.field_dataset import FieldDataset
from equipoise.data.field_store import read_fields
from equipoise.errors import FormatError
from equipoise.spaces.grid import Grid

__all__ = ["is_in_the_wells_layout", "read_foreign_fields", "read_mat", "read_pdebench", "read_tensor_dictionary"]


def read_foreign_fields(path: str | Path) -> FieldDataset:
    """Read a file of another project by its ending and contents.

    Raises:
        FileNotFoundError: when there is no such file.
        FormatError: for one that none of the readers knows, or that is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}.")
    if path.suffix in (".pt", ".pth"):
        return read_tensor_dictionary(path)
    if path.suffix == ".mat":
        return read_mat(path)
    if path.suffix in (".h5", ".hdf5"):
        return read_fields(path) if is_in_the_wells_layout(path) else read_pdebench(path)
    raise FormatError(f"{path} ends in {path.suffix!r}; known are .pt, .mat, .h5 and .hdf5.")


def is_in_the_wells_layout(path: Path) -> bool:
    """Whether a file is HDF5 with the fields of The Well."""
    if not h5py.is_hdf5(path):
        return False
    with h5py.File(path, "r") as file:
        return "t0_fields" in file


def read_tensor_dictionary(path: str | Path, *, periodic: bool = False) -> FieldDataset:
    """Read `{"x": inputs, "y": outputs}` as neuraloperator saves them.

    Two axes are samples of a line, three of a plane without channels, four or more have a channel after the sample.
    Booleans become 0 and 1.

    Args:
        path: of the file. periodic: whether the unit box that the fields live on is.
    """
    path = Path(path)
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # the unpickler fails in as many ways as files are damaged
        raise FormatError(f"{path} cannot be read as a dictionary of tensors: {_first_line(error)}.") from error
    if not isinstance(held, Mapping) or not all(isinstance(held.get(key), torch.Tensor) for key in ("x", "y")):
        raise FormatError(f"{path} is no dictionary with the tensors 'x' and 'y'.")
    return _pair(path, held["x"], held["y"], periodic=periodic, kind="tensor dictionary")


_MAT_PAIRS = {("coeff", "sol"): False, ("a", "u"): True}


def read_mat(path: str | Path) -> FieldDataset:
    """Read the FNO authors' data: `coeff` and `sol` of Darcy, or `a` and `u` of Burgers and Navier-Stokes.

    Versions 4 to 7 are read by SciPy, 7.3 is HDF5. Times after the last axis of `u` become channels.
    """
    path = Path(path)
    arrays = _mat_arrays(path)
    for (source, target), periodic in _MAT_PAIRS.items():
        if source in arrays and target in arrays:
            inputs, outputs = torch.as_tensor(arrays[source]), torch.as_tensor(arrays[target])
            if outputs.ndim == inputs.ndim + 1:
                outputs = outputs.movedim(-1, 1)
            return _pair(path, inputs[:, None], outputs if outputs.ndim > inputs.ndim else outputs[:, None],
                         periodic=periodic, kind="mat")  # fmt: skip
    raise FormatError(f"{path} holds {', '.join(sorted(arrays)) or 'nothing'}; known are coeff with sol, and a with u.")


def _mat_arrays(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}.")
    if h5py.is_hdf5(path):
        with h5py.File(path, "r") as file:
            # MATLAB's axes are stored in the opposite order.
            return {name: data[()].T for name, data in file.items() if isinstance(data, h5py.Dataset)}
    import scipy.io

    try:
        held = scipy.io.loadmat(path)
    except Exception as error:  # damaged files fail in many ways
        raise FormatError(f"{path} cannot be read as a MATLAB file: {_first_line(error)}.") from error
    return {name: value for name, value in held.items() if not name.startswith("__")}


def read_pdebench(path: str | Path) -> FieldDataset:
    """Read PDEBench's HDF5: `tensor` with or without `nu`, or one group of `data` for each sample.

    Without `nu`, the first time is the input and all later ones are output channels.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}.")
    try:
        with h5py.File(path, "r") as file:
            return _pdebench(path, file)
    except OSError as error:
        raise FormatError(f"{path} cannot be read as HDF5: {_first_line(error)}.") from error


def _pdebench(path: Path, file: h5py.File) -> FieldDataset:
    if "tensor" in file:
        tensor = torch.as_tensor(file["tensor"][()])
        bounds = _coordinates(file, tensor.shape[2:])
        if "nu" in file:
            return _pair(path, torch.as_tensor(file["nu"][()])[:, None], tensor, bounds=bounds, kind="PDEBench")
        return _pair(path, tensor[:, :1], tensor[:, 1:], bounds=bounds, periodic=True, kind="PDEBench")
    samples = sorted(name for name in file if name.isdigit() and "data" in file[name])
    if not samples:
        raise FormatError(f"{path} holds {', '.join(file) or 'nothing'}; PDEBench has 'tensor', or groups '0000', ….")
    data = torch.stack([torch.as_tensor(file[name]["data"][()]) for name in samples]).movedim(-1, 2)
    bounds = _coordinates(file[samples[0]].get("grid", {}), data.shape[3:], names="xyz")
    later = data[:, 1:].flatten(1, 2)
    return _pair(path, data[:, 0], later, bounds=bounds, kind="PDEBench")


def _coordinates(group: Any, shape: tuple[int, ...], *, names: str = "") -> tuple[tuple[float, float], ...] | None:
    """Ends of the box whose points are cell centres, where coordinates are given for every axis."""
    bounds = []
    for axis, count in enumerate(shape):
        key = names[axis] if names else f"{'xyz'[axis]}-coordinate"
        if key not in group:
            return None
        values = np.asarray(group[key][()]).ravel()[:count]
        if len(values) < 2:
            return None
        half = float(values[1] - values[0]) / 2
        bounds.append((float(values[0]) - half, float(values[-1]) + half))
    return tuple(bounds)


def _pair(
    path: Path,
    inputs: torch.Tensor,
    outputs: torch.Tensor,
    *,
    kind: str,
    periodic: bool = False,
    bounds: tuple[tuple[float, float], ...] | None = None,
) -> FieldDataset:
    fields = []
    for name, values in (("inputs", inputs), ("outputs", outputs)):
        values = values if values.is_floating_point() else values.to(torch.float32)
        if values.ndim in (2, 3) and kind == "tensor dictionary":
            values = values[:, None]
        if not 3 <= values.ndim <= 5:
            raise FormatError(f"{path}: the {name} have shape {tuple(values.shape)}; fields have 1 to 3 axes.")
        fields.append(values.contiguous())
    grids = [Grid(tuple(values.shape[2:]), bounds or (), periodic) for values in fields]
    settings = {"read_from": path.name, "kind": kind}
    try:
        return FieldDataset(fields[0], fields[1], grids[1], grids[0], settings=settings)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error


def _first_line(error: Exception) -> str:
    words = " ".join(str(error).split())
    return (words[:150] or type(error).__name__).rstrip(".")
