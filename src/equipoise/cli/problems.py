"""`equipoise problems`: the built-in structures, unit cells and families of equations, one line each."""

from __future__ import annotations

import json
from typing import Annotated

import typer

__all__ = ["problems"]


def problems(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List the built-in structures, for simulate, unit cells, for --mesh, and families of equations, for generate."""
    from equipoise.multiscale.builtin_structures import BUILTIN_STRUCTURES
    from equipoise.problems.registry import PROBLEMS
    from equipoise.spaces.cells import BUILTIN_CELLS

    if as_json:
        structures = [
            {"name": name, "dim": problem.dim, "cell": problem.cell, "description": problem.description}
            for name, problem in BUILTIN_STRUCTURES.items()
        ]
        cells = [{"name": name, "description": description} for name, (_, description) in BUILTIN_CELLS.items()]
        families = [{"name": name, "description": family.description} for name, family in PROBLEMS.items()]
        typer.echo(json.dumps({"structures": structures, "cells": cells, "families": families}))
        return
    width = max(map(len, [*BUILTIN_STRUCTURES, *BUILTIN_CELLS, *PROBLEMS]))
    typer.echo("Structures, for equipoise simulate NAME:")
    for name, problem in BUILTIN_STRUCTURES.items():
        typer.echo(f"  {name:<{width}}  {problem.dim}-D, {problem.description}")
    typer.echo("Unit cells, for --mesh NAME, with options such as fibre:n=6,fraction=0.4:")
    for name, (_, description) in BUILTIN_CELLS.items():
        typer.echo(f"  {name:<{width}}  {description}")
    typer.echo("Families of equations, for equipoise generate NAME, with options such as --resolution 65:")
    for name, family in PROBLEMS.items():
        typer.echo(f"  {name:<{width}}  {family.description}")
