"""Microscopic fields at points of a structure: which integration point is meant, what its cell looks like, in files.

The fields themselves come from `MicroModel.localize`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from equipoise.multiscale.micro import VOIGT_NAMES, MicroFields, MicroModel
from equipoise.multiscale.micro_field_files import write_micro_fields
from equipoise.multiscale.simulation import Simulation
from equipoise.viz.figures import micro_fields_figure
from equipoise.viz.style import save_figure

__all__ = ["LocalFields", "localize", "write_local_fields"]


@dataclass(frozen=True, eq=False)
class LocalFields:
    """Microscopic fields at one named point of a structure.

    Attributes:
        name: of the point. place: coordinates asked for. position: of the integration point nearest to it, mm.
        strain: macroscopic strain there, `(v,)`.
        fields: microscopic fields by the model that gave them, one strain each.
    """

    name: str
    place: tuple[float, ...]
    position: tuple[float, ...]
    strain: torch.Tensor
    fields: Mapping[str, MicroFields]


def localize(
    simulation: Simulation, models: Mapping[str, MicroModel], points: Mapping[str, tuple[float, ...]] | None = None
) -> list[LocalFields]:
    """Microscopic fields at points of the last converged step.

    Args:
        simulation: whose strains are taken.
        models: micro models by name, all of one cell; usually the one simulated with, and a full-field one beside it.
        points: coordinates by name, undeformed; the structure's monitored points by default.

    Raises:
        ValueError: for a model without a microstructure.
    """
    wanted = simulation.structure.monitored if points is None else points
    found = []
    for name, place in wanted.items():
        distance = np.linalg.norm(simulation.positions - np.asarray(place), axis=1)
        number = int(np.argmin(distance))
        strain = simulation.strain[number : number + 1]
        fields = {label: model.localize(strain) for label, model in models.items()}
        position = tuple(float(x) for x in simulation.positions[number])
        found.append(LocalFields(name, tuple(place), position, strain[0], fields))
    return found


def write_local_fields(folder: Path, local: LocalFields) -> Path:
    """Write a VTU file per model and one figure into a folder; the path of the figure is returned."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = file_name(local.name)
    for label, fields in local.fields.items():
        write_micro_fields(folder / f"{stem}-{file_name(label)}.vtu", fields)
    first = next(iter(local.fields.values()))
    names = VOIGT_NAMES[first.stress.shape[-1]]
    position = ", ".join(f"{x:.4g}" for x in local.position)
    strain = ", ".join(f"{float(x):.4g}" for x in local.strain)
    figure = micro_fields_figure(
        first.mesh,
        {label: fields.stress[0].detach().cpu().numpy() for label, fields in local.fields.items()},
        components=[f"$\\sigma_{{{name}}}$" for name in names],
        title=f"{local.name}: integration point at ({position}) mm, strain ({strain})",
        label="MPa",
    )
    return save_figure(figure, folder / f"{stem}.png")


def file_name(label: str) -> str:
    """A label as part of a file name: lower case, with hyphens for everything but letters and digits."""
    return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-") or "point"
