"""`equipoise train`: a micro model from snapshots, or an operator from fields, kept in a run folder."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from equipoise.cli.train_directions import add_direction_command
from equipoise.cli.train_operator import add_operator_commands, check_output

if TYPE_CHECKING:
    import torch

    from equipoise.data.snapshots import Snapshots
    from equipoise.multiscale.certified_model import CertifiedModel
    from equipoise.problems.mechanics.bases import ReducedBases
    from equipoise.problems.mechanics.cell import PeriodicCell
    from equipoise.problems.mechanics.cubature import Cubature

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback()
def _group() -> None:
    """Train a micro model on snapshots of a unit cell, or an operator on fields."""


@dataclass(frozen=True)
class _Options:
    modes: int | None
    energy: float | None
    form: str
    objective: str | None
    collocation: int
    steps: int | None
    box: str | None
    seed: int
    resume: bool


def _micro_command(model: str, about: str) -> None:
    def train(
        snapshots: Annotated[Path, typer.Argument(help="File written by `equipoise generate rve`.")],
        output: Annotated[Path, typer.Option("-o", "--output", help="Run folder to write.")],
        modes: Annotated[
            int | None, typer.Option(min=1, help="Modes of each field; 16 unless --energy is given.")
        ] = None,
        energy: Annotated[float | None, typer.Option(help="Instead: share of the snapshots' norm to hold.")] = None,
        form: Annotated[str, typer.Option(help="anchored, or paper: as published.")] = "anchored",
        objective: Annotated[
            str | None,
            typer.Option(help="variable-projection, coefficients, gap, energy-norm or stress; the form's by default."),
        ] = None,
        collocation: Annotated[int, typer.Option(min=1, help="Collocation strains.")] = 1000,
        steps: Annotated[int | None, typer.Option(min=1, help="Steps of the last phase.")] = None,
        box: Annotated[
            str | None, typer.Option(help="Half widths of the training box; that of the snapshots by default.")
        ] = None,
        enrich: Annotated[
            Path | None, typer.Option(help="Results folder of a simulation whose full-field fall-backs are added.")
        ] = None,
        seed: Annotated[int, typer.Option(min=0, help="Of weights, strains and points.")] = 0,
        overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run that is there.")] = False,
        resume: Annotated[
            bool, typer.Option("--resume", help="Go on from the training state of an interrupted run.")
        ] = False,
        device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    ) -> None:
        from equipoise.cli.cell_options import check_device
        from equipoise.cli.interrupted_training import check_start
        from equipoise.data.store import read_snapshots

        output = output.resolve() if output.name in ("", "..") else output
        options = _Options(modes, energy, form, objective, collocation, steps, box, seed, resume)
        _check_options(options)
        check_output(output, overwrite=overwrite)
        data = read_snapshots(snapshots)
        cell = data.cell.periodic_cell(device=check_device(device))
        training_box, decisive = _box(data, options, cell), _decisive(model, options, data, enrich)
        check_start(output, decisive, resume=resume, overwrite=overwrite)
        output.parent.mkdir(parents=True, exist_ok=True)
        summary = _run(model, data, cell, output, options, training_box, decisive, enrich=enrich, overwrite=overwrite)
        if as_json:
            print(json.dumps(summary, allow_nan=False))
            return
        for name, value in summary.items():
            print(f"{name:28s} {value}")

    app.command(name=model, help=about)(train)


_micro_command("equino", "EquiNO: a learned micro model with a certificate, from snapshots of a unit cell.")
_micro_command("reduced", "The reduced-order micro model, without a network, from snapshots of a unit cell.")
add_operator_commands(app)
add_direction_command(app)


def _check_options(options: _Options) -> None:
    """Refuse unknown names and contradictions before any file is read."""
    from equipoise.operators.equino import FORMS
    from equipoise.training.equino import check_objective

    if options.modes is not None and options.energy is not None:
        raise ValueError("give --modes or --energy, not both.")
    if options.energy is not None and not 0 < options.energy <= 1:
        raise ValueError(f"--energy {options.energy} must lie in (0, 1].")
    if options.form not in FORMS:
        raise ValueError(f"--form {options.form} is unknown; use one of {', '.join(FORMS)}.")
    if options.objective is not None:
        check_objective(options.objective, options.form)


def _decisive(kind: str, options: _Options, data: Snapshots, enrich: Path | None) -> dict[str, Any]:
    """All that the weights depend on, as plain values; a resumed training needs the same."""
    settings: dict[str, Any] = {name: value for name, value in vars(options).items() if name != "resume"}
    settings.update(model=kind, snapshots=hashlib.sha256(data.stress.numpy().tobytes()).hexdigest())
    if enrich is not None:
        file = _enrichment_file(enrich)
        if not file.is_file():
            raise FileNotFoundError(f"there is no file {file}: no simulation left full-field solutions there.")
        settings["enrich"] = hashlib.sha256(file.read_bytes()).hexdigest()
    return settings


def _enrichment_file(enrich: Path) -> Path:
    from equipoise.multiscale.enrichment import ENRICHMENT_NAME

    return enrich / ENRICHMENT_NAME if enrich.is_dir() else enrich


def _run(
    kind: str,
    data: Snapshots,
    cell: PeriodicCell,
    output: Path,
    options: _Options,
    training_box: torch.Tensor,
    decisive: dict[str, Any],
    *,
    enrich: Path | None,
    overwrite: bool,
) -> dict[str, Any]:
    import time

    from equipoise.cli.interrupted_training import keep_settings, remove_state
    from equipoise.multiscale.runs import save_micro
    from equipoise.problems.mechanics.cubature import empirical_cubature

    began = time.perf_counter()
    bases, added = _bases(data, cell, options, enrich)
    cubature = empirical_cubature(cell, bases, seed=options.seed)
    prepared = time.perf_counter() - began
    settings = {
        "model": kind,
        "modes": bases.n_stress_modes,
        "form": options.form,
        "objective": options.objective or "default",
        "collocation": options.collocation,
        "seed": options.seed,
        "snapshots": len(bases.strain),
        "enriched": added,
    }
    if not options.resume:
        keep_settings(output, decisive)
    micro, rows, seconds = _model(kind, cell, bases, cubature, training_box, options, output)
    figures: dict[str, Any] = {
        "run": str(output),
        "displacement_modes": bases.n_displacement_modes,
        "stress_modes": bases.n_stress_modes,
        "displacement_energy": bases.displacement_energy,
        "stress_energy": bases.stress_energy,
        "cubature_points": len(cubature.points),
        "cubature_excess": cubature.excess,
        "enriched_by": added,
        "preparation_seconds": prepared,
        "training_seconds": seconds,
        "final_loss": rows[-1]["loss"] if rows else None,
    }
    card = f"# Micro model ({kind})\n\n" + "".join(f"- {name}: {value}\n" for name, value in figures.items())
    save_micro(output, micro, cubature=cubature, settings=settings, metrics=rows, card=card, overwrite=overwrite)
    remove_state(output)
    return figures


def _bases(data: Snapshots, cell: PeriodicCell, options: _Options, enrich: Path | None) -> tuple[ReducedBases, int]:
    """Modes of the snapshots, with the full-field solutions of a simulation's fall-backs added."""
    import torch

    from equipoise.multiscale.enrichment import read_enrichment
    from equipoise.problems.mechanics.bases import ReducedBases

    fluctuation = cell.restrict(data.fluctuation.to(cell.device))
    stress, strain, added = data.stress.to(cell.device), data.strain.to(cell.device), 0
    if enrich is not None:
        more = read_enrichment(_enrichment_file(enrich), cell_fingerprint=cell.fingerprint)
        added = len(more.strain)
        fluctuation, stress = torch.cat([fluctuation, more.fluctuation]), torch.cat([stress, more.stress])
        strain = torch.cat([strain, more.strain])
    variant: Literal["paper", "scaled"] = "paper" if options.form == "paper" else "scaled"
    modes = options.modes if options.energy is not None else min(options.modes or 16, len(strain))
    if options.modes is not None and options.modes > len(strain):
        raise ValueError(f"--modes {options.modes} asks for more modes than the {len(strain)} snapshots can give.")
    bases = ReducedBases.from_snapshots(
        cell, fluctuation, stress, strain=strain, n_modes=modes, energy=options.energy, variant=variant
    )
    return bases, added


