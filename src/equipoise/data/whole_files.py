"""Files that appear whole or not at all: written under another name, forced to disk, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["check_room", "replace_durably", "whole_file", "write_whole"]


def replace_durably(source: Path, target: Path) -> None:
    """Rename `source` to `target` on the same file system, so that after a power cut either name holds a whole file."""
    os.replace(source, target)
    if os.name == "posix":
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name to write to in the same folder, which becomes `path` at the end; after an error nothing remains.

    Raises:
        OSError: for what the system reports, a full disk above all, with the name of the file.
    """
    scratch = path.with_name(f"{path.name}.unfinished")
    try:
        yield scratch
        replace_durably(scratch, path)
    except OSError as error:
        raise OSError(error.errno or 0, error.strerror or str(error), str(path)) from error
    finally:
        scratch.unlink(missing_ok=True)


def write_whole(path: Path, contents: bytes) -> None:
    """Write a file, or leave what was there; see `whole_file`."""
    with whole_file(path) as scratch, open(scratch, "wb") as file:
        file.write(contents)
        file.flush()
        os.fsync(file.fileno())


def check_room(path: Path, size: int) -> None:
    """Raise `OSError`, naming the file, where the disk has no room for so many bytes beside it.

    HDF5 ends the process when a write fails; so room is asked for before it begins.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    scratch = path.with_name(f"{path.name}.room")
    try:
        with open(scratch, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        raise OSError(error.errno or 0, error.strerror or str(error), str(path)) from error
    finally:
        scratch.unlink(missing_ok=True)
