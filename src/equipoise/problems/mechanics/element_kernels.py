"""Batched element kernels: strains, internal forces and stiffnesses of many elements, for many cells' states at once.

All quantities of a group of elements that share a shape are stacked, so that each kernel is one matrix product.
"""

from __future__ import annotations

import torch

__all__ = ["ElementGroup"]


class ElementGroup:
    """Elements of one shape and one kind of law, with their strain operators.

    Args:
        operator: strain-displacement matrices, `(e, q, v, k)`.
        weights: quadrature weights, `(e, q)`.
        dofs: unknowns of each element, `(e, k)`; an entry equal to `n_unknowns` is held at zero.
        n_unknowns: number of unknowns of the cell, N.
        points: numbers of the group's quadrature points in the cell, `(e q,)`.
        is_linear: whether every material of the group has a constant tangent.
    """

    def __init__(
        self,
        *,
        operator: torch.Tensor,
        weights: torch.Tensor,
        dofs: torch.Tensor,
        n_unknowns: int,
        points: torch.Tensor,
        is_linear: bool,
    ) -> None:
        elements, quadrature, components, unknowns = operator.shape
        self.n_elements, self.n_quadrature, self.n_strain, self.n_dofs = elements, quadrature, components, unknowns
        self.n_unknowns = n_unknowns
        self.dofs, self.points, self.is_linear = dofs, points, is_linear
        self.weights = weights.reshape(-1)
        self.operator = operator.reshape(elements, quadrature * components, unknowns).contiguous()
        self.transposed = self.operator.mT.contiguous()
        self.by_point = self.operator.view(-1, components, unknowns)

    def strain(self, fluctuation: torch.Tensor) -> torch.Tensor:
        """Strain of the fluctuation, `(n, N)` to `(n, e q, v)`."""
        padded = torch.nn.functional.pad(fluctuation, (0, 1))
        nodal = padded[:, self.dofs].permute(1, 2, 0)
        strain = torch.bmm(self.operator, nodal)
        return strain.permute(2, 0, 1).reshape(len(fluctuation), -1, self.n_strain)

    def add_force(self, force: torch.Tensor, stress: torch.Tensor, magnitude: torch.Tensor | None = None) -> None:
        """Add `B^T w sigma` to `force` `(n, N + 1)`, and the sum of absolute element forces to `magnitude`.

        Args:
            force: internal forces, changed in place; the last column collects the held unknowns.
            stress: `(n, e q, v)`.
            magnitude: as `force`, or `None`.
        """
        weighted = (stress * self.weights[:, None]).reshape(len(stress), self.n_elements, -1)
        local = torch.bmm(self.transposed, weighted.permute(1, 2, 0)).permute(2, 0, 1).reshape(len(stress), -1)
        force.index_add_(1, self.dofs.reshape(-1), local)
        if magnitude is not None:
            magnitude.index_add_(1, self.dofs.reshape(-1), local.abs())

    def weighted_tangent_operator(self, tangent: torch.Tensor) -> torch.Tensor:
        """`w C B` for one state, `(e q, v, v)` to `(e, q v, k)`."""
        product = torch.bmm(tangent * self.weights[:, None, None], self.by_point)
        return product.view(self.n_elements, -1, self.n_dofs)

    def stiffness(self, tangent: torch.Tensor) -> torch.Tensor:
        """Element stiffnesses `B^T w C B` for one state, `(e q, v, v)` to `(e, k, k)`."""
        return torch.bmm(self.transposed, self.weighted_tangent_operator(tangent))

    def add_coupling(self, coupling: torch.Tensor, tangent: torch.Tensor) -> None:
        """Add `B^T w C` to `coupling` `(n, N + 1, v)` for tangents `(n, e q, v, v)`."""
        count = len(tangent)
        weighted = (tangent * self.weights[:, None, None]).view(
            count, self.n_elements, self.n_quadrature * self.n_strain, self.n_strain
        )
        stacked = weighted.permute(1, 2, 0, 3).reshape(self.n_elements, -1, count * self.n_strain)
        local = torch.bmm(self.transposed, stacked).view(-1, count, self.n_strain).permute(1, 0, 2)
        coupling.index_add_(1, self.dofs.reshape(-1), local.contiguous())
