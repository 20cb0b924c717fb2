"""`equipoise generate`: data sets; `generate rve` makes full-field snapshots of a unit cell."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from equipoise.cli.cell_options import ClusterOption, MaterialsOption, WorkersOption

if TYPE_CHECKING:
    import torch

    from equipoise.data.cost_model import GenerationPlan
    from equipoise.data.generate import GenerationSummary

__all__ = ["app", "rve"]

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback()
def _group() -> None:
    """Make a data set."""


class Sampling(StrEnum):
    """How strains are drawn."""

    lhs = "lhs"
    laplace = "laplace"
    sobol = "sobol"
    uniform = "uniform"


OutputOption = Annotated[Path | None, typer.Option("-o", "--output", help="HDF5 file to write; not with --plan.")]
PlanOption = Annotated[
    bool, typer.Option("--plan", help="Print expected time, memory and bytes from a measured few; write nothing.")
]
SkipFailedOption = Annotated[
    bool, typer.Option("--skip-failed", help="Leave out samples that cannot be solved, and say which.")
]


@app.command()
def rve(
    mesh: Annotated[str, typer.Option("--mesh", help="Mesh file, folder with the CSV pair, or built-in cell.")],
    output: OutputOption = None,
    materials: MaterialsOption = None,
    count: Annotated[
        int | None, typer.Option("-n", "--count", min=1, help="Number of strains; 100 by default.")
    ] = None,
    box: Annotated[
        str, typer.Option("--box", help="Half width of the box of strains: one number, or one for each component.")
    ] = "0.04",
    sampling: Annotated[Sampling, typer.Option("--sampling", help="How strains are drawn in the box.")] = Sampling.lhs,
    strains: Annotated[
        Path | None, typer.Option("--strains", help="CSV file, one strain in a line, in place of drawing them.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the draw.")] = 0,
    workers: WorkersOption = None,
    cluster: ClusterOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    compression: Annotated[int, typer.Option("--compression", min=0, max=9, help="gzip level; 0 is none.")] = 0,
    skip_failed: SkipFailedOption = False,
    plan: PlanOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Solve a unit cell in full at many macroscopic strains and keep the snapshots."""
    from equipoise.cli.cell_options import check_output, choose_executor, load_materials, load_mesh
    from equipoise.data.generate import generate_snapshots, plan_snapshots
    from equipoise.data.snapshot_solver import SnapshotSolver
    from equipoise.data.snapshots import CellRecord

    if resume and overwrite:
        raise ValueError("--resume and --overwrite exclude each other; give one of them.")
    if strains is not None and count is not None:
        raise ValueError("-n and --strains exclude each other: a file of strains says how many there are.")
    path = None if plan else check_output(_needed(output))
    executor = choose_executor(workers, cluster)
    cell_mesh = load_mesh(mesh)
    solve = SnapshotSolver(cell_mesh, load_materials(materials, cell_mesh))
    record = CellRecord.of(solve.cell)
    drawn, settings = _strains(count or 100, box, sampling, strains, seed, solve.cell.n_strain)
    shared: dict[str, Any] = {
        "cell": record,
        "settings": settings,
        "executor": executor,
        "compression": compression,
    }
    if path is None:
        _print_plan(plan_snapshots(solve, drawn, **shared), as_json=as_json)
        return
    with _progress_bar() as progress:
        summary = generate_snapshots(
            solve,
            drawn,
            path,
            **shared,
            resume=resume,
            overwrite=overwrite,
            skip_failed=skip_failed,
            progress=progress,
        )
    typer.echo(json.dumps(document(summary)) if as_json else text(summary))


FAMILIES = (
    "antiderivative",
    "pendulum",
    "nonlinear-ode",
    "diffusion-reaction",
    "transport",
    "random-growth",
    "random-medium",
    "darcy",
    "poisson",
    "helmholtz",
    "helmholtz-medium",
    "inclusions",
    "thermal",
    "darcy-published",
    "helmholtz-published",
    "reflecting-box",
    "advection",
    "burgers",
    "allen-cahn",
    "korteweg-de-vries",
    "kuramoto-sivashinsky",
    "navier-stokes",
)
"""Names in `problems.registry`, repeated here so that help imports none of the library."""


class Solver(StrEnum):
    """Solvers of linear families; see `data.linear_chains`."""

    auto = "auto"
    direct = "direct"
    spectral = "spectral"
    amg = "amg"
    reuse = "reuse"
    skr = "skr"
    gmres = "gmres"


