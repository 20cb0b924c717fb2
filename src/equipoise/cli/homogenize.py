"""`equipoise homogenize`: homogenised stress and tangent of a unit cell at given strains."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from equipoise.cli.cell_options import ClusterOption, DeviceOption, MaterialsOption, WorkersOption

if TYPE_CHECKING:
    import torch

    from equipoise.data.executors import Executor
    from equipoise.multiscale.homogenization import Homogenization
    from equipoise.problems.mechanics.cell import PeriodicCell

__all__ = ["homogenize"]


def homogenize(
    mesh: Annotated[
        str | None,
        typer.Option("--mesh", help="Mesh file, folder with the CSV pair, or built-in cell; a RUN brings its own."),
    ] = None,
    strain: Annotated[
        list[str] | None,
        typer.Option(
            "--strain", help="Macroscopic strain as xx,yy,xy or xx,yy,zz,yz,xz,xy; engineering shear; repeat."
        ),
    ] = None,
    strains: Annotated[Path | None, typer.Option("--strains", help="CSV file, one strain in a line.")] = None,
    materials: MaterialsOption = None,
    micro: Annotated[str, typer.Option("--micro", help="full, or the run folder of a trained micro model.")] = "full",
    workers: WorkersOption = None,
    cluster: ClusterOption = None,
    fields: Annotated[
        Path | None,
        typer.Option("--fields", help="Write microscopic fields to this .vtu; numbered for several strains."),
    ] = None,
    extrapolate: Annotated[
        bool, typer.Option("--extrapolate", help="Answer outside the trained box, with a warning.")
    ] = False,
    device: DeviceOption = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Homogenised stress and consistent tangent of a unit cell at given macroscopic strains, in MPa."""
    from equipoise.cli.cell_options import check_device, check_output, choose_executor
    from equipoise.multiscale.micro_field_files import write_micro_fields

    device = check_device(device)
    executor = choose_executor(workers, cluster)
    if fields is not None:
        if fields.suffix != ".vtu":
            raise ValueError(f"--fields writes VTU files; {fields} does not end in .vtu.")
        check_output(fields)
    given = _Query(strain or [], strains, mesh, materials)
    if micro == "full":
        if device != "cpu" and (workers is not None or cluster is not None):
            raise ValueError("--device cuda works in this process only; leave out --workers and --cluster.")
        answer = _full(given, executor, device, with_fields=fields is not None)
    else:
        if workers is not None or cluster is not None:
            raise ValueError("--workers and --cluster spread full-field solves; a trained micro model needs neither.")
        answer = _trained(given, Path(micro), device, extrapolate=extrapolate, with_fields=fields is not None)
    if fields is not None and answer.fields is not None:
        for number in range(len(answer.strain)):
            write_micro_fields(_field_path(fields, number, len(answer.strain)), answer.fields, sample=number)
    for warning in answer.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(json.dumps(document(answer, micro), allow_nan=False) if as_json else text(answer))


@dataclass(frozen=True)
class _Query:
    """What the command line says of the strains and the cell."""

    strain: list[str]
    strains: Path | None
    mesh: str | None
    materials: Path | None


def _full(given: _Query, executor: Executor, device: str, *, with_fields: bool) -> Homogenization:
    from equipoise.cli.cell_options import load_materials, load_mesh
    from equipoise.cli.strain_options import strains_of
    from equipoise.multiscale.homogenization import homogenize_full

    if given.mesh is None:
        raise ValueError("--mesh is missing: give a mesh file, a folder with the CSV pair, or a built-in cell.")
    mesh = load_mesh(given.mesh)
    materials = load_materials(given.materials, mesh)
    strain = strains_of(given.strain, given.strains, {2: 3, 3: 6}[mesh.dim])
    return homogenize_full(mesh, materials, strain, executor=executor, device=device, with_fields=with_fields)


def _trained(given: _Query, run: Path, device: str, *, extrapolate: bool, with_fields: bool) -> Homogenization:
    if not run.is_dir():
        raise FileNotFoundError(f"--micro {run}: expected full or a run folder, and there is no such folder.")
    from equipoise.cli.strain_options import strains_of
    from equipoise.multiscale.homogenization import homogenize_model
    from equipoise.multiscale.runs import load_micro

    model = load_micro(run, device=device, certify="sampled")
    _check_cell(given, run, getattr(model, "cell", None))
    strain = strains_of(given.strain, given.strains, model.n_strain)
    return homogenize_model(model, strain, extrapolate=extrapolate, device=device, with_fields=with_fields)


def _check_cell(given: _Query, run: Path, cell: PeriodicCell | None) -> None:
    """Compare the cell of a run with the mesh and the materials on the command line, as far as these were given."""
    from equipoise.cli.cell_options import load_materials, load_mesh
    from equipoise.data.snapshots import check_same_cell, check_same_mesh
    from equipoise.problems.mechanics.cell import PeriodicCell

    if cell is None or (given.mesh is None and given.materials is None):
        return
    mesh = cell.mesh if given.mesh is None else load_mesh(given.mesh)
    check_same_mesh(cell.mesh, mesh, name=f"the bases of run {run}")
    if given.materials is not None:
        wanted = PeriodicCell(mesh, load_materials(given.materials, mesh))
        check_same_cell(cell, wanted, name=f"the bases of run {run}")


def document(answer: Homogenization, micro: str) -> dict[str, Any]:
    """What `--json` prints; `warnings` is there only where there are any."""
    results = [
        {
            "strain": answer.strain[row].tolist(),
            "stress": answer.stress[row].tolist(),
            "tangent": answer.tangent[row].tolist(),
            "error_estimate": _finite(None if answer.error_estimate is None else float(answer.error_estimate[row])),
            "iterations": int(answer.iterations[row]),
            "seconds": float(answer.seconds[row]),
        }
        for row in range(len(answer.strain))
    ]
    printed: dict[str, Any] = {"results": results, "volume_fractions": answer.volume_fractions, "micro": micro}
    if answer.warnings:
        printed["warnings"] = list(answer.warnings)
    return printed


def text(answer: Homogenization) -> str:
    """What is printed without `--json`."""
    from equipoise.cli.strain_options import VOIGT

    lines = ["volume fractions: " + ", ".join(f"{name} {share:.4f}" for name, share in answer.volume_fractions.items())]
    names = VOIGT[answer.strain.shape[1]]
    for row in range(len(answer.strain)):
        lines.append(f"strain  ({names}): " + _row(answer.strain[row], "12.5g"))
        lines.append(f"stress  ({names}), MPa: " + _row(answer.stress[row], "12.6g"))
        lines.append("tangent, MPa:")
        lines += ["  " + _row(values, "12.6g") for values in answer.tangent[row]]
        if answer.error_estimate is not None:
            lines.append(f"relative energy gap: {float(answer.error_estimate[row]):.3g}")
        lines.append(f"iterations: {int(answer.iterations[row])}, seconds: {float(answer.seconds[row]):.3g}")
    return "\n".join(lines)


def _row(values: torch.Tensor, form: str) -> str:
    return " ".join(format(float(value), form) for value in values)


def _finite(value: float | None) -> float | None:
    """JSON has no infinity: "no finite bound" is printed as null, and named in a warning."""
    return value if value is not None and abs(value) < float("inf") else None


def _field_path(path: Path, number: int, count: int) -> Path:
    return path if count == 1 else path.with_name(f"{path.stem}_{number:03d}{path.suffix}")
