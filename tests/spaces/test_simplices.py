"""Rasters, and simplices cut from them: counts, volumes, inherited tags, and what cannot be cut."""

from __future__ import annotations

import numpy as np
import pytest

from equipoise.errors import MeshError
from equipoise.spaces.mesh import Mesh
from equipoise.spaces.quadrature import quadrature
from equipoise.spaces.raster import raster_mesh
from equipoise.spaces.simplices import SPLIT_FROM, split_into_simplices

GRID = np.array([0.0, 0.3, 1.0])


@pytest.mark.parametrize(("element", "base"), SPLIT_FROM.items())
def test_each_box_gives_equal_simplices_of_its_tag(element: str, base: str) -> None:
    dim, per_box = (2, 2) if element.startswith("tri") else (3, 6)
    tags = np.arange(2**dim).reshape((2,) * dim)
    mesh = split_into_simplices(raster_mesh([GRID] * dim, tags, base), element)
    (block,) = quadrature(mesh)
    widths = np.diff(GRID)
    boxes = np.prod(np.stack(np.meshgrid(*[widths] * dim, indexing="ij"), axis=-1), axis=-1).ravel()
    np.testing.assert_allclose(block.weights.sum(axis=1), np.repeat(boxes / per_box, per_box))
    np.testing.assert_array_equal(block.tags, np.repeat(tags.ravel(), per_box))


@pytest.mark.parametrize(("element", "base"), SPLIT_FROM.items())
def test_neighbours_share_whole_facets(element: str, base: str) -> None:
    dim, per_face = (2, 1) if element.startswith("tri") else (3, 2)
    mesh = raster_mesh([GRID] * dim, np.ones((2,) * dim, dtype=int), element)
    (boundary,) = mesh.boundary_facets()
    assert len(boundary.connectivity) == 2 * dim * 2 ** (dim - 1) * per_face


def test_what_cannot_be_cut_is_named() -> None:
    mesh = raster_mesh([GRID] * 2, np.ones((2, 2), dtype=int), "quad8")
    with pytest.raises(MeshError, match="quad8 cells cannot be cut into 'tri6'"):
        split_into_simplices(mesh, "tri6")
    with pytest.raises(MeshError, match="cannot be cut"):
        split_into_simplices(Mesh(mesh.points, mesh.blocks * 2), "tri3")


def test_rasters_without_boxes_or_of_another_dimension_are_refused() -> None:
    with pytest.raises(MeshError, match="'hex8' does not fill a raster of dimension 2"):
        raster_mesh([GRID] * 2, np.ones((2, 2), dtype=int), "hex8")
    with pytest.raises(MeshError, match="is empty or does not match"):
        raster_mesh([GRID, GRID[:1]], np.ones((2, 0), dtype=int), "quad4")
    with pytest.raises(MeshError, match="is empty or does not match"):
        raster_mesh([GRID, GRID], np.ones((2, 3), dtype=int), "quad4")
