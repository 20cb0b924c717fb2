"""Periodic images: every high face maps to its low face, and meshes that don't are named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.errors import MeshError
from equipoise.spaces.elements import ELEMENT_NAMES, reference_element
from equipoise.spaces.mesh import CellBlock, Mesh
from equipoise.spaces.periodicity import periodic_images
from equipoise.spaces.structures import box, rectangle

CELLS = [name for name in ELEMENT_NAMES if not name.startswith("line")]


def brick(element: str, elements: tuple[int, ...], size: tuple[float, ...]) -> Mesh:
    return rectangle(elements=elements, size=size, element=element) if len(size) == 2 else (  # type: ignore[arg-type]
        box(elements=elements, size=size, element=element)  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize("element", CELLS)
@given(data=st.data())
@settings(max_examples=8, deadline=None)
def test_image_has_the_coordinates_wrapped_into_the_half_open_box(element: str, data: st.DataObject) -> None:
    dim = reference_element(element).dim
    size = tuple(data.draw(st.floats(0.01, 50)) for _ in range(dim))
    shift = np.array([data.draw(st.floats(-100, 100)) for _ in range(dim)])
    base = brick(element, tuple(data.draw(st.integers(1, 2)) for _ in range(dim)), size)
    order = np.random.default_rng(data.draw(st.integers(0, 1000))).permutation(base.n_nodes)
    points = np.empty_like(base.points)
    points[order] = base.points + shift
    mesh = Mesh(points, (CellBlock(element, order[base.blocks[0].connectivity], base.blocks[0].tags),))
    image = periodic_images(mesh)
    low, high = mesh.bounds
    margin = 1e-9 * max(size)
    assert (mesh.points[image] < high - margin).all()
    steps = (mesh.points - mesh.points[image]) / (high - low)
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)
    np.testing.assert_array_equal(image[image], image)
    inside = (mesh.points < high - margin).all(axis=1)
    np.testing.assert_array_equal(image[inside], np.nonzero(inside)[0])


@pytest.mark.parametrize("element", CELLS)
def test_all_corners_have_one_image(element: str) -> None:
    dim = reference_element(element).dim
    mesh = brick(element, (2, 3, 2)[:dim], (1.0, 2.0, 3.0)[:dim])
    low, high = mesh.bounds
    corners = ((np.abs(mesh.points - low) < 1e-12) | (np.abs(mesh.points - high) < 1e-12)).all(axis=1)
    assert corners.sum() == 2**dim
    assert len(np.unique(periodic_images(mesh)[corners])) == 1


def test_number_of_images_of_a_second_order_brick() -> None:
    assert len(np.unique(periodic_images(box(elements=(2, 3, 4), element="hex27")))) == 4 * 6 * 8


def moved(mesh: Mesh, node: int, shift: tuple[float, ...]) -> Mesh:
    points = mesh.points.copy()
    points[node] += shift
    return Mesh(points, mesh.blocks)


def test_unmatched_node_is_named_with_its_place_and_direction() -> None:
    mesh = rectangle(elements=(2, 4), element="quad4")
    node = int(np.nonzero((mesh.points == [1.0, 0.25]).all(axis=1))[0][0])
    with pytest.raises(MeshError, match=rf"not periodic in x: node {node} at \(1, 0.35\) has no partner on the lower"):
        periodic_images(moved(mesh, node, (0.0, 0.1)))


def test_node_missing_on_the_high_face_is_found_from_the_low_face() -> None:
    points = np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0.5)], dtype=float)
    mesh = Mesh(points, (CellBlock("tri3", np.array([[0, 1, 4], [1, 2, 4], [4, 2, 3]]), np.ones(3, dtype=int)),))
    with pytest.raises(MeshError, match=r"not periodic in x: node 4 at \(0, 0.5\) has no partner on the upper"):
        periodic_images(mesh)


def test_tolerance_is_relative_to_the_box() -> None:
    for unit in (1e-3, 1e3):
        mesh = rectangle(elements=(2, 4), size=(unit, unit), element="quad4")
        node = int(np.nonzero(np.abs(mesh.points - [unit, 0.25 * unit]).max(axis=1) < 1e-9 * unit)[0][0])
        periodic_images(moved(mesh, node, (0.0, 5e-7 * unit)))
        with pytest.raises(MeshError):
            periodic_images(moved(mesh, node, (0.0, 5e-6 * unit)))
        periodic_images(moved(mesh, node, (0.0, 5e-6 * unit)), rtol=1e-5)


def test_round_mesh_is_refused() -> None:
    angle = np.linspace(0, 2 * np.pi, 9)[:-1]
    points = np.vstack([[0.0, 0.0], np.column_stack([np.cos(angle), np.sin(angle)])])
    table = np.array([[0, i, i % 8 + 1] for i in range(1, 9)])
    with pytest.raises(MeshError, match="not periodic in x: its lower face holds 1 nodes"):
        periodic_images(Mesh(points, (CellBlock("tri3", table, np.ones(8, dtype=int)),)))


def test_coincident_nodes_are_refused() -> None:
    left = rectangle(elements=(1, 1), size=(0.5, 1.0), element="quad4")
    points = np.vstack([left.points, left.points + np.array([0.5, 0.0])])
    table = np.vstack([left.blocks[0].connectivity, left.blocks[0].connectivity + 4])
    with pytest.raises(MeshError, match=r"two nodes lie at \(0.5, 1\) on a face; merge"):
        periodic_images(Mesh(points, (CellBlock("quad4", table, np.ones(2, dtype=int)),)))


def test_published_cells_are_periodic(shared_data) -> None:  # type: ignore[no-untyped-def]
    from equipoise.spaces.mesh_files import read_mesh

    for name in ("RVE1", "RVE2", "RVE3"):
        mesh = read_mesh(shared_data / "rve" / name)
        image = periodic_images(mesh)
        on_high_side = (mesh.points > 0.5 - 1e-9).any(axis=1)
        assert len(np.unique(image)) == mesh.n_nodes - on_high_side.sum()
