"""Structured meshes on the product of one-dimensional grids, of any element of two or three dimensions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import MeshError
from equipoise.spaces.elements import reference_element
from equipoise.spaces.mesh import CellBlock, Mesh
from equipoise.spaces.simplices import SPLIT_FROM, split_into_simplices

__all__ = ["raster_mesh"]


def raster_mesh(axes: Sequence[NDArray[np.float64]], tags: NDArray[np.int64], element: str) -> Mesh:
    """Mesh of boxes, each one cell, or two triangles or six tetrahedra.

    Args:
        axes: increasing coordinates of the cell boundaries, one array per axis.
        tags: tag of each box, one axis of the array per axis of space.
        element: any element of the dimension, see `reference_element`.

    Raises:
        MeshError: for an element of another dimension, or grids without cells.
    """
    dim = len(axes)
    if reference_element(element).dim != dim:
        raise MeshError(f"element {element!r} does not fill a raster of dimension {dim}.")
    shape = tuple(len(axis) - 1 for axis in axes)
    if min(shape) < 1 or tags.shape != shape:
        raise MeshError(f"a raster of {shape} boxes with {tags.shape} tags is empty or does not match.")
    reference = reference_element(SPLIT_FROM.get(element, element))
    cell = np.stack(np.meshgrid(*[np.arange(count) for count in shape], indexing="ij"), axis=-1).reshape(-1, dim)
    # Doubled indices make corners, middles of edges, faces and the cell itself integers on one lattice.
    lattice = 2 * cell[:, None, :] + np.rint(2 * reference.nodes).astype(np.int64)
    extent = [2 * count + 1 for count in shape]
    key = np.ravel_multi_index(tuple(np.moveaxis(lattice, -1, 0)), extent)
    used, connectivity = np.unique(key, return_inverse=True)
    place = np.stack(np.unravel_index(used, extent), axis=-1)
    points = np.empty(place.shape, dtype=float)
    for axis, grid in enumerate(axes):
        fine = np.empty(2 * len(grid) - 1)
        fine[::2], fine[1::2] = grid, (np.asarray(grid[:-1]) + np.asarray(grid[1:])) / 2
        points[:, axis] = fine[place[:, axis]]
    mesh = Mesh(points, (CellBlock(reference.name, connectivity.reshape(key.shape), tags.ravel().copy()),))
    return split_into_simplices(mesh, element) if element in SPLIT_FROM else mesh
