"""Unit cells on the command line: `--mesh` as a file, a folder or a built-in name, `--materials` as a TOML file.

A materials file has one table for each phase, named by the tag of its elements or by the name of their group:

    [materials.1]
    law = "saturating_shear"
    name = "matrix"
    bulk = 4780.0
    alpha1 = 50.0
    alpha2 = 0.06
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from equipoise.data.executors import Executor
    from equipoise.problems.mechanics.materials import Material
    from equipoise.spaces.mesh import Mesh

__all__ = [
    "ClusterOption",
    "DeviceOption",
    "MaterialsOption",
    "WorkersOption",
    "check_device",
    "check_output",
    "choose_executor",
    "load_materials",
    "load_mesh",
]

MaterialsOption = Annotated[
    Path | None,
    typer.Option(
        "--materials", help="TOML file with a table [materials.TAG] for each phase; the paper's pair if absent."
    ),
]
WorkersOption = Annotated[int | None, typer.Option("--workers", min=1, help="Spread solves over this many processes.")]
ClusterOption = Annotated[
    str | None, typer.Option("--cluster", help="Spread solves over the Dask scheduler at this address.")
]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu or cuda.")]


def load_mesh(source: str) -> Mesh:
    """Mesh of a unit cell: a file, a folder with the CSV pair, or the name of a built-in cell.

    Raises:
        FileNotFoundError: when nothing of that name exists. MeshError: for a mesh that cannot be used.
    """
    from equipoise.spaces.cells import builtin_cell
    from equipoise.spaces.mesh_files import read_mesh

    path = Path(source)
    if path.exists():
        return read_mesh(path)
    if Path(source.partition(":")[0]).suffix or os.sep in source.partition(":")[0]:
        raise FileNotFoundError(f"there is no mesh {source}.")
    return builtin_cell(source)


def load_materials(file: Path | None, mesh: Mesh) -> dict[int, Material]:
    """Material of each tag, from a TOML file or, without one, the pair of the EquiNO paper for tags 1 and 2.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for a file that is not TOML or of another form, an unknown group, or bad parameters.
    """
    from equipoise.problems.mechanics.materials import paper_materials

    if file is None:
        return paper_materials()
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}.")
    materials: dict[int, Material] = {}
    for key, config in _read_tables(file).items():
        for tag in _tags_of(key, mesh, file):
            if tag in materials:
                raise ValueError(f"{file}: tag {tag} has more than one material; the second is [materials.{key}].")
            materials[tag] = _material(key, config, file)
    return materials


def _read_tables(file: Path) -> dict[str, dict[str, Any]]:
    """Tables of a materials file by their key; their contents are left to the materials."""
    from pydantic import BaseModel, ConfigDict, ValidationError

    class MaterialsFile(BaseModel):
        model_config = ConfigDict(extra="forbid", strict=True)

        materials: dict[str, dict[str, str | float | int]]

    try:
        return MaterialsFile.model_validate(tomllib.loads(file.read_text(encoding="utf-8"))).materials
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not a TOML file: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part not in ("str", "float", "int"))
        raise ValueError(f"{file}: {place}: {first['msg']}; expected tables such as [materials.1].") from error


def _tags_of(key: str, mesh: Mesh, file: Path) -> list[int]:
    """Tags that a table is about: its number, or all tags of that group name."""
    if key.lstrip("-").isdigit():
        return [int(key)]
    tags = [tag for tag, name in mesh.tag_names.items() if name == key]
    if not tags:
        known = ", ".join(sorted(mesh.tag_names.values())) or "none"
        raise ValueError(f"{file}: the mesh has no group {key!r}; its groups are: {known}. Tags as numbers work too.")
    return tags


def _material(key: str, config: dict[str, Any], file: Path) -> Material:
    from equipoise.problems.mechanics.materials import material_from_config

    try:
        return material_from_config(config)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file}: [materials.{key}]: {error}") from error


def choose_executor(workers: int | None, cluster: str | None) -> Executor:
    """Executor that `--workers` or `--cluster` asks for; this process without either.

    Raises:
        ValueError: for both at once.
    """
    if workers is not None and cluster is not None:
        raise ValueError("--workers and --cluster exclude each other; give one of them.")
    if cluster is not None:
        from equipoise.data.dask_executor import DaskExecutor

        return DaskExecutor(cluster)
    from equipoise.data.executors import ProcessExecutor, SerialExecutor

    return SerialExecutor() if workers is None else ProcessExecutor(workers)


def check_device(device: str) -> str:
    """The device, if it can be used.

    Raises:
        ValueError: for another name than cpu or cuda, or for cuda where there is none.
    """
    if device.partition(":")[0] not in ("cpu", "cuda"):
        raise ValueError(f"--device {device} is unknown; use cpu or cuda.")
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError("--device cuda was asked for, but this machine offers no CUDA device; use --device cpu.")
    return device


def check_output(path: Path) -> Path:
    """The path, if a file can be written there.

    Raises:
        ValueError: when its folder does not exist or cannot be written to, or it is itself a folder.
    """
    folder = path.parent
    if not folder.is_dir():
        raise ValueError(f"{path} cannot be written: there is no folder {folder}.")
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give the name of a file to write.")
    if not os.access(folder, os.W_OK):
        raise ValueError(f"{path} cannot be written: the folder {folder} is not writable.")
    return path
