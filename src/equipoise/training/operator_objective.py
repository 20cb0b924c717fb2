"""What a grid operator minimises: distance from data, and where asked the residual of the equations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from equipoise.data.field_dataset import FieldDataset
from equipoise.spaces.sample_chunks import Samples, sample_chunks
from equipoise.training.losses import RelativeLoss, ResidualLoss

__all__ = ["OperatorObjective"]


class OperatorObjective:
    """Mean loss over samples; the model maps physical inputs to physical outputs.

    Args:
        data: training samples. loss: distance of a prediction from the data; `None` to train on the residual alone.
        residual: of the equations, with `residual_weight`.
        device: that batches are moved to. Data left in a file are read batch by batch.

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
        self.size, self.device = len(data), torch.device(device)
        self.inputs, self.outputs = (_at_hand(values, self.device) for values in (data.inputs, data.outputs))
        self._sizes: torch.Tensor | None = None
        if loss is not None:
            # The norms of the data don't change from step to step.
            if loss.relative:
                sizes = torch.cat([loss.norm(part.to(self.device)) for part in sample_chunks(self.outputs)])
            else:
                sizes = torch.ones(self.size, dtype=self.outputs.dtype, device=self.device)
            self._sizes = torch.where(sizes > 0, sizes, torch.ones_like(sizes))

    def __call__(self, model: nn.Module, samples: torch.Tensor | None) -> Mapping[str, torch.Tensor]:
        chosen = slice(None) if samples is None else samples
        inputs = self._take(self.inputs, chosen)
        prediction = model(inputs)
        terms: dict[str, torch.Tensor] = {}
        if self.loss is not None:
            terms["data"] = self._distance(prediction, chosen)
        if self.residual is not None:
            terms["residual"] = self.residual_weight * self.residual(inputs, prediction).mean()
        return terms

    def _distance(self, prediction: torch.Tensor, chosen: torch.Tensor | slice) -> torch.Tensor:
        assert self.loss is not None
        assert self._sizes is not None
        error = self.loss.norm(prediction - self._take(self.outputs, chosen))
        return (error / self._take(self._sizes, chosen)).mean()

    def _take(self, values: Any, chosen: torch.Tensor | slice) -> torch.Tensor:
        """Samples on the device, wherever the values are."""
        if isinstance(values, torch.Tensor) and isinstance(chosen, torch.Tensor):
            chosen = chosen.to(values.device)
        taken: torch.Tensor = values[chosen]
        return taken.to(self.device)


def _at_hand(values: Samples, device: torch.device) -> Samples:
    """Tensors go to the device once; what is in a file stays there."""
    return values.to(device) if isinstance(values, torch.Tensor) else values
