"""A unit cell's full-field solver as a function from strains to arrays, light enough to be sent to other processes.

The solver itself is built where the function is first called. How strains are spread is `executors.py`'s business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.cell_solver import CellSolver
from equipoise.problems.mechanics.materials import Material
from equipoise.spaces.mesh import Mesh

__all__ = ["SnapshotSolver"]


class SnapshotSolver:
    """Full-field solutions of one unit cell; calling it with strains `(n, v)` returns arrays by name.

    The arrays are those of `Snapshots` (the fields `fluctuation` and `stress` only with `fields=True`), and `residual`
    `(n,)`, `converged` `(n,)` booleans and `seconds` `(n,)` of each solve. A strain without solution is flagged.

    Args:
        mesh, materials: of the cell, as for `PeriodicCell`.
        linear_solver, rtol, max_iterations: as for `CellSolver`.
        fields: whether to return microscopic fields.
        device: where the cell lives, `"cpu"` by default.
    """

    def __init__(
        self,
        mesh: Mesh,
        materials: Mapping[int, Material],
        *,
        linear_solver: str = "auto",
        rtol: float = 1e-10,
        max_iterations: int = 25,
        fields: bool = True,
        device: str = "cpu",
    ) -> None:
        self.mesh, self.materials, self.fields, self.device = mesh, dict(materials), fields, device
        self._options: dict[str, Any] = {"linear_solver": linear_solver, "rtol": rtol, "max_iterations": max_iterations}
        self._cell: PeriodicCell | None = None
        self._solver: CellSolver | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the cell, which is quickly built, and the solver, whose factorisations can't travel."""
        return dict(self.__dict__, _cell=None, _solver=None)

    @property
    def cell(self) -> PeriodicCell:
        """The cell, built at first use."""
        if self._cell is None:
            self._cell = PeriodicCell(self.mesh, self.materials, device=self.device)
        return self._cell

    @property
    def solver(self) -> CellSolver:
        """The solver, built at first use."""
        if self._solver is None:
            self._solver = CellSolver(self.cell, **self._options)
        return self._solver

    def __call__(self, strain: torch.Tensor | np.ndarray) -> dict[str, np.ndarray]:
        """Solve for each strain, `(n, v)`."""
        solver = self.solver
        cell = solver.cell
        solution = solver.solve(torch.as_tensor(strain, dtype=torch.float64), throw=False)
        if solution.tangent is None:
            raise ValueError("the unit-cell solver returned no tangent.")
        answer = {
            "strain": solution.strain,
            "homogenised_stress": solution.stress,
            "homogenised_tangent": solution.tangent,
            "energy": solution.energy,
            "iterations": solution.iterations,
            "residual": solution.residual,
            "converged": solution.converged,
            "seconds": solution.seconds,
        }
        if self.fields:
            answer["fluctuation"] = cell.expand(solution.fluctuation)
            answer["stress"] = cell.law.stress(cell.strain(solution.strain, solution.fluctuation))
        return {name: values.detach().cpu().numpy() for name, values in answer.items()}
