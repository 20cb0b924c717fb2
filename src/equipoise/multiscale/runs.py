"""Micro models in run folders: everything a later simulation needs, the unit cell included.

Classes are looked up in the table here, never by a name of a module in a file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from equipoise.data.run_folder import metrics_table, read_run_folder, write_run_folder
from equipoise.data.snapshots import CellRecord
from equipoise.errors import FormatError
from equipoise.multiscale.certificate import Certificate, Policy
from equipoise.multiscale.certified_model import CertifiedModel
from equipoise.multiscale.equino import EquiNOModel
from equipoise.multiscale.reduced_model import ReducedRVE
from equipoise.operators.equino import EquiNO
from equipoise.problems.mechanics.bases import ReducedBases
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.cubature import Cubature
from equipoise.problems.mechanics.materials import Material
from equipoise.spaces.mesh import CellBlock, Mesh

__all__ = ["load_micro", "save_micro"]

_KINDS = ("equino", "reduced")


def save_micro(
    path: str | Path,
    model: CertifiedModel,
    *,
    cubature: Cubature,
    settings: Mapping[str, Any] | None = None,
    metrics: Sequence[Mapping[str, float]] = (),
    card: str = "",
    overwrite: bool = False,
) -> None:
    """Write a learned or reduced micro model as a run folder.

    Args:
        path: the folder. model: `EquiNOModel` or `ReducedRVE`. cubature: its weighted points.
        settings: how it was trained, plain values. metrics: rows of the training history.
        card: text of `card.md`. overwrite: replace a run that is there.

    Raises:
        FileExistsError: if something else is there. TypeError: for a material that cannot be stored.
    """
    kind = "equino" if isinstance(model, EquiNOModel) else "reduced"
    record = CellRecord.of(model.cell)
    config: dict[str, Any] = {
        "kind": kind,
        "box": None if model.box is None else model.box.tolist(),
        "materials": {str(tag): dict(values) for tag, values in record.materials.items()},
        "material_fingerprint": record.material_fingerprint,
        "mesh_fingerprint": model.cell.mesh.fingerprint,
        "tag_names": {str(tag): name for tag, name in model.cell.mesh.tag_names.items()},
        "elements": [block.element for block in model.cell.mesh.blocks],
        "units": {"stress": "MPa", "length": "mm"},
    }
    tensors = {
        "cell": _mesh_tensors(model.cell.mesh),
        "bases": model.bases.tensors(),
        "cubature": cubature.tensors(),
    }
    if isinstance(model, EquiNOModel):
        config["operator"] = model.operator.config
        tensors["weights"] = dict(model.operator.state_dict())
    texts = {
        "settings.toml": "".join(f"{key} = {json.dumps(value)}\n" for key, value in (settings or {}).items()),
        "metrics.csv": metrics_table(metrics),
        "card.md": card or f"# {kind} micro model\n",
    }
    write_run_folder(path, config=config, tensors=tensors, texts=texts, overwrite=overwrite)


def load_micro(
    path: str | Path,
    *,
    device: torch.device | str = "cpu",
    certify: Policy = "none",
    refine_above: float | None = None,
    fall_back_above: float | None = None,
    materials: Mapping[int, Material] | None = None,
) -> CertifiedModel:
    """Read a micro model from its run folder.

    Args:
        path: the folder. device: where it will answer.
        certify, refine_above, fall_back_above: see `Certificate`; without a policy there is no certificate.
        materials: of each tag, those that the run was trained with; needed where one is a law of the user's own.

    Raises:
        ValueError: for a law of the user's own where no materials are given.
        FileNotFoundError, FormatError: for a folder that is missing, damaged, foreign or of another version.
    """
    config, tensors = read_run_folder(path)
    kind = config.get("kind")
    if kind not in _KINDS:
        raise FormatError(f"{path} holds a run of kind {kind!r}; a micro model is one of {', '.join(_KINDS)}.")
    missing = [name for name in ("cell", "bases", "cubature") if name not in tensors]
    if missing:
        raise FormatError(f"{path} lacks {missing[0]}.safetensors.")
    try:
        cell, bases, cubature, box = _parts(config, tensors, path, device, materials)
        operator = None if kind == "reduced" else _operator(config, tensors)
    except (KeyError, TypeError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise FormatError(
            f"{path} was written by another version of Equipoise ({reason}): train the run again."
        ) from error
    certificate = None
    if certify != "none" or refine_above is not None or fall_back_above is not None:
        certificate = Certificate(
            cell,
            bases,
            cubature=cubature,
            policy=certify,
            refine_above=refine_above,
            fall_back_above=fall_back_above,
        )
    if operator is None:
        return ReducedRVE(cell, bases, cubature=cubature, certificate=certificate, box=box)
    return EquiNOModel(cell, bases, operator, certificate=certificate, box=box)


def _parts(
    config: Mapping[str, Any],
    tensors: Mapping[str, Mapping[str, torch.Tensor]],
    path: str | Path,
    device: torch.device | str,
    materials: Mapping[int, Material] | None,
) -> tuple[PeriodicCell, ReducedBases, Cubature, torch.Tensor | None]:
    """What every kind of run holds: the cell, its bases, their weighted points and the training box."""
    recorded = {int(tag): values for tag, values in config["materials"].items()}
    mesh = _mesh(config, tensors["cell"])
    record = CellRecord(mesh, recorded, config["material_fingerprint"])
    cell = record.periodic_cell(device=device, materials=materials)
    if mesh.fingerprint != config["mesh_fingerprint"]:
        raise FormatError(f"{path} holds a mesh that differs from the one it was trained on.")
    on_device = {name: {key: value.to(device) for key, value in group.items()} for name, group in tensors.items()}
    box = None if config["box"] is None else torch.tensor(config["box"], dtype=torch.float64, device=device)
    return cell, ReducedBases.from_tensors(on_device["bases"]), Cubature.from_tensors(on_device["cubature"]), box


def _operator(config: Mapping[str, Any], tensors: Mapping[str, Mapping[str, torch.Tensor]]) -> EquiNO:
    operator = EquiNO(**config["operator"])
    try:
        operator.load_state_dict(tensors["weights"])
    except RuntimeError as error:
        raise TypeError("its weights do not fit its networks") from error
    return operator.eval()


def _mesh_tensors(mesh: Mesh) -> dict[str, torch.Tensor]:
    tensors = {"points": torch.as_tensor(mesh.points.copy())}
    for number, block in enumerate(mesh.blocks):
        tensors[f"connectivity.{number}"] = torch.as_tensor(block.connectivity.copy())
        tensors[f"tags.{number}"] = torch.as_tensor(block.tags.copy())
    return tensors


def _mesh(config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> Mesh:
    blocks = tuple(
        CellBlock(element, tensors[f"connectivity.{number}"].numpy(), tensors[f"tags.{number}"].numpy())
        for number, element in enumerate(config["elements"])
    )
    names = {int(tag): name for tag, name in config["tag_names"].items()}
    return Mesh(tensors["points"].numpy(), blocks, names)
