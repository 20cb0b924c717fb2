"""Triangles and tetrahedra from quadrilaterals and hexahedra, without new nodes.

All cells are cut along the same diagonals, so that the result of a structured periodic mesh is periodic, too.
"""

from __future__ import annotations

import numpy as np

from equipoise.errors import MeshError
from equipoise.spaces.elements import reference_element
from equipoise.spaces.mesh import CellBlock, Mesh

__all__ = ["SPLIT_FROM", "split_into_simplices"]

SPLIT_FROM = {"tri3": "quad4", "tri6": "quad9", "tet4": "hex8", "tet10": "hex27"}
"""Element whose nodes hold those of the simplices that it is cut into."""

_TWO_TRIANGLES = np.array([(0, 1, 2), (0, 2, 3)])
# Kuhn's six tetrahedra about the diagonal 0-6: opposite faces are cut along parallel diagonals.
_SIX_TETRAHEDRA = np.array([(0, 1, 2, 6), (0, 2, 3, 6), (0, 3, 7, 6), (0, 7, 4, 6), (0, 4, 5, 6), (0, 5, 1, 6)])


def split_into_simplices(mesh: Mesh, element: str) -> Mesh:
    """Cut the cells of a mesh of a single block into simplices, whose tags are inherited; unused nodes are dropped.

    Args:
        mesh: of quad4, quad9, hex8 or hex27 cells. element: tri3, tri6, tet4 or tet10 in turn.

    Raises:
        MeshError: for cells that don't hold the nodes of the simplices.
    """
    base, target = reference_element(mesh.blocks[0].element), reference_element(element)
    if len(mesh.blocks) > 1 or SPLIT_FROM.get(element) != base.name:
        names = ", ".join(block.element for block in mesh.blocks)
        raise MeshError(
            f"{names} cells cannot be cut into {element!r}; tri3 needs quad4, tri6 quad9, tet4 hex8, tet10 hex27."
        )
    block = mesh.blocks[0]
    corners = _SIX_TETRAHEDRA if mesh.dim == 3 else _TWO_TRIANGLES
    # Each node of a simplex, at a corner or in the middle of an edge, is a node of the cell: found by its coordinates.
    barycentric = np.column_stack([1 - target.nodes.sum(axis=1), target.nodes])
    places = np.einsum("kc,scd->skd", barycentric, base.nodes[corners])
    local = np.linalg.norm(places[:, :, None] - base.nodes, axis=-1).argmin(axis=-1)
    table = block.connectivity[:, local].reshape(-1, target.n_nodes)
    used, connectivity = np.unique(table, return_inverse=True)
    tags = np.repeat(block.tags, len(corners))
    return Mesh(mesh.points[used], (CellBlock(element, connectivity.reshape(table.shape), tags),), mesh.tag_names)
