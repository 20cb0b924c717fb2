"""`equipoise data inspect`: what a data file is, ours or another project's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, help="Look at data files."
)


@app.callback()
def data() -> None:
    """Look at data files."""


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="Snapshots, or fields of another project (.pt, .mat, .h5, .hdf5).")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """What a file holds: kind, shapes, ranges, and samples with values that are not finite."""
    described = _described(file)
    if as_json:
        print(json.dumps(described, allow_nan=False))
        return
    for name, value in described.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            print(f"{name}:")
            for row in value:
                print("    " + ", ".join(f"{key} {_shown(part)}" for key, part in row.items()))
        else:
            print(f"{name:22s} {_shown(value)}")


def _described(file: Path) -> dict[str, Any]:
    from equipoise.data.field_store import NotFieldsError, read_fields
    from equipoise.data.foreign_fields import read_foreign_fields
    from equipoise.data.sealed_file import is_sealed
    from equipoise.data.store import inspect as inspect_snapshots

    if file.is_file() and is_sealed(file):
        try:
            return {"kind": "fields on a grid", "path": str(file), **read_fields(file).describe()}
        except NotFieldsError:
            return {"kind": "snapshots of a unit cell", **inspect_snapshots(file)}
    fields = read_foreign_fields(file)
    return {"kind": "fields on a grid", "path": str(file), **fields.describe()}


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{key}={_shown(part)}" for key, part in value.items())
    if isinstance(value, list):
        return "[" + ", ".join(map(_shown, value)) + "]"
    return str(value)
