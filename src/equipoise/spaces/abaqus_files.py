"""Reading Abaqus input files: nodes, continuum elements, sets and solid sections of a single part.

Not through meshio, whose reader lacks the plane-strain quadrilaterals, mistakes which block an element set belongs to,
and lets the reference points of an assembly replace the nodes of the part.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import FormatError, MeshError
from equipoise.spaces.boundary import with_facet_groups
from equipoise.spaces.elements import reference_element
from equipoise.spaces.mesh import CellBlock, Mesh
from equipoise.spaces.mesh_joining import join_blocks
from equipoise.spaces.meshio_groups import plane_or_space, tags_of_sets

__all__ = ["read_abaqus"]

_PLANE = {3: "tri3", 6: "tri6", 4: "quad4", 8: "quad8", 9: "quad9"}
_SPACE = {4: "tet4", 10: "tet10", 8: "hex8", 20: "hex20"}
_FAMILIES = {"CPS": _PLANE, "CPE": _PLANE, "CPEG": _PLANE, "S": _PLANE, "STRI": _PLANE, "M3D": _PLANE, "C3D": _SPACE}


@dataclass
class _Model:
    """What a file lists, by the numbers that it uses."""

    nodes: dict[int, tuple[float, ...]] = field(default_factory=dict)
    elements: list[tuple[str, NDArray[np.int64]]] = field(default_factory=list)
    element_sets: dict[str, list[int]] = field(default_factory=dict)
    node_sets: dict[str, list[int]] = field(default_factory=dict)
    sections: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)


def read_abaqus(path: Path) -> Mesh:
    """Mesh of an Abaqus input file.

    Solid sections give the tags 1, 2, … in their order, named by their element set. Without sections, element sets do,
    other than those whose names begin with `_` and, where there are others, sets of all elements. Node sets name the
    boundary facets that they cover. Positions of instances and nodes of the assembly are left out.

    Raises:
        FormatError: for a line that cannot be read. MeshError: for an element type that is not supported, a number
            defined twice (as by several parts), or an element in two sets or sections.
    """
    model = _Model()
    is_skipped = False
    for keyword, parameters, lines, number in _sections(path, 0):
        try:
            if keyword in ("ASSEMBLY", "END INSTANCE"):
                is_skipped = True
            elif keyword in ("INSTANCE", "PART", "END ASSEMBLY"):
                is_skipped = False
            elif keyword in _READERS and not (is_skipped and keyword in ("NODE", "ELEMENT")):
                _READERS[keyword](model, parameters, lines)
        except (ValueError, KeyError, OverflowError) as error:
            if isinstance(error, MeshError):
                raise
            raise FormatError(f"{path}: the block *{keyword} at line {number} cannot be read ({error}).") from error
    return _mesh(model)


def _sections(path: Path, depth: int) -> Iterator[tuple[str, dict[str, str], list[str], int]]:
    """Keyword, parameters, data lines and line number of each block, with included files in their place."""
    if depth > 8:
        raise FormatError(f"{path} is included by itself.")
    try:
        text = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise FormatError(f"{path} cannot be read ({error.strerror}).") from error
    numbered = [(n, line.strip()) for n, line in enumerate(text, start=1) if line.strip() and not line.startswith("**")]
    heads = [place for place, (_, line) in enumerate(numbered) if line.startswith("*")]
    for place, end in zip(heads, [*heads, len(numbered)][1:], strict=True):
        number, head = numbered[place]
        first = place + 1
        while head.endswith(",") and first < end:  # a keyword line that goes on
            head += numbered[first][1]
            first += 1
        words = [word.strip() for word in head[1:].split(",")]
        pairs = (word.partition("=") for word in words[1:] if word)
        parameters = {key.strip().upper(): value.strip().strip('"') for key, _, value in pairs}
        keyword = " ".join(words[0].upper().split())
        if keyword == "INCLUDE":
            yield from _sections(path.parent / parameters.get("INPUT", ""), depth + 1)
        else:
            yield keyword, parameters, [line for _, line in numbered[first:end]], number


def _words(line: str) -> list[str]:
    return [word for word in (part.strip() for part in line.split(",")) if word]


def _read_nodes(model: _Model, parameters: dict[str, str], lines: list[str]) -> None:
    numbers = []
    for line in lines:
        number, *coordinates = _words(line)
        if int(number) in model.nodes:
            raise MeshError(f"node {number} is defined twice; a file with several parts cannot be read.")
        model.nodes[int(number)] = tuple(map(float, coordinates))
        numbers.append(int(number))
    if "NSET" in parameters:
        _add(model, model.node_sets, parameters["NSET"], numbers)


def _read_elements(model: _Model, parameters: dict[str, str], lines: list[str]) -> None:
    kind = parameters.get("TYPE", "").upper()
    match = re.fullmatch(r"([A-Z]+|[CM]3D)(\d+)([A-Z]*\d?)", kind)
    element = _FAMILIES.get(match[1], {}).get(int(match[2])) if match else None
    if kind == "STRI65":
        element = "tri6"
    if element is None:
        raise MeshError(
            f"element type {kind!r} is not supported; use CPS, CPE, S or C3D elements of known node counts."
        )
    width = reference_element(element).n_nodes + 1
    values = np.array([int(word) for line in lines for word in _words(line)], dtype=np.int64)
    if len(values) % width:
        raise ValueError(f"{len(values)} numbers are no multiple of the {width} of a {kind} element")
    table = values.reshape(-1, width)
    model.elements.append((element, table))
    if "ELSET" in parameters:
        _add(model, model.element_sets, parameters["ELSET"], table[:, 0].tolist())


def _read_element_set(model: _Model, parameters: dict[str, str], lines: list[str]) -> None:
    _read_set(model, model.element_sets, parameters["ELSET"], parameters, lines)


def _read_node_set(model: _Model, parameters: dict[str, str], lines: list[str]) -> None:
    _read_set(model, model.node_sets, parameters["NSET"], parameters, lines)


def _read_set(
    model: _Model, sets: dict[str, list[int]], name: str, parameters: dict[str, str], lines: list[str]
) -> None:
    members: list[int] = []
    for line in lines:
        words = _words(line)
        if "GENERATE" in parameters:
            first, last, step = (*map(int, words), 1)[:3]
            members.extend(range(first, last + 1, step))
        else:
            for word in words:
                members.extend([int(word)] if word.isdigit() else sets[word.upper()])
    _add(model, sets, name, members)


def _read_section(model: _Model, parameters: dict[str, str], lines: list[str]) -> None:
    model.sections.append(parameters["ELSET"].upper())


def _add(model: _Model, sets: dict[str, list[int]], name: str, members: list[int]) -> None:
    """Names are alike whatever their case; the first spelling is shown."""
    sets.setdefault(name.upper(), []).extend(members)
    model.names.setdefault(name.upper(), name)


_READERS = {
    "NODE": _read_nodes,
    "ELEMENT": _read_elements,
    "ELSET": _read_element_set,
    "NSET": _read_node_set,
    "SOLID SECTION": _read_section,
}


def _mesh(model: _Model) -> Mesh:
    dim = max((reference_element(element).dim for element, _ in model.elements), default=0)
    if dim == 0:
        raise MeshError("there are no elements.")
    numbers = np.array(list(model.nodes), dtype=np.int64)
    widths = {len(place) for place in model.nodes.values()}
    if len(widths) != 1:
        raise MeshError(f"nodes have {sorted(widths)} coordinates; they must all have 2 or 3.")
    points = plane_or_space(np.array(list(model.nodes.values()), dtype=float), dim)
    cells = [(element, table) for element, table in model.elements if reference_element(element).dim == dim]
    order = np.concatenate([table[:, 0] for _, table in cells])
    unique, count = np.unique(order, return_counts=True)
    if (count > 1).any():
        raise MeshError(f"element {unique[count > 1][0]} is defined twice; a file with several parts cannot be read.")
    tags, names = _tags(model, order)
    ends = np.cumsum([len(table) for _, table in cells])[:-1]
    blocks = [
        CellBlock(element, _places(numbers, table[:, 1:], table[:, 0]), part)
        for (element, table), part in zip(cells, np.split(tags, ends), strict=True)
    ]
    return _with_node_sets(model, points, blocks, names, numbers)


def _places(numbers: NDArray[np.int64], nodes: NDArray[np.int64], elements: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of the nodes with the given numbers."""
    order = np.argsort(numbers)
    place = order[np.minimum(np.searchsorted(numbers, nodes, sorter=order), len(numbers) - 1)]
    missing = (numbers[place] != nodes).any(axis=1)
    if missing.any():
        row = int(np.argmax(missing))
        raise MeshError(f"element {elements[row]} has nodes {nodes[row].tolist()}, not all of which are defined.")
    return place


