"""How the costs of FE² and of a learned cell grow with the number of cells, the cell's mesh and the modes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from equipoise.data.sampling import latin_hypercube, symmetric_box, uniform
from equipoise.multiscale.certified_model import CertifiedModel
from equipoise.multiscale.equino import EquiNOModel
from equipoise.multiscale.full_field import FullFieldRVE
from equipoise.multiscale.full_field_estimate import estimate_full_field
from equipoise.multiscale.macroscale import simulate
from equipoise.multiscale.structure import Structure
from equipoise.operators.equino import EquiNO
from equipoise.problems.mechanics.bases import ReducedBases
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.cell_solver import CellSolver
from equipoise.problems.mechanics.cubature import empirical_cubature
from equipoise.problems.mechanics.materials import paper_materials
from equipoise.problems.mechanics.reduced import ReducedProblem
from equipoise.spaces.cells import builtin_cell
from equipoise.viz.style import new_figure, save_figure, styled

__all__ = ["draw_scaling"]

BOX = symmetric_box(0.04, 3)
Series = dict[str, list[tuple[float, float]]]


def median_seconds(work: Callable[[], object], repeats: int = 5) -> float:
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def by_points(model: CertifiedModel, structure: Callable[[int], Structure]) -> Series:
    """Wall seconds of a simulation against the number of integration points."""
    series: Series = {"FE² (estimate)": [], "learned cell": []}
    full = FullFieldRVE(model.cell)
    for elements in (2, 4, 8, 16, 32, 64):
        problem = structure(elements)
        estimate = estimate_full_field(problem, model, full, sample=4)
        points = len(estimate.learned.weights)
        series["FE² (estimate)"].append((points, estimate.seconds))
        series["learned cell"].append((points, median_seconds(lambda p=problem: simulate(p, model))))
    return series


def by_mesh() -> Series:
    """Seconds of one answer with tangent against the elements of the cell; networks with 8 modes, untrained."""
    series: Series = {"full field": [], "reduced-order model": [], "learned cell": []}
    for count in (2, 3, 5, 8, 14):
        cell = PeriodicCell(builtin_cell("fibre", n=count, fraction=0.4), paper_materials())
        solver, train = CellSolver(cell), latin_hypercube(12, BOX, seed=0)
        solved = solver.solve(train, tangent=False)
        bases = ReducedBases.from_snapshots(
            cell, solved.fluctuation, cell.law.stress(cell.strain(train, solved.fluctuation)), strain=train, n_modes=8
        )
        elements = cell.mesh.n_cells
        test = uniform(8, BOX, seed=1)
        series["full field"].append((elements, median_seconds(lambda s=solver, t=test: s.solve(t)) / len(test)))
        _add_reduced(series, elements, cell, bases)
    return series


def by_modes(model: CertifiedModel) -> Series:
    """Seconds of one answer with tangent against the modes, on the cell of the run; networks untrained."""
    series: Series = {"full field": [], "reduced-order model": [], "learned cell": []}
    cell, solver = model.cell, CellSolver(model.cell)
    train, test = latin_hypercube(64, BOX, seed=0), uniform(8, BOX, seed=1)
    solved = solver.solve(train, tangent=False)
    stress = cell.law.stress(cell.strain(train, solved.fluctuation))
    seconds = median_seconds(lambda: solver.solve(test)) / len(test)
    for modes in (2, 4, 8, 16, 32, 64):
        bases = ReducedBases.from_snapshots(cell, solved.fluctuation, stress, strain=train, n_modes=modes)
        series["full field"].append((modes, seconds))
        _add_reduced(series, modes, cell, bases)
    return series


def _add_reduced(series: Series, size: float, cell: PeriodicCell, bases: ReducedBases) -> None:
    reduced = ReducedProblem.on_cubature(cell, bases, empirical_cubature(cell, bases, seed=0))
    few, many = uniform(256, BOX / 2, seed=1), uniform(10_000, BOX, seed=2)

    def answer() -> None:
        reduced.kinematic_response(few, reduced.solve_primal(few))

    operator = EquiNO(n_displacement_modes=bases.n_displacement_modes, n_stress_modes=bases.n_stress_modes)
    operator.fit_scales(
        bases.strain, bases.displacement_coefficients, bases.stress_coefficients, bases.homogenised_modes
    )
    model = EquiNOModel(cell, bases, operator.eval(), box=BOX)
    series["reduced-order model"].append((size, median_seconds(answer) / len(few)))
    series["learned cell"].append((size, median_seconds(lambda: model.answer(many)) / len(many)))


def draw_scaling(model: CertifiedModel, structure: Callable[[int], Structure], path: Path) -> None:
    """Measure all three, print them, and draw them side by side."""
    panels: list[tuple[str, str, Series]] = [
        ("integration points", "s per simulation", by_points(model, structure)),
        ("elements of the cell", "s per answer with tangent", by_mesh()),
        ("modes", "s per answer with tangent", by_modes(model)),
    ]
    with torch.no_grad(), styled():
        figure = new_figure(11.0, 3.6)
        for number, (x_label, y_label, series) in enumerate(panels):
            print(f"\n{x_label:24s}" + "".join(f"{name:>22s}" for name in series))
            for rows in zip(*series.values(), strict=True):
                print(f"{rows[0][0]:<24g}" + "".join(f"{value:22.3g}" for _, value in rows))
            axes = figure.add_subplot(1, 3, number + 1)
            for name, values in series.items():
                axes.loglog(*zip(*values, strict=True), "o-", label=name)
            if x_label == "modes":
                axes.set_xscale("log", base=2)
            axes.set_xlabel(x_label)
            axes.set_ylabel(y_label)
            axes.legend()
        save_figure(figure, path)
