"""`equipoise train OPERATOR`: a grid operator from a file of fields, kept in a run folder."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from equipoise.data.field_dataset import FieldDataset
    from equipoise.training.operators import TrainedOperator

__all__ = ["OPERATOR_NAMES", "add_operator_commands", "check_output"]

OPERATOR_NAMES = {
    "fno": "Fourier neural operator, from a file of fields.",
    "tfno": "The same with low-rank weights, from a file of fields.",
    "mg-tfno": "The same on patches with coarse views of their surroundings, from a file of fields.",
    "mgno": "MgNO: learned multigrid cycles as layers, from a file of fields.",
    "deeponet": "DeepONet: branch and trunk networks, for answers at any point, from a file of fields.",
    "pod-deeponet": "POD-DeepONet: a branch with a linear part, and modes of the outputs, from a file of fields.",
    "local-fno": "FNO with differences and local integrals beside the spectral layers, from a file of fields.",
    "linear": "Ridge regression as a baseline; fitted, not trained, from a file of fields.",
    "unet": "An ordinary U-Net as a baseline, from a file of fields.",
}
"""Names in `operators.registry`, repeated here so that help imports none of the library."""


def add_operator_commands(app: typer.Typer) -> None:
    """One command for each operator."""
    for name, about in OPERATOR_NAMES.items():
        _operator_command(app, name, about)


def _operator_command(app: typer.Typer, name: str, about: str) -> None:
    def train(
        context: typer.Context,
        data: Annotated[Path, typer.Argument(help="Fields: ours, The Well's, PDEBench's (.h5), .mat or .pt.")],
        output: Annotated[Path, typer.Option("-o", "--output", help="Run folder to write.")],
        epochs: Annotated[int, typer.Option(min=0, help="Passes through the training samples.")] = 100,
        batch_size: Annotated[int, typer.Option(min=1, help="Samples in a step.")] = 16,
        loss: Annotated[str, typer.Option(help="l2, h1 or sobolev:ORDER; relative to each sample.")] = "l2",
        residual_weight: Annotated[
            float, typer.Option(min=0, help="Weight of the residual of the family the data were generated from.")
        ] = 0.0,
        residual_scale: Annotated[float, typer.Option(help="What residuals are divided by.")] = 1.0,
        optimiser: Annotated[str, typer.Option(help="adam, adamw or soap.")] = "adam",
        learning_rate: Annotated[float, typer.Option(help="At its largest.")] = 1e-3,
        schedule: Annotated[str, typer.Option(help="cosine, one-cycle, step or constant.")] = "cosine",
        weight_decay: Annotated[float, typer.Option(help="Of all weights.")] = 0.0,
        clip_norm: Annotated[float | None, typer.Option(help="Bound of the gradient's norm.")] = None,
        accumulate: Annotated[int, typer.Option(min=1, help="Parts that a step is computed in, to save memory.")] = 1,
        validation: Annotated[float, typer.Option(help="Share of the samples held back for validation.")] = 0.1,
        test: Annotated[float, typer.Option(help="Share of the samples held back for `evaluate`.")] = 0.1,
        patience: Annotated[
            int | None, typer.Option(min=1, help="Epochs without improvement after which to stop.")
        ] = None,
        first_modes: Annotated[
            int | None, typer.Option(min=1, help="Fourier modes to begin with, raised to all over the first half.")
        ] = None,
        normalise_inputs: Annotated[str, typer.Option(help="none, scalar, channel or point.")] = "channel",
        normalise_outputs: Annotated[str, typer.Option(help="none, scalar, channel or point.")] = "channel",
        options: Annotated[
            list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="An option of the architecture.")
        ] = None,
        precision: Annotated[str, typer.Option(help="full, bf16 or fp16.")] = "full",
        compile: Annotated[bool, typer.Option("--compile", help="Compile first; for long trainings.")] = False,
        tensorboard: Annotated[Path | None, typer.Option(help="Folder to write TensorBoard events to.")] = None,
        stream: Annotated[
            bool | None,
            typer.Option("--stream/--no-stream", help="Leave the data in the file; by default where it is large."),
        ] = None,
        seed: Annotated[int, typer.Option(min=0, help="Of weights, split and batches.")] = 0,
        device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
        resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted training.")] = False,
        overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run that is there.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    ) -> None:
        settings = {key: value for key, value in locals().items() if key not in _NOT_SETTINGS}
        settings["options"] = _architecture(options or [])
        given = {key: str(getattr(context.get_parameter_source(key), "name", "default")).lower() for key in settings}
        run = _Run(name, data, output, settings, given, tensorboard, stream, resume=resume, overwrite=overwrite)
        figures = _train(run)
        if _is_main():
            _report(figures, as_json=as_json)

    app.command(name=name, help=about)(train)


_NOT_SETTINGS = (
    "context",
    "data",
    "output",
    "tensorboard",
    "stream",
    "resume",
    "overwrite",
    "as_json",
    "options",
    "name",
    "about",
    "app",
)


def check_output(output: Path, *, overwrite: bool) -> None:
    """Refuse, before a long training, what could not be written after it."""
    if not output.exists():
        return
    if not overwrite:
        raise ValueError(f"{output} exists; choose another folder, or give --overwrite.")
    if not (output / "manifest.json").exists():
        raise ValueError(f"{output} is no run folder, so that --overwrite does not replace it; choose another folder.")


def _architecture(texts: list[str]) -> dict[str, Any]:
    """Options as numbers, truth values, lists of numbers, or words."""
    found: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise ValueError(f"--set {text!r} must have the form NAME=VALUE.")
        found[name.strip().replace("-", "_")] = _value(value.strip())
    return found


def _value(text: str) -> Any:
    if "," in text:
        return [_value(part.strip()) for part in text.split(",") if part.strip()]
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None if text.lower() == "none" else text


@dataclass(frozen=True)
class _Run:
    """One training as asked for; `origins` says of each setting whether it was given or is a default."""

    name: str
    file: Path
    output: Path
    settings: dict[str, Any]
    origins: dict[str, str]
    tensorboard: Path | None
    stream: bool | None
    resume: bool
    overwrite: bool


def _train(run: _Run) -> dict[str, Any]:
    from equipoise.cli.cell_options import check_device
    from equipoise.cli.interrupted_training import check_start, keep_settings, remove_state, state_file
    from equipoise.cli.training_progress import training_progress
    from equipoise.data.split import Split
    from equipoise.data.streamed_fields import open_fields
    from equipoise.operators.registry import FieldSizes, make_operator, operator_options
    from equipoise.training.operator_runs import save_operator_run
    from equipoise.training.operators import train_operator

    name, settings, output = run.name, run.settings, run.output
    check_output(output, overwrite=run.overwrite)
    device = check_device(settings["device"])
    data = open_fields(run.file, stream=run.stream)
    data.check_finite()
    decisive = {**settings, "operator": name, "data": data.fingerprint}
    check_start(output, decisive, resume=run.resume, overwrite=run.overwrite)
    sizes = FieldSizes(data.inputs.shape[1], data.outputs.shape[1], data.grid, data.input_grid or data.grid)
    drawn = {"seed": settings["seed"]} if "seed" in operator_options(name) else {}
    operator = make_operator(name, sizes, **{**drawn, **settings["options"]})
    split = Split.random(len(data), validation=settings["validation"], test=settings["test"], seed=settings["seed"])
    output.parent.mkdir(parents=True, exist_ok=True)
    if not run.resume and _is_main():
        keep_settings(output, decisive)
    batches = -(-len(split.train) // int(settings["batch_size"]))
    with training_progress(int(settings["epochs"]) * batches, run.tensorboard) as on_row:
        trained = train_operator(
            operator,
            data,
            split=split,
            residual=_family(data) if settings["residual_weight"] else None,
            residual_scale=settings["residual_scale"],
            residual_weight=settings["residual_weight"] or 1.0,
            input_normaliser=settings["normalise_inputs"],
            output_normaliser=settings["normalise_outputs"],
            device=device,
            checkpoint=state_file(output),
            checkpoint_every=batches,
            resume=run.resume,
            on_row=on_row,
            **{key: settings[key] for key in _PASSED_ON},
        )
    figures = _figures(name, output, trained, data)
    card = f"# {name}\n\n" + "".join(f"- {key}: {value}\n" for key, value in figures.items())
    if _is_main():
        save_operator_run(
            output,
            trained,
            data,
            name=name,
            settings=settings,
            origins=run.origins,
            card=card,
            overwrite=run.overwrite,
        )
        _draw_history(output, trained)
        remove_state(output)
    return figures


_PASSED_ON = (
    "loss",
    "epochs",
    "batch_size",
    "optimiser",
    "learning_rate",
    "schedule",
    "weight_decay",
    "clip_norm",
    "accumulate",
    "patience",
    "first_modes",
    "precision",
    "compile",
    "seed",
)


def _is_main() -> bool:
    """Whether this process is the only one, or the first of those that `torchrun` started."""
    return int(os.environ.get("RANK", "0")) == 0


def _family(data: FieldDataset) -> Any:
    """The family that data were generated from, on their grid."""
    from equipoise.problems.registry import PROBLEMS, make_problem

    family = data.settings.get("family")
    if family not in PROBLEMS:
        raise ValueError(
            "a residual needs data that `equipoise generate` made: these name no family of equations; leave out "
            "--residual-weight."
        )
    return make_problem(str(family), **dict(data.settings.get("options", {})))


def _figures(name: str, output: Path, trained: TrainedOperator, data: FieldDataset) -> dict[str, Any]:
    rows = trained.history.rows
    losses = [row["loss"] for row in rows if "loss" in row]
    validated = [row["validation"] for row in rows if "validation" in row]
    return {
        "run": str(output),
        "operator": name,
        "parameters": sum(parameter.numel() for parameter in trained.model.parameters()),
        "training_samples": len(trained.split.train),
        "grid": list(data.grid.shape),
        "final_loss": losses[-1] if losses else None,
        "best_validation": min(validated) if validated else None,
        "stopped_early": trained.history.stopped_early,
        "training_seconds": trained.seconds,
    }


def _draw_history(output: Path, trained: TrainedOperator) -> None:
    from equipoise.viz.style import save_figure
    from equipoise.viz.training_figures import history_figure

    if trained.history.rows:
        save_figure(history_figure({output.name: trained.history.rows}), output / "figures" / "loss.png")


def _report(figures: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(figures, allow_nan=False))
        return
    for key, value in figures.items():
        print(f"{key:20s} {value:.4g}" if isinstance(value, float) else f"{key:20s} {value}")
