"""Meshes: what they refuse, boundary facets, and a fingerprint that tells them apart."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from equipoise.errors import MeshError
from equipoise.spaces.elements import ELEMENT_NAMES, reference_element
from equipoise.spaces.mesh import CellBlock, FacetBlock, Mesh
from equipoise.spaces.structures import box, rectangle

SQUARE = np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)])


def one_square(**changes: object) -> Mesh:
    values: dict[str, object] = {
        "points": SQUARE,
        "blocks": (CellBlock("quad4", np.array([[0, 1, 2, 3]]), np.array([1])),),
    }
    return Mesh(**(values | changes))  # type: ignore[arg-type]


def test_counts_and_bounds() -> None:
    mesh = rectangle(elements=(3, 2), size=(3.0, 1.0), element="quad4")
    assert (mesh.dim, mesh.n_nodes, mesh.n_cells) == (2, 12, 6)
    np.testing.assert_array_equal(mesh.bounds, [[0, 0], [3, 1]])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: one_square(points=np.zeros((4, 4))), r"shape \(4, 4\)"),
        (lambda: one_square(points=np.where(SQUARE == 1, np.nan, SQUARE)), "node 1 has a coordinate"),
        (lambda: one_square(blocks=()), "at least one block"),
        (lambda: one_square(blocks=(CellBlock("hex8", np.arange(8)[None], np.array([1])),)), "does not fit.*2"),
        (lambda: one_square(blocks=(CellBlock("quad4", np.array([[0, 1, 2]]), np.array([1])),)), r"\(n, 4\)"),
        (lambda: one_square(blocks=(CellBlock("quad4", np.array([[0, 1, 2, 4]]), np.array([1])),)), "outside 0 to 3"),
        (lambda: one_square(blocks=(CellBlock("quad4", np.array([[0, 1, 2, -1]]), np.array([1])),)), "outside 0 to 3"),
        (lambda: one_square(blocks=(CellBlock("quad4", np.array([[0, 1, 2, 3]]), np.array([1, 2])),)), "tags of shape"),
        (lambda: CellBlock("quad4", np.array([[0.0, 1, 2, 3]]), np.array([1])), "whole numbers, not float64"),
        (lambda: CellBlock("quad4", np.array([[0, 1, 2, 3]]), np.array([1.5])), "whole numbers"),
        (lambda: one_square(facet_groups={"a": (FacetBlock("line2", np.array([[0, 9]])),)}), "'a'.*outside 0 to 3"),
        (lambda: one_square(facet_groups={"a": (FacetBlock("quad4", np.array([[0, 1, 2, 3]])),)}), "'a'.*does not fit"),
        (lambda: one_square(blocks=(CellBlock("quad5", np.array([[0]]), np.array([1])),)), "'quad5' is unknown"),
    ],
)
def test_bad_meshes_are_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(MeshError, match=words):
        make()


def test_narrow_integers_and_single_precision_points_become_wide() -> None:
    block = CellBlock("quad4", np.array([[0, 1, 2, 3]], dtype=np.int32), np.array([1], dtype=np.uint8))
    mesh = Mesh(SQUARE.astype(np.float32), (block,))
    assert (mesh.points.dtype, block.connectivity.dtype, block.tags.dtype) == (np.float64, np.int64, np.int64)


@pytest.mark.parametrize("element", [name for name in ELEMENT_NAMES if not name.startswith("line")])
def test_boundary_of_a_brick_has_its_area_in_outward_facets(element: str) -> None:
    if reference_element(element).dim == 2:
        mesh, per_side = rectangle(elements=(2, 3), element=element), 1
        expected = 2 * (2 + 3) * per_side
    else:
        mesh, per_side = box(elements=(2, 1, 3), element=element), 2 if element.startswith("tet") else 1
        expected = 2 * (2 * 1 + 2 * 3 + 1 * 3) * per_side
    (facets,) = mesh.boundary_facets()
    assert facets.element == reference_element(element).facet_name
    assert len(facets.connectivity) == expected


def test_boundary_of_mixed_cells_leaves_out_the_edge_between_them() -> None:
    points = np.vstack([SQUARE, [[2.0, 0.5]]])
    blocks = (
        CellBlock("quad4", np.array([[0, 1, 2, 3]]), np.array([1])),
        CellBlock("tri3", np.array([[1, 4, 2]]), np.array([1])),
    )
    (facets,) = Mesh(points, blocks).boundary_facets()
    edges = {tuple(sorted(row)) for row in facets.connectivity.tolist()}
    assert edges == {(0, 1), (2, 3), (0, 3), (1, 4), (2, 4)}


def test_fingerprint_changes_with_points_nodes_tags_and_element_and_with_nothing_else() -> None:
    block = CellBlock("quad4", np.array([[0, 1, 2, 3]]), np.array([1]))
    base = one_square().fingerprint
    assert one_square(points=SQUARE.copy(), tag_names={1: "matrix"}).fingerprint == base
    moved = SQUARE.copy()
    moved[0, 0] = np.nextafter(0, 1)
    others = [
        one_square(points=moved),
        one_square(blocks=(CellBlock("quad4", np.array([[1, 2, 3, 0]]), block.tags),)),
        one_square(blocks=(CellBlock("quad4", block.connectivity, np.array([2])),)),
    ]
    assert len({base, *(mesh.fingerprint for mesh in others)}) == 4