def _family_command(name: str) -> Callable[..., None]:
    def generate(
        output: OutputOption = None,
        count: Annotated[int, typer.Option("-n", "--count", min=1, help="Number of samples.")] = 100,
        resolution: Annotated[int | None, typer.Option(min=2, help="Points along each axis of space.")] = None,
        options: Annotated[
            list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Another option of the family.")
        ] = None,
        seed: Annotated[int, typer.Option("--seed", min=0, help="Of all samples.")] = 0,
        dtype: Annotated[str, typer.Option(help="float32 or float64, in the file.")] = "float32",
        solver: Annotated[
            Solver | None,
            typer.Option("--solver", help="Of a linear family; auto times all on a first batch.", show_default="auto"),
        ] = None,
        tolerance: Annotated[
            float | None,
            typer.Option(
                "--tolerance", help="Relative residual of a linear family.", show_default="direct: round-off, else 1e-8"
            ),
        ] = None,
        workers: WorkersOption = None,
        cluster: ClusterOption = None,
        resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
        overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
        skip_failed: SkipFailedOption = False,
        plan: PlanOption = False,
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    ) -> None:
        from equipoise.cli.cell_options import check_output, choose_executor
        from equipoise.data.cost_model import peak_memory
        from equipoise.data.executors import SerialExecutor
        from equipoise.data.field_plan import plan_fields
        from equipoise.data.generate_fields import generate_fields

        if resume and overwrite:
            raise ValueError("--resume and --overwrite exclude each other; give one of them.")
        chosen = dict(_option(text) for text in options or [])
        if resolution is not None:
            chosen["resolution"] = resolution
        # Without --workers or --cluster the family decides.
        executor = None if workers is None and cluster is None else choose_executor(workers, cluster)
        shared: dict[str, Any] = {
            "options": chosen,
            "seed": seed,
            "dtype": dtype,
            "solver": solver.value if solver is not None else None,
            "tolerance": tolerance,
            "executor": executor,
        }
        if plan:
            _print_plan(plan_fields(name, count, **shared), as_json=as_json, family=name)
            return
        path = check_output(_needed(output))
        with _progress_bar("samples") as progress:
            made = generate_fields(
                name,
                count,
                path,
                **shared,
                resume=resume,
                overwrite=overwrite,
                skip_failed=skip_failed,
                progress=progress,
                report=lambda line: typer.echo(line, err=True),
            )
        if as_json:
            memory = peak_memory(executor or SerialExecutor(), workers or 1)
            figures = {"bytes_on_disk": path.stat().st_size, "peak_memory_bytes": memory}
            typer.echo(json.dumps({**vars(made), "path": str(made.path), "family": name, **figures}))
            return
        kept = f", {made.resumed} of them from an earlier run" if made.resumed else ""
        typer.echo(f"{made.path}: {made.count} samples of {name}{kept}, {made.seconds:.1f} s")

    generate.__doc__ = f"Draw and solve samples of the family {name}."
    return generate


for _name in FAMILIES:
    app.command(_name)(_family_command(_name))


def _needed(output: Path | None) -> Path:
    if output is None:
        raise ValueError("-o is missing: give the file to write, or --plan.")
    return output


def _print_plan(plan: GenerationPlan, *, as_json: bool, **more: Any) -> None:
    typer.echo(json.dumps({**vars(plan), **more}) if as_json else str(plan))


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"--set {text!r} must be NAME=VALUE.")
    try:
        return name.replace("-", "_"), json.loads(value)
    except ValueError:
        return name.replace("-", "_"), value


def _strains(
    count: int, box: str, sampling: Sampling, file: Path | None, seed: int, n_strain: int
) -> tuple[torch.Tensor, dict[str, Any]]:
    """Strains and how they came about."""
    from equipoise.cli.strain_options import parse_box, strains_of
    from equipoise.data.sampling import laplace, latin_hypercube, sobol, uniform

    if file is not None:
        # Only the contents count when a run is resumed, not where the file lay.
        return strains_of([], file, n_strain), {"sampling": "file"}
    bounds = parse_box(box, n_strain)
    draws = {
        Sampling.lhs: latin_hypercube,
        Sampling.laplace: laplace,
        Sampling.sobol: sobol,
        Sampling.uniform: uniform,
    }
    settings = {"sampling": sampling.value, "box": bounds.tolist(), "seed": seed}
    return draws[sampling](count, bounds, seed=seed), settings


@contextmanager
def _progress_bar(what: str = "snapshots") -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar on standard error where that is a terminal; otherwise nothing."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def document(summary: GenerationSummary) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "path": str(summary.path),
        "count": summary.count,
        "resumed": summary.resumed,
        "seconds": summary.seconds,
        "left_out": list(summary.left_out),
        "iterations": {"mean": summary.iterations_mean, "max": summary.iterations_max},
        "mesh_fingerprint": summary.mesh_fingerprint,
        "material_fingerprint": summary.material_fingerprint,
    }


def text(summary: GenerationSummary) -> str:
    """What is printed without `--json`."""
    kept = f", {summary.resumed} of them from an earlier run" if summary.resumed else ""
    return (
        f"{summary.path}: {summary.count} snapshots{kept}, {summary.seconds:.1f} s, "
        f"{summary.iterations_mean:.1f} Newton iterations on average, at most {summary.iterations_max}\n"
        f"mesh {summary.mesh_fingerprint[:12]}, materials {summary.material_fingerprint[:12]}"
    )
