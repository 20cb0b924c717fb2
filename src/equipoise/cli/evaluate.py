"""`equipoise evaluate`: errors of a trained model on samples it has not seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from equipoise.data.snapshots import Snapshots
    from equipoise.multiscale.certified_model import CertifiedModel

__all__ = ["evaluate"]


def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder of `equipoise train`.")],
    data: Annotated[
        Path | None, typer.Argument(help="Test snapshots or fields; strains are solved anew if not given.")
    ] = None,
    n_test: Annotated[
        int | None, typer.Option("--n-test", min=1, help="Micro models: strains to solve where no file is given.")
    ] = None,
    resolution: Annotated[
        list[int] | None,
        typer.Option(min=2, help="Points along each axis, for directions cells; give it again for several."),
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(help="Operators: folder for figures; that of the run by default.")
    ] = None,
    stream: Annotated[
        bool | None,
        typer.Option("--stream/--no-stream", help="Operators: leave data in the file; by default if it is large."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the strains to solve.")] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Errors against reference solutions: of micro models beside what their bases allow at best."""
    from equipoise.data.run_folder import run_kind
    from equipoise.training.direction_runs import KIND as DIRECTIONS
    from equipoise.training.operator_runs import KIND

    kind = run_kind(run)
    if kind == DIRECTIONS:
        from equipoise.cli.evaluate_directions import evaluate_direction_run

        if data is not None or n_test is not None or figures is not None:
            raise ValueError("search directions are evaluated on built-in domains: give --resolution at most.")
        evaluate_direction_run(run, resolution or [], seed=seed, device=device, as_json=as_json)
        return
    if kind == KIND:
        from equipoise.cli.evaluate_operator import evaluate_operator_run

        if data is None:
            raise ValueError("give the file of fields to evaluate on.")
        if n_test is not None:
            raise ValueError("--n-test belongs to micro models; an operator is evaluated on the samples of a file.")
        evaluate_operator_run(
            run, data, resolution or [], figures=figures, device=device, as_json=as_json, stream=stream
        )
        return
    if resolution or figures is not None or stream is not None:
        raise ValueError("--resolution, --figures and --stream belong to operators; the run holds a micro model.")
    _evaluate_micro(run, data, n_test or 50, seed, as_json=as_json)


def _evaluate_micro(run: Path, snapshots: Path | None, n_test: int, seed: int, *, as_json: bool) -> None:
    from equipoise.data.store import read_snapshots
    from equipoise.multiscale.evaluation import evaluate_micro
    from equipoise.multiscale.runs import load_micro

    model = load_micro(run)
    data = _solved(model, n_test, seed) if snapshots is None else read_snapshots(snapshots, cell=model.cell)
    figures = evaluate_micro(model, data)
    if as_json:
        print(json.dumps({"run": str(run), **figures}, allow_nan=False))
        return
    print(_table(figures))


def _solved(model: CertifiedModel, count: int, seed: int) -> Snapshots:
    """Full-field solutions at uniform strains in the training box."""
    import torch

    from equipoise.data.sampling import uniform
    from equipoise.data.snapshot_solver import SnapshotSolver
    from equipoise.data.snapshots import CellRecord, Snapshots

    if model.box is None:
        raise ValueError("the run has no training box; give a file of test snapshots.")
    solver = SnapshotSolver(model.cell.mesh, model.cell.materials)
    solved = solver(uniform(count, model.box, seed=seed))
    names = ("strain", "fluctuation", "stress", "homogenised_stress", "homogenised_tangent", "energy", "iterations")
    arrays: dict[str, Any] = {name: torch.as_tensor(solved[name]) for name in names}
    return Snapshots(cell=CellRecord.of(model.cell), **arrays)


def _table(figures: dict[str, Any]) -> str:
    stress, gap = figures["homogenised_stress"], figures["relative_gap"]
    refined = figures["refined_homogenised_stress"]
    lines = [
        f"{figures['n_samples']} unseen strains",
        f"{'':28s} {'mean':>10s} {'95 %':>10s} {'worst':>10s} {'floor':>10s} {'multiple':>9s}",
        _line("homogenised stress, %", stress, 100),
        _line("after reduced Newton, %", refined, 100),
        *([_line("relative gap", gap, 1)] if "mean" in gap else []),
    ]
    for name, values in figures["local_stress"].items():
        lines.append(
            f"{'local stress ' + name + ', %':28s} {100 * values['mean']:10.4f} {'':10s} {'':10s} "
            f"{100 * values['projection']:10.4f} {values['multiple_of_projection']:9.3f}"
        )
    if gap["without_finite_bound"]:
        lines.append(f"strains without a finite bound: {gap['without_finite_bound']}")
    lines.append(f"bounds hold on every strain: {'yes' if figures['bounds_hold'] else 'NO'}")
    return "\n".join(lines)


def _line(name: str, values: dict[str, Any], factor: float) -> str:
    shown = [f"{factor * values[key]:10.3e}" for key in ("mean", "percentile_95", "worst")]
    return f"{name:28s} {' '.join(shown)} {factor * values['floor']:10.3e} {values['multiple_of_floor']:9.3f}"
