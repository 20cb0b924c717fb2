"""The learned micro model: EquiNO's networks on the modes of one unit cell, with the certificate of its two fields."""

from __future__ import annotations

import torch
from jaxtyping import Float

from equipoise.multiscale.certificate import Certificate, Coefficients
from equipoise.multiscale.certified_model import CertifiedModel, OwnAnswer
from equipoise.multiscale.micro import State
from equipoise.operators.equino import EquiNO
from equipoise.problems.mechanics.bases import ReducedBases
from equipoise.problems.mechanics.cell import PeriodicCell

__all__ = ["EquiNOModel"]


class EquiNOModel(CertifiedModel):
    """Unit cell answered by a trained EquiNO.

    Args:
        cell: the unit cell. bases: its modes. operator: trained on them.
        certificate: see `CertifiedModel`. box: range of the training strains, `(2, v)`.

    Raises:
        MeshError: for bases of another cell. ValueError: for an operator of other numbers of modes.

    Source: Eivazi et al. (2026); the certificate is Equipoise's.
    """

    def __init__(
        self,
        cell: PeriodicCell,
        bases: ReducedBases,
        operator: EquiNO,
        *,
        certificate: Certificate | None = None,
        box: torch.Tensor | None = None,
    ) -> None:
        held = (bases.n_displacement_modes, bases.n_stress_modes)
        asked = (operator.config["n_displacement_modes"], operator.config["n_stress_modes"])
        if held != asked or operator.config["n_strain"] != cell.n_strain:
            raise ValueError(
                f"the operator answers {asked} modes in {operator.config['n_strain']} strains, not {held}."
            )
        super().__init__(cell, bases, certificate=certificate, box=box)
        self.operator = operator.to(cell.device)
        self.fingerprint = self.distinguished(*self.operator.state_dict().values())

    def coefficients(self, strain: Float[torch.Tensor, "n v"], state: State = None) -> Coefficients:
        """Coefficients of both fields by the two networks, `(n, r_u)` and `(n, r_s)`."""
        with torch.no_grad():
            return Coefficients(*self.operator(strain))

    def answer(self, strain: Float[torch.Tensor, "n v"], state: State = None) -> OwnAnswer:
        """Homogenised stress of the stress modes and its exact derivative, in one forward sweep."""
        return OwnAnswer(*self.operator.response(strain))
