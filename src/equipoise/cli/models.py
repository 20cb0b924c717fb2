"""`equipoise models`: what can be trained."""

from __future__ import annotations

import inspect
import json
from typing import Annotated, Any

import typer

__all__ = ["models"]


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List micro models and operators, with the options that `train --set` takes."""
    from equipoise.operators.registry import OPERATORS, operator_options

    rows: list[dict[str, Any]] = [
        {"name": "equino", "description": "learned micro model of a unit cell, with a certificate", "options": {}},
        {"name": "reduced", "description": "reduced-order micro model of a unit cell", "options": {}},
    ]
    for name, entry in OPERATORS.items():
        options = {
            key: None if value is inspect.Parameter.empty else value for key, value in operator_options(name).items()
        }
        rows.append({"name": name, "description": entry.description, "options": options})
    if as_json:
        print(json.dumps({"models": rows}))
        return
    for row in rows:
        print(f"{row['name']:16s} {row['description']}")
        if row["options"]:
            shown = ", ".join(name if value is None else f"{name}={value}" for name, value in row["options"].items())
            print(f"{'':16s}     --set: {shown}")
