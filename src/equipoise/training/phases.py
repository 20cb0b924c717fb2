"""Phases of training: which optimiser runs, how long, on what schedule, and on how many samples at once."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from equipoise.training.adam import Adam
from equipoise.training.soap import Soap

__all__ = ["OPTIMISERS", "SCHEDULES", "Phase"]

OPTIMISERS = ("adam", "adamw", "soap", "lbfgs")
SCHEDULES = ("cosine", "one-cycle", "step", "constant")

# One-cycle: from a part of the largest rate, up over a share of the phase.
_CYCLE_START, _CYCLE_RISE = 1 / 25, 0.3
# Step: the rate is multiplied by the factor after each share of the phase.
_STEP_SHARE, _STEP_FACTOR = 0.2, 0.5


@dataclass(frozen=True)
class Phase:
    """One stretch of training.

    Attributes:
        optimiser: `"adam"` (weight decay added to the gradient), `"adamw"` (decoupled), `"soap"` or `"lbfgs"` (full
            batch, strong Wolfe, history 50).
        steps: number of optimiser steps; for `"lbfgs"`, of iterations.
        epochs: instead of steps, passes through all samples.
        learning_rate: at its largest. final_learning_rate: at the end of the schedules `"cosine"` and `"one-cycle"`.
        schedule: `"cosine"`; `"one-cycle"`, a cosine up from 1/25 over 30 % and down again; `"step"`, halved after
            each fifth; or `"constant"`. Ignored by `"lbfgs"`.
        warm_up: steps over which the learning rate rises linearly.
        batch_size: samples in a step, drawn in epochs without repetition; `None` takes all.
        accumulate: parts that the samples of a step are taken in, one after the other; the gradient is that of the
            whole, in less memory.
        weight_decay: of all parameters. clip_norm: bound of the gradient's norm, `None` for none.

    Raises:
        ValueError: for an unknown optimiser or schedule, or numbers out of range.
    """

    optimiser: str = "adam"
    steps: int = 1000
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-6
    warm_up: int = 0
    batch_size: int | None = None
    epochs: int | None = None
    schedule: str = "cosine"
    accumulate: int = 1
    weight_decay: float = 0.0
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        if self.optimiser not in OPTIMISERS:
            raise ValueError(f"optimiser {self.optimiser!r} is unknown; use one of {', '.join(OPTIMISERS)}.")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule {self.schedule!r} is unknown; use one of {', '.join(SCHEDULES)}.")
        if self.steps < 0 or not self.learning_rate > 0 or self.warm_up < 0:
            raise ValueError(f"steps={self.steps}, learning_rate={self.learning_rate}: give positive numbers.")
        if self.batch_size is not None and self.batch_size < 1:
            raise ValueError(f"batch_size={self.batch_size} must be at least 1.")
        if self.epochs is not None and self.epochs < 0:
            raise ValueError(f"epochs={self.epochs} must not be negative.")
        if self.accumulate < 1 or not self.weight_decay >= 0:
            raise ValueError(
                f"accumulate={self.accumulate} must be at least 1 and weight_decay={self.weight_decay} not negative."
            )
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ValueError(f"clip_norm={self.clip_norm} must be positive.")
        if self.optimiser == "lbfgs" and (self.weight_decay or self.clip_norm is not None or self.accumulate > 1):
            raise ValueError("the optimiser lbfgs takes no weight_decay, clip_norm or accumulate.")

    def batches(self, size: int) -> int:
        """Steps in one pass through so many samples."""
        return 1 if self.batch_size is None else math.ceil(size / self.batch_size)

    def total_steps(self, size: int) -> int:
        """Steps of the whole phase on so many samples."""
        return self.steps if self.epochs is None else self.epochs * self.batches(size)

    def rate(self, step: int, steps: int | None = None) -> float:
        """Learning rate of a step, counted from zero, in a phase of so many steps."""
        share = step / max(1, (self.steps if steps is None else steps) - 1)
        rise = min(1.0, (step + 1) / self.warm_up) if self.warm_up else 1.0
        return rise * self._scheduled(share)

    def _scheduled(self, share: float) -> float:
        if self.schedule == "constant":
            return self.learning_rate
        if self.schedule == "step":
            return self.learning_rate * _STEP_FACTOR ** min(math.floor(share / _STEP_SHARE), 4)
        start, end = self.learning_rate, self.final_learning_rate
        if self.schedule == "one-cycle":
            if share < _CYCLE_RISE:
                start, end, share = self.learning_rate * _CYCLE_START, self.learning_rate, share / _CYCLE_RISE
            else:
                share = (share - _CYCLE_RISE) / (1 - _CYCLE_RISE)
        return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))

    def build(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """The optimiser of this phase."""
        chosen = [parameter for parameter in parameters if parameter.requires_grad]
        if self.optimiser == "soap":
            return Soap(chosen, lr=self.learning_rate)
        if self.optimiser in ("adam", "adamw"):
            decoupled = self.optimiser == "adamw"
            return Adam(chosen, lr=self.learning_rate, weight_decay=self.weight_decay, decoupled=decoupled)
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
