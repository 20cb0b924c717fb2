"""`equipoise simulate`: run a structure with a full-field, a learned or a constitutive micro model."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from equipoise.cli.cell_options import ClusterOption, DeviceOption, WorkersOption, check_device, choose_executor

if TYPE_CHECKING:
    from equipoise.cli.simulate_settings import MicroSettings, OutputSettings
    from equipoise.data.executors import Executor
    from equipoise.multiscale.micro import MicroModel
    from equipoise.multiscale.simulation import LoadStep, Simulation
    from equipoise.multiscale.structure import Structure

__all__ = ["simulate"]


@dataclass(frozen=True)
class _Problem:
    structure: Structure
    micro: MicroSettings
    output: OutputSettings
    folder: Path


def simulate(
    problem: Annotated[str, typer.Argument(help="A TOML file, or a name that `equipoise problems` lists.")],
    micro: Annotated[
        str, typer.Option(help="full, constitutive, or a run folder; what the problem says by default.")
    ] = "",
    refine_above: Annotated[
        float | None, typer.Option(help="Gap estimate above which a learned answer gets reduced Newton steps.")
    ] = None,
    fall_back_above: Annotated[
        float | None, typer.Option(help="Gap estimate above which the full-field cell answers.")
    ] = None,
    certify: Annotated[
        str | None, typer.Option(help="none, sampled, flagged (default) or all; for learned models.")
    ] = None,
    workers: WorkersOption = None,
    cluster: ClusterOption = None,
    device: DeviceOption = "cpu",
    extrapolate: Annotated[
        bool, typer.Option("--extrapolate", help="Accept strains outside the trained box, with a warning.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in the output folder.")] = False,
    compare_full: Annotated[
        bool, typer.Option("--compare-full", help="Show full-field microscopic fields beside learned ones.")
    ] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder for results.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document with the summary.")] = False,
) -> None:
    """Simulate a structure of composite material; results, figures and report.html go to a folder."""
    from equipoise.multiscale.enrichment import ENRICHMENT_NAME, restore_enrichment, write_enrichment
    from equipoise.multiscale.macroscale import simulate as run
    from equipoise.multiscale.simulation import LoadStepError, OutsideBoxError

    chosen = _problem(problem)
    policy = {"certify": certify, "refine_above": refine_above, "fall_back_above": fall_back_above}
    places = {"workers": workers, "cluster": cluster, "device": check_device(device)}
    model, description = _micro(chosen, micro, policy, places)
    folder = output or Path(chosen.output.folder or f"{_stem(problem)}-results")
    solutions = folder / ENRICHMENT_NAME
    if resume:
        restore_enrichment(solutions, model)

    def on_step(step: LoadStep) -> None:
        if step.number == 1:
            # Of an earlier simulation in the same folder.
            solutions.unlink(missing_ok=True)
        if step.counts.get("fallbacks"):
            write_enrichment(solutions, model)
        _progress(step)

    error: LoadStepError | OutsideBoxError | None = None
    try:
        simulation = run(
            chosen.structure,
            model,
            output=folder,
            resume=resume,
            extrapolate=extrapolate,
            device=device,
            on_step=on_step,
        )
    except (LoadStepError, OutsideBoxError) as stopped:
        simulation, error = stopped.simulation, stopped
    if chosen.output.report:
        _report(folder, simulation, model, description, compare_full=compare_full or chosen.output.compare_full)
    kept = write_enrichment(solutions, model)
    _print(simulation, folder, as_json=as_json, micro=description, kept=kept)
    if error is not None:
        raise error


def _problem(name: str) -> _Problem:
    from equipoise.cli.simulate_settings import CellSettings, MicroSettings, OutputSettings, read_problem
    from equipoise.multiscale.builtin_structures import BUILTIN_STRUCTURES

    if name in BUILTIN_STRUCTURES:
        builtin = BUILTIN_STRUCTURES[name]
        micro = MicroSettings(cell=CellSettings(builtin=builtin.cell))
        return _Problem(builtin.build(), micro, OutputSettings(), Path())
    path = Path(name)
    settings = read_problem(path)
    return _Problem(settings.structure(path.parent), settings.micro, settings.output, path.parent)


def _micro(
    problem: _Problem, choice: str, policy: Mapping[str, Any], places: Mapping[str, Any]
) -> tuple[MicroModel, str]:
    """The micro model asked for on the command line, else the one that the problem names."""
    settings = problem.micro
    kind = choice or (str(settings.run) if settings.use == "run" else settings.use)
    dim = problem.structure.mesh.dim
    if kind in ("constitutive", "full"):
        _refuse_policy(kind, policy)
    if kind == "constitutive":
        return _constitutive(settings, dim)
    if settings.plane == "stress":
        raise ValueError('plane = "stress" goes with a constitutive law only; a unit cell is in plane strain.')
    if kind == "full":
        return _full_field(problem, places), "full-field unit cell (FE²)"
    path = Path(kind) if choice else problem.folder / kind
    if not path.is_dir():
        raise FileNotFoundError(
            f"--micro {kind}: expected full, constitutive or a run folder, and {path} is no folder."
        )
    return _learned(path, policy, places), f"learned model {path.name}"


def _learned(path: Path, policy: Mapping[str, Any], places: Mapping[str, Any]) -> MicroModel:
    from equipoise.multiscale.certified_model import CertifiedModel
    from equipoise.multiscale.distributed_solver import DistributedCellSolver
    from equipoise.multiscale.runs import load_micro

    certify = policy["certify"] or "flagged"
    model: MicroModel = load_micro(path, device=places["device"], **{**policy, "certify": certify})
    executor = _executor(places)
    if executor is not None and isinstance(model, CertifiedModel) and model.certificate is not None:
        model.certificate.solver = DistributedCellSolver(model.cell, executor=executor)
    return model


def _refuse_policy(kind: str, policy: Mapping[str, Any]) -> None:
    for name, value in policy.items():
        if value is not None:
            option = name.replace("_", "-")
            raise ValueError(f"--{option} goes with a learned model; --micro {kind} has no gap to measure.")


def _constitutive(settings: MicroSettings, dim: int) -> tuple[MicroModel, str]:
    from equipoise.multiscale.constitutive import ConstitutiveModel
    from equipoise.problems.mechanics.materials import material_from_config, paper_materials
    from equipoise.problems.mechanics.plane_stress import PlaneStress

    material = paper_materials()[1] if settings.law is None else material_from_config(settings.law)
    name = material.name
    if settings.plane == "stress":
        if dim != 2:
            raise ValueError('plane = "stress" needs a structure in the plane.')
        material = PlaneStress(material)
    plane = f", plane {settings.plane}" if dim == 2 else ""
    return ConstitutiveModel(material, dim=dim), f"constitutive law {name}{plane}"


def _full_field(problem: _Problem, places: Mapping[str, Any]) -> MicroModel:
    from equipoise.multiscale.distributed_solver import DistributedCellSolver
    from equipoise.multiscale.full_field import FullFieldRVE
    from equipoise.problems.mechanics.cell import PeriodicCell
    from equipoise.problems.mechanics.materials import material_from_config, paper_materials
    from equipoise.spaces.cells import builtin_cell
    from equipoise.spaces.mesh_files import read_mesh

    settings = problem.micro
    if settings.cell is None:
        raise ValueError("a full-field micro model needs [micro.cell] in the problem: a mesh file or a built-in cell.")
    if settings.cell.file is not None:
        mesh = read_mesh(problem.folder / settings.cell.file)
    else:
        mesh = builtin_cell(str(settings.cell.builtin), **settings.cell.parameters)
    given = {int(tag): material_from_config(config) for tag, config in settings.materials.items()}
    materials = given or paper_materials()
    cell = PeriodicCell(mesh, materials, device=places["device"])
    executor = _executor(places)
    return FullFieldRVE(cell, solver=None if executor is None else DistributedCellSolver(cell, executor=executor))


def _executor(places: Mapping[str, Any]) -> Executor | None:
    """Where full-field cells are spread to, or `None` for this process."""
    if places["workers"] is None and places["cluster"] is None:
        return None
    return choose_executor(places["workers"], places["cluster"])


def _report(folder: Path, simulation: Simulation, model: MicroModel, description: str, *, compare_full: bool) -> None:
    from equipoise.multiscale.constitutive import ConstitutiveModel
    from equipoise.multiscale.full_field import FullFieldRVE
    from equipoise.multiscale.localization import localize
    from equipoise.multiscale.simulation_report import write_report

    local = []
    if simulation.steps and not isinstance(model, ConstitutiveModel):
        models = {description: model}
        cell = getattr(model, "cell", None)
        if compare_full and cell is not None and not isinstance(model, FullFieldRVE):
            models["full field"] = FullFieldRVE(cell)
        local = localize(simulation, models)
    write_report(folder, simulation, micro=description, local=local)


def _progress(step: LoadStep) -> None:
    gap = "" if step.largest_gap is None else f", largest gap {step.largest_gap:.1e} ({step.gap_kind})"
    print(f"step {step.number}: time {step.time:.4g}, {step.iterations} Newton iterations{gap}", file=sys.stderr)


def _print(simulation: Simulation, folder: Path, *, as_json: bool, micro: str, kept: int) -> None:
    summary = {"micro": micro, **simulation.summary(), "enrichment": kept, "output": str(folder)}
    if as_json:
        typer.echo(json.dumps(summary, allow_nan=False))
        return
    seconds = summary["seconds"]
    parts = ", ".join(f"{name} {value:.2f}" for name, value in seconds.items() if name != "total")
    lines = [
        f"{summary['structure']} with {micro}: {summary['steps']} steps to time {summary['time']:g}",
        f"Newton iterations per step: {' '.join(map(str, summary['newton_iterations']))}",
        f"steps halved {summary['halvings']} times",
        f"micro evaluations {summary['micro_evaluations']:,}, fall-backs {summary['fallbacks']}",
        f"wall seconds {seconds['total']:.2f} ({parts}); peak memory {summary['peak_memory_mib']:.0f} MiB",
    ]
    if summary["largest_gap"] is not None:
        lines.append(
            f"relative gap ({summary['gap_kind']}): largest {summary['largest_gap']}, mean {summary['mean_gap']}"
        )
    if kept:
        lines.append(f"{kept} full-field solutions kept for enriching the bases")
    lines.extend(f"warning: {warning}" for warning in summary["warnings"])
    lines.append(f"report: {folder / 'report.html'}" if (folder / "report.html").exists() else f"results: {folder}")
    typer.echo("\n".join(lines))


def _stem(problem: str) -> str:
    return Path(problem).stem
