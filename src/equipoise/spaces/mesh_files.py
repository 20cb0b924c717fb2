"""Reading and writing mesh files: the formats of meshio, Abaqus input files and the published pair of CSV files.

This is the door; `meshio_groups.py`, `abaqus_files.py` and `csv_pair.py` read what lies behind it.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import EquipoiseError, FormatError, MeshError
from equipoise.spaces.abaqus_files import read_abaqus
from equipoise.spaces.csv_pair import read_csv_pair
from equipoise.spaces.elements import reference_element
from equipoise.spaces.gmsh_entities import with_every_entity_in_a_group
from equipoise.spaces.mesh import Mesh
from equipoise.spaces.meshio_groups import mesh_of_meshio

__all__ = ["read_mesh", "write_mesh"]

_log = logging.getLogger("equipoise.spaces")

_WRITTEN: dict[str, tuple[str, dict[str, Any]]] = {
    ".vtu": ("vtu", {}),
    ".vtk": ("vtk", {}),
    ".xdmf": ("xdmf", {"data_format": "XML"}),
    ".msh": ("gmsh22", {"binary": False}),
}


def read_mesh(path: str | Path) -> Mesh:
    """Read a mesh file, or a folder with `nodeCoordinates.csv` and `elementIncidences.csv`.

    Physical groups and element sets of cells become tags with names, those of facets become `facet_groups`, named by
    their number where they have no name. Cells in no group get tag 0; where no cell is in any, all get tag 1. Blocks of
    one element type are joined and nodes that no cell uses dropped. A mesh with equal z throughout is plane.

    Raises:
        FileNotFoundError: if nothing is there.
        FormatError: for a file that cannot be read.
        MeshError: for an element type that is not supported, a surface in space, or sets that contradict one another.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no mesh at {path}.")
    if path.is_dir():
        return read_csv_pair(path)
    try:
        return read_abaqus(path) if path.suffix.lower() == ".inp" else mesh_of_meshio(_read_meshio(path))
    except MeshError as error:
        raise MeshError(f"{path}: {error}") from error


def _read_meshio(path: Path) -> Any:
    import meshio

    formats = meshio.extension_to_filetypes.get(path.suffix.lower(), [])
    if not formats:
        known = ", ".join(sorted(suffix for suffix in meshio.extension_to_filetypes if suffix.count(".") == 1))
        raise FormatError(f"{path}: the suffix {path.suffix!r} is of no mesh format; use one of {known}.")
    if "gmsh" in formats:
        with path.open("rb") as file:
            formats = ["gmsh" if file.readline().strip() == b"$MeshFormat" else "ansys"]
    said = io.StringIO()
    try:
        # meshio tells of oddities on the standard streams, which belong to the program.
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            return _read_gmsh(path) if formats[0] == "gmsh" else _read_format(path, formats[0])
    except (EquipoiseError, FileNotFoundError, PermissionError):
        raise
    except (Exception, SystemExit) as error:  # parsers fail in as many ways as files are damaged
        details = " ".join(str(error).split()) or "damaged, or of another format"
        raise FormatError(f"{path} cannot be read as {formats[0]} mesh ({type(error).__name__}: {details}).") from error
    finally:
        if said.getvalue().strip():
            _log.warning("%s: %s", path, " ".join(said.getvalue().split()))


def _read_format(path: Path, name: str) -> Any:
    """Read by the reader of one format, because meshio's own dispatch prints and leaves the program."""
    import meshio

    reader = getattr(meshio, name, None)
    return meshio.read(path) if reader is None else reader.read(str(path))


def _read_gmsh(path: Path) -> Any:
    """Read a gmsh file, also one of version 4.1 with some elements in physical groups and others in none."""
    try:
        return _read_format(path, "gmsh")
    except Exception as error:
        if "gmsh:physical" not in str(error):
            raise
        changed = with_every_entity_in_a_group(path.read_bytes())
        if changed is None:
            raise FormatError(
                f"{path}: some of its elements are in a physical group and others in none, which files of gmsh's "
                "version 4.0 must not have; save as version 4.1 or 2.2."
            ) from error
    with tempfile.TemporaryDirectory(prefix="equipoise-") as folder:
        copy = Path(folder) / "mesh.msh"
        copy.write_bytes(changed)
        return _read_format(copy, "gmsh")


