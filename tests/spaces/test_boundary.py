"""Nodes and facets by coordinates."""

from __future__ import annotations

import numpy as np
import pytest

from equipoise.errors import MeshError
from equipoise.spaces.boundary import facets_of_nodes, nodes_in_box, nodes_where, with_facet_groups
from equipoise.spaces.structures import box, rectangle

INFINITE = float("inf")


def test_nodes_on_a_plane_by_number_or_letter() -> None:
    mesh = box(elements=(2, 2, 2), size=(1.0, 2.0, 3.0))
    for axis, letter in enumerate("xyz"):
        nodes = nodes_where(mesh, axis, 0.0)
        assert len(nodes) == 9
        assert (mesh.points[nodes, axis] == 0).all()
        np.testing.assert_array_equal(nodes, nodes_where(mesh, letter, 0.0))


def test_tolerance_is_relative_to_the_mesh() -> None:
    mesh = rectangle(elements=(2, 2), size=(1e4, 1e4), element="quad4")
    assert len(nodes_where(mesh, "x", 1e-6)) == 3
    with pytest.raises(MeshError, match="no node has x = 1; the mesh spans 0 to 10000"):
        nodes_where(mesh, "x", 1.0)


@pytest.mark.parametrize("axis", ["z", "", "xy", 2, -1, 1.5])
def test_missing_axis_is_named(axis: object) -> None:
    with pytest.raises(MeshError, match="does not exist in a mesh of dimension 2; use x, y"):
        nodes_where(rectangle(), axis, 0.0)  # type: ignore[arg-type]


def test_nodes_in_a_box_with_a_free_axis() -> None:
    mesh = rectangle(elements=(4, 4), element="quad4")
    assert len(nodes_in_box(mesh, (0.25, -INFINITE), (0.5, INFINITE))) == 10
    with pytest.raises(MeshError, match="no node lies between"):
        nodes_in_box(mesh, (0.3, 0.3), (0.4, 0.4))
    with pytest.raises(MeshError, match="do not fit a mesh of dimension 2"):
        nodes_in_box(mesh, (0, 0, 0), (1, 1, 1))


def test_facets_need_all_their_nodes() -> None:
    mesh = rectangle(elements=(2, 2), element="quad8")
    left = nodes_where(mesh, "x", 0.0)
    (facets,) = facets_of_nodes(mesh, left)
    assert len(facets.connectivity) == 2
    assert facets_of_nodes(mesh, left[:2]) == ()


def test_groups_are_added_renamed_and_left_out_when_empty() -> None:
    mesh = rectangle(elements=(2, 2), element="quad4")
    named = with_facet_groups(mesh, {"left": nodes_where(mesh, "y", 0.0), "half": nodes_in_box(
        mesh, (0, 1), (0.5, 1)), "inside": nodes_where(mesh, "x", 0.5)})  # fmt: skip
    assert set(named.facet_groups) == {"left", "right", "bottom", "top", "half"}
    assert len(named.facet_groups["half"][0].connectivity) == 1
    assert (named.points[named.facet_groups["left"][0].connectivity, 1] == 0).all()
    assert set(mesh.facet_groups) == {"left", "right", "bottom", "top"}
