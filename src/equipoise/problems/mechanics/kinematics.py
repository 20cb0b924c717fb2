"""Small-strain kinematics in Voigt order, shared by the unit cell and the structure.

Voigt order is `(xx, yy, xy)` in the plane and `(xx, yy, zz, yz, xz, xy)` in space; shear strain is engineering shear.
"""

from __future__ import annotations

import torch

__all__ = ["affine_displacement", "strain_dimension", "strain_displacement"]

_SHEAR = {2: ((2, 0, 1),), 3: ((3, 1, 2), (4, 0, 2), (5, 0, 1))}


def strain_dimension(dim: int) -> int:
    """Number of Voigt components: 3 in the plane, 6 in space."""
    return {2: 3, 3: 6}[dim]


def strain_displacement(gradients: torch.Tensor) -> torch.Tensor:
    """Matrices that map nodal displacements of an element to strains at its quadrature points.

    Args:
        gradients: shape function gradients, `(elements, q, k, dim)`.

    Returns:
        `(elements, q, v, k dim)`; the unknowns of an element run node by node, component by component.
    """
    elements, points, nodes, dim = gradients.shape
    matrix = gradients.new_zeros(elements, points, strain_dimension(dim), nodes, dim)
    for axis in range(dim):
        matrix[:, :, axis, :, axis] = gradients[..., axis]
    for row, first, second in _SHEAR[dim]:
        matrix[:, :, row, :, first] = gradients[..., second]
        matrix[:, :, row, :, second] = gradients[..., first]
    return matrix.reshape(elements, points, strain_dimension(dim), nodes * dim)


def affine_displacement(strain: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Displacement of a homogeneous strain without rotation, `u = eps x`.

    Args:
        strain: macroscopic strains, `(n, v)`.
        points: coordinates, `(p, dim)`.

    Returns:
        `(n, p, dim)`.
    """
    dim = points.shape[-1]
    tensor = strain.new_zeros(strain.shape[0], dim, dim)
    for axis in range(dim):
        tensor[:, axis, axis] = strain[:, axis]
    for row, first, second in _SHEAR[dim]:
        tensor[:, first, second] = tensor[:, second, first] = strain[:, row] / 2
    return torch.einsum("nij,pj->npi", tensor, points)
