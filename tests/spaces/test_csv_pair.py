"""The published pair of CSV files: what is read, and which mistakes are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from equipoise.errors import EquipoiseError
from equipoise.spaces.mesh_files import read_mesh

NODES = "0,0\n2,0\n2,1\n0,1\n1,0\n2,0.5\n1,1\n0,0.5\n9,9\n"
ELEMENTS = "1,2,1,2,3,4,5,6,7,8\n"


def pair(folder: Path, nodes: str | None, elements: str | None) -> Path:
    for name, text in (("nodeCoordinates.csv", nodes), ("elementIncidences.csv", elements)):
        if text is not None:
            (folder / name).write_text(text)
    return folder


def test_nodes_elements_and_materials(tmp_path: Path) -> None:
    mesh = read_mesh(pair(tmp_path, NODES, ELEMENTS))
    (block,) = mesh.blocks
    assert (block.element, block.connectivity.tolist(), block.tags.tolist()) == ("quad8", [list(range(8))], [2])
    assert mesh.n_nodes == 8
    np.testing.assert_array_equal(mesh.bounds, [[0, 0], [2, 1]])


@pytest.mark.parametrize(
    ("nodes", "elements", "words"),
    [
        (None, ELEMENTS, "has no nodeCoordinates.csv; it needs"),
        (NODES, None, "has no elementIncidences.csv"),
        ("", ELEMENTS, "nodeCoordinates.csv has 0 rows"),
        (NODES, "", "elementIncidences.csv has 0 rows"),
        ("x,y\n" + NODES, ELEMENTS, "is not a table of numbers"),
        (NODES + "1,2,3\n", ELEMENTS, "is not a table of numbers"),
        ("0,0,0\n1,0,0\n", ELEMENTS, "2 rows of 3 columns; expected 2: x, y"),
        (NODES, "1,2,1,2,3,4\n", "1 rows of 6 columns; expected 10"),
        (NODES, "1,2,1,2,3,4,5,6,7,10\n", "element 1 has nodes .* but nodeCoordinates.csv has nodes 1 to 9"),
        (NODES, "7,2,0,2,3,4,5,6,7,8\n", "element 7 has nodes"),
        (NODES, "1,2,1.5,2,3,4,5,6,7,8\n", "row 1 has a value that is not a whole number"),
        ("0,nan\n" + NODES, ELEMENTS, "row 1 has a value that is not finite"),
        (NODES, "1,inf,1,2,3,4,5,6,7,8\n", "not finite"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, nodes: str | None, elements: str | None, words: str) -> None:
    with pytest.raises(EquipoiseError, match=words):
        read_mesh(pair(tmp_path, nodes, elements))
