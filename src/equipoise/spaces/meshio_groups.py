"""What meshio read, as a mesh: dimension, tags of cells and named groups of facets."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import MeshError
from equipoise.spaces.elements import ELEMENT_NAMES, element_of_meshio
from equipoise.spaces.mesh import CellBlock, FacetBlock, Mesh
from equipoise.spaces.mesh_joining import join_blocks

__all__ = ["mesh_of_meshio", "plane_or_space", "tags_of_sets"]

_TAG_FIELDS = ("gmsh:physical", "tag", "material", "medit:ref", "avsucd:material", "cell_tags", "MaterialIDs")
"""Cell fields that say what a cell is made of, in the order in which they are looked for."""


def mesh_of_meshio(data: Any) -> Mesh:
    """Mesh of a `meshio.Mesh`.

    A cell of several gmsh groups takes the first. Elements more than one dimension below the mesh's are left out.

    Raises:
        MeshError: as `read_mesh`.
    """
    dim = max((block.dim for block in data.cells if len(block.data)), default=0)
    if dim < 2:
        raise MeshError("there are no cells of dimension 2 or 3; gmsh saves only elements of physical groups, if any.")
    points = plane_or_space(np.asarray(data.points, dtype=float), dim)
    names = _group_names(data)
    tags, tag_names = _cell_tags(data, dim)
    blocks: list[CellBlock] = []
    facets: dict[str, list[FacetBlock]] = {}
    for number, block in enumerate(data.cells):
        if block.dim < dim - 1 or len(block.data) == 0:
            continue
        element = element_of_meshio(block.type)
        if element is None:
            raise MeshError(f"element type {block.type!r} is not supported; use one of {', '.join(ELEMENT_NAMES)}.")
        table = np.asarray(block.data, dtype=np.int64)
        if block.dim == dim:
            blocks.append(CellBlock(element, table, tags[number]))
            continue
        for name, rows in _facet_rows(data, number, dim - 1, tags[number], names).items():
            facets.setdefault(name, []).append(FacetBlock(element, table[rows]))
    if all((block.tags == 0).all() for block in blocks):
        blocks = [CellBlock(block.element, block.connectivity, np.ones_like(block.tags)) for block in blocks]
    tag_names |= {tag: name for (d, tag), name in names.items() if d == dim}
    return join_blocks(points, blocks, tag_names, facets)


def plane_or_space(points: NDArray[np.float64], dim: int) -> NDArray[np.float64]:
    """Coordinates without those that a mesh of cells of dimension `dim` doesn't need."""
    if points.shape[1] < dim:
        raise MeshError(f"points have {points.shape[1]} coordinates, too few for cells of dimension {dim}.")
    if dim == 2 and points.shape[1] == 3 and np.ptp(points[:, 2]) > 1e-9 * np.ptp(points[:, :2], axis=0).max():
        raise MeshError("the mesh is a surface in space; a plane mesh needs equal z coordinates.")
    return np.ascontiguousarray(points[:, :dim])


def _group_names(data: Any) -> dict[tuple[int, int], str]:
    """Names of gmsh's physical groups by dimension and number."""
    pairs = {name: np.asarray(value).ravel() for name, value in data.field_data.items()}
    return {
        (int(pair[1]), int(pair[0])): name
        for name, pair in pairs.items()
        if pair.shape == (2,) and pair.dtype.kind in "iu"
    }


def _cell_tags(data: Any, dim: int) -> tuple[list[NDArray[np.int64]], dict[int, str]]:
    """Tag of each element, by block, and the names of those that come from sets."""
    for key in _TAG_FIELDS:
        if key in data.cell_data:
            return [_whole(values, key) for values in data.cell_data[key]], {}
    counts = [len(block.data) if block.dim == dim else 0 for block in data.cells]
    starts = np.cumsum([0, *counts])
    members = {}
    for name, parts in data.cell_sets.items():
        if not name.startswith("gmsh:"):
            rows = [
                np.asarray(part, dtype=np.int64) + start
                for part, start, count in zip(parts, starts, counts, strict=False)
                if part is not None and count
            ]
            members[name] = np.concatenate([np.empty(0, dtype=np.int64), *rows])
    joined, tag_names = tags_of_sets(int(starts[-1]), members)
    by_block = np.split(joined, starts[1:-1])
    return [
        part if count else np.zeros(len(block.data), dtype=np.int64)
        for part, count, block in zip(by_block, counts, data.cells, strict=True)
    ], tag_names


def _whole(values: Any, key: str) -> NDArray[np.int64]:
    array = np.asarray(values).ravel()
    if not np.isfinite(array).all() or (array != np.rint(array)).any():
        raise MeshError(f"cell field {key!r} names materials, but holds values that are not whole numbers.")
    return array.astype(np.int64)


def tags_of_sets(n_cells: int, members: dict[str, NDArray[np.int64]]) -> tuple[NDArray[np.int64], dict[int, str]]:
    """Tags 1, 2, … of cells from sets in order, 0 for cells in none; sets of all cells count only if there is no other.

    Raises:
        MeshError: for a cell in two sets.
    """
    sets = {name: rows for name, rows in members.items() if len(rows)}
    partial = {name: rows for name, rows in sets.items() if len(np.unique(rows)) < n_cells}
    chosen = partial or dict(list(sets.items())[:1])
    tags = np.zeros(n_cells, dtype=np.int64)
    names: dict[int, str] = {}
    for tag, (name, rows) in enumerate(chosen.items(), start=1):
        taken = rows[(tags[rows] != 0)]
        if len(taken):
            first = names[int(tags[taken[0]])]
            raise MeshError(f"cell {int(taken[0])} is in the sets {first!r} and {name!r}; materials need one set each.")
        tags[rows] = tag
        names[tag] = name
    return tags, names


def _facet_rows(
    data: Any, number: int, dim: int, tags: NDArray[np.int64], names: dict[tuple[int, int], str]
) -> dict[str, NDArray[np.int64]]:
    """Rows of a block of facets by the name of their group; a facet may be in several."""
    rows = {
        names.get((dim, int(tag)), str(tag)): np.nonzero(tags == tag)[0] for tag in np.unique(tags).tolist() if tag != 0
    }
    for name, parts in data.cell_sets.items():
        is_group = any(d == dim and known == name for (d, _), known in names.items())
        if is_group and number < len(parts) and parts[number] is not None and len(parts[number]):
            rows[name] = np.asarray(parts[number], dtype=np.int64)
    return rows
