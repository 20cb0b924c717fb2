"""The full-field cell solver with its strains spread over processes or a cluster.

It takes the place of a `CellSolver` in `FullFieldRVE` and in a certificate's fall-backs. The executors of
`data.executors` decide where batches run and do a lost worker's batches again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from equipoise.data.executors import Executor
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.cell_solver import CellSolution, CellSolver
from equipoise.problems.mechanics.materials import Material
from equipoise.spaces.mesh import Mesh

__all__ = ["DistributedCellSolver"]

Batch = tuple[torch.Tensor, torch.Tensor | None, bool]


class _BatchSolver:
    """Solves batches of strains; light on its way to a worker, where the cell is built once."""

    def __init__(self, mesh: Mesh, materials: Mapping[int, Material], options: Mapping[str, Any]) -> None:
        self._mesh, self._materials, self._options = mesh, dict(materials), dict(options)
        self._solver: CellSolver | None = None

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__, _solver=None)

    def __call__(self, batch: Batch) -> dict[str, np.ndarray]:
        if self._solver is None:
            self._solver = CellSolver(PeriodicCell(self._mesh, self._materials), **self._options)
        strain, start, tangent = batch
        solution = self._solver.solve(strain, start=start, tangent=tangent)
        values = {name: getattr(solution, name) for name in CellSolution.__annotations__}
        return {name: value.numpy() for name, value in values.items() if value is not None}


class DistributedCellSolver:
    """Cell solver whose strains are cut into batches that an executor spreads.

    Args:
        cell: the unit cell; workers build their own from its mesh and materials, on the CPU.
        executor: where batches run.
        batch: strains per batch.
        linear_solver, rtol: as for `CellSolver`.

    Raises:
        ValueError: for a batch that is not positive.
        ConvergenceError: from `solve`, naming strains by their place in their batch.
        WorkerError: from `solve`, when a batch keeps killing its workers, or the cluster cannot be used.
    """

    def __init__(
        self,
        cell: PeriodicCell,
        *,
        executor: Executor,
        batch: int = 16,
        linear_solver: str = "auto",
        rtol: float = 1e-10,
    ) -> None:
        if batch < 1:
            raise ValueError(f"batch={batch} must be at least 1 strain.")
        self.cell, self._executor, self._batch = cell, executor, batch
        options = {"linear_solver": linear_solver, "rtol": rtol}
        self._function = _BatchSolver(cell.mesh, cell.materials, options)

    def solve(self, strain: torch.Tensor, *, start: torch.Tensor | None = None, tangent: bool = True) -> CellSolution:
        """Solve for each strain, `(n, v)`, from the fluctuations `start`, `(n, N)`; see `CellSolver.solve`."""
        batches: list[Batch] = []
        for first in range(0, len(strain), self._batch):
            part = slice(first, min(first + self._batch, len(strain)))
            batches.append((strain[part].cpu().clone(), None if start is None else start[part].cpu().clone(), tangent))
        answers: list[dict[str, np.ndarray]] = [{}] * len(batches)
        for number, answer in self._executor.map_batches(self._function, batches):
            answers[number] = answer

        def joined(name: str) -> torch.Tensor | None:
            if name not in answers[0]:
                return None
            return torch.as_tensor(np.concatenate([answer[name] for answer in answers]), device=strain.device)

        return CellSolution(**{name: joined(name) for name in CellSolution.__annotations__})  # type: ignore[arg-type]
