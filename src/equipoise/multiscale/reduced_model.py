"""The reduced-order micro model: Newton's method in the displacement modes on a few weighted points, no network.

It is the strongest simple rival of a learned micro model, and the floor against which one is measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float

from equipoise.multiscale.certificate import Certificate, Coefficients
from equipoise.multiscale.certified_model import CertifiedModel, OwnAnswer
from equipoise.multiscale.micro import State
from equipoise.problems.mechanics.bases import ReducedBases
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.cubature import Cubature, empirical_cubature
from equipoise.problems.mechanics.reduced import ReducedProblem

__all__ = ["ReducedRVE"]


class ReducedRVE(CertifiedModel):
    """Unit cell solved in its reduced bases at each strain.

    Args:
        cell: the unit cell. bases: its modes.
        cubature: weighted points; those of the certificate, or else found by `empirical_cubature`.
        stress: `"kinematic"`: average of the law's stress at the least energy, tangent symmetric; `"modal"`: average
            of the stress in equilibrium, from the dual problem.
        certificate: see `CertifiedModel`. box: of the snapshots' strains by default.

    Raises:
        MeshError: for bases of another cell. ValueError: for an unknown stress.
        ConvergenceError: from `respond`, naming the strains at which a reduced problem cannot be solved.

    Source: POD-Galerkin with empirical cubature, Hernández, Caicedo and Ferrer (2017); the dual problem is Equipoise's.
    """

    def __init__(
        self,
        cell: PeriodicCell,
        bases: ReducedBases,
        *,
        cubature: Cubature | None = None,
        stress: Literal["kinematic", "modal"] = "kinematic",
        certificate: Certificate | None = None,
        box: torch.Tensor | None = None,
    ) -> None:
        if stress not in ("kinematic", "modal"):
            raise ValueError(f"stress {stress!r} is unknown; use 'kinematic' or 'modal'.")
        if box is None and len(bases.strain):
            box = torch.stack([bases.strain.amin(0), bases.strain.amax(0)])
        super().__init__(cell, bases, certificate=certificate, box=box)
        self.stress = stress
        if certificate is not None and cubature is None:
            self.reduced = certificate.reduced
        else:
            cubature = empirical_cubature(cell, bases) if cubature is None else cubature
            self.reduced = ReducedProblem.on_cubature(cell, bases, cubature)
        self.fingerprint = self.distinguished(stress.encode(), self.reduced.shares)

    def coefficients(self, strain: Float[torch.Tensor, "n v"], state: State = None) -> Coefficients:
        """Optima of both reduced problems, `(n, r_u)` and `(n, r_s)`."""
        displacement = self.reduced.solve_primal(strain, _held(state, "displacement"))
        start = _held(state, "stress")
        if start is None:
            start = self.reduced.project_stress(strain, displacement)
        return Coefficients(displacement, self.reduced.solve_dual(strain, start))

    def answer(self, strain: Float[torch.Tensor, "n v"], state: State = None) -> OwnAnswer:
        """Stress and consistent tangent of the reduced problem chosen."""
        if self.stress == "kinematic":
            displacement = self.reduced.solve_primal(strain, _held(state, "displacement"))
            return OwnAnswer(*self.reduced.kinematic_response(strain, displacement), {"displacement": displacement})
        found = self.coefficients(strain, state)
        held = {"displacement": found.displacement, "stress": found.stress}
        return OwnAnswer(*self.reduced.modal_response(strain, found.stress), held)


def _held(state: State, name: str) -> torch.Tensor | None:
    return state.get(name) if isinstance(state, Mapping) else None
