"""Structures that need no files: those of the EquiNO paper and its companion, and a bracket in space.

Displacements are scaled so that the largest strain at an integration point is about 0.03 with the cell named, inside
the usual training box of 0.04. Their meshes come from `spaces.structures`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from equipoise.multiscale.load_stepping import Stepping
from equipoise.multiscale.structure import Region, Structure, Support
from equipoise.spaces.structures import bracket, cooks_membrane, l_profile, plate_with_hole

__all__ = ["BUILTIN_STRUCTURES", "BuiltinStructure"]


@dataclass(frozen=True)
class BuiltinStructure:
    """A structure by name.

    Attributes:
        description: one line. dim: 2 or 3. cell: built-in unit cell that goes with it, as `builtin_cell` takes it.
        build: makes the structure.
    """

    description: str
    dim: int
    cell: str
    build: Callable[[], Structure]


def _cooks_membrane() -> Structure:
    return Structure(
        cooks_membrane(elements=(8, 8)),
        [
            Support(Region(group="left"), {"x": 0.0, "y": 0.0}, name="clamp"),
            Support(Region(group="right"), {"y": 1.35}, name="edge"),
        ],
        stepping=Stepping(first_step=0.25),
        monitored={"corner": (48.0, 60.0), "root": (3.0, 40.0)},
        name="Cook's membrane",
    )


def _l_profile() -> Structure:
    return Structure(
        l_profile(elements=4),
        [
            Support(Region(group="bottom"), {"x": 0.0, "y": 0.0}, name="foot"),
            Support(Region(group="end"), {"y": -3.4}, name="end"),
        ],
        stepping=Stepping(first_step=0.25),
        monitored={"end": (100.0, 75.0), "inner corner": (49.0, 51.0)},
        name="L-profile",
    )


def _plate_with_hole() -> Structure:
    return Structure(
        plate_with_hole(elements=6, size=10.0),
        [
            Support(Region(group="left"), is_symmetric=True, name="plane x"),
            Support(Region(group="bottom"), is_symmetric=True, name="plane y"),
            Support(Region(group="right"), {"x": 0.087}, name="pull"),
        ],
        stepping=Stepping(first_step=0.25),
        monitored={"edge": (10.0, 0.0), "crown": (0.0, 2.0)},
        name="plate with a hole",
    )


def _bracket() -> Structure:
    return Structure(
        bracket(elements=2),
        [
            Support(Region(group="wall"), {"x": 0.0, "y": 0.0, "z": 0.0}, name="wall"),
            Support(Region(group="end"), {"x": 2.5, "z": 2.5}, name="end"),
        ],
        stepping=Stepping(first_step=0.25),
        monitored={"end": (40.0, 40.0, 10.0), "root": (1.0, 9.0, 5.0)},
        name="bracket",
    )


BUILTIN_STRUCTURES: dict[str, BuiltinStructure] = {
    "cooks-membrane": BuiltinStructure(
        "Cook's membrane, clamped on the left, right edge moved up", 2, "fibre", _cooks_membrane
    ),
    "l-profile": BuiltinStructure(
        "L-shaped domain, foot of one leg held, end of the other moved down", 2, "fibre", _l_profile
    ),
    "plate-with-hole": BuiltinStructure("quarter of a plate with a hole, pulled", 2, "fibre", _plate_with_hole),
    "bracket": BuiltinStructure(
        "angle bracket in space, wall held, end bent and twisted",
        3,
        "random-spheres:voxels=8,n_spheres=1",
        _bracket,
    ),
}
