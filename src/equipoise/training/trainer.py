"""The trainer: runs phases over an objective, keeps metrics, and goes on exactly where it was stopped.

It knows nothing of what is trained: an objective maps `(model, samples)` to named terms, and their sum is minimised.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from equipoise.errors import ConvergenceError
from equipoise.training.phases import Phase
from equipoise.training.training_state import load_training_state, save_training_state

__all__ = ["History", "Objective", "Trainer"]


@runtime_checkable
class Objective(Protocol):
    """What is minimised.

    Attributes:
        size: number of samples.
    """

    size: int

    def __call__(self, model: nn.Module, samples: torch.Tensor | None) -> Mapping[str, torch.Tensor]:
        """Named terms whose sum is the loss; `samples` are numbers of samples, `None` for all."""


@dataclass
class History:
    """What happened: one row per recorded step with the terms of the loss, and the wall seconds spent."""

    rows: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0


class Trainer:
    """Trains one model.

    Args:
        model: changed in place. objective: see `Objective`.
        seed: of the mini-batches.
        record_every: steps between rows of the history.
        checkpoint: file (without suffix) for the training state, or `None`.
        checkpoint_every: steps between checkpoints.
        on_step: called with (phase, step, steps, loss) at each recorded step.

    Raises:
        ConvergenceError: at a loss that is not finite, naming the step, the terms and the last good checkpoint.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        *,
        seed: int = 0,
        record_every: int = 50,
        checkpoint: Path | None = None,
        checkpoint_every: int = 500,
        on_step: Callable[[int, int, int, float], None] | None = None,
    ) -> None:
        self.model, self.objective = model, objective
        self.record_every, self.checkpoint, self.checkpoint_every = record_every, checkpoint, checkpoint_every
        self.on_step = on_step
        self.generator = torch.Generator().manual_seed(seed)
        self.history = History()

    def fit(self, phases: Sequence[Phase], *, resume: bool = False) -> History:
        """Run the phases in order; with `resume`, go on from the checkpoint to bit-equal weights.

        Raises:
            FileNotFoundError: where there is no checkpoint to resume from. ValueError: for one of other phases or of
                another model. FormatError: for one that is damaged.
        """
        first_phase, first_step, optimiser_state = 0, 0, None
        if resume:
            first_phase, first_step, optimiser_state = self._load(phases)
        began, spent = time.perf_counter(), self.history.seconds
        for number, phase in enumerate(phases):
            if number < first_phase:
                continue
            optimiser = phase.build(self.model.parameters())
            if optimiser_state is not None:
                optimiser.load_state_dict(optimiser_state)
                optimiser_state = None
            for step in range(first_step, phase.steps):
                self._step(number, phase, step, optimiser)
                self.history.seconds = spent + time.perf_counter() - began
                if self.checkpoint is not None and (step + 1) % self.checkpoint_every == 0:
                    self._save(phases, number, step + 1, optimiser)
            first_step = 0
        return self.history

    def _step(self, number: int, phase: Phase, step: int, optimiser: torch.optim.Optimizer) -> None:
        samples = None
        if phase.batch_size is not None and phase.batch_size < self.objective.size:
            samples = torch.randperm(self.objective.size, generator=self.generator)[: phase.batch_size]
        terms: dict[str, torch.Tensor] = {}

        def closure() -> torch.Tensor:
            optimiser.zero_grad()
            terms.clear()
            terms.update(self.objective(self.model, samples))
            loss: torch.Tensor = sum(terms.values(), start=torch.zeros((), dtype=torch.float64))
            if bool(torch.isfinite(loss)):
                loss.backward()
            return loss

        if phase.optimiser == "lbfgs":
            loss: Any = optimiser.step(closure)  # type: ignore[arg-type]  # its stub asks for a float
        else:
            for group in optimiser.param_groups:
                group["lr"] = phase.rate(step)
            loss = closure()
            self._check_finite(float(loss.detach()), terms, number, step)
            optimiser.step()
        value = float(torch.as_tensor(loss).detach())
        self._check_finite(value, terms, number, step)
        if step % self.record_every == 0 or step == phase.steps - 1:
            row = {name: float(term.detach()) for name, term in terms.items()}
            self.history.rows.append({"phase": number, "step": step, "loss": value, **row})
            if self.on_step is not None:
                self.on_step(number, step, phase.steps, value)

    def _check_finite(self, value: float, terms: Mapping[str, torch.Tensor], phase: int, step: int) -> None:
        if math.isfinite(value):
            return
        shown = ", ".join(f"{name}={float(term.detach()):.3g}" for name, term in terms.items())
        kept = f"the last checkpoint is {self.checkpoint}" if self.checkpoint is not None else "no checkpoint was kept"
        raise ConvergenceError(f"the loss is not finite at step {step} of phase {phase} ({shown}); {kept}.")

    def _save(self, phases: Sequence[Phase], number: int, step: int, optimiser: torch.optim.Optimizer) -> None:
        assert self.checkpoint is not None
        progress = {
            "phases": [repr(phase) for phase in phases],
            "phase": number,
            "step": step,
            "rows": self.history.rows,
            "seconds": self.history.seconds,
        }
        save_training_state(
            self.checkpoint, self.model.state_dict(), optimiser.state_dict(), self.generator.get_state(), progress
        )

    def _load(self, phases: Sequence[Phase]) -> tuple[int, int, dict[str, object]]:
        if self.checkpoint is None:
            raise ValueError("resume needs a checkpoint file.")
        weights, optimiser, generator, progress = load_training_state(self.checkpoint)
        if progress["phases"] != [repr(phase) for phase in phases]:
            raise ValueError(f"{self.checkpoint} was written by other phases; start anew, or use the same settings.")
        try:
            self.model.load_state_dict(weights)
        except RuntimeError as error:
            raise ValueError(f"{self.checkpoint} was written by another model than the one to resume.") from error
        self.generator.set_state(generator)
        self.history = History(list(progress["rows"]), float(progress["seconds"]))
        return int(progress["phase"]), int(progress["step"]), optimiser
