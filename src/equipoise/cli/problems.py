"""`equipoise problems`: the built-in structures, one line each."""

from __future__ import annotations

import json
from typing import Annotated

import typer

__all__ = ["problems"]


def problems(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List the built-in structures that `equipoise simulate` accepts by name."""
    from equipoise.multiscale.builtin_structures import BUILTIN_STRUCTURES

    if as_json:
        rows = [
            {"name": name, "dim": problem.dim, "cell": problem.cell, "description": problem.description}
            for name, problem in BUILTIN_STRUCTURES.items()
        ]
        typer.echo(json.dumps({"problems": rows}))
        return
    width = max(map(len, BUILTIN_STRUCTURES))
    for name, problem in BUILTIN_STRUCTURES.items():
        typer.echo(f"{name:<{width}}  {problem.dim}-D  {problem.description}")
