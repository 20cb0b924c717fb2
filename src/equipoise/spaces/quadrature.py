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
        determinant, inverse = _inverse(jacobian)
        _check_orientation(determinant, nodes, f"block {number} ({block.element})", mesh.dim)
        blocks.append(
            QuadratureBlock(
                element=block.element,
                connectivity=block.connectivity,
                tags=block.tags,
                gradients=np.einsum("qkr,nqrd->nqkd", gradient, inverse, optimize=True),
                shape=shape,
                weights=determinant * weights,
                points=np.einsum("qk,nkd->nqd", shape, nodes),
            )
        )
    return tuple(blocks)


def _inverse(jacobian: Array) -> tuple[Array, Array]:
    """Determinants and inverses of 2 x 2 or 3 x 3 matrices `(..., d, d)`; a zero determinant gives zeros.

    By cofactors, which is several times faster than LAPACK on many small matrices.
    """
    if jacobian.shape[-1] == 2:
        (a, b), (c, d) = np.moveaxis(jacobian, (-2, -1), (0, 1))
        adjugate = np.stack([np.stack([d, -b], axis=-1), np.stack([-c, a], axis=-1)], axis=-2)
        determinant = a * d - b * c
    else:
        rows = [jacobian[..., i, :] for i in range(3)]
        columns = [np.cross(rows[1], rows[2]), np.cross(rows[2], rows[0]), np.cross(rows[0], rows[1])]
        adjugate = np.stack(columns, axis=-1)
        determinant = np.einsum("...d,...d->...", rows[0], columns[0])
    factor = np.divide(1.0, determinant, out=np.zeros_like(determinant), where=determinant != 0)
    return determinant, adjugate * factor[..., None, None]


def _check_orientation(determinant: Array, nodes: Array, block: str, dim: int) -> None:
    """Raise for the first cell whose determinant is not positive, judged by the cell's own size."""
    size = np.ptp(nodes, axis=1).max(axis=1) ** dim
    bad = (determinant <= 1e-12 * size[:, None]).any(axis=1)
    if not bad.any():
        return
    cell = int(np.argmax(bad))
    if (determinant[cell] < -1e-12 * size[cell]).any():
        order = "counter-clockwise" if dim == 2 else "right-handed"
        kind, cure = "inverted", f"put its nodes into {order} order"
    else:
        kind, cure = "degenerate", "move its nodes apart"
    place = ", ".join(f"{x:.6g}" for x in nodes[cell].mean(axis=0))
    raise MeshError(
        f"cell {cell} of {block} at ({place}) is {kind}: its Jacobian's determinant falls to "
        f"{determinant[cell].min():.3g}; {cure}."
    )


def facet_quadrature(mesh: Mesh, group: str | tuple[FacetBlock, ...]) -> tuple[FacetQuadratureBlock, ...]:
    """Quadrature of a named facet group, or of given facets.

    Normals point out of the cell that a facet belongs to; between two cells, out of one of them.

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
    if (length <= 0).any():
        facet = int(np.nonzero((length <= 0).any(axis=1))[0][0])
        raise MeshError(f"facet {facet} with nodes {block.connectivity[facet].tolist()} is degenerate.")
    return FacetQuadratureBlock(
        element=block.element,
        connectivity=block.connectivity,
        shape=shape,
        weights=length * weights,
        normals=normal * (_outward_signs(mesh, block)[:, None] / length)[..., None],
        points=np.einsum("qk,nkd->nqd", shape, nodes),
    )


def _outward_signs(mesh: Mesh, block: FacetBlock) -> Array:
    """1 where a facet's nodes turn as on its cell, whose local facets point outward, else -1, `(n,)`."""
    corners = reference_element(block.element).n_corners
    given = block.connectivity[:, :corners]
    wanted: dict[tuple[int, ...], list[int]] = {}
    for number, key in enumerate(np.sort(given, axis=1).tolist()):
        wanted.setdefault(tuple(key), []).append(number)
    is_near = np.zeros(mesh.n_nodes, dtype=bool)
    is_near[given] = True
    sign = np.zeros(len(given))
    for cells in mesh.blocks:
        reference = reference_element(cells.element)
        for local in reference.facets if reference.facet_name == block.element else ():
            table = cells.connectivity[:, list(local[:corners])]
            table = table[is_near[table].all(axis=1)]
            for row, key in zip(table.tolist(), np.sort(table, axis=1).tolist(), strict=True):
                for facet in wanted.get(tuple(key), []):
                    sign[facet] = 1.0 if _turn_alike(row, given[facet].tolist()) else -1.0
    lost = np.nonzero(sign == 0)[0]
    if len(lost):
        raise MeshError(f"facet {int(lost[0])} with nodes {block.connectivity[lost[0]].tolist()} belongs to no cell.")
    return sign


def _turn_alike(first: list[int], second: list[int]) -> bool:
    """Whether two lists of the same corners follow one another in the same direction; for lines, are equal."""
    if len(first) == 2:
        return first == second
    return first[(first.index(second[0]) + 1) % len(first)] == second[1]
