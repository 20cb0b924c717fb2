"""`equipoise evaluate` for grid operators: errors on held-back samples, at several resolutions, with figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from equipoise.training.operator_evaluation import EvaluatedOperator
    from equipoise.training.operator_runs import OperatorRun

__all__ = ["evaluate_operator_run"]


def evaluate_operator_run(
    run: Path,
    file: Path,
    resolutions: Sequence[int],
    *,
    figures: Path | None,
    device: str,
    as_json: bool,
    stream: bool | None = None,
) -> None:
    """Print errors, and draw the worst sample and, for several resolutions, the error against resolution."""
    from equipoise.cli.cell_options import check_device
    from equipoise.data.streamed_fields import open_fields
    from equipoise.training.operator_evaluation import evaluate_operator, held_back
    from equipoise.training.operator_runs import load_operator_run

    loaded = load_operator_run(run, device=check_device(device))
    data = open_fields(file, stream=stream)
    loaded.check_data(data)
    samples = held_back(loaded, data)
    folder = run / "figures" if figures is None else figures
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    asked: list[int | None] = [*resolutions] or [None]
    for points in asked:
        found = evaluate_operator(loaded, data, samples=samples, resolution=points)
        name = "worst.png" if points is None else f"worst-{points}.png"
        rows.append({**found.figures, "worst_figure": str(folder / name)})
        _draw_worst(folder / name, loaded, found)
    document = {"run": str(run), "operator": loaded.name, "trained_on": list(loaded.grid.shape), "results": rows}
    if len(rows) > 1:
        document["resolution_figure"] = str(_draw_resolutions(folder / "resolution.png", loaded, rows))
    print(json.dumps(document, allow_nan=False) if as_json else _text(document))


def _draw_worst(path: Path, run: OperatorRun, found: EvaluatedOperator) -> None:
    """The worst sample: first input channel, and the output channel that is worst in it."""
    from equipoise.viz.style import save_figure
    from equipoise.viz.training_figures import prediction_figure

    number = found.figures["relative_l2"]["worst_sample"]
    exact, predicted = found.worst.outputs[:][0].double(), found.worst_prediction[0].double()
    channel = int((predicted - exact).flatten(1).square().sum(1).nan_to_num(0).argmax())
    fields = {
        run.input_names[0]: found.worst.inputs[:][0, 0].numpy(),
        "exact": exact[channel].numpy(),
        "predicted": predicted[channel].numpy(),
        "error": (predicted - exact)[channel].numpy(),
    }
    error = found.figures["relative_l2"]["worst"]
    title = f"{run.name}, {run.output_names[channel]}, sample {number}: {100 * (error or 0):.2g} % in L2"
    save_figure(prediction_figure(fields, found.worst.grid.bounds, title=title), path)


def _draw_resolutions(path: Path, run: OperatorRun, rows: Sequence[dict[str, Any]]) -> Path:
    from equipoise.viz.style import save_figure
    from equipoise.viz.training_figures import resolution_figure

    errors = {
        label: {row["grid"][-1]: row[norm]["mean"] for row in rows}
        for label, norm in (("L2", "relative_l2"), ("H1", "relative_h1"))
    }
    return save_figure(resolution_figure(errors, trained_at=run.grid.shape[-1]), path)


def _text(document: dict[str, Any]) -> str:
    lines = [f"{document['operator']}, trained on {_shape(document['trained_on'])}"]
    header = (
        f"{'grid':>12s} {'norm':>4s} {'mean':>9s} {'median':>9s} {'95 %':>9s} {'worst':>9s} {'sample':>7s}  reference"
    )
    lines.append(header)
    for row in document["results"]:
        for norm in ("relative_l2", "relative_h1"):
            values = row[norm]
            shown = " ".join(_percent(values[key]) for key in ("mean", "median", "percentile_95", "worst"))
            name = norm.removeprefix("relative_").upper()
            lines.append(
                f"{_shape(row['grid']):>12s} {name:>4s} {shown} {values['worst_sample']:7d}  {row['reference']}"
            )
    last = document["results"][-1]
    split = "by_time" if "by_time" in last else "by_channel"
    lines += ["", "relative L2 of each " + split.removeprefix("by_")]
    lines += [f"    {name:20s} {_percent(value)}" for name, value in last[split].items()]
    lines += ["", f"by wavenumber {'relative error':>24s} {'share of error':>16s}"]
    lines += [
        f"    {band['from']:8.1f} to {band['to']:8.1f} {_percent(band['relative_error']):>14s} "
        f"{_percent(band['share_of_error']):>16s}"
        for band in last["by_wavenumber"]
    ]
    lines += ["", *(f"figure: {row['worst_figure']}" for row in document["results"])]
    if "resolution_figure" in document:
        lines.append(f"figure: {document['resolution_figure']}")
    return "\n".join(lines)


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _percent(value: float | None) -> str:
    return f"{'lost':>9s}" if value is None else f"{100 * value:8.3f}%"
