"""The trainer: runs phases over an objective, keeps metrics, and goes on exactly where it was stopped.

It knows nothing of what is trained: an objective maps `(model, samples)` to named terms, and their sum is minimised.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import nn

from equipoise.errors import ConvergenceError
from equipoise.nn.initialisation import seeded
from equipoise.training.acceleration import Acceleration
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
        """Named terms, means over the samples, whose sum is the loss; `samples` are numbers, `None` for all."""


@dataclass
class History:
    """What happened.

    Attributes:
        rows: one for each recorded step with the terms of the loss, and one for each validation with its metrics.
        seconds: wall time. best_metric: the least of the first validation metric; infinite without validation.
        stopped_early: whether validation no longer improved.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    best_metric: float = math.inf
    stale: int = 0
    stopped_early: bool = False


class Trainer:
    """Trains one model.

    Args:
        model: changed in place. objective: see `Objective`.
        seed: of the mini-batches, and of layers that draw numbers while training.
        record_every: steps between rows of the history.
        checkpoint: file (without suffix) for the training state, or `None`.
        checkpoint_every: steps between checkpoints.
        on_step: called with (phase, step, steps, loss) at each recorded step.
        on_row: called with each new row of the history.
        validate: maps the model to metrics, the first of which is to be small; None without validation.
        validate_every: steps between validations. patience: validations without improvement after which it stops.
        before_step: called with (step, steps) of a phase before each step, for what changes with it; to be a function
            of these alone, so that a resumed training is the same. compare_from: step of a phase before which
            validations are recorded, and no weights kept for the best.
        acceleration: processes and precision; one process in full precision by default. With several processes each
            step's samples are shared out, and the result is that of one process.

    Attributes:
        best: weights at the best validation, `None` without one.

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
        on_row: Callable[[Mapping[str, float]], None] | None = None,
        validate: Callable[[nn.Module], Mapping[str, float]] | None = None,
        validate_every: int = 500,
        patience: int | None = None,
        before_step: Callable[[int, int], None] | None = None,
        compare_from: int = 0,
        acceleration: Acceleration | None = None,
    ) -> None:
        if validate_every < 1 or (patience is not None and patience < 1):
            raise ValueError(f"validate_every={validate_every} and patience={patience} must be at least 1.")
        self.model, self.objective, self.seed = model, objective, seed
        self.record_every, self.checkpoint, self.checkpoint_every = record_every, checkpoint, checkpoint_every
        self.on_step, self.on_row = on_step, on_row
        self.validate, self.validate_every, self.patience = validate, validate_every, patience
        self.before_step, self.compare_from = before_step, compare_from
        self.acceleration = Acceleration() if acceleration is None else acceleration
        self.history = History()
        self.best: dict[str, torch.Tensor] | None = None

    def fit(self, phases: Sequence[Phase], *, resume: bool = False) -> History:
        """Run the phases in order; with `resume`, go on from the checkpoint to bit-equal weights.

        Raises:
            FileNotFoundError: where there is no checkpoint to resume from. ValueError: for one of other phases or of
                another model. FormatError: for one that is damaged.
        """
        if self.acceleration.processes > 1 and any(phase.optimiser == "lbfgs" for phase in phases):
            raise ValueError("the optimiser lbfgs runs in one process; use adam, adamw or soap with several.")
        first_phase, first_step, optimiser_state, random_state = 0, 0, None, None
        if resume:
            first_phase, first_step, optimiser_state, random_state = self._load(phases)
        wrapped = self.acceleration.wrap(self.model)
        began, spent = time.perf_counter(), self.history.seconds
        with seeded(self.seed):
            if random_state is not None:
                torch.set_rng_state(random_state)
            for number, phase in enumerate(phases):
                if number < first_phase or self.history.stopped_early:
                    continue
                optimiser = self.acceleration.optimiser(phase.build(self.model.parameters()))
                if optimiser_state is not None:
                    optimiser.load_state_dict(optimiser_state)
                    optimiser_state = None
                steps = phase.total_steps(self.objective.size)
                for step in range(first_step, steps):
                    if self.before_step is not None:
                        self.before_step(step, steps)
                    self._step(number, phase, step, steps, optimiser, wrapped)
                    self._validate(number, step, steps)
                    self.history.seconds = spent + time.perf_counter() - began
                    if self.checkpoint is not None and (step + 1) % self.checkpoint_every == 0:
                        self._save(phases, number, step + 1, optimiser)
                    if self.history.stopped_early:
                        break
                first_step = 0
        return self.history

    def _samples(self, number: int, phase: Phase, step: int) -> torch.Tensor | None:
        """Numbers of the samples of a step: the part of a shuffled epoch that depends on seed, phase and step alone."""
        size = self.objective.size
        if phase.batch_size is None or phase.batch_size >= size:
            return None
        epoch, place = divmod(step, phase.batches(size))
        state = int(np.random.SeedSequence([self.seed, number, epoch]).generate_state(1, np.uint64)[0] >> np.uint64(1))
        if getattr(self, "_shuffled", (None,))[0] != (number, epoch):
            order = torch.randperm(size, generator=torch.Generator().manual_seed(state))
            self._shuffled: tuple[Any, ...] = ((number, epoch), order)
        part: torch.Tensor = self._shuffled[1][place * phase.batch_size : (place + 1) * phase.batch_size]
        return part

    def _step(
        self, number: int, phase: Phase, step: int, steps: int, optimiser: torch.optim.Optimizer, model: nn.Module
    ) -> None:
        samples = self._samples(number, phase, step)
        terms: dict[str, torch.Tensor] = {}
        if phase.optimiser == "lbfgs":
            value = self._line_search(optimiser, model, samples, terms)
            self._check_finite(value, terms, number, step)
        else:
            for group in optimiser.param_groups:
                group["lr"] = phase.rate(step, steps)
            optimiser.zero_grad()
            value = self._accumulate(model, samples, phase.accumulate, terms, number, step)
            if phase.clip_norm is not None:
                self.acceleration.clip(self.model, phase.clip_norm)
            optimiser.step()
        if step % self.record_every == 0 or step == steps - 1:
            row = {name: float(term.detach()) for name, term in terms.items()}
            self._record({"phase": number, "step": step, "loss": value, **row})
            if self.on_step is not None and self.acceleration.is_main:
                self.on_step(number, step, steps, value)

    def _accumulate(
        self,
        model: nn.Module,
        samples: torch.Tensor | None,
        accumulate: int,
        terms: dict[str, torch.Tensor],
        number: int,
        step: int,
    ) -> float:
        """Gradients of the mean over the samples, in parts and over processes; the loss, with its terms."""
        processes = self.acceleration.processes
        if accumulate == 1 and processes == 1:
            terms.update(self.objective(model, samples))
            loss = _total(terms)
            value = float(loss.detach())
            self._check_finite(value, terms, number, step)
            self.acceleration.backward(loss)
            return value
        whole = torch.arange(self.objective.size) if samples is None else samples
        if len(whole) < processes:
            raise ValueError(f"a step of {len(whole)} samples cannot be shared by {processes} processes.")
        mine = torch.tensor_split(whole, processes)[self.acceleration.index]
        parts = [part for part in torch.tensor_split(mine, accumulate) if len(part)]
        for place, part in enumerate(parts):
            share = len(part) / len(whole) * processes
            with self.acceleration.part(last=place == len(parts) - 1):
                found = {name: share * term for name, term in self.objective(model, part).items()}
                loss = _total(found)
                self._check_finite(float(loss.detach()), found, number, step)
                self.acceleration.backward(loss)
            for name, term in found.items():
                terms[name] = terms[name] + term.detach() if name in terms else term.detach()
        for name in terms:
            terms[name] = self.acceleration.mean(terms[name])
        return sum(float(term) for term in terms.values())

    def _line_search(
        self,
        optimiser: torch.optim.Optimizer,
        model: nn.Module,
        samples: torch.Tensor | None,
        terms: dict[str, torch.Tensor],
    ) -> float:
        def closure() -> torch.Tensor:
            optimiser.zero_grad()
            terms.clear()
            terms.update(self.objective(model, samples))
            loss = _total(terms)
            if bool(torch.isfinite(loss)):
                loss.backward()
            return loss

        loss: Any = optimiser.step(closure)  # type: ignore[arg-type]  # its stub asks for a float
        return float(torch.as_tensor(loss).detach())

    def _record(self, row: dict[str, float]) -> None:
        self.history.rows.append(row)
        if self.on_row is not None and self.acceleration.is_main:
            self.on_row(row)

    def _validate(self, number: int, step: int, steps: int) -> None:
        if self.validate is None or ((step + 1) % self.validate_every and step != steps - 1):
            return
        was_training = self.model.training
        self.model.eval()
        with torch.no_grad():
            metrics = dict(self.validate(self.model))
        self.model.train(was_training)
        self._record({"phase": number, "step": step, **metrics})
        if step < self.compare_from:
            return
        metric, history = next(iter(metrics.values())), self.history
        if metric < history.best_metric:
            history.best_metric, history.stale = metric, 0
            self.best = copy.deepcopy(self.model.state_dict())
        else:
            history.stale += 1
            history.stopped_early = self.patience is not None and history.stale >= self.patience

    def _check_finite(self, value: float, terms: Mapping[str, torch.Tensor], phase: int, step: int) -> None:
        if math.isfinite(value):
            return
        shown = ", ".join(f"{name}={float(term.detach()):.3g}" for name, term in terms.items())
        kept = "no checkpoint was kept"
        if self.checkpoint is not None and self.checkpoint.exists():
            kept = f"the last good checkpoint is {self.checkpoint}"
        raise ConvergenceError(f"the loss is not finite at step {step} of phase {phase} ({shown}); {kept}.")

    def _save(self, phases: Sequence[Phase], number: int, step: int, optimiser: torch.optim.Optimizer) -> None:
        if self.checkpoint is None or not self.acceleration.is_main:
            return
        history = self.history
        progress = {
            "phases": [repr(phase) for phase in phases],
            "phase": number,
            "step": step,
            "seed": self.seed,
            "rows": history.rows,
            "seconds": history.seconds,
            "best_metric": None if math.isinf(history.best_metric) else history.best_metric,
            "stale": history.stale,
            "stopped_early": history.stopped_early,
        }
        save_training_state(
            self.checkpoint,
            self.model.state_dict(),
            optimiser.state_dict(),
            torch.get_rng_state(),
            progress,
            best=self.best,
        )

    def _load(self, phases: Sequence[Phase]) -> tuple[int, int, dict[str, object], torch.Tensor]:
        if self.checkpoint is None:
            raise ValueError("resume needs a checkpoint file.")
        kept = load_training_state(self.checkpoint)
        progress = kept.progress
        if progress["phases"] != [repr(phase) for phase in phases]:
            raise ValueError(f"{self.checkpoint} was written by other phases; start anew, or use the same settings.")
        try:
            self.model.load_state_dict(kept.weights)
        except RuntimeError as error:
            raise ValueError(f"{self.checkpoint} was written by another model than the one to resume.") from error
        best = progress["best_metric"]
        self.seed, self.best = int(progress["seed"]), kept.best
        self.history = History(
            list(progress["rows"]),
            float(progress["seconds"]),
            math.inf if best is None else float(best),
            int(progress["stale"]),
            bool(progress["stopped_early"]),
        )
        return int(progress["phase"]), int(progress["step"]), kept.optimiser, kept.random_state


def _total(terms: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Their sum, without a zero to begin with, which would cost an operation and its gradient in each step."""
    first, *others = terms.values()
    for other in others:
        first = first + other
    return first
