"""Microscopic fields of a unit cell as files for ParaView and other viewers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from equipoise.multiscale.micro import VOIGT_NAMES, MicroFields
from equipoise.spaces.mesh_files import write_mesh
from equipoise.viz.element_values import nodal_averages

__all__ = ["nodal_fields", "write_micro_fields"]


def nodal_fields(fields: MicroFields, *, sample: int = 0) -> dict[str, np.ndarray]:
    """Fields of one sample at the nodes: vectors with three components, strain and stress by component.

    Strain (engineering shear) and stress, MPa, are carried from the quadrature points to the nodes and averaged over
    the elements that meet there.
    """
    mesh = fields.mesh
    data = {}
    for name, field in (("displacement", fields.displacement), ("fluctuation", fields.fluctuation)):
        padded = np.zeros((mesh.n_nodes, 3))
        padded[:, : mesh.dim] = field[sample].detach().cpu().numpy()
        data[name] = padded
    for name, field in (("strain", fields.strain), ("stress", fields.stress)):
        nodal = nodal_averages(mesh, field[sample].detach().cpu().numpy())
        for number, component in enumerate(VOIGT_NAMES[nodal.shape[1]]):
            data[f"{name}_{component}"] = nodal[:, number]
    return data


def write_micro_fields(path: Path, fields: MicroFields, *, sample: int = 0) -> None:
    """Write the fields of one sample; the suffix decides the format, `.vtu` for ParaView."""
    write_mesh(path, fields.mesh, point_data=nodal_fields(fields, sample=sample), cell_data={})
