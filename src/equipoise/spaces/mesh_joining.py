"""From what a file lists to a mesh: blocks of one element type joined, nodes that no cell uses dropped."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import MeshError
from equipoise.spaces.mesh import CellBlock, FacetBlock, Mesh

__all__ = ["join_blocks"]

_log = logging.getLogger("equipoise.spaces")


def join_blocks(
    points: NDArray[np.float64],
    blocks: Sequence[CellBlock],
    tag_names: Mapping[int, str],
    facets: Mapping[str, Sequence[FacetBlock]],
) -> Mesh:
    """Mesh with a single block for each element type, in order of first appearance, and without unused nodes.

    Args:
        points: `(n, dim)`, also those of nodes that no cell uses. blocks, facets: with node numbers into `points`.

    Raises:
        MeshError: for a node number without a point.
    """
    listed: list[CellBlock | FacetBlock] = [*blocks]
    for group in facets.values():
        listed.extend(group)
    for block in listed:
        table = block.connectivity
        if table.size and not 0 <= table.min() <= table.max() < len(points):
            row = int(np.nonzero(((table < 0) | (table >= len(points))).any(axis=1))[0][0])
            raise MeshError(
                f"element {row} of {block.element} has nodes {(table[row] + 1).tolist()}, outside 1 to {len(points)}."
            )
    number = np.full(len(points), -1, dtype=np.int64)
    for cell_block in blocks:
        number[cell_block.connectivity] = 0
    used = np.nonzero(number == 0)[0]
    number[used] = np.arange(len(used))
    cells: list[CellBlock] = []
    for element in dict.fromkeys(block.element for block in blocks):
        alike = [block for block in blocks if block.element == element]
        table = np.concatenate([block.connectivity for block in alike])
        cells.append(CellBlock(element, number[table], np.concatenate([block.tags for block in alike])))
    groups = {name: _facets_of_cells(name, facets[name], number) for name in facets}
    return Mesh(points[used], tuple(cells), dict(tag_names), {name: kept for name, kept in groups.items() if kept})


def _facets_of_cells(name: str, group: Sequence[FacetBlock], number: NDArray[np.int64]) -> tuple[FacetBlock, ...]:
    """A group's facets in the new node numbers, by element type, without those on nodes that no cell has."""
    result = []
    for element in dict.fromkeys(facet.element for facet in group):
        table = number[np.concatenate([facet.connectivity for facet in group if facet.element == element])]
        keep = (table >= 0).all(axis=1)
        if not keep.all():
            _log.warning("group %r: %d facets lie on no cell and are left out.", name, int((~keep).sum()))
        if keep.any():
            result.append(FacetBlock(element, table[keep]))
    return tuple(result)
