"""`equipoise export`: a trained operator as a file that runs without Equipoise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["export"]


def export(
    run: Annotated[Path, typer.Argument(help="Run folder of `equipoise train`.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write: .pt2 or .onnx.")],
    resolution: Annotated[
        int | None, typer.Option(min=2, help="Points along each axis; those of the training by default.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Write the operator, with its normalisers, for one grid and batches of any size; physical units in and out."""
    import torch

    from equipoise.operators.export import export_operator
    from equipoise.training.operator_runs import load_operator_run

    if output.exists() and not overwrite:
        raise ValueError(f"{output} exists already; use --overwrite to replace it.")
    loaded = load_operator_run(run)
    shape = loaded.input_grid.shape if resolution is None else (resolution,) * loaded.input_grid.dim
    kind = loaded.model.inputs.mean.dtype
    example = torch.zeros(2, len(loaded.input_names), *shape, dtype=kind)
    loaded.model(example)
    export_operator(loaded.model, example, output)
    size = output.stat().st_size
    axes = [len(loaded.input_names), *shape]
    document = {"file": str(output), "bytes": size, "inputs": ["batch", *axes]}
    if as_json:
        print(json.dumps(document))
        return
    print(f"{output}: {size} bytes, inputs (batch, {', '.join(map(str, axes))}), {kind}")
