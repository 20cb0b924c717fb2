"""The structure of the EquiNO reproduction: the same loads with FE² and with the learned cell."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from equipoise.multiscale.equino import EquiNOModel
from equipoise.multiscale.full_field import FullFieldRVE
from equipoise.multiscale.load_stepping import Stepping
from equipoise.multiscale.macroscale import simulate
from equipoise.multiscale.structure import Region, Structure, Support
from equipoise.spaces.structures import cooks_membrane

__all__ = ["compare_structures"]


def compare_structures(model: EquiNOModel, *, coarse: bool) -> dict[str, Any]:
    """Errors of a structure with the learned cell against FE², and what both cost.

    Args:
        model: of a plane cell. coarse: 3 x 3 elements in two load steps instead of 4 x 4 in four.

    Returns:
        Relative errors of the nodal displacement and of the reaction at the last step, wall seconds of both
        simulations, and their ratio. FE² is Equipoise's own fast solver, warm-started.
    """
    count = 3 if coarse else 4
    structure = Structure(
        cooks_membrane(elements=(count, count)),
        [
            Support(Region(group="left"), {"x": 0.0, "y": 0.0}, name="clamp"),
            Support(Region(group="right"), {"y": 1.35}, name="edge"),
        ],
        stepping=Stepping(first_step=0.5 if coarse else 0.25),
        name="Cook's membrane",
    )
    full, full_seconds = _timed(structure, FullFieldRVE(model.cell))
    simulate(structure, model)
    learned, seconds = _timed(structure, model)
    displacement = np.linalg.norm(learned.displacement - full.displacement) / np.linalg.norm(full.displacement)
    exact, found = (np.array(run.steps[-1].reactions["edge"]) for run in (full, learned))
    return {
        "displacement_error": float(displacement),
        "reaction_error": float(np.linalg.norm(found - exact) / np.linalg.norm(exact)),
        "integration_points": len(full.weights),
        "largest_strain": learned.steps[-1].largest_strain,
        "full_field_seconds": full_seconds,
        "learned_seconds": seconds,
        "simulation_speed_up": full_seconds / seconds,
    }


def _timed(structure: Structure, model: Any) -> tuple[Any, float]:
    began = time.perf_counter()
    simulation = simulate(structure, model)
    return simulation, time.perf_counter() - began
