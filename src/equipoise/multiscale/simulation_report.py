"""The figures and the report of a finished (or stopped) simulation, put together from its records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from equipoise.multiscale.localization import LocalFields, write_local_fields
from equipoise.multiscale.micro import VOIGT_NAMES
from equipoise.multiscale.output import equivalent_stress
from equipoise.multiscale.simulation import Simulation
from equipoise.multiscale.structure import AXES
from equipoise.viz.figures import (
    Curve,
    convergence_figure,
    curve_figure,
    deformation_scale,
    gap_figure,
    structure_figure,
)
from equipoise.viz.report import Report
from equipoise.viz.style import save_figure

__all__ = ["load_displacement_curve", "write_report"]


def write_report(
    folder: Path,
    simulation: Simulation,
    *,
    micro: str,
    local: Sequence[LocalFields] = (),
    others: Mapping[str, Simulation] | None = None,
    comparison: tuple[Sequence[str], Sequence[Sequence[str]]] | None = None,
) -> Path:
    """Write `figures/*.png` and a self-contained `report.html`; the report's path is returned.

    Args:
        folder: output folder. simulation: what to report.
        micro: one line that says which micro model answered.
        local: microscopic fields to show.
        others: further simulations of the same structure by name, drawn as baselines in the load-displacement curve.
        comparison: header and rows of a table that compares with them.
    """
    figures = folder / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    structure = simulation.structure
    report = Report(structure.name, subtitle=f"two-scale simulation · {micro}")
    if simulation.stop is not None:
        report.notice(f"Stopped early: {simulation.stop}")
    for warning in simulation.warnings:
        report.notice(warning)
    report.cards(_cards(simulation))
    if comparison is not None:
        report.heading("Learned cell against full field")
        report.table(list(comparison[0]), [list(row) for row in comparison[1]])
    if simulation.steps:
        report.heading("Structure")
        report.figures(_structure_figures(figures, simulation, others or {}))
        if local:
            report.heading("Microscopic fields")
            report.figures(
                {write_local_fields(folder / "localisation", part): _caption(part) for part in local}, wide=True
            )
        report.heading("Load steps")
        report.table(*_step_table(simulation))
    report.heading("Cost")
    report.table(*_cost_table(simulation))
    return report.write(folder / "report.html")


def _structure_figures(folder: Path, simulation: Simulation, others: Mapping[str, Simulation]) -> dict[Path, str]:
    structure, mesh = simulation.structure, simulation.structure.mesh
    stress = simulation.stress.detach().cpu().numpy()
    kind = "in-plane components" if mesh.dim == 2 else "von Mises"
    images: dict[Path, str] = {}
    figure = structure_figure(
        mesh,
        simulation.displacement,
        equivalent_stress(stress),
        title=f"{structure.name}, time {simulation.steps[-1].time:g}",
        label=f"equivalent stress ({kind}) / MPa",
        marks=structure.monitored,
    )
    images[save_figure(figure, folder / "structure.png")] = "Deformed structure, coloured by the averaged stress."
    strain = np.abs(simulation.strain.cpu().numpy())
    worst = int(strain.max(axis=0).argmax())
    figure = structure_figure(
        mesh,
        simulation.displacement,
        simulation.strain.cpu().numpy()[:, worst],
        title="Macroscopic strain",
        label=f"strain {VOIGT_NAMES[strain.shape[1]][worst]}" + (" (engineering shear)" if worst >= mesh.dim else ""),
    )
    images[save_figure(figure, folder / "strain.png")] = "The strain component that grows largest."
    images[save_figure(_curve_figure(simulation, others), folder / "load-displacement.png")] = (
        "Reaction over displacement, each load step a point."
    )
    residuals = {step.number: step.residuals for step in simulation.steps}
    figure = convergence_figure(residuals, tolerance=structure.stepping.rtol)
    images[save_figure(figure, folder / "convergence.png")] = "Residuals of Newton's method in each load step."
    if simulation.gaps is not None:
        shown = deformation_scale(mesh, simulation.displacement) * simulation.displacement
        gap = simulation.gaps.relative_gap.cpu().numpy()
        figure = gap_figure(
            mesh, gap, title="Certificate at the last step", kind=simulation.gaps.kind, displacement=shown
        )
        images[save_figure(figure, folder / "gap.png")] = (
            "Relative energy gap between upper and lower bound, the largest of each element's points."
        )
    return images


def load_displacement_curve(simulation: Simulation) -> tuple[list[float], list[float], str, str]:
    """Displacement, force and their labels for the curve that says most about a structure.

    The force is the largest reaction component at the last step, drawn over the largest displacement component of the
    first monitored point that moves, or over pseudo-time where no point is monitored. Both are turned so that they end
    positive; a minus in the label says where that changed the sign.
    """
    last = simulation.steps[-1]
    support, axis = _largest(last.reactions)
    forces, minus = _turned([0.0, *(step.reactions[support][axis] for step in simulation.steps)])
    y_label = f"{minus}reaction {AXES[axis]} at {support} / N"
    if not last.displacements:
        times = [simulation.structure.stepping.start, *(step.time for step in simulation.steps)]
        return times, forces, "pseudo-time", y_label
    point, along = _largest(last.displacements)
    moved, minus = _turned([0.0, *(step.displacements[point][along] for step in simulation.steps)])
    return moved, forces, f"{minus}displacement {AXES[along]} at {point} / mm", y_label


def _largest(vectors: Mapping[str, Sequence[float]]) -> tuple[str, int]:
    """Name and component of the largest entry; the first among those that are equal to round-off."""
    top = max(abs(value) for vector in vectors.values() for value in vector)
    return next(
        (name, axis)
        for name, vector in vectors.items()
        for axis, value in enumerate(vector)
        if abs(value) >= (1 - 1e-6) * top
    )


def _turned(values: list[float]) -> tuple[list[float], str]:
    return ([-value for value in values], "−") if values[-1] < 0 else (values, "")


def _curve_figure(simulation: Simulation, others: Mapping[str, Simulation]):  # type: ignore[no-untyped-def]
    x, y, x_label, y_label = load_displacement_curve(simulation)
    curves = [Curve("this simulation", x, y)]
    for name, other in others.items():
        x, y, *_ = load_displacement_curve(other)
        curves.append(Curve(name, x, y, is_baseline=True))
    return curve_figure(curves, title="Load–displacement curve", x_label=x_label, y_label=y_label)


def _cards(simulation: Simulation) -> dict[str, str]:
    figures = simulation.summary()
    cards = {
        "load steps": f"{figures['steps']}",
        "Newton iterations": f"{sum(figures['newton_iterations'])}",
        "integration points": f"{figures['integration_points']:,}",
        "micro evaluations": f"{figures['micro_evaluations']:,}",
        "wall time": f"{figures['seconds']['total']:.3g} s",
        "peak memory": f"{figures['peak_memory_mib']:.0f} MiB",
        "largest strain": f"{figures['largest_strain']:.3g}",
    }
    if figures["largest_gap"] is not None:
        cards[f"largest relative gap ({figures['gap_kind']})"] = _gap(figures["largest_gap"])
        cards[f"mean relative gap ({figures['gap_kind']})"] = _gap(figures["mean_gap"])
        cards["full-field fall-backs"] = f"{figures['fallbacks']}"
    return cards


def _gap(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.2e}"


def _step_table(simulation: Simulation) -> tuple[list[str], list[list[str]]]:
    header = ["step", "time", "Newton iterations", "residual", "largest strain", "micro evaluations"]
    with_gap = any(step.largest_gap is not None for step in simulation.steps)
    if with_gap:
        header += ["largest gap", "mean gap", "kind", "fall-backs"]
    rows = []
    for step in simulation.steps:
        row = [
            f"{step.number}",
            f"{step.time:.4g}",
            f"{step.iterations}",
            f"{step.residuals[-1]:.1e}",
            f"{step.largest_strain:.4f}",
            f"{step.evaluations:,}",
        ]
        if with_gap:
            gap = ["–", "–"] if step.largest_gap is None else [f"{step.largest_gap:.2e}", f"{step.mean_gap:.2e}"]
            row += [*gap, step.gap_kind, f"{step.counts.get('fallbacks', 0)}"]
        rows.append(row)
    return header, rows


def _cost_table(simulation: Simulation) -> tuple[list[str], list[list[str]]]:
    seconds = dict(vars(simulation.timings))
    total = seconds.pop("total")
    seconds["other"] = max(0.0, total - sum(seconds.values()))
    rows = [[name, f"{value:.3f}", f"{100 * value / total:.1f} %" if total else "–"] for name, value in seconds.items()]
    return ["part", "wall seconds", "share"], [*rows, ["total", f"{total:.3f}", "100 %" if total else "–"]]


def _caption(local: LocalFields) -> str:
    models = " and ".join(local.fields)
    place = ", ".join(f"{x:g}" for x in local.place)
    return f"Stress in the unit cell nearest to {local.name} ({place}): {models}."
