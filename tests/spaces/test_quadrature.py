"""Quadrature over cells and facets: volumes, gradients, the divergence theorem, and elements that are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.errors import MeshError
from equipoise.spaces.elements import ELEMENT_NAMES, reference_element
from equipoise.spaces.mesh import CellBlock, FacetBlock, Mesh
from equipoise.spaces.quadrature import facet_quadrature, quadrature
from equipoise.spaces.structures import box, cooks_membrane, rectangle

CELLS = [name for name in ELEMENT_NAMES if not name.startswith("line")]


def brick(element: str) -> Mesh:
    return rectangle(elements=(2, 3), element=element) if reference_element(element).dim == 2 else (
        box(elements=(2, 1, 2), element=element)
    )  # fmt: skip


def mapped(mesh: Mesh, matrix: np.ndarray, shift: np.ndarray) -> Mesh:
    return Mesh(mesh.points @ matrix.T + shift, mesh.blocks, mesh.tag_names, mesh.facet_groups)


@pytest.mark.parametrize("element", CELLS)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_volume_and_linear_fields_are_exact_under_any_affine_map(element: str, seed: int) -> None:
    mesh = brick(element)
    generator = np.random.default_rng(seed)
    matrix = np.eye(mesh.dim) + 0.25 * generator.uniform(-1, 1, (mesh.dim, mesh.dim))
    mesh = mapped(mesh, matrix, generator.normal(size=mesh.dim))
    slope = generator.normal(size=mesh.dim)
    (block,) = quadrature(mesh)
    assert block.weights.sum() == pytest.approx(np.linalg.det(matrix), rel=1e-12)
    nodal = (mesh.points @ slope)[block.connectivity]
    gradient = np.einsum("nqkd,nk->nqd", block.gradients, nodal)
    np.testing.assert_allclose(gradient, np.broadcast_to(slope, gradient.shape), atol=1e-11)
    np.testing.assert_allclose(np.einsum("qk,nk->nq", block.shape, nodal), block.points @ slope, atol=1e-12)


@pytest.mark.parametrize("element", ["quad8", "quad9", "tri6", "hex20", "hex27", "tet10"])
def test_quadratic_fields_have_exact_gradients_on_straight_elements(element: str) -> None:
    mesh = brick(element)
    (block,) = quadrature(mesh)
    nodal = (mesh.points**2).sum(axis=1) + mesh.points[:, 0] * mesh.points[:, 1]
    gradient = np.einsum("nqkd,nk->nqd", block.gradients, nodal[block.connectivity])
    exact = 2 * block.points
    exact[..., :2] += block.points[..., 1::-1]
    np.testing.assert_allclose(gradient, exact, atol=1e-11)


@pytest.mark.parametrize("element", CELLS)
def test_divergence_theorem_links_cells_and_boundary(element: str) -> None:
    mesh = brick(element)
    bent = mesh.points.copy()
    bent[:, 0] += 0.05 * mesh.points[:, 1] * mesh.points[:, 0]
    mesh = Mesh(bent, mesh.blocks)
    volume = sum(block.weights.sum() for block in quadrature(mesh))
    flux, total = 0.0, np.zeros(mesh.dim)
    for facet in facet_quadrature(mesh, mesh.boundary_facets()):
        np.testing.assert_allclose(np.linalg.norm(facet.normals, axis=-1), 1, atol=1e-13)
        flux += np.einsum("nq,nqd,nqd->", facet.weights, facet.normals, facet.points)
        total += np.einsum("nq,nqd->d", facet.weights, facet.normals)
    assert flux == pytest.approx(mesh.dim * volume, rel=1e-10)
    np.testing.assert_allclose(total, 0, atol=1e-12)


@pytest.mark.parametrize("element", CELLS)
def test_normals_point_outward_whichever_way_facets_are_numbered(element: str) -> None:
    mesh = brick(element)
    (boundary,) = mesh.boundary_facets()
    facet = reference_element(boundary.element)
    centres = {1: [1, 0, 2], 2: [0, 2, 1, 5, 4, 3] if facet.n_corners == 3 else [0, 3, 2, 1, 7, 6, 5, 4, 8]}[facet.dim]
    order = [i for i in centres if i < facet.n_nodes]
    turned = FacetBlock(boundary.element, boundary.connectivity[:, order])
    (straight,) = facet_quadrature(mesh, (boundary,))
    (back,) = facet_quadrature(mesh, (turned,))
    np.testing.assert_allclose(back.normals.mean(axis=1), straight.normals.mean(axis=1), atol=1e-12)
    np.testing.assert_allclose(back.weights.sum(axis=1), straight.weights.sum(axis=1), atol=1e-12)


def test_named_groups_have_their_length_and_normal() -> None:
    mesh = cooks_membrane(elements=(3, 2))
    lengths = {name: sum(f.weights.sum() for f in facet_quadrature(mesh, name)) for name in mesh.facet_groups}
    expected = {"left": 44, "right": 16, "bottom": np.hypot(48, 44), "top": np.hypot(48, 16)}
    assert lengths == pytest.approx(expected)
    (top,) = facet_quadrature(mesh, "top")
    np.testing.assert_allclose(top.normals, np.broadcast_to([-16, 48] / np.hypot(48, 16), top.normals.shape))


@pytest.mark.parametrize("element", CELLS)
def test_inverted_element_is_named(element: str) -> None:
    mesh = brick(element)
    block = mesh.blocks[0]
    table = block.connectivity.copy()
    reference = reference_element(element)
    mirrored = reference.nodes.copy()
    mirrored[:, :2] = mirrored[:, 1::-1]
    table[2] = table[2][np.linalg.norm(mirrored[:, None] - reference.nodes, axis=-1).argmin(axis=1)]
    broken = Mesh(mesh.points, (CellBlock(element, table, block.tags),))
    with pytest.raises(MeshError, match=rf"cell 2 of block 0 \({element}\).*inverted.*order"):
        quadrature(broken)


def test_flat_element_is_degenerate_whatever_the_unit_of_length() -> None:
    points = np.array([(0.0, 0.0), (1.0, 0.0), (2.0, 0.0)])
    block = CellBlock("tri3", np.array([[0, 1, 2]]), np.array([1]))
    for unit in (1e-6, 1.0, 1e6):
        with pytest.raises(MeshError, match=r"cell 0 of block 0 .*degenerate"):
            quadrature(Mesh(unit * points, (block,)))
    small = Mesh(1e-9 * np.array([(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)]), (block,))
    assert quadrature(small)[0].weights.sum() == pytest.approx(5e-19)


def test_second_block_is_named() -> None:
    points = np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0), (2.0, 0.5)])
    blocks = (
        CellBlock("quad4", np.array([[0, 1, 2, 3]]), np.array([1])),
        CellBlock("tri3", np.array([[1, 2, 4]]), np.array([1])),
    )
    with pytest.raises(MeshError, match=r"cell 0 of block 1 \(tri3\) at \(1.33333, 0.5\) is inverted"):
        quadrature(Mesh(points, blocks))


def test_unknown_group_lists_the_known_ones() -> None:
    with pytest.raises(MeshError, match="'lid' is not in the mesh; its groups are: bottom, left, right, top"):
        facet_quadrature(rectangle(), "lid")


def test_facet_of_no_cell_and_degenerate_facet_are_named() -> None:
    mesh = rectangle(elements=(1, 1), element="quad4")
    with pytest.raises(MeshError, match=r"facet 0 with nodes \[0, 3\] belongs to no cell"):
        facet_quadrature(mesh, (FacetBlock("line2", np.array([[0, 3]])),))
    with pytest.raises(MeshError, match="degenerate"):
        facet_quadrature(mesh, (FacetBlock("line2", np.array([[0, 0]])),))


def test_fractions_of_the_published_cells(shared_data) -> None:  # type: ignore[no-untyped-def]
    from equipoise.spaces.mesh_files import read_mesh

    for name, cells, fraction in (("RVE1", 3456, 0.5500), ("RVE2", 2112, 0.1929), ("RVE3", 1872, 0.1335)):
        mesh = read_mesh(shared_data / "rve" / name)
        (block,) = quadrature(mesh)
        assert mesh.n_cells == cells
        assert block.weights.sum() == pytest.approx(1, rel=1e-12)
        assert block.weights[block.tags == 2].sum() == pytest.approx(fraction, abs=5e-5)
