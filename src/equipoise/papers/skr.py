"""Sorted Krylov recycling against GMRES, and against the solvers that a user would try first.

Where this run departs from the paper is stated in the documentation page `docs/reproductions/skr.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from equipoise.data.sorting import sort_inputs
from equipoise.papers.reproduction import Outcome, Reproduction, Settings
from equipoise.papers.skr_chains import Chain, gcrotmk, run_chain
from equipoise.papers.skr_grid import GRIDS, PRECONDITIONERS, PUBLISHED, Grid, Row
from equipoise.papers.skr_rivals import compare_rivals
from equipoise.papers.skr_tables import skr_tables
from equipoise.problems.elliptic import Darcy
from equipoise.problems.linear_problem import LinearProblem, System
from equipoise.problems.registry import make_problem
from equipoise.solvers.linear import (
    CG,
    GCRODR,
    GMRES,
    MINRES,
    DeflatedCG,
    DeflatedMINRES,
    Direct,
    pyamg_is_available,
)

__all__ = ["REPRODUCTION", "run"]

# Chains that take less than this, in seconds, are run so often; the more often where two medians lie as near as this.
_QUICK, _REPEATS, _MOST_REPEATS, _NEAR = 2.0, 3, 9, 1.15
# Ours that recycle, in sorted order.
_RECYCLING = ("sorted", "deflated_cg", "deflated_minres")


def run(settings: Settings) -> Outcome:
    """Run every row of the scale's table and judge; see `REPRODUCTION.criterion`."""
    grid = GRIDS[settings.scale]
    _warm_up()
    rows, rivals, largest_gap = [], dict[tuple[str, float], dict[str, Any]](), 0.0
    for row in grid.rows:
        systems, order, sorting = _systems(grid, row, settings.seed)
        structure = _problem(grid, row).structure
        chains = _chains(row, systems, order, structure)
        key = (row.family, row.rtol)
        if key not in rivals:
            rivals[key] = _direct_rivals(row, systems, structure)
        chains.update(rivals[key])
        largest_gap = max(largest_gap, _largest_gap(chains, order))
        rows.append(_row_figures(row, chains, sorting))
        settings.report(f"{row.family}, {row.preconditioner}, {row.rtol:g}: {_shown(rows[-1])}")
    figures: dict[str, Any] = {"rows": rows, "largest_difference_of_solutions": largest_gap}
    if grid.inclusions:
        figures["inclusions"] = compare_rivals(grid, settings)
    targets = _smoke_targets(figures) if settings.scale == "smoke" else _targets(figures)
    figures["targets"] = targets
    baseline = {"rows": [{name: row[name] for name in ("family", "preconditioner", "rtol", "gmres40")} for row in rows]}
    return Outcome(figures, baseline, all(target["held"] for target in targets.values()), skr_tables(figures))


def _warm_up() -> None:
    """Load what is loaded at first use, so that no method pays for it in its first system."""
    problem = Darcy(resolution=12)
    systems = list(problem.systems(problem.sample(1, torch.Generator().manual_seed(0))))
    for method, kind in (
        (Direct(structure="positive_definite"), None),
        (Direct(structure="general"), None),
        (CG(), "ssor"),
    ):
        run_chain(systems, method, kind, rtol=1e-6)
    if pyamg_is_available():
        run_chain(systems, CG(), "amg", rtol=1e-6)


def _problem(grid: Grid, row: Row) -> LinearProblem:
    name, options = grid.families[row.family]
    problem = make_problem(name, **options)
    assert isinstance(problem, LinearProblem)
    return problem


def _systems(grid: Grid, row: Row, seed: int) -> tuple[list[System], list[int], dict[str, float]]:
    """All systems of a row in the order drawn, the sorted order, and what sorting cost and gave."""
    problem = _problem(grid, row)
    inputs = problem.sample(row.systems, torch.Generator().manual_seed(seed))
    sorting = sort_inputs(problem.features(inputs))
    step = sorting.step_after / sorting.step_before if sorting.step_before > 0 else 1.0
    facts = {"seconds": sorting.seconds, "step_ratio": step}
    return list(problem.systems(inputs)), sorting.order.tolist(), facts


