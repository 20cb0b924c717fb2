"""The structure of the EquiNO reproduction: the same loads with FE² and with the learned cell."""

from __future__ import annotations

from typing import Any

from equipoise.multiscale.comparison import compare_with_full_field
from equipoise.multiscale.equino import EquiNOModel
from equipoise.multiscale.load_stepping import Stepping
from equipoise.multiscale.simulation import Simulation
from equipoise.multiscale.structure import Region, Structure, Support
from equipoise.spaces.structures import cooks_membrane

__all__ = ["compare_structures"]


def compare_structures(
    model: EquiNOModel, *, coarse: bool, full: Simulation | None = None
) -> tuple[dict[str, Any], Simulation]:
    """Errors of a structure with the learned cell, what it and FE² cost (see `Comparison.figures`), and FE² itself.

    Args:
        model: of a plane cell. coarse: 3 x 3 elements in two load steps instead of 4 x 4 in four.
        full: FE² of the same cell from an earlier call; it does not depend on the modes.
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
    compared = compare_with_full_field(structure, model, full=full)
    figures = {**compared.figures(), "largest_strain": compared.learned.steps[-1].largest_strain}
    return figures, compared.full
