"""The full-field micro model with its unit cells spread over processes or a cluster.

The executors of `data.executors` decide where batches run and do a lost worker's batches again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch

from equipoise.data.executors import Executor
from equipoise.multiscale.full_field import FullFieldRVE
from equipoise.multiscale.micro import MicroFields, MicroModel, Response, State
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.cell_solver import CellSolver
from equipoise.problems.mechanics.materials import Material
from equipoise.spaces.mesh import Mesh

__all__ = ["DistributedFullFieldRVE"]

Batch = tuple[torch.Tensor, dict[str, torch.Tensor] | None]


class _Responder:
    """Answers batches of strains with warm starts; light on its way to a worker, where the solver is built once."""

    def __init__(self, mesh: Mesh, materials: Mapping[int, Material], linear_solver: str, rtol: float) -> None:
        self._arguments = (mesh, dict(materials), linear_solver, rtol)
        self._model: FullFieldRVE | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_arguments": self._arguments, "_model": None}

    def model(self) -> FullFieldRVE:
        if self._model is None:
            mesh, materials, linear_solver, rtol = self._arguments
            cell = PeriodicCell(mesh, materials)
            self._model = FullFieldRVE(cell, solver=CellSolver(cell, linear_solver=linear_solver, rtol=rtol))
        return self._model

    def __call__(self, batch: Batch) -> dict[str, Any]:
        strain, state = batch
        response = self.model().respond(strain, state=state)
        return {
            "stress": response.stress.numpy(),
            "tangent": response.tangent.numpy(),
            "state": {name: value.numpy() for name, value in response.state.items()},
            "counts": dict(response.counts),
        }


class DistributedFullFieldRVE(MicroModel):
    """`FullFieldRVE` whose strains are cut into batches that an executor spreads.

    Args:
        mesh, materials: of the cell, as for `PeriodicCell`.
        executor: where batches run.
        batch: strains per batch.
        linear_solver, rtol: as for `CellSolver`.

    Raises:
        ValueError: for a batch that is not positive. ConvergenceError: as `FullFieldRVE.respond`.
        WorkerError: when a batch keeps killing its workers, or the cluster cannot be used.
    """

    def __init__(
        self,
        mesh: Mesh,
        materials: Mapping[int, Material],
        *,
        executor: Executor,
        batch: int = 16,
        linear_solver: str = "auto",
        rtol: float = 1e-10,
    ) -> None:
        if batch < 1:
            raise ValueError(f"batch={batch} must be at least 1 strain.")
        self._executor, self._batch = executor, batch
        self._responder = _Responder(mesh, materials, linear_solver, rtol)
        self._local = self._responder.model()
        self.cell = self._local.cell
        self.dim, self.n_strain, self.box = self.cell.dim, self.cell.n_strain, None
        self.fingerprint = self._local.fingerprint

    def respond(self, strain: torch.Tensor, *, state: State = None) -> Response:
        """Solve the cell at each strain, `(n, v)`; see `MicroModel.respond`."""
        parts = [slice(first, min(first + self._batch, len(strain))) for first in range(0, len(strain), self._batch)]
        batches = [(strain[part], _rows(state, part)) for part in parts]
        answers: list[dict[str, Any]] = [{}] * len(batches)
        for number, answer in self._executor.map_batches(self._responder, batches):
            answers[number] = answer
        counts: Counter[str] = Counter()
        for answer in answers:
            counts.update(answer["counts"])
        names = set.intersection(*(set(answer["state"]) for answer in answers))
        return Response(
            stress=_joined([answer["stress"] for answer in answers]),
            tangent=_joined([answer["tangent"] for answer in answers]),
            state={name: _joined([answer["state"][name] for answer in answers]) for name in sorted(names)},
            counts=dict(counts),
        )

    def localize(self, strain: torch.Tensor) -> MicroFields:
        """Microscopic fields of each strain, `(n, v)`, solved in this process."""
        return self._local.localize(strain)


def _rows(state: State, part: slice) -> dict[str, torch.Tensor] | None:
    return {name: value[part].contiguous() for name, value in state.items()} if isinstance(state, Mapping) else None


def _joined(arrays: list[Any]) -> torch.Tensor:
    return torch.cat([torch.as_tensor(array) for array in arrays])
