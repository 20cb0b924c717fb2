"""Abaqus input files: elements, sets, sections, assemblies, and mistakes that are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from equipoise.errors import EquipoiseError
from equipoise.spaces.elements import reference_element
from equipoise.spaces.mesh_files import read_mesh
from equipoise.spaces.quadrature import quadrature

TWO = """*Heading
 two squares
** a comment
*Node
 10, 0., 0.
 20, 1., 0.
 30, 2., 0.
 40, 0., 1.
 50, 1., 1.
 60, 2., 1.
*Element, type=CPE4R
 1, 10, 20, 50, 40
*Element, type=cpe4, elset=Fibre
 7, 20, 30, 60, 50
"""


def mesh_of(folder: Path, text: str):  # type: ignore[no-untyped-def]
    (folder / "model.inp").write_text(text)
    return read_mesh(folder / "model.inp")


def test_set_of_an_element_block_belongs_to_that_block(tmp_path: Path) -> None:
    mesh = mesh_of(tmp_path, TWO)
    (block,) = mesh.blocks
    assert block.tags.tolist() == [0, 1]
    assert mesh.tag_names == {1: "Fibre"}
    assert mesh.points[block.connectivity[1]].tolist() == [[1, 0], [2, 0], [2, 1], [1, 1]]


def test_no_set_at_all_means_tag_one(tmp_path: Path) -> None:
    mesh = mesh_of(tmp_path, TWO.replace(", elset=Fibre", ""))
    assert mesh.blocks[0].tags.tolist() == [1, 1]


def test_sets_by_number_range_and_name_give_tags_in_order(tmp_path: Path) -> None:
    sets = "*Elset, elset=Matrix\n 1,\n*ELSET, ELSET=stiff\n fibre\n*Elset, elset=all, generate\n 1, 7, 6\n"
    mesh = mesh_of(tmp_path, TWO.replace(", elset=Fibre", "") + "*Elset, elset=FIBRE, generate\n 7, 7\n" + sets.replace(
        "*ELSET, ELSET=stiff\n fibre\n", ""
    ))  # fmt: skip
    assert mesh.blocks[0].tags.tolist() == [2, 1]
    assert mesh.tag_names == {1: "FIBRE", 2: "Matrix"}
    with pytest.raises(EquipoiseError, match="cell 1 is in the sets 'Fibre' and 'stiff'"):
        mesh_of(tmp_path, TWO + sets)


def test_sections_decide_over_sets(tmp_path: Path) -> None:
    text = TWO + "*Elset, elset=MATRIX\n 1\n*Elset, elset=probe\n 1, 7\n*Elset, elset=_odd\n 7\n"
    text += "*Solid Section, elset=matrix, material=Epoxy\n 1.,\n*Solid Section, elset=Fibre, material=Glass\n,\n"
    mesh = mesh_of(tmp_path, text)
    assert mesh.blocks[0].tags.tolist() == [1, 2]
    assert mesh.tag_names == {1: "MATRIX", 2: "Fibre"}


def test_reference_points_of_an_assembly_leave_the_nodes_alone(tmp_path: Path) -> None:
    text = "*Part, name=cell\n" + TWO.partition("** a comment\n")[2] + "*End Part\n*Assembly, name=all\n"
    text += "*Instance, name=cell-1, part=cell\n 5., 0., 0.\n*End Instance\n*Node\n 10, 77., 77.\n"
    text += "*Nset, nset=left, instance=cell-1\n 10, 40\n*Nset, nset=_hidden\n 10, 40\n*End Assembly\n"
    mesh = mesh_of(tmp_path, text)
    assert mesh.bounds.tolist() == [[0, 0], [2, 1]]
    assert list(mesh.facet_groups) == ["left"]
    (facet,) = mesh.facet_groups["left"]
    assert sorted(facet.connectivity.ravel().tolist()) == [0, 3]


def test_included_file_and_continued_lines(tmp_path: Path) -> None:
    head, _, tail = TWO.partition("*Element, type=CPE4R\n")
    (tmp_path / "nodes.inc").write_text(head)
    tail = "*Element,\n type=CPE4R\n 1, 10, 20,\n 50, 40\n" + tail.partition("\n")[2]
    mesh = mesh_of(tmp_path, "*Include, input=nodes.inc\n" + tail)
    assert mesh.fingerprint == mesh_of(tmp_path, TWO).fingerprint


@pytest.mark.parametrize(
    ("kind", "element"),
    [
        ("CPE3", "tri3"), ("CPS6M", "tri6"), ("STRI65", "tri6"), ("CPE4RH", "quad4"), ("CPE8", "quad8"),
        ("CPE8R", "quad8"), ("S9R5", "quad9"), ("C3D4H", "tet4"), ("C3D10M", "tet10"), ("C3D8R", "hex8"),
        ("C3D20R", "hex20"), ("CPEG8", "quad8"),
    ],
)  # fmt: skip
def test_element_types_keep_the_order_of_nodes(tmp_path: Path, kind: str, element: str) -> None:
    reference = reference_element(element)
    nodes = "".join(f"{i}, {', '.join(map(str, place))}\n" for i, place in enumerate(reference.nodes.tolist(), 1))
    numbers = [str(i) for i in range(1, reference.n_nodes + 1)]
    lines = ",\n".join(", ".join(["1", *numbers][i : i + 8]) for i in range(0, len(numbers) + 1, 8))
    mesh = mesh_of(tmp_path, f"*NODE\n{nodes}*ELEMENT, TYPE={kind}\n{lines}\n")
    assert mesh.blocks[0].element == element
    volume = reference.quadrature()[1].sum()
    assert quadrature(mesh)[0].weights.sum() == pytest.approx(volume)
    np.testing.assert_array_equal(mesh.points, reference.nodes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "there are no elements"),
        (TWO.replace("CPE4R", "CAX4"), "element type 'CAX4' is not supported"),
        (TWO.replace("CPE4R", "CPE5"), "element type 'CPE5' is not supported"),
        (TWO.replace("type=CPE4R", "elset=a"), "element type '' is not supported"),
        (TWO.replace(" 7, 20, 30, 60, 50", " 7, 20, 30, 60"), r"block \*ELEMENT at line 13 cannot be read \(4 numbers"),
        (TWO.replace(" 7, 20", " 7, 21"), r"element 7 has nodes \[21, 30, 60, 50\], not all of which are defined"),
        (TWO.replace(" 7, 20", " 1, 20"), "element 1 is defined twice"),
        (TWO.replace(" 20, 1.", " 10, 1."), "node 10 is defined twice; a file with several parts"),
        (TWO.replace("1., 0.", "one, 0."), r"block \*NODE at line 4 cannot be read"),
        (TWO.replace("20, 1., 0.", "20, 1., 0., 0."), r"nodes have \[2, 3\] coordinates"),
        (TWO + "*Elset, elset=a\n missing\n", r"block \*ELSET at line 15 cannot be read"),
        (TWO + "*Solid Section, elset=none\n", "a solid section names the element set 'NONE'"),
        (TWO + "*Solid Section, elset=Fibre\n", "element 1 has no solid section"),
        (TWO + 2 * "*Solid Section, elset=Fibre\n", "element 7 has two solid sections"),
        ("*Include, input=model.inp\n", "is included by itself"),
        ("*Include, input=nowhere.inc\n", "cannot be read"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(EquipoiseError, match=words):
        mesh_of(tmp_path, text)
