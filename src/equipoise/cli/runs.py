"""`equipoise runs compare`: trained runs side by side, printed and drawn."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback()
def _group() -> None:
    """Look at trained runs."""


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Figure of losses to write (.png).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Print what runs were trained on and how well, with the settings that differ, and draw their losses."""
    from equipoise.data.run_folder import read_run_folder

    histories: dict[str, list[dict[str, float]]] = {}
    rows: list[dict[str, Any]] = []
    settings: list[dict[str, Any]] = []
    for run in runs:
        config, tensors = read_run_folder(run)
        history = _history(run / "metrics.csv")
        histories[_label(run, histories)] = history
        rows.append(_row(run, config, tensors, history))
        settings.append(dict(config.get("settings", {})))
    same_data = len({row["data"] for row in rows}) == 1
    document = {"runs": rows, "same_data": same_data, "different_settings": _differences(runs, settings)}
    if output is not None:
        _draw(output, histories)
        document["figure"] = str(output)
    print(json.dumps(document, allow_nan=False) if as_json else _text(document))


def _label(run: Path, taken: dict[str, Any]) -> str:
    return run.name if run.name not in taken else str(run)


def _history(file: Path) -> list[dict[str, float]]:
    if not file.is_file():
        return []
    with file.open(newline="") as stream:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(stream)]


def _row(run: Path, config: dict[str, Any], tensors: dict[str, Any], history: list[dict[str, float]]) -> dict[str, Any]:
    losses = [row["loss"] for row in history if "loss" in row]
    validated = [row["validation"] for row in history if "validation" in row]
    return {
        "run": str(run),
        "model": config.get("operator") if isinstance(config.get("operator"), str) else config.get("kind"),
        "numbers": sum(int(value.numel()) for value in tensors.get("weights", {}).values()),
        "steps": int(max((row["step"] for row in history), default=-1)) + 1,
        "final_loss": losses[-1] if losses else None,
        "best_validation": min(validated) if validated else None,
        "data": str(config.get("data_fingerprint", config.get("mesh_fingerprint", "")))[:12],
    }


def _differences(runs: list[Path], settings: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    found = {}
    for name in dict.fromkeys(key for values in settings for key in values):
        values = [values.get(name) for values in settings]
        if any(value != values[0] for value in values):
            found[name] = {str(run): value for run, value in zip(runs, values, strict=True)}
    return found


def _draw(output: Path, histories: dict[str, list[dict[str, float]]]) -> None:
    from equipoise.viz.style import save_figure
    from equipoise.viz.training_figures import history_figure

    if not any(histories.values()):
        raise ValueError("none of the runs has a history to draw.")
    if not output.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {output.parent} to write {output.name} into.")
    save_figure(history_figure(histories), output)


def _text(document: dict[str, Any]) -> str:
    header = ("run", "model", "numbers", "steps", "final_loss", "best_validation", "data")
    table = [list(header), *([_shown(row[name]) for name in header] for row in document["runs"])]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    if not document["same_data"]:
        lines += ["", "The runs were trained on different data."]
    if document["different_settings"]:
        lines += ["", "settings that differ"]
        for name, values in document["different_settings"].items():
            lines.append(f"    {name}: " + ", ".join(_shown(value) for value in values.values()))
    if "figure" in document:
        lines += ["", f"figure: {document['figure']}"]
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