def _tags(model: _Model, order: NDArray[np.int64]) -> tuple[NDArray[np.int64], dict[int, str]]:
    place = {int(number): row for row, number in enumerate(order)}

    def rows(name: str) -> NDArray[np.int64]:
        return np.array(sorted({place[n] for n in model.element_sets[name] if n in place}), dtype=np.int64)

    if not model.sections:
        return tags_of_sets(
            len(order), {model.names[name]: rows(name) for name in model.element_sets if not name.startswith("_")}
        )
    tags = np.zeros(len(order), dtype=np.int64)
    names: dict[int, str] = {}
    for tag, name in enumerate(model.sections, start=1):
        if name not in model.element_sets:
            raise MeshError(f"a solid section names the element set {name!r}, which is not defined.")
        members = rows(name)
        if (tags[members] != 0).any():
            raise MeshError(f"element {order[members[tags[members] != 0][0]]} has two solid sections.")
        tags[members] = tag
        names[tag] = model.names[name]
    if (tags == 0).any():
        raise MeshError(f"element {order[np.argmax(tags == 0)]} has no solid section, but others do.")
    return tags, names


def _with_node_sets(
    model: _Model,
    points: NDArray[np.float64],
    blocks: list[CellBlock],
    names: dict[int, str],
    numbers: NDArray[np.int64],
) -> Mesh:
    if all((block.tags == 0).all() for block in blocks):
        blocks = [CellBlock(block.element, block.connectivity, np.ones_like(block.tags)) for block in blocks]
    mesh = join_blocks(points, blocks, names, {})
    used = np.unique(np.concatenate([block.connectivity.ravel() for block in blocks]))
    place = {int(number): row for row, number in enumerate(numbers[used])}
    groups = {}
    for name, members in model.node_sets.items():
        inside = np.array(sorted({place[n] for n in members if n in place}), dtype=np.int64)
        if not name.startswith("_") and 0 < len(inside) < mesh.n_nodes:
            groups[model.names[name]] = inside
    return with_facet_groups(mesh, groups) if groups else mesh
