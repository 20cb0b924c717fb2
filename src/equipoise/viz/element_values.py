"""Values at quadrature points carried to the nodes of each element, for drawing and for files.

Within an element a polynomial is fitted to its points; between elements nothing is smoothed unless asked for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from equipoise.spaces.elements import reference_element
from equipoise.spaces.mesh import Mesh

__all__ = ["element_means", "element_values", "nodal_averages"]


def _extrapolation(element: str) -> NDArray[np.float64]:
    """Matrix `(k, q)` from values at the quadrature points to the nodes of an element.

    The corner functions are fitted by least squares, which is exact for linear fields and does not overshoot as fits
    of full order do; a single point is taken as constant.
    """
    reference = reference_element(element)
    points, _ = reference.quadrature()
    if len(points) <= reference.dim:
        return np.full((reference.n_nodes, len(points)), 1.0 / len(points))
    terms = np.column_stack([np.ones(len(points)), points])
    at_nodes = np.column_stack([np.ones(reference.n_nodes), reference.nodes])
    if len(points) > reference.dim + 1 and reference.n_corners == 2**reference.dim:
        terms = np.column_stack([terms, _products(points)])
        at_nodes = np.column_stack([at_nodes, _products(reference.nodes)])
    return at_nodes @ np.linalg.pinv(terms)


def _products(points: NDArray[np.float64]) -> NDArray[np.float64]:
    dim = points.shape[1]
    pairs = [points[:, i] * points[:, j] for i in range(dim) for j in range(i + 1, dim)]
    return np.column_stack([*pairs, np.prod(points, axis=1)] if dim == 3 else pairs)


def _by_block(mesh: Mesh, field: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Cut values at all quadrature points `(Q, ...)` into blocks of elements, `(elements, q, ...)` each."""
    sizes = [(len(block.connectivity), len(reference_element(block.element).quadrature()[1])) for block in mesh.blocks]
    expected = sum(count * points for count, points in sizes)
    if expected != len(field):
        raise ValueError(f"the field has {len(field)} points; the mesh has {expected} quadrature points.")
    parts, start = [], 0
    for count, points in sizes:
        parts.append(field[start : start + count * points].reshape(count, points, *field.shape[1:]))
        start += count * points
    return parts


def element_values(mesh: Mesh, field: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Values at the nodes of each element, one array `(elements, k, ...)` per block, from `(Q, ...)` at the points.

    Raises:
        ValueError: for a field of another length than the mesh's quadrature.
    """
    values = []
    for block, part in zip(mesh.blocks, _by_block(mesh, field), strict=True):
        matrix = _extrapolation(block.element)
        values.append(np.einsum("kq,nq...->nk...", matrix, part))
    return values


def element_means(mesh: Mesh, field: NDArray[np.float64], *, largest: bool = False) -> NDArray[np.float64]:
    """Mean over the points of each element (or the largest value), `(cells, ...)`, blocks after one another."""
    return np.concatenate([part.max(axis=1) if largest else part.mean(axis=1) for part in _by_block(mesh, field)])


def nodal_averages(mesh: Mesh, field: NDArray[np.float64]) -> NDArray[np.float64]:
    """Averages at the nodes over the elements that meet there, `(nodes, ...)`, from `(Q, ...)` at the points."""
    total = np.zeros((mesh.n_nodes, *field.shape[1:]))
    count = np.zeros(mesh.n_nodes)
    for block, values in zip(mesh.blocks, element_values(mesh, field), strict=True):
        np.add.at(total, block.connectivity, values)
        np.add.at(count, block.connectivity, 1.0)
    return total / np.maximum(count, 1.0).reshape(-1, *([1] * (field.ndim - 1)))
