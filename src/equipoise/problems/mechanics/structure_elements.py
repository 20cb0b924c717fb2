"""Element kernels of a structure: one state, very many integration points, little memory.

Only the gradients of the shape functions are kept; strain-displacement matrices exist for one group of elements at a
time. A unit cell, with few points and many states, uses `element_kernels.py` instead.
"""

from __future__ import annotations

import torch

from equipoise.problems.mechanics.kinematics import strain_displacement

__all__ = ["StructureElements"]

_PAIRS = {2: ((0, 0), (1, 1), (0, 1)), 3: ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))}


class StructureElements:
    """Elements of one shape; float64.

    Args:
        gradients: of the shape functions at the integration points, `(e, q, k, dim)`.
        weights: quadrature weights, `(e, q)`.
        nodes: nodes of each element, `(e, k)`.
        points: slice of the integration points of the structure that are these elements', element by element.
    """

    def __init__(self, gradients: torch.Tensor, weights: torch.Tensor, nodes: torch.Tensor, points: slice) -> None:
        self.gradients, self.weights, self.nodes, self.points = gradients, weights, nodes, points
        self.dim = gradients.shape[-1]

    def strain(self, displacement: torch.Tensor) -> torch.Tensor:
        """Strain of a nodal displacement `(nodes, dim)`, `(e q, v)`."""
        gradient = displacement[self.nodes].mT[:, None] @ self.gradients
        parts = [
            gradient[..., i, i] if i == j else gradient[..., i, j] + gradient[..., j, i] for i, j in _PAIRS[self.dim]
        ]
        return torch.stack([part.reshape(-1) for part in parts], dim=-1)

    def add_force(self, force: torch.Tensor, stress: torch.Tensor) -> None:
        """Add `B^T w sigma` of stresses `(e q, v)` to nodal forces `(nodes, dim)`, in place."""
        elements, points = self.weights.shape
        tensor = stress.new_empty(len(stress), self.dim, self.dim)
        for number, (i, j) in enumerate(_PAIRS[self.dim]):
            tensor[:, i, j] = tensor[:, j, i] = stress[:, number]
        weighted = tensor.view(elements, points, self.dim, self.dim) * self.weights[..., None, None]
        local = (self.gradients @ weighted).sum(dim=1)
        force.index_add_(0, self.nodes.reshape(-1), local.reshape(-1, self.dim))

    def stiffness(self, tangent: torch.Tensor) -> torch.Tensor:
        """Element stiffnesses `B^T w C B` of tangents `(e q, v, v)`, `(e, k dim, k dim)`."""
        elements, points = self.weights.shape
        operator = strain_displacement(self.gradients)
        components, unknowns = operator.shape[-2:]
        weighted = tangent.view(elements, points, components, components) * self.weights[..., None, None]
        product = (weighted @ operator).view(elements, points * components, unknowns)
        return operator.view(elements, points * components, unknowns).mT @ product