def write_mesh(
    path: str | Path,
    mesh: Mesh,
    *,
    point_data: Mapping[str, NDArray[np.float64]] | None = None,
    cell_data: Mapping[str, NDArray[np.float64]] | None = None,
) -> None:
    """Write a mesh with fields through meshio; the file appears under its name when it is whole.

    Args:
        path: `.vtu`, `.vtk`, `.xdmf` or `.msh`. The first three keep cells with tags and fields, the last (gmsh 2.2)
            cells with tags, their names, facet groups and fields at nodes.
        point_data: by name, `(n_nodes,)` or `(n_nodes, k)`.
        cell_data: by name, `(n_cells,)` or `(n_cells, k)`, blocks after one another; the tags are added as `tag`.

    Raises:
        FormatError: for another suffix, or fields of cells in a `.msh` file. ValueError: for fields of another length.
    """
    path = Path(path)
    if path.suffix.lower() not in _WRITTEN:
        raise FormatError(f"{path}: meshes are written as {', '.join(_WRITTEN)}, not {path.suffix!r}.")
    point_fields = {name: _field(name, values, mesh.n_nodes, "nodes") for name, values in (point_data or {}).items()}
    cell_fields = {name: _field(name, values, mesh.n_cells, "cells") for name, values in (cell_data or {}).items()}
    if "tag" in cell_fields:
        raise ValueError("cell_data must not hold 'tag', which is written from the mesh.")
    kind, options = _WRITTEN[path.suffix.lower()]
    if kind == "gmsh22":
        if cell_fields:
            raise FormatError(f"{path}: .msh files keep no fields of cells; write them to .vtu.")
        data = _gmsh_data(mesh, point_fields)
    else:
        data = _tagged_data(mesh, point_fields, cell_fields)
    partial = path.with_name(f".{path.stem}-{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        data.write(partial, file_format=kind, **options)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _field(name: str, values: NDArray[np.float64], count: int, what: str) -> NDArray[np.float64]:
    array = np.asarray(values)
    if array.ndim not in (1, 2) or len(array) != count:
        raise ValueError(f"field {name!r} has shape {array.shape}; expected ({count},) or ({count}, k) for {what}.")
    return array


def _in_space(mesh: Mesh) -> NDArray[np.float64]:
    return np.column_stack([mesh.points, np.zeros(mesh.n_nodes)]) if mesh.dim == 2 else mesh.points


def _tagged_data(
    mesh: Mesh, point_fields: dict[str, NDArray[np.float64]], cell_fields: dict[str, NDArray[np.float64]]
) -> Any:
    import meshio

    ends = np.cumsum([len(block.connectivity) for block in mesh.blocks])[:-1]
    cells = [(reference_element(block.element).meshio_name, block.connectivity) for block in mesh.blocks]
    fields: dict[str, Any] = {name: np.split(values, ends) for name, values in cell_fields.items()}
    fields["tag"] = [block.tags for block in mesh.blocks]
    return meshio.Mesh(_in_space(mesh), cells, point_data=point_fields, cell_data=fields)


def _gmsh_data(mesh: Mesh, point_fields: dict[str, NDArray[np.float64]]) -> Any:
    """Cells and facets with their physical groups."""
    import meshio

    names = {name: np.array([tag, mesh.dim]) for tag, name in mesh.tag_names.items()}
    cells = [(reference_element(block.element).meshio_name, block.connectivity) for block in mesh.blocks]
    tags = [block.tags for block in mesh.blocks]
    for number, (name, group) in enumerate(mesh.facet_groups.items(), start=1):
        if name in names:
            raise FormatError(f"{name!r} names a tag and a facet group, which a .msh file cannot hold.")
        names[name] = np.array([number, mesh.dim - 1])
        for facet in group:
            cells.append((reference_element(facet.element).meshio_name, facet.connectivity))
            tags.append(np.full(len(facet.connectivity), number))
    groups = {"gmsh:physical": tags, "gmsh:geometrical": tags}
    return meshio.Mesh(_in_space(mesh), cells, point_data=point_fields, cell_data=groups, field_data=names)
