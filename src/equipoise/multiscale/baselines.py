"""Micro models to compare with: networks that give a displacement or a stress field, without a bound."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float

from equipoise.multiscale.micro import MicroFields, MicroModel, Response, State
from equipoise.problems.mechanics.cell import PeriodicCell

__all__ = ["DisplacementNetworkModel", "FieldNetworkModel", "StressNetworkModel"]

_CHUNK_BYTES = 1 << 26


class FieldNetworkModel(MicroModel):
    """Micro model that averages a stress field which a network gives, differentiably, for each strain.

    Args:
        cell: the unit cell. box: range of the training strains, `(2, v)`, or `None`.
    """

    def __init__(self, cell: PeriodicCell, *, box: torch.Tensor | None = None) -> None:
        self.cell, self.box = cell, box
        self.dim, self.n_strain = cell.dim, cell.n_strain

    def stress_field(self, strain: torch.Tensor) -> torch.Tensor:
        """Stress at the quadrature points, `(n, v)` to `(n, Q, v)`, MPa."""
        raise NotImplementedError

    def respond(self, strain: Float[torch.Tensor, "n v"], *, state: State = None) -> Response:
        """Average stress and its derivative by automatic differentiation."""
        size = max(1, _CHUNK_BYTES // (8 * self.cell.n_points * self.n_strain * 8))
        parts = [self._respond(part) for part in torch.split(strain, size)]
        return Response(torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts]))

    def _respond(self, strain: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        given = strain.detach().requires_grad_()
        stress = self.cell.average(self.stress_field(given))
        # Samples don't interact, so the derivative of a component's sum holds that component's row of every tangent.
        rows = [torch.autograd.grad(stress[:, i].sum(), given, retain_graph=True)[0] for i in range(self.n_strain)]
        return stress.detach(), torch.stack(rows, 1)


class DisplacementNetworkModel(FieldNetworkModel):
    """A network that gives periodic nodal fluctuations, such as VPIONet; the stress is the law's.

    Args:
        cell, box: see `FieldNetworkModel`. fluctuation: maps strains `(n, v)` to nodal fluctuations `(n, nodes, dim)`.
    """

    def __init__(
        self,
        cell: PeriodicCell,
        fluctuation: Callable[[torch.Tensor], torch.Tensor],
        *,
        box: torch.Tensor | None = None,
    ) -> None:
        super().__init__(cell, box=box)
        self.fluctuation = fluctuation

    def _strain_field(self, strain: torch.Tensor) -> torch.Tensor:
        return self.cell.strain(strain, self.cell.restrict(self.fluctuation(strain)))

    def stress_field(self, strain: torch.Tensor) -> torch.Tensor:
        return self.cell.law.stress(self._strain_field(strain))

    def localize(self, strain: torch.Tensor) -> MicroFields:
        """Fields of the network's displacement."""
        with torch.no_grad():
            nodal = self.cell.expand(self.cell.restrict(self.fluctuation(strain)))
            local = self._strain_field(strain)
            displacement = self.cell.affine_displacement(strain) + nodal
            return MicroFields(displacement, nodal, local, self.cell.law.stress(local), self.cell.mesh)


class StressNetworkModel(FieldNetworkModel):
    """A network that gives the stress field itself, such as a DeepONet trained on snapshots.

    Args:
        cell, box: see `FieldNetworkModel`. field: maps strains `(n, v)` to stresses `(n, Q, v)`, MPa.
    """

    def __init__(
        self, cell: PeriodicCell, field: Callable[[torch.Tensor], torch.Tensor], *, box: torch.Tensor | None = None
    ) -> None:
        super().__init__(cell, box=box)
        self.field = field

    def stress_field(self, strain: torch.Tensor) -> torch.Tensor:
        return self.field(strain)
