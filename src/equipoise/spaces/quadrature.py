"""Quadrature over meshes: weights, positions and shape-function gradients of all cells of a block at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import MeshError
from equipoise.spaces.elements import reference_element
from equipoise.spaces.mesh import FacetBlock, Mesh

__all__ = ["FacetQuadratureBlock", "QuadratureBlock", "facet_quadrature", "quadrature"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class QuadratureBlock:
    """Quadrature of one block of cells.

    Attributes:
        element, connectivity, tags: of the block.
        gradients: gradients of the shape functions in space, `(n, q, k, dim)`. shape: their values, `(q, k)`.
        weights: weights with the Jacobian's determinant, `(n, q)`. points: positions, `(n, q, dim)`.
    """

    element: str
    connectivity: NDArray[np.int64]
    tags: NDArray[np.int64]
    gradients: Array
    shape: Array
    weights: Array
    points: Array


@dataclass(frozen=True, eq=False)
class FacetQuadratureBlock:
    """Quadrature of facets: `shape` `(q, k)`, `weights` `(n, q)`, outward unit `normals` and `points` `(n, q, dim)`."""

    element: str
    connectivity: NDArray[np.int64]
    shape: Array
    weights: Array
    normals: Array
    points: Array


def quadrature(mesh: Mesh) -> tuple[QuadratureBlock, ...]:
    """Default quadrature of each block of a mesh.

    Raises:
        MeshError: naming the first cell with a determinant that is not positive.
    """
    blocks = []
    for number, block in enumerate(mesh.blocks):
        reference = reference_element(block.element)
        points, weights = reference.quadrature()
        shape, gradient = reference.shape(points), reference.gradient(points)
        nodes = mesh.points[block.connectivity]
        jacobian = np.einsum("qkr,nkd->nqdr", gradient, nodes)
        determinant = np.linalg.det(jacobian)
        size = np.abs(nodes.max(axis=1) - nodes.min(axis=1)).max(axis=1) ** mesh.dim
        bad = (determinant <= 1e-12 * size[:, None]).any(axis=1)
        if bad.any():
            cell = int(np.argmax(bad))
            kind = "inverted" if (determinant[cell] < 0).any() else "degenerate"
            raise MeshError(
                f"cell {cell} of block {number} ({block.element}) is {kind}: its Jacobian's determinant falls to "
                f"{determinant[cell].min():.3g}; order its nodes counter-clockwise or move them apart."
            )
        blocks.append(
            QuadratureBlock(
                element=block.element,
                connectivity=block.connectivity,
                tags=block.tags,
                gradients=np.einsum("qkr,nqrd->nqkd", gradient, np.linalg.inv(jacobian)),
                shape=shape,
                weights=determinant * weights,
                points=np.einsum("qk,nkd->nqd", shape, nodes),
            )
        )
    return tuple(blocks)


def facet_quadrature(mesh: Mesh, group: str | tuple[FacetBlock, ...]) -> tuple[FacetQuadratureBlock, ...]:
    """Quadrature of a named facet group, or of given facets of the mesh's boundary.

    Raises:
        MeshError: for an unknown group, or a facet that belongs to no cell.
    """
    if isinstance(group, str):
        if group not in mesh.facet_groups:
            known = ", ".join(sorted(mesh.facet_groups)) or "none"
            raise MeshError(f"facet group {group!r} is not in the mesh; its groups are: {known}.")
        facets = mesh.facet_groups[group]
    else:
        facets = group
    return tuple(_facet_block(mesh, block) for block in facets)


def _facet_block(mesh: Mesh, block: FacetBlock) -> FacetQuadratureBlock:
    reference = reference_element(block.element)
    points, weights = reference.quadrature()
    shape, gradient = reference.shape(points), reference.gradient(points)
    nodes = mesh.points[block.connectivity]
    tangents = np.einsum("qkr,nkd->nqrd", gradient, nodes)
    if mesh.dim == 2:
        normal = np.stack([tangents[:, :, 0, 1], -tangents[:, :, 0, 0]], axis=-1)
    else:
        normal = np.cross(tangents[:, :, 0], tangents[:, :, 1])
    length = np.linalg.norm(normal, axis=-1)
    inside = _cell_centres(mesh, block)
    positions = np.einsum("qk,nkd->nqd", shape, nodes)
    outward = np.sign(np.einsum("nqd,nqd->nq", normal, positions - inside[:, None]))
    return FacetQuadratureBlock(
        element=block.element,
        connectivity=block.connectivity,
        shape=shape,
        weights=length * weights,
        normals=normal * (outward / length)[..., None],
        points=positions,
    )


def _cell_centres(mesh: Mesh, block: FacetBlock) -> Array:
    """Centre of the cell that each facet belongs to, `(n, dim)`."""
    corners = reference_element(block.element).n_corners
    wanted = {tuple(row): i for i, row in enumerate(np.sort(block.connectivity[:, :corners], axis=1).tolist())}
    centre = np.full((len(block.connectivity), mesh.dim), np.nan)
    for cells in mesh.blocks:
        reference = reference_element(cells.element)
        if reference.facet_name != block.element:
            continue
        middle = mesh.points[cells.connectivity[:, : reference.n_corners]].mean(axis=1)
        for local in reference.facets:
            table = np.sort(cells.connectivity[:, list(local[:corners])], axis=1)
            for cell, row in enumerate(map(tuple, table.tolist())):
                if row in wanted:
                    centre[wanted[row]] = middle[cell]
    lost = np.nonzero(np.isnan(centre[:, 0]))[0]
    if len(lost):
        raise MeshError(f"facet {int(lost[0])} with nodes {block.connectivity[lost[0]].tolist()} belongs to no cell.")
    return centre
