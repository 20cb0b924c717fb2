"""Losses between fields on a grid, in norms of the continuum: the same number at every resolution.

`RelativeLoss` compares with data; `ResidualLoss` asks the equations instead.
"""

from __future__ import annotations

from typing import Protocol

import torch
from jaxtyping import Float

from equipoise.problems.problem import Problem
from equipoise.spaces.grid import Grid
from equipoise.spaces.norms import h1_norm, l2_norm, sobolev_norm

__all__ = ["FieldLoss", "RelativeLoss", "ResidualLoss", "field_loss"]


class FieldLoss(Protocol):
    """Compares predicted and exact fields in physical units, one value per sample."""

    def __call__(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor: ...


class RelativeLoss:
    """Norm of the error over the norm of the exact field, for each sample.

    Args:
        grid: of the fields; its weights make the norm that of the continuum.
        order: 0 for L2, 1 for H1, any other real number for the Sobolev norm of that order.
        relative: divide by the norm of the exact field; a sample whose exact field is zero is compared as it is.
    """

    def __init__(self, grid: Grid, *, order: float = 0.0, relative: bool = True) -> None:
        self.grid, self.order, self.relative = grid, float(order), relative

    def norm(self, field: Float[torch.Tensor, "n channel *grid"]) -> Float[torch.Tensor, " n"]:
        """The norm that this loss is measured in."""
        if self.order == 0:
            return l2_norm(field, self.grid)
        return h1_norm(field, self.grid) if self.order == 1 else sobolev_norm(field, self.grid, self.order)

    def __call__(
        self, prediction: Float[torch.Tensor, "n channel *grid"], target: Float[torch.Tensor, "n channel *grid"]
    ) -> Float[torch.Tensor, " n"]:
        """One value for each sample."""
        if prediction.shape != target.shape:
            raise ValueError(f"predictions are {tuple(prediction.shape)} and targets {tuple(target.shape)}.")
        error = self.norm(prediction - target)
        if not self.relative:
            return error
        size = self.norm(target)
        return error / torch.where(size > 0, size, torch.ones_like(size))


class ResidualLoss:
    """Mean square residual of a family's equations, for each sample; no data are needed.

    Args:
        problem: gives the residual. scale: that residuals are divided by, so that the loss is of order one.

    Raises:
        ValueError: for a scale that is not positive.
    """

    def __init__(self, problem: Problem, *, scale: float = 1.0) -> None:
        if not scale > 0:
            raise ValueError(f"scale={scale} must be positive.")
        self.problem, self.scale = problem, scale

    def __call__(
        self, inputs: Float[torch.Tensor, "n inputs *grid"], prediction: Float[torch.Tensor, "n outputs *grid"]
    ) -> Float[torch.Tensor, " n"]:
        """One value for each sample, from physical inputs and predictions."""
        residual = self.problem.residual(inputs, prediction) / self.scale
        return residual.square().flatten(1).mean(1)


def field_loss(name: str | float, grid: Grid) -> RelativeLoss:
    """A relative loss by name: `"l2"`, `"h1"`, `"sobolev:ORDER"`, or the order as a number.

    Raises:
        ValueError: for any other name.
    """
    if isinstance(name, int | float):
        return RelativeLoss(grid, order=float(name))
    orders = {"l2": 0.0, "h1": 1.0}
    if name in orders:
        return RelativeLoss(grid, order=orders[name])
    kind, _, order = name.partition(":")
    try:
        if kind == "sobolev":
            return RelativeLoss(grid, order=float(order))
    except ValueError:
        pass
    raise ValueError(f"loss {name!r} is unknown; use l2, h1, or sobolev:ORDER such as sobolev:-1.")
