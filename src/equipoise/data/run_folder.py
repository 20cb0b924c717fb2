"""Run folders: what training leaves behind, whole or not at all, with a digest of every file.

The manifest is written last; a folder without one, or with a file that differs from it, is refused before any file is
parsed. Loading runs no code.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from equipoise.data.whole_files import replace_durably, write_whole
from equipoise.errors import FormatError

__all__ = ["RUN_FORMAT", "environment", "metrics_table", "read_run_folder", "run_kind", "write_run_folder"]

RUN_FORMAT = 2
_MANIFEST = "manifest.json"


def environment() -> dict[str, Any]:
    """Versions, processor and threads of this process, plain JSON values."""
    found: dict[str, Any] = {"python": platform.python_version(), "machine": platform.machine()}
    for package in ("equipoise", "torch", "numpy", "scipy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return {**found, "processor": _processor(), "cores": os.cpu_count(), "threads": torch.get_num_threads()}


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def write_run_folder(
    path: str | Path,
    *,
    config: Mapping[str, Any],
    tensors: Mapping[str, Mapping[str, torch.Tensor]],
    texts: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a run folder under a temporary name and rename it when whole.

    Args:
        path: the folder. config: plain JSON values; the format is added.
        tensors: named tensors of each `<name>.safetensors`. texts: contents of further files by name.
        overwrite: replace a run that is there; any other folder or file is never replaced.

    Raises:
        FileExistsError: if something is there and may not be replaced.
    """
    path = Path(path)
    if path.exists() and not (overwrite and (path / _MANIFEST).exists()):
        raise FileExistsError(f"{path} exists; choose another folder, or allow overwriting a run.")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    contents: dict[str, bytes] = {
        "config.json": json.dumps({"format": RUN_FORMAT, **config}, indent=2, sort_keys=True).encode(),
        "environment.json": json.dumps(environment(), indent=2).encode(),
        **{name: text.encode() for name, text in (texts or {}).items()},
    }
    for name, group in tensors.items():
        contents[f"{name}.safetensors"] = save({key: value.contiguous().cpu() for key, value in group.items()})
    manifest = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(contents.items())}
    try:
        partial.mkdir()
        for name, content in contents.items():
            write_whole(partial / name, content)
        write_whole(partial / _MANIFEST, json.dumps({"format": RUN_FORMAT, "files": manifest}, indent=2).encode())
        (partial / "figures").mkdir()
        if path.exists():
            shutil.rmtree(path)
        replace_durably(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_run_folder(path: str | Path) -> tuple[dict[str, Any], dict[str, dict[str, torch.Tensor]]]:
    """Configuration and tensors by file name of a run folder, checked against its manifest.

    Raises:
        FileNotFoundError: if there is no such folder.
        FormatError: for a folder that is not a run, is damaged, or has another format; the file is named.
    """
    path = Path(path)
    if not path.is_dir():
        raise FileNotFoundError(f"there is no run folder at {path}.")
    if not (path / _MANIFEST).exists():
        raise FormatError(f"{path} is not a whole run folder: it has no {_MANIFEST}.")
    try:
        manifest = json.loads((path / _MANIFEST).read_text())
        form, files = manifest["format"], dict(manifest["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path / _MANIFEST} is damaged.") from error
    if form != RUN_FORMAT:
        raise FormatError(f"{path} has run format {form}; this version reads format {RUN_FORMAT}: train the run again.")
    for name, digest in files.items():
        file = path / Path(name).name
        if not file.exists() or hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            raise FormatError(f"{file} is missing or differs from the manifest: the run is damaged.")
    if "config.json" not in files:
        raise FormatError(f"{path} has no config.json.")
    config = json.loads((path / "config.json").read_text())
    groups = {}
    for name in files:
        if name.endswith(".safetensors"):
            try:
                groups[name.removesuffix(".safetensors")] = load_file(path / name)
            except SafetensorError as error:
                raise FormatError(f"{path / name} is damaged: {error}.") from error
    return config, groups


def metrics_table(rows: Sequence[Mapping[str, float]]) -> str:
    """Rows of a training's history as CSV; columns in the order in which they first appear."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns or ["phase", "step", "loss"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def run_kind(path: str | Path) -> str:
    """What kind of model a run folder holds, by its configuration; the folder is checked by whoever reads it whole.

    Raises:
        FileNotFoundError: if there is no such folder. FormatError: for one that is no run.
    """
    file = Path(path) / "config.json"
    if not Path(path).is_dir():
        raise FileNotFoundError(f"there is no run folder at {path}.")
    try:
        return str(json.loads(file.read_text())["kind"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path} is not a whole run folder: its config.json cannot be read.") from error
