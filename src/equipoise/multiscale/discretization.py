"""Macroscale finite elements as arrays: strains from displacements, forces from stresses, stiffness from tangents.

Batched over all integration points with the element kernels of `problems.mechanics`; the sparsity pattern and the place
of every element entry in it are computed once. The unknowns are all nodal displacements; held ones are split off here.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from equipoise.multiscale.loads import nodal_forces
from equipoise.multiscale.stiffness_pattern import StiffnessPattern
from equipoise.multiscale.structure import Structure
from equipoise.multiscale.supports import check_rigid_motions, held_unknowns
from equipoise.problems.mechanics.kinematics import strain_dimension
from equipoise.problems.mechanics.structure_elements import StructureElements
from equipoise.solvers.linear import Factorization, factorize
from equipoise.spaces.quadrature import quadrature

__all__ = ["Discretization"]

_POINTS_PER_GROUP = 8192


class Discretization:
    """Discrete equilibrium of a structure.

    Args:
        structure: mesh, supports and loads.
        device: where element kernels run, `"cpu"` by default; float64. Sparse solves run on the CPU.
        linear_solver: `"auto"`, `"pardiso"` or `"superlu"`.

    Attributes:
        n_unknowns: all nodal displacements. n_points: integration points n. n_strain: Voigt components v.
        positions: coordinates of the integration points, `(n, dim)`. weights: `(n,)`, thickness included.
        blocks: quadrature of the mesh. held: prescribed unknowns. free: numbers of the others. loads: nodal forces.

    Raises:
        MeshError, ValueError: for meshes, supports or loads that cannot be used.
    """

    def __init__(
        self, structure: Structure, *, device: torch.device | str = "cpu", linear_solver: str = "auto"
    ) -> None:
        mesh = structure.mesh
        self.structure, self.device = structure, torch.device(device)
        self.dim, self.n_strain = mesh.dim, strain_dimension(mesh.dim)
        self.n_unknowns = mesh.n_nodes * mesh.dim
        self.held = held_unknowns(mesh, structure.supports)
        check_rigid_motions(mesh, self.held.unknowns)
        self.blocks = quadrature(mesh)
        self.loads = nodal_forces(structure, self.blocks)
        self.free = np.setdiff1d(np.arange(self.n_unknowns), self.held.unknowns)
        self.positions = np.concatenate([block.points.reshape(-1, self.dim) for block in self.blocks])
        thickness = structure.thickness if self.dim == 2 else 1.0
        self.weights = np.concatenate([block.weights.ravel() for block in self.blocks]) * thickness
        self.n_points = len(self.weights)
        self._thickness = thickness
        self._groups = self._element_groups()
        nodes = [group.nodes.cpu().numpy() for group in self._groups]
        self._pattern = StiffnessPattern(mesh.n_nodes, mesh.dim, self.free, nodes)
        self._linear_solver = linear_solver
        self._factor: Factorization | None = None

    def _tensor(self, array: NDArray[np.float64]) -> torch.Tensor:
        return torch.as_tensor(array, dtype=torch.float64, device=self.device)

    def _element_groups(self) -> tuple[StructureElements, ...]:
        """Element kernels of at most `_POINTS_PER_GROUP` points each, which bounds the memory of temporaries."""
        groups, start = [], 0
        for block in self.blocks:
            count, points = block.weights.shape
            step = max(1, _POINTS_PER_GROUP // points)
            for first in range(0, count, step):
                part = slice(first, min(count, first + step))
                groups.append(
                    StructureElements(
                        self._tensor(block.gradients[part]),
                        self._tensor(block.weights[part] * self._thickness),
                        torch.as_tensor(block.connectivity[part], device=self.device),
                        slice(start + part.start * points, start + part.stop * points),
                    )
                )
            start += count * points
        return tuple(groups)

    def strain(self, displacement: NDArray[np.float64]) -> torch.Tensor:
        """Strains at all integration points, `(unknowns,)` to `(n, v)`, on the device."""
        nodal = self._tensor(displacement).view(-1, self.dim)
        return torch.cat([group.strain(nodal) for group in self._groups])

    def force(self, stress: torch.Tensor) -> NDArray[np.float64]:
        """Internal nodal forces `B^T w sigma`, `(n, v)` to `(unknowns,)`, N."""
        force = stress.new_zeros(self.n_unknowns // self.dim, self.dim)
        for group in self._groups:
            group.add_force(force, stress[group.points])
        return np.asarray(force.reshape(-1).cpu().numpy())

    def stiffness(self, tangent: torch.Tensor) -> sp.csr_array:
        """Stiffness of the free unknowns, `(n, v, v)` to `(free, free)`; unsymmetric where the tangents are."""
        return self._pattern.assemble(group.stiffness(tangent[group.points]).cpu().numpy() for group in self._groups)

    def analyse(self, matrix: sp.csr_array) -> None:
        """Fix the elimination order of all later solves by one stiffness of the structure."""
        self._factor = factorize(matrix, backend=self._linear_solver)

    def solve(self, matrix: sp.csr_array, rhs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Solve for the free unknowns, `(free,)`.

        Raises:
            ConvergenceError: for a singular stiffness.
        """
        if self._factor is None:
            self._factor = factorize(matrix, backend=self._linear_solver)
        else:
            self._factor.update(matrix.data)
        return self._factor.solve(rhs)

    def nearest_point(self, coordinates: tuple[float, ...]) -> int:
        """Number of the integration point nearest to given coordinates."""
        return int(np.argmin(np.linalg.norm(self.positions - np.asarray(coordinates), axis=1)))
