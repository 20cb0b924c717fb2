"""Pairs of nodes on opposite faces of a box-shaped cell, found by their coordinates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from equipoise.errors import MeshError
from equipoise.spaces.mesh import Mesh

__all__ = ["periodic_images"]


def periodic_images(mesh: Mesh, *, rtol: float = 1e-6) -> NDArray[np.int64]:
    """Image of each node under periodicity: the node on the lowest faces that it coincides with, or itself.

    Args:
        mesh: mesh that fills a box.
        rtol: distance relative to the box's size within which nodes match.

    Returns:
        `(n_nodes,)`; corners and edges map to a single image.

    Raises:
        MeshError: naming the first node of a face without a partner on the opposite face, two nodes at one place, or
            a face that no element lies on, as of a mesh that is not a box.
    """
    low, high = mesh.bounds
    size = high - low
    tolerance = rtol * float(size.max())
    image = np.arange(mesh.n_nodes)
    for axis in range(mesh.dim):
        lower = np.nonzero(np.abs(mesh.points[:, axis] - low[axis]) <= tolerance)[0]
        upper = np.nonzero(np.abs(mesh.points[:, axis] - high[axis]) <= tolerance)[0]
        for side, nodes in (("lower", lower), ("upper", upper)):
            _check_face(mesh, nodes, axis, side)
        shifted = mesh.points[upper].copy()
        shifted[:, axis] -= size[axis]
        distance, nearest = cKDTree(mesh.points[lower]).query(shifted)
        _check_matched(mesh, upper, distance, tolerance, axis, "lower")
        backward, _ = cKDTree(shifted).query(mesh.points[lower])
        _check_matched(mesh, lower, backward, tolerance, axis, "upper")
        _check_distinct(mesh, upper, nearest)
        image[upper] = lower[nearest]
    for _ in range(mesh.dim):
        image = image[image]
    return image


def _check_face(mesh: Mesh, nodes: NDArray[np.int64], axis: int, side: str) -> None:
    """A flat face of a box holds at least the corners of one facet; a round mesh touches its bounds in single nodes."""
    if len(nodes) < mesh.dim:
        raise MeshError(
            f"the mesh is not periodic in {'xyz'[axis]}: its {side} face holds {len(nodes)} nodes, too few for a "
            "facet; give a box-shaped mesh with matching nodes on opposite faces."
        )


def _check_distinct(mesh: Mesh, upper: NDArray[np.int64], nearest: NDArray[np.int64]) -> None:
    _, first, count = np.unique(nearest, return_index=True, return_counts=True)
    if (count > 1).any():
        place = ", ".join(f"{x:.6g}" for x in mesh.points[upper[first[count > 1].min()]])
        raise MeshError(f"two nodes lie at ({place}) on a face; merge nodes at equal coordinates.")


def _check_matched(
    mesh: Mesh, nodes: NDArray[np.int64], distance: NDArray[np.float64], tolerance: float, axis: int, side: str
) -> None:
    unmatched = nodes[distance > tolerance]
    if len(unmatched):
        node = int(unmatched.min())
        place = ", ".join(f"{x:.6g}" for x in mesh.points[node])
        raise MeshError(
            f"the mesh is not periodic in {'xyz'[axis]}: node {node} at ({place}) has no partner on the {side} face; "
            "give a box-shaped mesh with matching nodes on opposite faces."
        )
