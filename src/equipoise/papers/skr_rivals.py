"""One family on which recycling is set against everything else that a user could try: `problems.inclusions`."""

from __future__ import annotations

from typing import Any

import torch

from equipoise.data.sorting import sort_inputs
from equipoise.papers.reproduction import Settings
from equipoise.papers.skr_chains import Chain, gcrotmk, run_chain
from equipoise.papers.skr_grid import Grid
from equipoise.problems.inclusions import Inclusions
from equipoise.solvers.linear import CG, GCRODR, DeflatedCG, Direct, SineTransform, pyamg_is_available

__all__ = ["compare_rivals"]

_RTOL = 1e-7


def compare_rivals(grid: Grid, settings: Settings) -> dict[str, Any]:
    """Solve the family by all methods; ours over the whole chain, its dear first systems included.

    Returns:
        Summaries of `methods`, and by how much the fastest rival takes longer than the fastest of ours.
    """
    problem = Inclusions(**grid.inclusions)
    inputs = problem.sample(grid.recycled_systems, torch.Generator().manual_seed(settings.seed))
    systems = list(problem.systems(inputs))
    ranked = [systems[i] for i in sort_inputs(problem.features(inputs)).order]
    few = systems[: grid.rival_systems]
    points, spacing = problem.grid.shape[0], problem.grid.spacings[0]
    sines = SineTransform((points - 2,) * 3, (spacing,) * 3, scaled=True)
    ours: dict[str, Chain | None] = {
        "deflated CG(14), IC(0)": run_chain(ranked, DeflatedCG(recycle=14, stored=120), "ic", rtol=_RTOL),
        "GCRO-DR(40, 14), IC(0)": run_chain(ranked, GCRODR(restart=40, recycle=14), "ic", rtol=_RTOL),
    }
    rivals: dict[str, Chain | None] = {
        "CG, IC(0)": run_chain(few, CG(), "ic", rtol=_RTOL),
        "CG, SSOR": run_chain(few, CG(), "ssor", rtol=_RTOL),
        "CG, Jacobi": run_chain(few, CG(), "jacobi", rtol=_RTOL),
        "CG, sine transform": run_chain(few, CG(), sines, rtol=_RTOL),
        "SciPy gcrotmk, IC(0), carried": gcrotmk(ranked[: 2 * len(few)], "ic", rtol=_RTOL),
        "CG, neighbour's factorisation": run_chain(few, CG(), "neighbour", rtol=_RTOL),
        "direct": run_chain(few, Direct(structure="positive_definite"), rtol=_RTOL),
    }
    if pyamg_is_available():
        rivals["CG, AMG"] = run_chain(few, CG(), "amg", rtol=_RTOL)
    methods = {name: chain.summary() for name, chain in {**ours, **rivals}.items() if chain is not None}
    # Who changes nothing between systems gains nothing from more of them; the others are given their later systems.
    fastest = min(_settled(chain) for chain in rivals.values() if chain is not None)
    best = min(methods[name]["seconds"] for name in ours)
    for name, one in methods.items():
        settings.report(f"inclusions, {name}: {1e3 * one['seconds']:.0f} ms")
    return {
        "unknowns": len(systems[0][1]),
        "methods": methods,
        "fastest_rival_over_recycling": fastest / best,
    }


def _settled(chain: Chain) -> float:
    return float(chain.summary(after=1 if len(chain.seconds) > 1 else 0)["seconds"])
