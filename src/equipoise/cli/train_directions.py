"""`equipoise train dcdm`: a network that proposes search directions for pressure equations, kept in a run folder."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from equipoise.cli.train_operator import check_output

if TYPE_CHECKING:
    from equipoise.training.direction_runs import DirectionRun
    from equipoise.training.learned_directions import Stage, TrainedDirections

__all__ = ["add_direction_command"]

_ABOUT = "Search directions for pressure equations with obstacles; needs no data."


def add_direction_command(app: typer.Typer) -> None:
    """The one command, `dcdm`."""
    app.command(name="dcdm", help=_ABOUT)(_train)


def _train(
    output: Annotated[Path, typer.Option("-o", "--output", help="Run folder to write.")],
    size: Annotated[int, typer.Option(min=4, help="Cells along each side of the largest grid.")] = 64,
    dim: Annotated[int | None, typer.Option(min=2, max=3, help="Axes of the grid; 2 by default.")] = None,
    start: Annotated[
        Path | None, typer.Option(help="Run folder of a smaller size whose weights to go on from.")
    ] = None,
    layout: Annotated[
        str | None, typer.Option(help="k64 or k128: depth of the network; k64, and from 128 cells k128, by default.")
    ] = None,
    width: Annotated[
        int | None, typer.Option(min=1, help="Channels; 16, in three dimensions on a processor 8, by default.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps at each size.")] = None,
    seconds: Annotated[float | None, typer.Option(min=1, help="Instead: train about so long in all.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="At its largest, at each size.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, vectors and batches.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run that is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    from equipoise.cli.cell_options import check_device
    from equipoise.operators.direction_net import DirectionNet
    from equipoise.training.direction_runs import load_direction_run, save_direction_run
    from equipoise.training.learned_directions import curriculum, train_directions, within_seconds

    if steps is not None and seconds is not None:
        raise ValueError("give --steps or --seconds, not both.")
    check_output(output, overwrite=overwrite)
    check_device(device)
    begun = None if start is None else load_direction_run(start, device=device)
    config = _network_config(begun, {"dim": dim, "layout": layout, "width": width}, device, seed)
    largest = None if begun is None else begun.sizes[-1]
    stages = curriculum(size, dim=config["dim"], start=largest, generous=device != "cpu", deepen=layout is None)
    network = DirectionNet(**config) if begun is None else copy.deepcopy(begun.network(stages[0].size))
    if seconds is not None:
        stages = within_seconds(network, stages, seconds, device=device)
    stages = tuple(_changed(stage, steps, learning_rate) for stage in stages)
    with _progress(stages) as on_row:
        trained = train_directions(network, stages, seed=seed, device=device, on_row=on_row)
    figures = _figures(output, trained)
    settings = {
        "size": size,
        "start": None if start is None else str(start),
        "seed": seed,
        "device": device,
        "stages": [vars(stage) for stage in stages],
    }
    card = "# dcdm\n\n" + "".join(f"- {key}: {value}\n" for key, value in figures.items())
    earlier = None if begun is None else begun.networks
    save_direction_run(output, trained, settings=settings, earlier=earlier, card=card, overwrite=overwrite)
    _report(figures, as_json=as_json)


def _network_config(begun: DirectionRun | None, asked: Mapping[str, Any], device: str, seed: int) -> dict[str, Any]:
    """Options of the network: as asked, those of the run that it goes on from, or the defaults."""
    given = {name: value for name, value in asked.items() if value is not None}
    if begun is not None:
        config = dict(begun.network().config)
        for name, value in given.items():
            if config[name] != value:
                raise ValueError(f"--{name} {value} contradicts --start, whose network has {config[name]}.")
        return config
    dim = int(given.get("dim", 2))
    width = 8 if dim == 3 and device == "cpu" else 16
    return {"dim": dim, "layout": "k64", "width": width, "seed": seed, **given}


def _changed(stage: Stage, steps: int | None, learning_rate: float | None) -> Stage:
    changes: dict[str, Any] = {"steps": steps, "learning_rate": learning_rate}
    return replace(stage, **{name: value for name, value in changes.items() if value is not None})


class _progress:
    """A bar over the steps of all stages."""

    def __init__(self, stages: tuple[Stage, ...]) -> None:
        from equipoise.cli.training_progress import training_progress

        self._before = [sum(stage.steps for stage in stages[:number]) for number in range(len(stages))]
        self._bar = training_progress(sum(stage.steps for stage in stages))

    def __enter__(self) -> Callable[[Mapping[str, float]], None]:
        inner = self._bar.__enter__()
        return lambda row: inner({**row, "step": row["step"] + self._before[int(row["phase"])]})

    def __exit__(self, *error: Any) -> None:
        self._bar.__exit__(*error)


def _figures(output: Path, trained: TrainedDirections) -> dict[str, Any]:
    losses: dict[int, float] = {}
    for row in trained.rows:
        if "loss" in row:
            losses[int(row["size"])] = row["loss"]
    return {
        "run": str(output),
        "parameters": sum(weight.numel() for weight in trained.network.parameters()),
        "sizes": sorted(trained.networks),
        "final_loss": {str(size): loss for size, loss in losses.items()},
        "iterations_with_obstacles": {str(size): value for size, value in trained.iterations.items()},
        "training_seconds": trained.seconds,
    }


def _report(figures: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(figures, allow_nan=False))
        return
    for key, value in figures.items():
        if isinstance(value, dict):
            value = ", ".join(f"{size}: {number:.3g}" for size, number in value.items())
        print(f"{key:26s} {value:.4g}" if isinstance(value, float) else f"{key:26s} {value}")
