"""Data sets larger than memory: fields that stay in their file, and are read by sample when they are asked for.

They stand wherever a `FieldDataset` does that is taken in parts; training on them gives the same weights.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from equipoise.data.field_dataset import FieldDataset
from equipoise.data.field_layout import FieldLayout, field_layout
from equipoise.data.foreign_fields import is_in_the_wells_layout, read_foreign_fields
from equipoise.data.sealed_file import check_seal, is_sealed
from equipoise.errors import FormatError
from equipoise.spaces.sample_chunks import sample_chunks

__all__ = ["StoredValues", "StreamedFields", "open_fields", "stream_fields"]

# Files above this share of the memory of the machine are streamed unless asked otherwise.
_SHARE_OF_MEMORY = 0.25


class _OpenFile:
    """One handle on a file for each process, opened when it is first needed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: tuple[int, h5py.File] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_opened": None}

    def get(self) -> h5py.File:
        """The handle of this process."""
        if self._opened is None or self._opened[0] != os.getpid():
            try:
                self._opened = (os.getpid(), h5py.File(self.path, "r"))
            except OSError as error:
                raise FormatError(f"{self.path} cannot be read as HDF5: {error}") from error
        return self._opened[1]


class StoredValues:
    """One side of a data set in its file; indexed by samples like a tensor, which reads them.

    Attributes:
        shape: `(n, channel, *grid)`. dtype: of what is read.
    """

    def __init__(self, file: _OpenFile, layout: FieldLayout, side: str, rows: NDArray[np.int64]) -> None:
        self._file, self._layout, self._side, self._rows = file, layout, side, rows
        first = layout.read_side(file.get(), side, np.zeros(1, dtype=np.int64))
        self.shape, self.dtype = torch.Size((len(rows), *first.shape[1:])), first.dtype

    @property
    def ndim(self) -> int:
        """Number of axes, that of the samples included."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, samples: torch.Tensor | slice | list[int]) -> torch.Tensor:
        """Read samples, by slice, numbers or booleans; each is read once."""
        chosen = self._rows[samples if isinstance(samples, slice) else np.asarray(samples)]
        rows, places = np.unique(chosen, return_inverse=True)
        values = self._layout.read_side(self._file.get(), self._side, rows)
        in_order = len(rows) == len(chosen) and bool((places == np.arange(len(places))).all())
        return values if in_order else values[torch.as_tensor(places)]


class StreamedFields(FieldDataset):
    """A `FieldDataset` whose inputs and outputs stay in the file; see `stream_fields`."""

    # Indexed by samples, as tensors are; what needs whole tensors asks for `[:]`.
    inputs: StoredValues  # type: ignore[assignment]
    outputs: StoredValues  # type: ignore[assignment]

    def __init__(self, file: _OpenFile, layout: FieldLayout, rows: NDArray[np.int64]) -> None:
        for name in ("grid", "input_grid", "input_names", "output_names", "times", "settings"):
            object.__setattr__(self, name, getattr(layout, name))
        sides = {side: StoredValues(file, layout, side, rows) for side in ("inputs", "outputs")}
        for name, value in {**sides, "_file": file, "_layout": layout, "_rows": rows}.items():
            object.__setattr__(self, name, value)

    _file: _OpenFile
    _layout: FieldLayout
    _rows: NDArray[np.int64]
    _bad: list[int] | None = None

    @property
    def fingerprint(self) -> str:
        """Digest of grids and values, that of the same data in memory."""
        digest = hashlib.sha256(repr((self.grid, self.input_grid)).encode())
        for values in (self.inputs, self.outputs):
            for chunk in sample_chunks(values):
                digest.update(chunk.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def subset(self, samples: torch.Tensor | slice) -> FieldDataset:
        """The chosen samples, by slice, numbers or booleans, still in the file."""
        return StreamedFields(
            self._file, self._layout, self._rows[samples if isinstance(samples, slice) else np.asarray(samples)]
        )

    def in_memory(self) -> FieldDataset:
        """The same samples, read."""
        return FieldDataset(
            self.inputs[:],
            self.outputs[:],
            self.grid,
            self.input_grid,
            self.input_names,
            self.output_names,
            self.times,
            self.settings,
        )

    def non_finite(self) -> list[int]:
        """Numbers of the samples that hold a value that is not finite; reads all, once."""
        if self._bad is not None:
            return self._bad
        finite = torch.ones(len(self), dtype=torch.bool)
        for values in (self.inputs, self.outputs):
            done = 0
            for chunk in sample_chunks(values):
                finite[done : done + len(chunk)] &= torch.isfinite(chunk).flatten(1).all(1)
                done += len(chunk)
        object.__setattr__(self, "_bad", torch.nonzero(~finite).flatten().tolist())
        return self._bad or []

    def describe(self) -> dict[str, Any]:
        """Not without reading all at once; use `in_memory().describe()`."""
        return self.in_memory().describe()


def stream_fields(path: str | Path) -> StreamedFields:
    """Fields of a file in The Well's layout, ours or another's, left in it.

    Our own files are checked against their seal first, which reads them once.

    Raises:
        FileNotFoundError: when there is no such file. FormatError: for a damaged file, or one in another layout.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}.")
    if not is_in_the_wells_layout(path):
        raise FormatError(f"{path} is not in The Well's layout; only such files can be read in parts.")
    if is_sealed(path):
        check_seal(path)
    file = _OpenFile(path)
    try:
        layout = field_layout(file.get(), path)
        return StreamedFields(file, layout, np.arange(layout.count))
    except (KeyError, IndexError) as error:
        raise FormatError(f"{path} is not in The Well's layout: it lacks {error}.") from error


def open_fields(path: str | Path, *, stream: bool | None = None) -> FieldDataset:
    """A file of fields, in memory or left in the file.

    Args:
        path: of any file that `read_foreign_fields` takes.
        stream: leave the values in the file; by default for files in The Well's layout above a quarter of the memory.

    Raises:
        As `read_foreign_fields`, and as `stream_fields` where it is asked for.
    """
    path = Path(path)
    if stream is None:
        stream = path.is_file() and path.stat().st_size > _SHARE_OF_MEMORY * _memory() and is_in_the_wells_layout(path)
    return stream_fields(path) if stream else read_foreign_fields(path)


def _memory() -> float:
    """Bytes of the machine's memory; infinite where the system does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return float("inf")