def _box(data: Snapshots, options: _Options, cell: PeriodicCell) -> torch.Tensor:
    import torch

    from equipoise.cli.strain_options import parse_box

    if options.box is not None:
        return parse_box(options.box, cell.n_strain)
    recorded = data.settings.get("box")
    if recorded is not None:
        return torch.tensor(recorded, dtype=torch.float64).reshape(2, cell.n_strain)
    return torch.stack([data.strain.amin(0), data.strain.amax(0)])


def _model(
    kind: str,
    cell: PeriodicCell,
    bases: ReducedBases,
    cubature: Cubature,
    box: torch.Tensor,
    options: _Options,
    output: Path,
) -> tuple[CertifiedModel, list[dict[str, float]], float]:
    from equipoise.cli.interrupted_training import state_file
    from equipoise.multiscale.equino import EquiNOModel
    from equipoise.multiscale.reduced_model import ReducedRVE
    from equipoise.training.equino import train_equino

    if kind == "reduced":
        return ReducedRVE(cell, bases, cubature=cubature, box=box), [], 0.0
    trained = train_equino(
        cell,
        bases,
        cubature,
        box=box,
        n_collocation=options.collocation,
        form=options.form,
        objective=options.objective,
        steps=options.steps,
        n_points=2000 if options.form == "paper" else None,
        seed=options.seed,
        progress=_progress if sys.stderr.isatty() else None,
        checkpoint=state_file(output),
        resume=options.resume,
    )
    return EquiNOModel(cell, bases, trained.operator, box=box), trained.history.rows, trained.seconds


def _progress(phase: int, step: int, steps: int, loss: float) -> None:
    end = "\n" if step == steps - 1 else ""
    print(f"\rphase {phase + 1}: step {step + 1} of {steps}, loss {loss:.3e} ", end=end, file=sys.stderr, flush=True)
