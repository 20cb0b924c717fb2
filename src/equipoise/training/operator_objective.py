"""What a grid operator minimises: distance from data, and where asked the residual of the equations."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from equipoise.data.field_dataset import FieldDataset
from equipoise.training.losses import RelativeLoss, ResidualLoss

__all__ = ["OperatorObjective"]


class OperatorObjective:
    """Mean loss over samples; the model maps physical inputs to physical outputs.

    Args:
        data: training samples. loss: distance of a prediction from the data; `None` to train on the residual alone.
        residual: of the equations, with `residual_weight`.
        device: that batches are moved to.

    Raises:
        ValueError: without loss and residual, or for a weight that is not positive.
    """

    def __init__(
        self,
        data: FieldDataset,
        *,
        loss: RelativeLoss | None,
        residual: ResidualLoss | None = None,
        residual_weight: float = 1.0,
        device: torch.device | str = "cpu",
    ) -> None:
        if loss is None and residual is None:
            raise ValueError("give a loss, a residual, or both.")
        if not residual_weight > 0:
            raise ValueError(f"residual_weight={residual_weight} must be positive.")
        self.loss, self.residual, self.residual_weight = loss, residual, residual_weight
        self.size, self.inputs, self.outputs = len(data), data.inputs.to(device), data.outputs.to(device)
        self._sizes: torch.Tensor | None = None
        if loss is not None:
            # The norms of the data don't change from step to step.
            sizes = loss.norm(self.outputs) if loss.relative else self.outputs.new_ones(self.size)
            self._sizes = torch.where(sizes > 0, sizes, torch.ones_like(sizes))

    def __call__(self, model: nn.Module, samples: torch.Tensor | None) -> Mapping[str, torch.Tensor]:
        chosen = slice(None) if samples is None else samples.to(self.inputs.device)
        inputs = self.inputs[chosen]
        prediction = model(inputs)
        terms: dict[str, torch.Tensor] = {}
        if self.loss is not None and self._sizes is not None:
            terms["data"] = (self.loss.norm(prediction - self.outputs[chosen]) / self._sizes[chosen]).mean()
        if self.residual is not None:
            terms["residual"] = self.residual_weight * self.residual(inputs, prediction).mean()
        return terms
