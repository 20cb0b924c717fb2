"""`equipoise predict`: answers of a trained operator for new inputs, as a file of fields."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["predict"]


def predict(
    run: Annotated[Path, typer.Argument(help="Run folder of `equipoise train`.")],
    inputs: Annotated[Path, typer.Argument(help="File of fields; only its inputs are used.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="HDF5 file to write, in The Well's layout.")],
    batch_size: Annotated[int, typer.Option(min=1, help="Samples predicted at once.")] = 16,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Predict, in physical units, for every input of a file, at the resolution of its inputs."""
    from equipoise.cli.cell_options import check_device, check_output
    from equipoise.data.field_dataset import FieldDataset
    from equipoise.data.field_store import write_fields
    from equipoise.data.foreign_fields import read_foreign_fields
    from equipoise.training.operator_runs import load_operator_run
    from equipoise.training.operators import predict_in_batches

    check_output(output)
    if output.exists() and not overwrite:
        raise ValueError(f"{output} exists already; use --overwrite to replace it.")
    loaded = load_operator_run(run, device=check_device(device))
    data = read_foreign_fields(inputs)
    loaded.check_inputs(data)
    data.check_finite()
    began = time.perf_counter()
    kind = next(loaded.model.parameters()).dtype
    predicted = predict_in_batches(loaded.model, data.inputs.to(kind), batch_size=batch_size)
    seconds = time.perf_counter() - began
    settings: dict[str, Any] = {"predicted_by": loaded.name, "run_data": loaded.fingerprint, "inputs": inputs.name}
    answer = FieldDataset(
        data.inputs.to(kind),
        predicted,
        data.grid,
        data.input_grid,
        data.input_names,
        _distinct(loaded.output_names, data.input_names),
        data.times,
        settings,
    )
    write_fields(output, answer, name=f"{loaded.name} predictions")
    document = {"file": str(output), "count": len(data), "grid": list(data.grid.shape), "seconds": seconds}
    if as_json:
        print(json.dumps(document))
        return
    print(f"{len(data)} predictions on {' x '.join(map(str, data.grid.shape))} points in {seconds:.3g} s: {output}")


def _distinct(names: tuple[str, ...], taken: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{name} predicted" if name in taken else name for name in names)
