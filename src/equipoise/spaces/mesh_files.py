"""Reading and writing meshes: every format of meshio, and the published pair of CSV files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import FormatError, MeshError
from equipoise.spaces.elements import element_of_meshio, reference_element
from equipoise.spaces.mesh import CellBlock, FacetBlock, Mesh

__all__ = ["read_mesh", "write_mesh"]

_NODES, _ELEMENTS = "nodeCoordinates.csv", "elementIncidences.csv"


def read_mesh(path: str | Path) -> Mesh:
    """Read a mesh file, or a folder with `nodeCoordinates.csv` and `elementIncidences.csv`.

    Physical groups of cells become tags, those of facets become `facet_groups`; without any, all cells get tag 1.

    Raises:
        FileNotFoundError: if nothing is there.
        FormatError: for a file that cannot be read.
        MeshError: for an element type that is not supported.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no mesh at {path}.")
    return _read_csv(path) if path.is_dir() else _read_meshio(path)


def _read_csv(folder: Path) -> Mesh:
    tables = []
    for name in (_NODES, _ELEMENTS):
        file = folder / name
        if not file.exists():
            raise FormatError(f"folder {folder} has no {name}; it needs {_NODES} and {_ELEMENTS}.")
        try:
            tables.append(np.loadtxt(file, delimiter=",", ndmin=2))
        except ValueError as error:
            raise FormatError(f"{file} is not a table of numbers: {error}.") from error
    points, elements = tables[0], tables[1].astype(np.int64)
    if elements.shape[1] != 10:
        raise FormatError(f"{folder / _ELEMENTS} has {elements.shape[1]} columns; expected number, material, 8 nodes.")
    return Mesh(points, (CellBlock("quad8", elements[:, 2:] - 1, elements[:, 1].copy()),))


def _read_meshio(path: Path) -> Mesh:
    import meshio

    try:
        data = meshio.read(path)
    except (
        meshio.ReadError,
        ValueError,
        KeyError,
        IndexError,
        UnicodeDecodeError,
        AssertionError,
        SystemExit,
    ) as error:
        raise FormatError(f"{path} cannot be read as a mesh: {error or type(error).__name__}.") from error
    dim = _dimension(data, path)
    points = np.asarray(data.points, dtype=float)[:, :dim]
    tags = _cell_tags(data)
    names = {(int(d), int(t)): n for n, (t, d) in ((n, v[:2]) for n, v in data.field_data.items())}
    blocks: list[CellBlock] = []
    facets: dict[str, list[FacetBlock]] = {}
    for number, block in enumerate(data.cells):
        if block.dim < dim - 1 or len(block.data) == 0:
            continue
        element = element_of_meshio(block.type)
        if element is None:
            raise MeshError(f"{path} has cells of type {block.type!r}, which is not supported.")
        connectivity = np.asarray(block.data, dtype=np.int64)
        if block.dim == dim:
            blocks.append(CellBlock(element, connectivity, tags[number]))
            continue
        for tag in np.unique(tags[number]):
            if tag != 0:
                name = names.get((dim - 1, int(tag)), str(tag))
                facets.setdefault(name, []).append(FacetBlock(element, connectivity[tags[number] == tag]))
    if all((block.tags == 0).all() for block in blocks):
        blocks = [CellBlock(b.element, b.connectivity, np.ones_like(b.tags)) for b in blocks]
    tag_names = {tag: name for (d, tag), name in names.items() if d == dim}
    return _without_orphans(points, tuple(blocks), tag_names, {k: tuple(v) for k, v in facets.items()})


def _dimension(data: Any, path: Path) -> int:
    largest = max((block.dim for block in data.cells if len(block.data)), default=0)
    if largest < 2:
        raise MeshError(f"{path} has no cells of dimension 2 or 3.")
    if largest == 2 and data.points.shape[1] == 3 and np.ptp(data.points[:, 2]) > 0:
        raise MeshError(f"{path} is a surface in space; a plane mesh needs equal z coordinates.")
    return int(largest)


def _cell_tags(data: Any) -> list[NDArray[np.int64]]:
    tags = [np.zeros(len(block.data), dtype=np.int64) for block in data.cells]
    for key in ("gmsh:physical", "tag", "material"):
        if key in data.cell_data:
            return [np.asarray(values).astype(np.int64).ravel() for values in data.cell_data[key]]
    sets = {name: value for name, value in data.cell_sets.items() if not name.startswith("gmsh:")}
    for tag, members in enumerate(sets.values(), start=1):
        for number, cells in enumerate(members):
            if cells is not None:
                tags[number][np.asarray(cells, dtype=np.int64)] = tag
    return tags


def _without_orphans(
    points: NDArray[np.float64],
    blocks: tuple[CellBlock, ...],
    tag_names: Mapping[int, str],
    facets: Mapping[str, tuple[FacetBlock, ...]],
) -> Mesh:
    used = np.unique(np.concatenate([block.connectivity.ravel() for block in blocks]))
    number = np.full(len(points), -1, dtype=np.int64)
    number[used] = np.arange(len(used))
    return Mesh(
        points[used],
        tuple(CellBlock(b.element, number[b.connectivity], b.tags) for b in blocks),
        tag_names,
        {name: tuple(FacetBlock(f.element, number[f.connectivity]) for f in group) for name, group in facets.items()},
    )


def write_mesh(
    path: str | Path,
    mesh: Mesh,
    *,
    point_data: Mapping[str, NDArray[np.float64]] | None = None,
    cell_data: Mapping[str, NDArray[np.float64]] | None = None,
) -> None:
    """Write a mesh with fields through meshio; the file appears under its name when it is whole.

    Args:
        path: file; its suffix names the format, such as `.vtu`.
        point_data: by name, `(n_nodes,)` or `(n_nodes, k)`.
        cell_data: by name, `(n_cells,)` or `(n_cells, k)`, blocks after one another; the tags are added as `tag`.
    """
    import meshio

    path = Path(path)
    points = np.column_stack([mesh.points, np.zeros(mesh.n_nodes)]) if mesh.dim == 2 else mesh.points
    ends = np.cumsum([len(block.connectivity) for block in mesh.blocks])[:-1]
    cells = [(reference_element(b.element).meshio_name, b.connectivity) for b in mesh.blocks]
    fields: dict[str, list[Any]] = {
        name: np.split(np.asarray(values), ends) for name, values in (cell_data or {}).items()
    }
    fields["tag"] = [block.tags for block in mesh.blocks]
    data = meshio.Mesh(points, cells, point_data=dict(point_data or {}), cell_data=fields)
    handle, temporary = tempfile.mkstemp(suffix=path.suffix, dir=path.parent)
    os.close(handle)
    try:
        data.write(temporary)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
