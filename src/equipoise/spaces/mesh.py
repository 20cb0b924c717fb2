"""Unstructured meshes: nodes, blocks of cells with tags, and named groups of boundary facets.

A mesh holds no fields and no equation; `quadrature.py` integrates over it and `mesh_files.py` reads and writes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import MeshError
from equipoise.spaces.elements import reference_element

__all__ = ["CellBlock", "FacetBlock", "Mesh"]


@dataclass(frozen=True, eq=False)
class CellBlock:
    """Cells of one element type.

    Attributes:
        element: name such as `"quad8"`, see `reference_element`.
        connectivity: node numbers, `(n, k)`, in meshio's order.
        tags: material or physical tag of each cell, `(n,)`.
    """

    element: str
    connectivity: NDArray[np.int64]
    tags: NDArray[np.int64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "connectivity", _whole_numbers(self.connectivity, f"connectivity of {self.element}"))
        object.__setattr__(self, "tags", _whole_numbers(self.tags, f"tags of {self.element}"))


@dataclass(frozen=True, eq=False)
class FacetBlock:
    """Facets of one type: element name and node numbers `(n, k)`."""

    element: str
    connectivity: NDArray[np.int64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "connectivity", _whole_numbers(self.connectivity, f"connectivity of {self.element}"))


@dataclass(frozen=True, eq=False)
class Mesh:
    """Nodes, cells and named boundary facets in the plane or in space.

    Attributes:
        points: coordinates, `(n_nodes, dim)`, mm.
        blocks: cells by element type.
        tag_names: names of cell tags, where the file gave them.
        facet_groups: boundary facets by group name.

    Raises:
        MeshError: for connectivity that does not fit the points or the element.
    """

    points: NDArray[np.float64]
    blocks: tuple[CellBlock, ...]
    tag_names: Mapping[int, str] = field(default_factory=dict)
    facet_groups: Mapping[str, tuple[FacetBlock, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", np.asarray(self.points, dtype=np.float64))
        if self.points.ndim != 2 or self.points.shape[1] not in (2, 3):
            raise MeshError(f"points have shape {self.points.shape}; expected (n, 2) or (n, 3).")
        if not np.isfinite(self.points).all():
            node = int(np.nonzero(~np.isfinite(self.points).all(axis=1))[0][0])
            raise MeshError(f"node {node} has a coordinate that is not finite.")
        if not self.blocks:
            raise MeshError("a mesh needs at least one block of cells.")
        for number, block in enumerate(self.blocks):
            _check_nodes(block, f"block {number} of {block.element}", self.dim, self.dim, self.n_nodes)
            if block.tags.shape != (len(block.connectivity),):
                raise MeshError(
                    f"block {number} has tags of shape {block.tags.shape}; expected ({len(block.connectivity)},)."
                )
        for name, facets in self.facet_groups.items():
            for facet in facets:
                _check_nodes(facet, f"facet group {name!r} of {facet.element}", self.dim - 1, self.dim, self.n_nodes)

    @property
    def dim(self) -> int:
        """2 or 3."""
        return int(self.points.shape[1])

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return len(self.points)

    @property
    def n_cells(self) -> int:
        """Number of cells in all blocks."""
        return sum(len(block.connectivity) for block in self.blocks)

    @property
    def bounds(self) -> NDArray[np.float64]:
        """Lowest and highest coordinates, `(2, dim)`."""
        return np.stack([self.points.min(axis=0), self.points.max(axis=0)])

    @property
    def fingerprint(self) -> str:
        """Digest of nodes, cells and tags."""
        digest = hashlib.sha256(np.ascontiguousarray(self.points, dtype="<f8").tobytes())
        for block in self.blocks:
            digest.update(block.element.encode())
            digest.update(np.ascontiguousarray(block.connectivity, dtype="<i8").tobytes())
            digest.update(np.ascontiguousarray(block.tags, dtype="<i8").tobytes())
        return digest.hexdigest()

    def boundary_facets(self) -> tuple[FacetBlock, ...]:
        """Facets that belong to exactly one cell, by facet type."""
        found: dict[str, list[NDArray[np.int64]]] = {}
        for block in self.blocks:
            reference = reference_element(block.element)
            for local in reference.facets:
                found.setdefault(reference.facet_name, []).append(block.connectivity[:, list(local)])
        result = []
        for name, tables in found.items():
            table = np.concatenate(tables)
            # Corners tell facets apart; equal ones are neighbours once sorted.
            key = np.sort(table[:, : reference_element(name).n_corners], axis=1)
            order = np.lexsort(key.T)
            is_new = np.ones(len(key) + 1, dtype=bool)
            is_new[1:-1] = (key[order[1:]] != key[order[:-1]]).any(axis=1)
            single = np.sort(order[is_new[:-1] & is_new[1:]])
            if len(single):
                result.append(FacetBlock(name, table[single]))
        return tuple(result)


def _whole_numbers(values: NDArray[np.int64], name: str) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        raise MeshError(f"{name} must be whole numbers, not {array.dtype}.")
    return array.astype(np.int64, copy=False)


def _check_nodes(block: CellBlock | FacetBlock, name: str, dim: int, mesh_dim: int, n_nodes: int) -> None:
    reference = reference_element(block.element)
    if reference.dim != dim:
        raise MeshError(
            f"{name} does not fit a mesh of dimension {mesh_dim}: it has dimension {reference.dim}, not {dim}."
        )
    table = block.connectivity
    if table.ndim != 2 or table.shape[1] != reference.n_nodes:
        raise MeshError(f"{name} has connectivity of shape {table.shape}; expected (n, {reference.n_nodes}).")
    if len(table) and not 0 <= table.min() <= table.max() < n_nodes:
        row = int(np.nonzero(((table < 0) | (table >= n_nodes)).any(axis=1))[0][0])
        raise MeshError(f"{name}: element {row} has nodes {table[row].tolist()}, outside 0 to {n_nodes - 1}.")
