"""Residual, tangent and stiffness of a unit cell at given fluctuations, with the linear phases folded into constants.

Elements whose law is linear enter through one precomputed sparse matrix, so that only nonlinear points are visited.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.element_kernels import ElementGroup
from equipoise.problems.mechanics.material_field import MaterialField
from equipoise.solvers.linear import SymmetricPattern

__all__ = ["CellEquations", "CellState"]


@dataclass
class CellState:
    """Equilibrium residual and law of a batch of cells at given fluctuations.

    Attributes:
        residual: `B^T w sigma`, `(n, N)`.
        stress: homogenised stress, `(n, v)`.
        tangents: tangents of the law at the points of each nonlinear group, `(n, e q, v, v)` each.
    """

    residual: torch.Tensor
    stress: torch.Tensor
    tangents: list[torch.Tensor]

    def rows(self, chosen: torch.Tensor) -> CellState:
        """The states of the chosen samples."""
        return CellState(self.residual[chosen], self.stress[chosen], [t[chosen] for t in self.tangents])


class CellEquations:
    """The discrete equations of one cell, ready for many evaluations.

    Args:
        cell: the unit cell; its groups of linear elements are condensed to constants here.
    """

    def __init__(self, cell: PeriodicCell) -> None:
        self.cell = cell
        self.size = cell.n_unknowns
        dofs = [group.dofs.cpu().numpy() for group in cell.groups]
        self.pattern = SymmetricPattern.from_elements(self.size, *dofs)
        self.nonlinear: list[tuple[ElementGroup, MaterialField]] = []
        self.accumulators: list[sp.csr_array] = []
        self.linear_values = np.zeros(self.pattern.nnz)
        self.linear_coupling = cell.weights.new_zeros(self.size, cell.n_strain)
        self.linear_average = cell.weights.new_zeros(cell.n_strain, cell.n_strain)
        for group, table in zip(cell.groups, dofs, strict=True):
            law = cell.law.at(group.points)
            accumulator = self.pattern.accumulator(table)
            if group.is_linear:
                self._add_linear(group, law, accumulator)
            else:
                self.nonlinear.append((group, law))
                self.accumulators.append(accumulator)
        self.linear_matrix = sp.csr_array(self.pattern.full(self.linear_values).T, copy=True)
        self.linear_matrix.eliminate_zeros()

    def _add_linear(self, group: ElementGroup, law: MaterialField, accumulator: sp.csr_array) -> None:
        zero = group.weights.new_zeros(len(group.weights), group.n_strain)
        tangent = law.tangent(zero)
        self.linear_values += accumulator @ group.stiffness(tangent).cpu().numpy().ravel()
        coupling = tangent.new_zeros(1, self.size + 1, group.n_strain)
        group.add_coupling(coupling, tangent[None])
        self.linear_coupling += coupling[0, :-1]
        self.linear_average += torch.einsum("q,qij->ij", group.weights, tangent)

    def _apply_linear(self, fluctuation: torch.Tensor) -> torch.Tensor:
        if self.linear_matrix.nnz == 0:
            return torch.zeros_like(fluctuation)
        columns = fluctuation.detach().cpu().numpy()
        product = self.linear_matrix @ columns[0] if len(columns) == 1 else (self.linear_matrix @ columns.T).T
        return torch.as_tensor(product, device=fluctuation.device).view(fluctuation.shape)

    def evaluate(self, macro: torch.Tensor, fluctuation: torch.Tensor) -> CellState:
        """Residual, homogenised stress and tangents at macroscopic strains `(n, v)` and fluctuations `(n, N)`."""
        force = torch.nn.functional.pad(self._apply_linear(fluctuation) + macro @ self.linear_coupling.T, (0, 1))
        stress = macro @ self.linear_average + fluctuation @ self.linear_coupling
        tangents = []
        for group, law in self.nonlinear:
            point_stress, tangent = law.stress_and_tangent(group.strain(fluctuation) + macro[:, None])
            group.add_force(force, point_stress)
            stress += torch.einsum("q,nqi->ni", group.weights, point_stress)
            tangents.append(tangent)
        return CellState(force[:, :-1], stress / self.cell.volume, tangents)

    def stiffness_values(self, state: CellState, row: int) -> NDArray[np.float64]:
        """Upper-triangle values of the tangent stiffness of one sample, in the order of `pattern`."""
        values = self.linear_values.copy()
        for (group, _), accumulator, tangent in zip(self.nonlinear, self.accumulators, state.tangents, strict=True):
            values += accumulator @ group.stiffness(tangent[row]).cpu().numpy().ravel()
        return values

    def apply_stiffness(self, state: CellState, vectors: torch.Tensor) -> torch.Tensor:
        """Tangent stiffness times vectors, matrix-free: `(n, N, k)` to `(n, N, k)`."""
        count, size, columns = vectors.shape
        flat = vectors.permute(0, 2, 1).reshape(count * columns, size).contiguous()
        force = torch.nn.functional.pad(self._apply_linear(flat), (0, 1))
        for (group, _), tangent in zip(self.nonlinear, state.tangents, strict=True):
            strain = group.strain(flat).view(count, columns, -1, group.n_strain)
            stress = torch.einsum("nqij,ncqj->ncqi", tangent, strain)
            group.add_force(force, stress.reshape(count * columns, -1, group.n_strain))
        return force[:, :-1].view(count, columns, size).permute(0, 2, 1)

    def coupling(self, state: CellState) -> torch.Tensor:
        """`sum B^T w C`, the force of a unit macroscopic strain, `(n, N, v)`."""
        count = len(state.residual)
        coupling = self.linear_coupling.new_zeros(count, self.size + 1, self.cell.n_strain)
        for (group, _), tangent in zip(self.nonlinear, state.tangents, strict=True):
            group.add_coupling(coupling, tangent)
        return coupling[:, :-1] + self.linear_coupling

    def average_tangent(self, state: CellState) -> torch.Tensor:
        """`<C>`, the tangent at fixed fluctuation, `(n, v, v)`."""
        total = self.linear_average.expand(len(state.residual), -1, -1).clone()
        for (group, _), tangent in zip(self.nonlinear, state.tangents, strict=True):
            total += torch.einsum("q,nqij->nij", group.weights, tangent)
        return total / self.cell.volume

    def force_scale(self, macro: torch.Tensor, fluctuation: torch.Tensor) -> torch.Tensor:
        """Euclidean norm of the summed absolute element forces, `(n,)`: the scale of the residual."""
        stress = self.cell.law.stress(self.cell.strain(macro, fluctuation))
        return torch.linalg.vector_norm(self.cell.force_magnitude(stress), dim=-1)
