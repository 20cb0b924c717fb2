"""`equipoise demo`: from a microstructure to a structure in a few minutes, with a report to look at."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from equipoise.multiscale.equino import EquiNOModel
    from equipoise.multiscale.structure import Structure

__all__ = ["demo"]

_CELL = "fibre:n=5,fraction=0.45"


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the run, figures and report.")] = Path(
        "demo"
    ),
    snapshots: Annotated[int, typer.Option(min=8, help="Full-field solutions to learn from.")] = 80,
    steps: Annotated[int, typer.Option(min=1, help="Training steps.")] = 3000,
    elements: Annotated[int, typer.Option(min=1, help="Elements along each side of the structure.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier demo.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Snapshots of a small cell, EquiNO trained on them, a structure with FE² and with EquiNO, and a report."""
    from equipoise.multiscale.comparison import compare_with_full_field
    from equipoise.multiscale.full_field import FullFieldRVE
    from equipoise.multiscale.localization import localize
    from equipoise.multiscale.simulation_report import write_report

    _clear(output, overwrite)
    began = time.perf_counter()
    model, figures = _learn(output, snapshots, steps, seed)
    _say("simulating the structure with FE² and with EquiNO")
    compared = compare_with_full_field(_structure(elements), model)
    figures.update(compared.figures())
    gaps = compared.learned.gaps
    if gaps is not None:
        figures["mean_relative_gap"] = float(gaps.relative_gap.mean())
    points = {name: compared.learned.structure.monitored[name] for name in ("root", "belly")}
    local = localize(compared.learned, {"EquiNO": model, "full field": FullFieldRVE(model.cell)}, points)
    report = write_report(
        output,
        compared.learned,
        micro=f"EquiNO, {model.bases.n_stress_modes} modes, {snapshots} snapshots of the cell {_CELL}",
        local=local,
        others={"FE²": compared.full},
        comparison=compared.table(),
    )
    figures.update(seconds=time.perf_counter() - began, report=str(report), run=str(output / "run"))
    if as_json:
        print(json.dumps(figures, allow_nan=False))
        return
    for row in compared.table()[1]:
        print("  ".join(f"{cell:<36s}" if i == 0 else f"{cell:<14s}" for i, cell in enumerate(row)))
    print(f"snapshots {figures['snapshot_seconds']:.1f} s, training {figures['training_seconds']:.1f} s")
    print(f"open {report}")


def _clear(output: Path, overwrite: bool) -> None:
    if output.exists() and any(output.iterdir()):
        if not (overwrite and (output / "run" / "manifest.json").exists()):
            raise ValueError(f"{output} is not empty; choose another folder, or give --overwrite for an earlier demo.")
        shutil.rmtree(output)
    output.mkdir(parents=True, exist_ok=True)


def _learn(output: Path, snapshots: int, steps: int, seed: int) -> tuple[EquiNOModel, dict[str, Any]]:
    """Snapshots, bases, points and networks; the run folder is written and read back, as a user would."""
    import torch

    from equipoise.data.sampling import latin_hypercube, symmetric_box
    from equipoise.data.snapshot_solver import SnapshotSolver
    from equipoise.multiscale.equino import EquiNOModel
    from equipoise.multiscale.runs import load_micro, save_micro
    from equipoise.problems.mechanics.bases import ReducedBases
    from equipoise.problems.mechanics.cubature import empirical_cubature
    from equipoise.problems.mechanics.materials import paper_materials
    from equipoise.spaces.cells import builtin_cell
    from equipoise.training.equino import train_equino

    _say(f"solving {snapshots} strains of the unit cell {_CELL}")
    began = time.perf_counter()
    solver = SnapshotSolver(builtin_cell(_CELL), paper_materials())
    box = symmetric_box(0.04, 3)
    solved = {name: torch.as_tensor(v) for name, v in solver(latin_hypercube(snapshots, box, seed=seed)).items()}
    cell, snapshot_seconds = solver.solver.cell, time.perf_counter() - began
    _say("finding modes and weighted points")
    bases = ReducedBases.from_snapshots(
        cell,
        cell.restrict(solved["fluctuation"]),
        solved["stress"],
        strain=solved["strain"],
        n_modes=min(16, snapshots),
    )
    cubature = empirical_cubature(cell, bases, seed=seed)
    _say("training EquiNO")
    trained = train_equino(cell, bases, cubature, box=box, steps=steps, seed=seed)
    save_micro(
        output / "run",
        EquiNOModel(cell, bases, trained.operator, box=box),
        cubature=cubature,
        settings={"model": "equino", "snapshots": snapshots, "steps": steps, "seed": seed, "cell": _CELL},
        metrics=trained.history.rows,
    )
    model = load_micro(output / "run", certify="flagged")
    if not isinstance(model, EquiNOModel):
        raise TypeError("the run that was just written holds another kind of model.")
    return model, {"snapshot_seconds": snapshot_seconds, "training_seconds": trained.seconds}


def _structure(elements: int) -> Structure:
    from equipoise.multiscale.load_stepping import Stepping
    from equipoise.multiscale.structure import Region, Structure, Support
    from equipoise.spaces.structures import cooks_membrane

    return Structure(
        cooks_membrane(elements=(elements, elements)),
        [
            Support(Region(group="left"), {"x": 0.0, "y": 0.0}, name="clamp"),
            Support(Region(group="right"), {"y": 1.35}, name="edge"),
        ],
        stepping=Stepping(first_step=0.25),
        monitored={"corner": (48.0, 60.0), "root": (1.5, 42.0), "belly": (30.0, 33.0)},
        name="Cook's membrane",
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
