"""The absolute H1 loss of the MgNO paper's Helmholtz runs: sums over points, with central differences.

`losses.RelativeLoss` with order 1 is the H1 norm of the continuum, relative to the exact field.
"""

from __future__ import annotations

import torch
from jaxtyping import Float

from equipoise.spaces.grid import Grid
from equipoise.training.losses import RelativeLoss

__all__ = ["DifferenceH1Loss"]


class DifferenceH1Loss(RelativeLoss):
    """`sqrt(sum over points of 10 e^2 + |grad_h e|^2)` for each sample, differences of spacing 1/N.

    The difference is central, `(e_{i+1} - e_{i-1}) N / 2`, at points that have both neighbours along the axis; beyond
    the ends of the box nothing is assumed.

    Args:
        grid: of the fields. weight: of the square. relative: divide by the norm of the exact field.

    Source: as read from the code of He, Liu and Xu (2024); what it does at the ends is not recorded.
    """

    def __init__(self, grid: Grid, *, weight: float = 10.0, relative: bool = False) -> None:
        super().__init__(grid, order=1.0, relative=relative)
        self.weight = weight

    def norm(self, field: Float[torch.Tensor, "n channel *grid"]) -> Float[torch.Tensor, " n"]:
        """The norm that this loss is measured in."""
        self.grid.check_field(field)
        total = self.weight * field.square().flatten(1).sum(1)
        for axis, count in enumerate(self.grid.shape, start=2):
            inner = count - 2
            slope = (field.narrow(axis, 2, inner) - field.narrow(axis, 0, inner)) * (count / 2)
            total = total + slope.square().flatten(1).sum(1)
        return total.sqrt()
