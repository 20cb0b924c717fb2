"""`equipoise predict`: answers of a trained operator for new inputs, as a file of fields."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["predict"]

# Samples predicted and written at once.
_PART = 256


def predict(
    run: Annotated[Path, typer.Argument(help="Run folder of `equipoise train`.")],
    inputs: Annotated[Path, typer.Argument(help="File of fields; only its inputs are used.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="HDF5 file to write, in The Well's layout.")],
    batch_size: Annotated[int, typer.Option(min=1, help="Samples predicted at once.")] = 16,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    stream: Annotated[
        bool | None,
        typer.Option("--stream/--no-stream", help="Leave the inputs in their file; by default where it is large."),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Predict, in physical units, for every input of a file, at the resolution of its inputs."""
    from equipoise.cli.cell_options import check_device, check_output
    from equipoise.data.field_dataset import FieldDataset
    from equipoise.data.field_store import write_field_parts
    from equipoise.data.streamed_fields import open_fields
    from equipoise.training.operator_runs import load_operator_run
    from equipoise.training.operators import predict_in_batches

    check_output(output)
    if output.exists() and not overwrite:
        raise ValueError(f"{output} exists already; use --overwrite to replace it.")
    loaded = load_operator_run(run, device=check_device(device))
    data = open_fields(inputs, stream=stream)
    loaded.check_inputs(data)
    data.check_finite()
    began = time.perf_counter()
    kind = loaded.model.inputs.mean.dtype
    settings: dict[str, Any] = {"predicted_by": loaded.name, "run_data": loaded.fingerprint, "inputs": inputs.name}

    def answers() -> Iterator[FieldDataset]:
        for first in range(0, len(data), _PART):
            given = data.inputs[first : first + _PART].to(kind)
            yield FieldDataset(
                given,
                predict_in_batches(loaded.model, given, batch_size=batch_size),
                data.grid,
                data.input_grid,
                data.input_names,
                _distinct(loaded.output_names, data.input_names),
                data.times,
                settings,
            )

    write_field_parts(output, answers(), len(data), name=f"{loaded.name} predictions")
    seconds = time.perf_counter() - began
    document = {"file": str(output), "count": len(data), "grid": list(data.grid.shape), "seconds": seconds}
    if as_json:
        print(json.dumps(document))
        return
    print(f"{len(data)} predictions on {' x '.join(map(str, data.grid.shape))} points in {seconds:.3g} s: {output}")


def _distinct(names: tuple[str, ...], taken: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{name} predicted" if name in taken else name for name in names)
