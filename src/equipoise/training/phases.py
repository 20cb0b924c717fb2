"""Phases of training: which optimiser runs, how long, and on what schedule."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from equipoise.training.soap import Soap

__all__ = ["OPTIMISERS", "Phase"]

OPTIMISERS = ("adam", "soap", "lbfgs")


@dataclass(frozen=True)
class Phase:
    """One stretch of training.

    Attributes:
        optimiser: `"adam"`, `"soap"` or `"lbfgs"` (full batch, strong Wolfe, history 50).
        steps: number of optimiser steps; for `"lbfgs"`, of iterations.
        learning_rate: at its largest. final_learning_rate: at the end of the cosine; ignored by `"lbfgs"`.
        warm_up: steps over which the learning rate rises linearly.
        batch_size: samples in a step, drawn at random; `None` takes all.

    Raises:
        ValueError: for an unknown optimiser or numbers out of range.
    """

    optimiser: str = "adam"
    steps: int = 1000
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-6
    warm_up: int = 0
    batch_size: int | None = None

    def __post_init__(self) -> None:
        if self.optimiser not in OPTIMISERS:
            raise ValueError(f"optimiser {self.optimiser!r} is unknown; use one of {', '.join(OPTIMISERS)}.")
        if self.steps < 0 or not self.learning_rate > 0 or self.warm_up < 0:
            raise ValueError(f"steps={self.steps}, learning_rate={self.learning_rate}: give positive numbers.")
        if self.batch_size is not None and self.batch_size < 1:
            raise ValueError(f"batch_size={self.batch_size} must be at least 1.")

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from zero."""
        rise = min(1.0, (step + 1) / self.warm_up) if self.warm_up else 1.0
        share = step / max(1, self.steps - 1)
        cosine = 0.5 * (1 + math.cos(math.pi * share))
        return rise * (self.final_learning_rate + (self.learning_rate - self.final_learning_rate) * cosine)

    def build(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """The optimiser of this phase."""
        chosen = [parameter for parameter in parameters if parameter.requires_grad]
        if self.optimiser == "soap":
            return Soap(chosen, lr=self.learning_rate)
        if self.optimiser == "adam":
            return torch.optim.Adam(chosen, lr=self.learning_rate)
        return torch.optim.LBFGS(
            chosen,
            lr=1.0,
            max_iter=1,
            max_eval=25,
            history_size=50,
            line_search_fn="strong_wolfe",
            tolerance_grad=0.0,
            tolerance_change=0.0,
        )
