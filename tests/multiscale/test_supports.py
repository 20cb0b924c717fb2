"""Held unknowns, conflicts, and the names of the rigid motions left free."""

from __future__ import annotations

import numpy as np
import pytest

from equipoise.errors import MeshError
from equipoise.multiscale.structure import History, Region, Support
from equipoise.multiscale.supports import check_rigid_motions, free_motions, held_unknowns
from equipoise.spaces.mesh import CellBlock, Mesh
from equipoise.spaces.structures import box, rectangle

PLANE = rectangle(elements=(2, 2), size=(2.0, 1.0))
SOLID = box(elements=(1, 1, 1), size=(1.0, 1.0, 1.0))


def held(mesh: Mesh, *supports: Support) -> np.ndarray:
    return held_unknowns(mesh, supports).unknowns


def at(**where: float) -> Region:
    return Region(where={axis: (value, value) for axis, value in where.items()})


def test_a_group_and_its_coordinates_hold_the_same_unknowns() -> None:
    by_group = held(PLANE, Support(Region(group="left"), {"x": 0.0}))
    by_place = held(PLANE, Support(at(x=0.0), {"x": 0.0}))
    assert by_group.tolist() == by_place.tolist()
    assert (PLANE.points[by_group // 2, 0] == 0.0).all()


def test_values_follow_the_history_of_their_support() -> None:
    pull = Support(at(x=2.0), {"x": 0.5}, history=History((0.0, 1.0, 2.0), (0.0, 1.0, 0.0)))
    conditions = held_unknowns(PLANE, [Support(at(x=0.0), {"x": 0.0}), pull])
    moved = PLANE.points[conditions.unknowns // 2, 0] == 2.0
    for time, factor in ((0.5, 0.5), (1.0, 1.0), (1.5, 0.5), (2.0, 0.0)):
        np.testing.assert_allclose(conditions.at(time), np.where(moved, 0.5 * factor, 0.0))


def test_symmetry_holds_the_normal_direction_only() -> None:
    unknowns = held(PLANE, Support(at(y=0.0), is_symmetric=True))
    assert (unknowns % 2 == 1).all()
    assert (PLANE.points[unknowns // 2, 1] == 0.0).all()


def test_symmetry_on_a_region_that_is_no_plane_is_refused() -> None:
    with pytest.raises(MeshError, match="plane across one axis"):
        held(PLANE, Support(Region(where={"x": (0.0, 1.0)}), is_symmetric=True))


def test_supports_that_contradict_each_other_are_refused_with_the_place() -> None:
    with pytest.raises(ValueError, match=r"different displacements in x at node"):
        held(PLANE, Support(at(x=0.0), {"x": 0.0}), Support(at(y=0.0), {"x": 1.0}))


def test_a_missing_group_lists_the_groups_there_are_and_the_nearest() -> None:
    with pytest.raises(MeshError, match=r"'lft' is not in the mesh; it has .*'left'.*did you mean 'left'\?"):
        held(PLANE, Support(Region(group="lft"), {"x": 0.0}))


def test_an_empty_range_tells_where_the_mesh_is() -> None:
    with pytest.raises(MeshError, match=r"no node lies at x=7; the mesh spans x: 0 to 2"):
        held(PLANE, Support(at(x=7.0), {"x": 0.0}))


@pytest.mark.parametrize(
    ("mesh", "supports", "names"),
    [
        (PLANE, [Support(at(x=0.0), {"x": 0.0})], ["translation in y"]),
        (PLANE, [Support(at(x=0.0, y=0.0), {"x": 0.0, "y": 0.0})], ["rotation about z"]),
        (PLANE, [Support(at(x=0.0), {"x": 0.0, "y": 0.0})], []),
        (PLANE, [Support(at(x=0.0, y=0.0), {"y": 0.0})], ["rotation about z", "translation in x"]),
        (SOLID, [Support(at(z=0.0), {"z": 0.0})], ["rotation about z", "translation in x", "translation in y"]),
        (SOLID, [Support(at(x=0.0, y=0.0), {"x": 0.0, "y": 0.0, "z": 0.0})], ["rotation about z"]),
        (SOLID, [Support(at(x=0.0), {"x": 0.0, "y": 0.0, "z": 0.0})], []),
        (
            SOLID,
            [Support(Region(nearest=(0.0, 0.0, 0.0)), {"x": 0.0, "y": 0.0, "z": 0.0})],
            ["rotation about x", "rotation about y", "rotation about z"],
        ),
    ],
)
def test_free_rigid_motions_are_named(mesh: Mesh, supports: list[Support], names: list[str]) -> None:
    is_held = np.zeros(mesh.n_nodes * mesh.dim, dtype=bool)
    is_held[held(mesh, *supports)] = True
    assert sorted(free_motions(mesh.points, is_held.reshape(-1, mesh.dim))) == names
    if names:
        with pytest.raises(ValueError, match=names[0]):
            check_rigid_motions(mesh, np.nonzero(is_held)[0])
    else:
        check_rigid_motions(mesh, np.nonzero(is_held)[0])


def test_a_sliding_plane_frees_a_translation_along_an_oblique_direction() -> None:
    angle = np.pi / 6
    points = np.array([[0.0, 0.0], [np.cos(angle), np.sin(angle)], [0.3, 0.9]])
    names = free_motions(points, np.array([[False, False], [False, False], [False, False]]))
    assert len(names) == 3


def test_a_part_without_supports_of_its_own_is_found() -> None:
    first = PLANE
    points = np.concatenate([first.points, first.points + np.array([5.0, 0.0])])
    blocks = tuple(
        CellBlock(block.element, block.connectivity + shift, block.tags)
        for shift in (0, first.n_nodes)
        for block in first.blocks
    )
    both = Mesh(points, blocks)
    unknowns = held(both, Support(at(x=0.0), {"x": 0.0, "y": 0.0}))
    with pytest.raises(ValueError, match=r"unconnected part at x 5 to 7"):
        check_rigid_motions(both, unknowns)
