"""Finished parts of a long generation, kept on disk so that it can be stopped at any moment and resumed.

A folder holds `manifest.json` (the settings that all parts share) and one safetensors file for each part, named after
its number and checksum and renamed into place when whole. A part whose contents don't match its name counts as missing.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from equipoise.data.whole_files import write_whole
from equipoise.errors import FormatError

__all__ = ["PartsFolder", "first_difference", "is_finished", "locked", "open_parts", "remove_parts"]

_LOCK = "lock"

_logger = logging.getLogger("equipoise.data.parts")


class PartsFolder:
    """Folder of finished parts; create it with `start` or find it again with `resume`.

    Attributes:
        path: the folder.
        settings: what all parts share, plain JSON values.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path, self.settings = path, dict(settings)
        self._files = self._find()

    @classmethod
    def start(cls, path: Path, settings: Mapping[str, Any]) -> PartsFolder:
        """Empty the folder, which is made if need be, and note the settings."""
        path.mkdir(exist_ok=True)
        for file in path.iterdir():
            if file.name != _LOCK:
                file.unlink()
        write_whole(path / "manifest.json", json.dumps(dict(settings), indent=1, sort_keys=True).encode())
        return cls(path, settings)

    @classmethod
    def resume(cls, path: Path, settings: Mapping[str, Any], *, free: frozenset[str] = frozenset()) -> PartsFolder:
        """Open a folder made with the same settings; those named in `free` may differ, and the folder's hold.

        Raises:
            FormatError: for a manifest that cannot be read, or settings that differ; the first difference is named.
        """
        try:
            kept = json.loads((path / "manifest.json").read_bytes())
        except (OSError, ValueError) as error:
            raise FormatError(f"{path} cannot be resumed, for its manifest.json cannot be read: {error}") from error
        difference = first_difference(kept, settings, free=free)
        if difference is not None:
            raise FormatError(f"{path} cannot be resumed: {difference}; repeat the first settings, or start afresh.")
        return cls(path, kept)

    @property
    def finished(self) -> frozenset[int]:
        """Numbers of the parts that are whole."""
        return frozenset(self._files)

    def add(self, number: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep a finished part, in place of a former one of this number."""
        contents = save({name: np.ascontiguousarray(values) for name, values in arrays.items()})
        target = self.path / f"{number:06d}-{hashlib.sha256(contents).hexdigest()}.safetensors"
        write_whole(target, contents)
        former = self._files.get(number)
        if former is not None and former != target:
            former.unlink(missing_ok=True)
        self._files[number] = target

    def read(self, number: int) -> dict[str, np.ndarray]:
        """Read a part back.

        Raises:
            FormatError: for a part that has been damaged since it was found whole.
        """
        contents = self._files[number].read_bytes()
        if not _is_whole(self._files[number], contents):
            raise FormatError(f"{self._files[number]} is damaged; run again with --resume to make this part anew.")
        return dict(load(contents))

    def read_all(self) -> Iterator[dict[str, np.ndarray]]:
        """All parts in the order of their numbers; the next one is read and checked while the caller works on one.

        Raises:
            FormatError: as `read`.
        """
        numbers = sorted(self._files)
        with ThreadPoolExecutor(1) as reader:
            ahead = deque(reader.submit(self.read, number) for number in numbers[:1])
            for place in range(len(numbers)):
                ahead.extend(reader.submit(self.read, number) for number in numbers[place + 1 : place + 2])
                yield ahead.popleft().result()

    def _find(self) -> dict[int, Path]:
        files: dict[int, Path] = {}
        for file in sorted(self.path.glob("[0-9]*-*.safetensors")):
            number = file.name.partition("-")[0]
            if number.isdigit() and _is_whole(file, file.read_bytes()):
                files[int(number)] = file
            else:
                _logger.warning("%s is damaged; this part is made anew", file)
                file.unlink()
        return files


def is_finished(
    path: Path,
    folder: Path,
    settings: Mapping[str, Any],
    settings_of: Callable[[Path], Mapping[str, Any]],
    *,
    resume: bool,
    overwrite: bool,
) -> bool:
    """Whether a generated file is there and what was asked for.

    Args:
        path: the file. folder: its unfinished parts. settings: of the run. settings_of: reads those of a file.
        resume, overwrite: what the user allows.

    Raises:
        FormatError: where the file or its parts are in the way, or were made with other settings.
    """
    if overwrite and not resume:
        return False
    if path.exists():
        if not resume:
            raise FormatError(f"{path} exists already; use --overwrite to replace it, or --resume to go on with it.")
        difference = first_difference(settings_of(path), settings)
        if difference is None:
            return True
        # Parts beside a file of other settings: an interrupted run that was allowed to overwrite it.
        if not overwrite and not folder.exists():
            raise FormatError(f"{path} was made with other settings: {difference}.")
    elif folder.exists() and not resume:
        raise FormatError(
            f"{folder} holds an unfinished generation; use --resume to go on with it, or --overwrite to start afresh."
        )
    return False


def open_parts(folder: Path, settings: Mapping[str, Any], *, resume: bool) -> PartsFolder:
    """Parts to go on with where there are any and `resume` is given, else an empty folder; its chunk size holds."""
    if resume and (folder / "manifest.json").exists():
        return PartsFolder.resume(folder, settings, free=frozenset({"chunk_size"}))
    return PartsFolder.start(folder, settings)


def remove_parts(path: Path) -> None:
    """Delete a folder of parts, if there is one."""
    shutil.rmtree(path, ignore_errors=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes from working on a folder of parts, which is made if need be.

    The system lifts the lock of a process that dies. Systems without POSIX locks don't notice each other.

    Raises:
        FormatError: when another process holds the lock.
    """
    path.mkdir(exist_ok=True)
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(path / _LOCK, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise FormatError(f"another process is at work on {path}; wait for it, or stop it.") from error
        yield


def first_difference(
    kept: Mapping[str, Any], given: Mapping[str, Any], *, free: frozenset[str] = frozenset()
) -> str | None:
    """The first setting that differs, as words, or `None`; settings named in `free` are not compared."""
    plain = json.loads(json.dumps(dict(given)))
    for name in sorted((set(kept) | set(plain)) - free):
        if kept.get(name) != plain.get(name):
            return f"{name} was {_short(kept.get(name))} and is now {_short(plain.get(name))}"
    return None


def _short(value: Any) -> str:
    words = "not set" if value is None else str(value)
    if re.fullmatch("[0-9a-f]{64}", words):
        return words[:12]
    return words if len(words) <= 80 else words[:77] + "..."


def _is_whole(file: Path, contents: bytes) -> bool:
    return file.stem.partition("-")[2] == hashlib.sha256(contents).hexdigest()
