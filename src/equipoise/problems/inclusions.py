"""Flow through a cube with a fixed set of balls that conduct much better, each by its own random factor.

Each ball adds an eigenvalue next to zero to the diagonally or incompletely preconditioned matrix, with nearly the same
eigenvector for every sample: recycling takes them out, where multigrid and factorisations have to begin anew.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from equipoise.problems.elliptic import EllipticFields, EllipticProblem
from equipoise.spaces.grid import Grid

__all__ = ["Inclusions"]

_GAP = 0.03


class Inclusions(EllipticProblem):
    """`-div(a grad u) = 1` in the unit cube, `u = 0` at its boundary; a is 1 but for disjoint balls.

    Args:
        resolution: points along each side, both ends included. count: number of balls, at the same places for all
            samples. radius: of the balls.
        contrast: largest conductivity of a ball; logarithms are uniform over the two decades below it.

    Raises:
        ValueError: for balls that do not fit, or a contrast below 100.

    Source: Vuik, Segal and Meijerink (1999) for the eigenvalues.
    """

    name = "inclusions"
    is_positive_definite = True
    input_names = ("conductivity",)

    def __init__(self, *, resolution: int = 33, count: int = 12, radius: float = 0.09, contrast: float = 1e6) -> None:
        if not contrast >= 100:
            raise ValueError(f"contrast={contrast:g} must be at least 100.")
        super().__init__(Grid((resolution,) * 3))
        self.contrast = contrast
        centres = _centres(count, radius)
        points = self.grid.points().numpy()
        number = np.zeros(self.grid.shape, dtype=np.int64)
        for ball, centre in enumerate(centres):
            number[np.linalg.norm(points - centre, axis=-1) < radius] = ball + 1
        self.balls = torch.as_tensor(number)
        self._count = count

    def sample(self, count: int, generator: torch.Generator) -> Float[torch.Tensor, "count 1 *grid"]:
        """Draw conductivities; see `Problem.sample`."""
        shape, device = (count, self._count), generator.device
        decade = math.log10(self.contrast) - 2 * torch.rand(
            shape, generator=generator, dtype=torch.float64, device=device
        )
        values = torch.nn.functional.pad(10**decade, (1, 0), value=1.0)
        return values[:, self.balls.to(device)][:, None]

    def fields(self, inputs: torch.Tensor) -> EllipticFields:
        """See `EllipticProblem.fields`."""
        a = inputs[:, 0]
        return EllipticFields(a, torch.zeros_like(a), torch.ones_like(a), torch.zeros_like(a))

    def features(self, inputs: Float[torch.Tensor, "n inputs ..."]) -> torch.Tensor:
        """Logarithms of the conductivities."""
        return inputs.log()


def _centres(count: int, radius: float) -> list[NDArray[np.float64]]:
    """Of disjoint balls inside the cube, the same for the same numbers."""
    if count < 1 or not 0 < radius < 0.5 - _GAP:
        raise ValueError(f"count={count} must be at least 1 and radius={radius:g} between 0 and {0.5 - _GAP:g}.")
    generator, centres = np.random.default_rng(0), list[NDArray[np.float64]]()
    for _ in range(20_000):
        centre = generator.uniform(radius + _GAP, 1 - radius - _GAP, 3)
        if all(np.linalg.norm(centre - other) > 2 * radius + _GAP for other in centres):
            centres.append(centre)
        if len(centres) == count:
            return centres
    raise ValueError(f"{count} balls of radius {radius:g} do not fit into the unit cube; {len(centres)} do.")
