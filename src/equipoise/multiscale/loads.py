"""From loads to nodal force vectors: tractions, pressures, spread and point forces, body forces.

All forces refer to the undeformed structure, so that each load is one constant vector times its history.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import MeshError
from equipoise.multiscale.structure import Load, Region, Structure
from equipoise.spaces.mesh import Mesh
from equipoise.spaces.quadrature import FacetQuadratureBlock, QuadratureBlock, facet_quadrature

__all__ = ["NodalForces", "nodal_forces"]


@dataclass(frozen=True, eq=False)
class NodalForces:
    """Nodal forces of each load at factor one.

    Attributes:
        vectors: `(loads, unknowns)`, N.
        loads: the loads, in order.
    """

    vectors: NDArray[np.float64]
    loads: tuple[Load, ...]

    def at(self, time: float) -> NDArray[np.float64]:
        """Sum of all loads at a time, `(unknowns,)`, N."""
        factors = np.array([load.history(time) for load in self.loads])
        return factors @ self.vectors


def nodal_forces(structure: Structure, blocks: Sequence[QuadratureBlock]) -> NodalForces:
    """Nodal forces of every load of a structure.

    Args:
        structure: whose loads are meant.
        blocks: quadrature of its mesh, for body forces.

    Raises:
        MeshError: for a missing group or a pressure on a facet inside the structure.
        ValueError: for a load whose number of components is not the mesh's dimension.
    """
    mesh = structure.mesh
    vectors = np.zeros((len(structure.loads), mesh.n_nodes * mesh.dim))
    for number, load in enumerate(structure.loads):
        vectors[number] = _vector(structure, load, blocks).ravel()
    return NodalForces(vectors, tuple(structure.loads))


def _vector(structure: Structure, load: Load, blocks: Sequence[QuadratureBlock]) -> NDArray[np.float64]:
    mesh = structure.mesh
    forces = np.zeros((mesh.n_nodes, mesh.dim))
    if load.body_force is not None:
        density = _components(load, load.body_force, mesh.dim) * structure.thickness
        for block in blocks:
            share = np.einsum("nq,qk->nk", block.weights, block.shape)
            np.add.at(forces, block.connectivity, share[..., None] * density)
        return forces
    region = load.region
    if region is None:  # the checks of Load leave only body forces without a region
        raise ValueError(f"load at {load.label} needs a region.")
    if load.force is not None and len(nodes := region.nodes(mesh)) == 1:
        forces[nodes[0]] += _components(load, load.force, mesh.dim)
        return forces
    facets = region.facets(mesh)
    surface = facet_quadrature(mesh, facets)
    if load.pressure is not None:
        for facet in surface:
            _check_boundary(mesh, facet, region)
            density = -load.pressure * facet.weights[..., None] * facet.normals
            np.add.at(forces, facet.connectivity, np.einsum("qk,nqd->nkd", facet.shape, density))
        return forces * structure.thickness
    vector = _components(load, load.traction if load.traction is not None else load.force, mesh.dim)
    for facet in surface:
        share = np.einsum("qk,nq->nk", facet.shape, facet.weights)
        np.add.at(forces, facet.connectivity, share[..., None] * vector)
    area = sum(float(block.weights.sum()) for block in surface)
    return forces * structure.thickness if load.traction is not None else forces / area


def _components(load: Load, values: Sequence[float] | None, dim: int) -> NDArray[np.float64]:
    vector = np.asarray(values, dtype=float)
    if vector.shape != (dim,):
        raise ValueError(f"load at {load.label} has {vector.size} components; the mesh has dimension {dim}.")
    return vector


def _check_boundary(mesh: Mesh, block: FacetQuadratureBlock, region: Region) -> None:
    """A pressure needs an outward normal, which a facet between two cells has not."""
    boundary = {tuple(row) for part in mesh.boundary_facets() for row in np.sort(part.connectivity, axis=1).tolist()}
    for row in block.connectivity:
        if tuple(sorted(row.tolist())) not in boundary:
            where = ", ".join(f"{x:g}" for x in mesh.points[row].mean(axis=0))
            raise MeshError(f"pressure on {region.label}: the facet at ({where}) lies inside the structure.")