def _chains(row: Row, systems: list[System], order: list[int], structure: str) -> dict[str, Chain | None]:
    """Every method that takes the row's preconditioner; those compared in time take turns where they are quick."""
    kind, rtol = PRECONDITIONERS[row.preconditioner], row.rtol
    few, ranked = systems[: row.restarted], [systems[i] for i in order]
    recycling = GCRODR(restart=40, recycle=20)
    chains = {
        "gmres40": run_chain(few, GMRES(40), kind, rtol=rtol, fresh=True),
        "gmres400": run_chain(few, GMRES(400), kind, rtol=rtol, fresh=True),
        "fresh": run_chain(systems, recycling, kind, rtol=rtol, fresh=True),
        "unsorted": run_chain(systems, recycling, kind, rtol=rtol),
    }
    compared: dict[str, Callable[[], Chain | None]] = {
        "sorted": lambda: run_chain(ranked, recycling, kind, rtol=rtol),
        "gcrotmk": lambda: gcrotmk(ranked, kind, rtol=rtol),
    }
    if structure == "positive_definite":
        chains["cg"] = run_chain(systems, CG(), kind, rtol=rtol)
        compared["deflated_cg"] = lambda: run_chain(ranked, DeflatedCG(), kind, rtol=rtol)
    elif structure == "symmetric":
        chains["minres"] = run_chain(systems, MINRES(), kind, rtol=rtol)
        compared["deflated_minres"] = lambda: run_chain(ranked, DeflatedMINRES(), kind, rtol=rtol)
    return chains | _by_turns(compared)


