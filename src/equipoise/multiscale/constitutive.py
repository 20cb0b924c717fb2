"""A plain constitutive law as a micro model: no microstructure, no error estimate, no state."""

from __future__ import annotations

import torch
from jaxtyping import Float

from equipoise.multiscale.micro import MicroModel, Response, State
from equipoise.problems.mechanics.kinematics import strain_dimension
from equipoise.problems.mechanics.materials import Material

__all__ = ["ConstitutiveModel"]


class ConstitutiveModel(MicroModel):
    """Homogeneous material at every integration point of a structure.

    Args:
        material: the law; wrap it in `PlaneStress` for thin structures in the plane.
        dim: dimension of the structure, 2 (plane strain unless the material says otherwise) or 3.

    Raises:
        ValueError: for a dimension other than 2 or 3.
    """

    def __init__(self, material: Material, *, dim: int = 2) -> None:
        if dim not in (2, 3):
            raise ValueError(f"dim={dim} is not a dimension of a structure; use 2 or 3.")
        self.material, self.dim, self.n_strain = material, dim, strain_dimension(dim)

    def respond(self, strain: Float[torch.Tensor, "n v"], *, state: State = None) -> Response:
        """Stress and tangent of the law, `(n, v)` and `(n, v, v)`."""
        stress, tangent = self.material.stress_and_tangent(strain)
        return Response(stress=stress, tangent=tangent)
