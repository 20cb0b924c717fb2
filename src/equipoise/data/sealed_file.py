"""HDF5 files with a seal: a checksum in the user block in front of the file, checked before HDF5 parses anything.

HDF5 readers skip a user block, so sealed files open everywhere. What the files contain is `store.py`'s business.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from equipoise.errors import FormatError

__all__ = ["USER_BLOCK", "check_seal", "is_sealed", "open_sealed", "seal"]

USER_BLOCK = 512
"""Bytes before the HDF5 superblock; the smallest size that the format allows."""

_MAGIC = b"equipoise sealed hdf5 1\n"
_PIECE = 1 << 20


def seal(path: Path) -> None:
    """Write the checksum of a closed HDF5 file into its user block and force all of it to disk."""
    header = _header(_digest(path), path.stat().st_size)
    with open(path, "r+b") as file:
        file.write(header)
        file.flush()
        os.fsync(file.fileno())


def is_sealed(path: Path) -> bool:
    """Whether a file begins as those that Equipoise writes do; its contents are not compared."""
    with open(path, "rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def check_seal(path: Path) -> None:
    """Compare a file with its seal.

    Raises:
        FileNotFoundError: when there is no such file.
        FormatError: for a file that carries no seal, is shorter or longer than sealed, or whose contents changed.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}.")
    with open(path, "rb") as file:
        header = file.read(USER_BLOCK)
    if not header.startswith(_MAGIC):
        kind = "is an HDF5 file of another program" if h5py.is_hdf5(path) else "is not an HDF5 file"
        raise FormatError(f"{path} {kind}; expected one that Equipoise wrote.")
    size = path.stat().st_size
    if header != _header(_digest(path), size):
        noted = re.search(rb"bytes ([0-9]{1,18})\n", header)
        if noted is not None and int(noted.group(1)) != size:
            raise FormatError(f"{path} is damaged: it has {size} bytes where {int(noted.group(1))} were written.")
        raise FormatError(f"{path} is damaged: its contents differ from what was written (checksum).")


@contextmanager
def open_sealed(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading after checking its seal.

    Raises:
        FileNotFoundError, FormatError: as `check_seal`, and `FormatError` where HDF5 cannot open the file.
    """
    check_seal(path)
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise FormatError(f"{path} cannot be read as HDF5: {error}") from error
    with file:
        yield file


def _header(digest: str, size: int) -> bytes:
    return (_MAGIC + f"sha256 {digest}\nbytes {size}\n".encode()).ljust(USER_BLOCK, b"\n")


def _digest(path: Path) -> str:
    """SHA-256 of everything behind the user block."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        file.seek(USER_BLOCK)
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