def _by_turns(methods: dict[str, Callable[[], Chain | None]]) -> dict[str, Chain | None]:
    """The run of median time of each of the methods, run by turns; one run where that takes seconds.

    Where the fastest of ours and SciPy's lie near each other all are run more often, so that noise does not decide.
    """
    runs = {name: [method()] for name, method in methods.items()}

    def median(name: str) -> Chain | None:
        known = [one for one in runs[name] if one is not None]
        return sorted(known, key=Chain.total)[len(known) // 2] if len(known) == len(runs[name]) else None

    def is_near() -> bool:
        theirs = median("gcrotmk")
        ours = [one.total() for one in (median(name) for name in _RECYCLING if name in methods) if one is not None]
        return theirs is not None and bool(ours) and 1 / _NEAR < theirs.total() / min(ours) < _NEAR

    for turn in range(1, _MOST_REPEATS):
        if turn >= _REPEATS and not is_near():
            break
        for name, method in methods.items():
            first = runs[name][0]
            if first is not None and first.total() < _QUICK:
                runs[name].append(method())
    return {name: median(name) for name in methods}


def _direct_rivals(row: Row, systems: list[System], structure: str) -> dict[str, Chain | None]:
    """Those that take no preconditioner of the row: once for a family and a tolerance."""
    definite = structure == "positive_definite"
    some = systems[: min(len(systems), 6)]
    chains = {
        "direct": run_chain(some, Direct(structure=structure), rtol=row.rtol),
        "neighbour": run_chain(some, CG() if definite else GMRES(60), "neighbour", rtol=row.rtol),
    }
    if definite and pyamg_is_available():
        chains["amg_cg"] = run_chain(some, CG(), "amg", rtol=row.rtol)
    return chains


def _largest_gap(chains: dict[str, Chain | None], order: list[int]) -> float:
    """Largest relative difference between a converged solution and the direct one, over methods and systems."""
    direct = chains["direct"]
    assert direct is not None
    largest = 0.0
    for name, chain in chains.items():
        if chain is None:
            continue
        numbers = order if name in (*_RECYCLING, "gcrotmk") else range(len(chain.answers))
        for number, answer, converged in zip(numbers, chain.answers, chain.converged, strict=False):
            if converged and number < len(direct.answers):
                exact = direct.answers[number]
                largest = max(largest, float(np.linalg.norm(answer - exact) / np.linalg.norm(exact)))
    return largest


def _row_figures(row: Row, chains: dict[str, Chain | None], sorting: dict[str, float]) -> dict[str, Any]:
    figures: dict[str, Any] = {"family": row.family, "preconditioner": row.preconditioner, "rtol": row.rtol}
    figures["sorting"] = sorting
    figures["gmres40"] = None
    for name, chain in chains.items():
        figures[name] = None if chain is None else chain.summary()
    deflated = chains.get("deflated_cg")
    if deflated is not None and len(deflated.seconds) > 10:
        figures["deflated_cg_after_ten"] = deflated.summary(after=10)
    theirs, ours = figures["gmres40"], figures.get("sorted")
    if theirs is not None and ours is not None:
        figures["iteration_ratio"] = theirs["iterations"] / max(ours["iterations"], 1)
        figures["time_ratio"] = theirs["seconds"] / ours["seconds"]
        figures["carried_over_fresh"] = ours["products"] / figures["fresh"]["products"]
        # One that leaves systems unsolved is not the faster one.
        known = (figures[name] for name in _RECYCLING if figures.get(name))
        best = min(known, key=lambda one: (one["unconverged"], one["seconds"]))
        figures["gcrotmk_over_recycling"] = figures["gcrotmk"]["seconds"] / best["seconds"]
        figures["gcrotmk_unconverged_beyond_recycling"] = figures["gcrotmk"]["unconverged"] - best["unconverged"]
    return figures


def _target(value: Any, wanted: str, held: bool) -> dict[str, Any]:
    return {"value": value, "wanted": wanted, "held": bool(held)}


def _smoke_targets(figures: dict[str, Any]) -> dict[str, dict[str, Any]]:
    gap = figures["largest_difference_of_solutions"]
    fewer = all(row["sorted"]["iterations"] <= row["gmres40"]["iterations"] for row in figures["rows"])
    return {
        "solutions agree": _target(gap, "at most 1e-5", gap <= 1e-5),
        "GCRO-DR takes no more iterations than GMRES(40)": _target(fewer, "true", fewer),
    }


def _targets(figures: dict[str, Any]) -> dict[str, dict[str, Any]]:
    rows = [row for row in figures["rows"] if "iteration_ratio" in row]
    # One system alone would say little: GMRES takes between 3000 and 10^4 iterations on these.
    published = [row for row in rows if row["family"] == "helmholtz-published" and row["gmres40"]["systems"] >= 3]
    iterations, seconds = (max(row[name] for row in published) for name in ("iteration_ratio", "time_ratio"))
    (darcy,) = [row for row in rows if (row["family"], row["preconditioner"], row["rtol"]) == ("darcy", "SSOR", 1e-7)]
    deflated = darcy["deflated_cg_after_ten"]["iterations"] / darcy["cg"]["iterations"]
    slower = [
        f"{row['family']}, {row['preconditioner']}, {row['rtol']:g}: {row['gcrotmk_over_recycling']:.2f}"
        for row in rows
        if row["gcrotmk_over_recycling"] <= 1 and row["gcrotmk_unconverged_beyond_recycling"] <= 0
    ]
    ahead = figures["inclusions"]["fastest_rival_over_recycling"]
    return {
        "helmholtz-published: best iteration ratio": _target(iterations, "at least 25", iterations >= 25),
        "helmholtz-published: best time ratio": _target(seconds, "at least 13.9", seconds >= 13.9),
        "darcy: products carried over fresh": _target(
            darcy["carried_over_fresh"], "at most 0.8", darcy["carried_over_fresh"] <= 0.8
        ),
        "darcy: deflated CG over CG after ten systems": _target(deflated, "at most 0.45", deflated <= 0.45),
        "rows where SciPy's gcrotmk is faster": _target(slower, "none", not slower),
        "inclusions: fastest rival's time over ours": _target(ahead, "above 1", ahead > 1),
    }


def _shown(row: dict[str, Any]) -> str:
    if "iteration_ratio" not in row:
        return "not applicable"
    direct = 1e3 * row["direct"]["seconds"]
    return f"iterations {row['iteration_ratio']:.1f}, time {row['time_ratio']:.1f}; direct {direct:.0f} ms"


REPRODUCTION = Reproduction(
    slug="skr",
    title="Accelerating Data Generation for Neural Operators via Krylov Subspace Recycling",
    source="Wang, Hao, Wang, Geng, Wang, Li and Wu, ICLR 2024, arXiv 2401.09516",
    claim=(
        "Solving the systems of a data set in an order in which neighbours resemble one another, by GCRO-DR(40, 20) "
        "that carries its subspace along, takes up to 30 times fewer iterations and 13.9 times less time than "
        "GMRES(40)."
    ),
    criterion=(
        "On the published matrices (helmholtz-published, which are no Helmholtz equation): best iteration ratio at "
        "least 25 and best time ratio at least 13.9. On true Darcy flow: matrix products carried over fresh at most "
        "0.8, deflated CG at most 0.45 of CG's iterations after ten systems. No row in which SciPy's gcrotmk is faster "
        "than our recycling (GCRO-DR or, on symmetric matrices, deflated CG or MINRES), and one family, inclusions, on "
        "which recycling is faster than every rival. At scale smoke: all solvers agree to 1e-5, and GCRO-DR takes no "
        "more iterations than GMRES(40)."
    ),
    run=run,
    paper=PUBLISHED,
)
"""The reproduction of sorted Krylov recycling."""
