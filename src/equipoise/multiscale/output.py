"""Files of a simulation: a field file per load step with a collection over time, tables, and a summary.

Figures and the report are made in `simulation_report.py`; checkpoints in `checkpoint.py`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import torch
from numpy.typing import NDArray

from equipoise.data.whole_files import write_whole
from equipoise.multiscale.discretization import Discretization
from equipoise.multiscale.equilibrium import Converged
from equipoise.multiscale.micro import VOIGT_NAMES
from equipoise.multiscale.simulation import LoadStep, PointGaps, Simulation
from equipoise.multiscale.structure import AXES
from equipoise.spaces.mesh_files import write_mesh
from equipoise.viz.element_values import element_means, nodal_averages

__all__ = ["OutputFolder", "equivalent_stress", "write_text"]


class OutputFolder:
    """Folder that a simulation fills step by step; everything in it is whole at any time.

    Holds `steps/step-0001.vtu`, …, `steps.pvd` (opens them all, over time), `reactions.csv`, `points.csv` (the
    displacements of monitored points), `convergence.csv`, `checkpoint.safetensors` and, at the end, `summary.json`.

    Args:
        path: the folder; made if missing. system: the structure in finite elements.
    """

    def __init__(self, path: Path, system: Discretization) -> None:
        if path.is_file():
            raise ValueError(f"{path} is a file; results need a folder.")
        self.path, self._system = path, system
        (path / "steps").mkdir(parents=True, exist_ok=True)

    def write_step(self, steps: Sequence[LoadStep], state: Converged, gaps: PointGaps | None) -> None:
        """Write the fields of the last step, and the tables over all steps."""
        if steps[-1].number == 1:
            for stale in (self.path / "steps").glob("step-*.vtu"):
                stale.unlink()
        write_fields(self.path / "steps" / f"step-{steps[-1].number:04d}.vtu", self._system, state, gaps)
        files = [(step.time, f"steps/step-{step.number:04d}.vtu") for step in steps]
        write_text(self.path / "steps.pvd", _collection(files))
        axes = AXES[: self._system.dim]
        write_text(self.path / "reactions.csv", _vector_table(steps, "reactions", "support", axes, "N"))
        if self._system.structure.monitored:
            write_text(self.path / "points.csv", _vector_table(steps, "displacements", "point", axes, "mm"))
        write_text(self.path / "convergence.csv", _convergence_table(steps))

    def finish(self, simulation: Simulation) -> None:
        """Write `summary.json`."""
        write_text(self.path / "summary.json", json.dumps(simulation.summary(), indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file under a temporary name, then rename it."""
    write_whole(path, text.encode())


def equivalent_stress(stress: torch.Tensor | NDArray[np.float64]) -> NDArray[np.float64]:
    """Von Mises stress, `(n, v)` to `(n,)`; in the plane of the in-plane components only, as in plane stress."""
    s = stress.detach().cpu().numpy() if isinstance(stress, torch.Tensor) else stress
    if s.shape[1] == 3:
        return np.asarray(np.sqrt(np.maximum(s[:, 0] ** 2 - s[:, 0] * s[:, 1] + s[:, 1] ** 2 + 3 * s[:, 2] ** 2, 0.0)))
    normal = (s[:, 0] - s[:, 1]) ** 2 + (s[:, 1] - s[:, 2]) ** 2 + (s[:, 2] - s[:, 0]) ** 2
    return np.asarray(np.sqrt(normal / 2 + 3 * (s[:, 3:] ** 2).sum(axis=1)))


def write_fields(path: Path, system: Discretization, state: Converged, gaps: PointGaps | None) -> None:
    """Write displacement, averaged stress and strain at the nodes, and gaps by element, as a VTU file.

    Strain has engineering shear. A gap is the largest of its element's points, with -1 for "no finite bound";
    `gap_is_bound` is 1 where all of them are guaranteed.
    """
    mesh = system.structure.mesh
    displacement = np.zeros((mesh.n_nodes, 3))
    displacement[:, : mesh.dim] = state.displacement.reshape(-1, mesh.dim)
    reactions = np.zeros((mesh.n_nodes, 3))
    reactions[:, : mesh.dim] = np.where(_is_held(system), state.reactions, 0.0).reshape(-1, mesh.dim)
    stress, strain = state.answers.stress.detach().cpu().numpy(), state.strain.cpu().numpy()
    point_data = {
        "displacement": displacement,
        "reaction": reactions,
        "equivalent_stress": nodal_averages(mesh, equivalent_stress(stress)),
    }
    for name, field in (("stress", stress), ("strain", strain)):
        averaged = nodal_averages(mesh, field)
        for number, component in enumerate(VOIGT_NAMES[system.n_strain]):
            point_data[f"{name}_{component}"] = averaged[:, number]
    cell_data: dict[str, NDArray[np.float64]] = {}
    if gaps is not None:
        largest = element_means(mesh, gaps.relative_gap.cpu().numpy(), largest=True)
        cell_data["relative_gap"] = np.where(np.isfinite(largest), largest, -1.0)
        cell_data["gap_is_bound"] = np.floor(element_means(mesh, gaps.is_bound.cpu().numpy().astype(float)))
    write_mesh(path, mesh, point_data=point_data, cell_data=cell_data)


def _is_held(system: Discretization) -> NDArray[np.bool_]:
    held = np.zeros(system.n_unknowns, dtype=bool)
    held[system.held.unknowns] = True
    return held


def _collection(files: Sequence[tuple[float, str]]) -> str:
    rows = "\n".join(f'    <DataSet timestep="{time!r}" part="0" file={quoteattr(name)}/>' for time, name in files)
    return (
        '<?xml version="1.0"?>\n<VTKFile type="Collection" version="0.1">\n  <Collection>\n'
        f"{rows}\n  </Collection>\n</VTKFile>\n"
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _vector_table(steps: Sequence[LoadStep], what: str, name: str, axes: Sequence[str], unit: str) -> str:
    rows = [
        [step.number, repr(step.time), label, *(repr(value) for value in vector)]
        for step in steps
        for label, vector in getattr(step, what).items()
    ]
    return _table(["step", "time", name, *(f"{axis}_{unit}" for axis in axes)], rows)


def _convergence_table(steps: Sequence[LoadStep]) -> str:
    rows = [
        [
            step.number,
            repr(step.time),
            step.iterations,
            f"{step.residuals[-1]:.3e}",
            "" if step.largest_gap is None else f"{step.largest_gap:.6e}",
            "" if step.mean_gap is None else f"{step.mean_gap:.6e}",
            step.gap_kind,
            f"{step.largest_strain:.6e}",
            step.evaluations,
            step.counts.get("fallbacks", 0),
        ]
        for step in steps
    ]
    header = ["step", "time", "newton_iterations", "residual", "largest_gap", "mean_gap", "gap_kind", "largest_strain"]
    return _table([*header, "micro_evaluations", "fallbacks"], rows)
