"""The published pair of CSV files of a plane unit cell of 8-node quadrilaterals.

`nodeCoordinates.csv` has x, y of node 1, 2, …; `elementIncidences.csv` has an element's number, its material and its
eight nodes: four corners counter-clockwise, then the middles of the sides from the first corner on. No header.
Source: data of the EquiNO paper (Eivazi and others).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import FormatError, MeshError
from equipoise.spaces.mesh import CellBlock, Mesh
from equipoise.spaces.mesh_joining import join_blocks

__all__ = ["read_csv_pair"]

_NODES, _ELEMENTS = "nodeCoordinates.csv", "elementIncidences.csv"


def read_csv_pair(folder: Path) -> Mesh:
    """Mesh of the two files in a folder; material numbers become tags, nodes that no element uses are dropped.

    Raises:
        FormatError: for a missing file, or one that is not a table of numbers of the right width.
        MeshError: for an element with a node that isn't there.
    """
    points = _table(folder, _NODES, 2, "x, y")
    elements = _table(folder, _ELEMENTS, 10, "number, material, eight nodes")
    if (elements != np.rint(elements)).any():
        row = int(np.nonzero((elements != np.rint(elements)).any(axis=1))[0][0])
        raise FormatError(f"{folder / _ELEMENTS}: row {row + 1} has a value that is not a whole number.")
    whole = elements.astype(np.int64)
    nodes = whole[:, 2:]
    bad = ((nodes < 1) | (nodes > len(points))).any(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        raise MeshError(
            f"{folder / _ELEMENTS}: element {whole[row, 0]} has nodes {nodes[row].tolist()}, but {_NODES} has nodes "
            f"1 to {len(points)}."
        )
    return join_blocks(points, [CellBlock("quad8", nodes - 1, whole[:, 1].copy())], {}, {})


def _table(folder: Path, name: str, columns: int, meaning: str) -> NDArray[np.float64]:
    file = folder / name
    if not file.is_file():
        raise FormatError(f"folder {folder} has no {name}; it needs {_NODES} and {_ELEMENTS}.")
    try:
        text = file.read_text(encoding="utf-8")
        rows = [line for line in text.splitlines() if line.strip()]
        table = np.loadtxt(rows, delimiter=",", ndmin=2) if rows else np.empty((0, columns))
    except ValueError as error:
        raise FormatError(f"{file} is not a table of numbers: {error}.") from error
    if table.shape[1] != columns or not len(table):
        raise FormatError(f"{file} has {len(table)} rows of {table.shape[1]} columns; expected {columns}: {meaning}.")
    if not np.isfinite(table).all():
        row = int(np.nonzero(~np.isfinite(table).all(axis=1))[0][0])
        raise FormatError(f"{file}: row {row + 1} has a value that is not finite.")
    return table
