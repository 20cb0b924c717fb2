"""Nodes and boundary facets chosen by their coordinates, and names for the facets.

Groups that a file names are in `Mesh.facet_groups` already; this is for meshes without them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import MeshError
from equipoise.spaces.mesh import FacetBlock, Mesh

__all__ = ["facets_of_nodes", "nodes_in_box", "nodes_where", "with_facet_groups"]


def nodes_where(mesh: Mesh, axis: int | str, value: float, *, rtol: float = 1e-9) -> NDArray[np.int64]:
    """Numbers of the nodes on the plane where one coordinate has a value.

    Args:
        mesh: any. axis: 0, 1, 2 or x, y, z. value: coordinate, mm. rtol: relative to the mesh's largest side.

    Raises:
        MeshError: for an axis that the mesh lacks, or a plane without nodes.
    """
    number = "xyz".find(axis) if isinstance(axis, str) and len(axis) == 1 else axis
    if not isinstance(number, int) or not 0 <= number < mesh.dim:
        raise MeshError(
            f"axis {axis!r} does not exist in a mesh of dimension {mesh.dim}; use {', '.join('xyz'[: mesh.dim])}."
        )
    nodes = np.nonzero(np.abs(mesh.points[:, number] - value) <= rtol * _size(mesh))[0]
    if not len(nodes):
        low, high = mesh.bounds[:, number]
        raise MeshError(f"no node has {'xyz'[number]} = {value:g}; the mesh spans {low:g} to {high:g}.")
    return nodes


def nodes_in_box(
    mesh: Mesh, low: tuple[float, ...], high: tuple[float, ...], *, rtol: float = 1e-9
) -> NDArray[np.int64]:
    """Numbers of the nodes with `low <= coordinates <= high`, one value per axis; infinite values leave an axis free.

    Raises:
        MeshError: for corners of another dimension, or a box without nodes.
    """
    if len(low) != mesh.dim or len(high) != mesh.dim:
        raise MeshError(f"corners {low} and {high} do not fit a mesh of dimension {mesh.dim}.")
    margin = rtol * _size(mesh)
    inside = ((mesh.points >= np.array(low) - margin) & (mesh.points <= np.array(high) + margin)).all(axis=1)
    if not inside.any():
        raise MeshError(f"no node lies between {low} and {high}.")
    return np.nonzero(inside)[0]


def facets_of_nodes(mesh: Mesh, nodes: NDArray[np.int64]) -> tuple[FacetBlock, ...]:
    """Facets of the boundary all of whose nodes are among the given ones; empty where there are none."""
    return _facets_inside(mesh.boundary_facets(), _mask(mesh, nodes))


def with_facet_groups(mesh: Mesh, groups: Mapping[str, NDArray[np.int64]]) -> Mesh:
    """The mesh with named groups of those boundary facets all of whose nodes are among the given ones.

    Groups that the mesh has already are kept unless renamed; a group without a facet is left out.
    """
    boundary = mesh.boundary_facets()
    named = {name: _facets_inside(boundary, _mask(mesh, nodes)) for name, nodes in groups.items()}
    found = {name: facets for name, facets in named.items() if facets}
    return Mesh(mesh.points, mesh.blocks, mesh.tag_names, {**mesh.facet_groups, **found})


def _facets_inside(boundary: tuple[FacetBlock, ...], inside: NDArray[np.bool_]) -> tuple[FacetBlock, ...]:
    parts = (FacetBlock(b.element, b.connectivity[inside[b.connectivity].all(axis=1)]) for b in boundary)
    return tuple(part for part in parts if len(part.connectivity))


def _mask(mesh: Mesh, nodes: NDArray[np.int64]) -> NDArray[np.bool_]:
    inside = np.zeros(mesh.n_nodes, dtype=bool)
    inside[nodes] = True
    return inside


def _size(mesh: Mesh) -> float:
    return float(np.ptp(mesh.bounds, axis=0).max())
