"""The full-field micro model: every strain solves its unit cell, which makes a two-scale simulation FE squared.

The equations and their solver live in `problems/mechanics`; here they meet the seam of `micro.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float

from equipoise.multiscale.distributed_solver import DistributedCellSolver
from equipoise.multiscale.micro import MicroFields, MicroModel, Response, State
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.cell_solver import CellSolver

__all__ = ["FullFieldRVE"]

_PREDICTOR_BYTES = 1 << 30


class FullFieldRVE(MicroModel):
    """Unit cell solved in full at each strain, warm-started from the point's last solution.

    Args:
        cell: the unit cell.
        solver: its solver, in this process or spread over others; a `CellSolver` with default options if not given.

    The warm start holds each point's strain and fluctuation, and the fluctuation's derivative where all of them fit in
    one gigabyte; the first guess then is the tangent extrapolation from the last solution.
    """

    def __init__(self, cell: PeriodicCell, *, solver: CellSolver | DistributedCellSolver | None = None) -> None:
        self.cell = cell
        self.solver: CellSolver | DistributedCellSolver = CellSolver(cell) if solver is None else solver
        self.dim, self.n_strain, self.box = cell.dim, cell.n_strain, None
        self.fingerprint = _fingerprint(cell)

    def respond(self, strain: Float[torch.Tensor, "n v"], *, state: State = None) -> Response:
        """Solve the cell at each strain, `(n, v)`; see `MicroModel.respond`.

        Raises:
            ConvergenceError: naming the strains at which the cell cannot be solved.
        """
        solution = self.solver.solve(strain, start=predict(strain, state))
        if solution.tangent is None or solution.sensitivity is None:
            raise ValueError("the unit-cell solver returned no tangent.")
        kept: dict[str, torch.Tensor] = {"strain": solution.strain, "fluctuation": solution.fluctuation}
        if solution.sensitivity.numel() * 8 <= _PREDICTOR_BYTES:
            kept["sensitivity"] = solution.sensitivity
        return Response(
            stress=solution.stress,
            tangent=solution.tangent,
            state=kept,
            counts={"full_field_solves": len(strain), "cell_iterations": int(solution.iterations.sum())},
        )

    def localize(self, strain: torch.Tensor, *, start: torch.Tensor | None = None) -> MicroFields:
        """Microscopic fields of each strain, `(n, v)`; `start` as in `CellSolver.solve`."""
        solution = self.solver.solve(strain, start=start, tangent=False)
        return fields_of(self.cell, solution.strain, solution.fluctuation)


def _fingerprint(cell: PeriodicCell) -> str:
    """Digest of the cell; of its mesh alone where a user's own law cannot be written down."""
    try:
        return cell.fingerprint
    except TypeError:
        return cell.mesh.fingerprint


def predict(strain: torch.Tensor, state: State) -> torch.Tensor | None:
    """Fluctuation extrapolated from a warm start to new strains, `(n, N)`, or `None` without a warm start."""
    if not isinstance(state, Mapping):
        return None
    start: torch.Tensor = state["fluctuation"]
    if "sensitivity" in state:
        start = start + torch.einsum("nkv,nv->nk", state["sensitivity"], strain - state["strain"])
    return start


def fields_of(cell: PeriodicCell, macro: torch.Tensor, fluctuation: torch.Tensor) -> MicroFields:
    """Microscopic fields of given macroscopic strains `(n, v)` and fluctuations `(n, N)`."""
    strain = cell.strain(macro, fluctuation)
    nodal = cell.expand(fluctuation)
    return MicroFields(
        displacement=cell.affine_displacement(macro) + nodal,
        fluctuation=nodal,
        strain=strain,
        stress=cell.law.stress(strain),
        mesh=cell.mesh,
    )
