"""A stand-in for a cell's solver that needs no finite elements, and snapshots made with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from equipoise.data.snapshots import CellRecord, Snapshots
from equipoise.spaces.mesh import Mesh

POINTS = 5


@dataclass
class StandIn:
    """Smooth functions of the strain in the shapes that a solver returns; never the same for two strains."""

    mesh: Mesh

    def __call__(self, strain: torch.Tensor) -> dict[str, np.ndarray]:
        rows, components = strain.numpy(), strain.shape[1]
        count, nodes, dim = len(rows), self.mesh.n_nodes, self.mesh.dim
        waves = np.sin(rows @ np.arange(1.0, components + 1)[:, None] * np.arange(1, nodes * dim + 1))
        stiffness = np.diag(np.arange(1.0, components + 1)) + 0.5
        point_factors = np.linspace(0.5, 1.5, POINTS)[None, :, None]
        return {
            "strain": rows,
            "fluctuation": waves.reshape(count, nodes, dim),
            "stress": point_factors * (rows @ stiffness)[:, None, :],
            "homogenised_stress": rows @ stiffness,
            "homogenised_tangent": stiffness + np.abs(rows).sum(axis=1)[:, None, None],
            "energy": 0.5 * np.einsum("nv,vw,nw->n", rows, stiffness, rows),
            "iterations": np.full(count, 3, dtype=np.int64),
            "seconds": np.full(count, 0.1),
            "converged": np.ones(count, dtype=bool),
            "residual": np.full(count, 1e-12),
        }


MATERIALS = {1: {"law": "linear_isotropic", "name": "matrix", "bulk": 4780.0, "shear": 400.0}}


def snapshots_of(record: CellRecord, count: int) -> Snapshots:
    """Snapshots of the stand-in at random strains."""
    components = {2: 3, 3: 6}[record.mesh.dim]
    strain = torch.from_numpy(np.random.default_rng(0).uniform(-0.04, 0.04, (count, components)))
    arrays = StandIn(record.mesh)(strain)
    tensors = {
        name: torch.from_numpy(values)
        for name, values in arrays.items()
        if name not in ("seconds", "converged", "residual")
    }
    return Snapshots(cell=record, settings={"seed": 0}, **tensors)
