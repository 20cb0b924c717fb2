"""The recipe that trains a grid operator on a data set: normalisers, phases, validation, and the best weights kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from equipoise.data.field_dataset import FieldDataset
from equipoise.data.split import Split
from equipoise.operators.normalisation import NormalisedOperator, Normaliser
from equipoise.operators.query_on_grid import QueryOnGrid
from equipoise.problems.problem import Problem
from equipoise.spaces.sample_chunks import Samples
from equipoise.training.acceleration import accelerate
from equipoise.training.losses import RelativeLoss, ResidualLoss, field_loss
from equipoise.training.operator_objective import OperatorObjective
from equipoise.training.phases import Phase
from equipoise.training.rising_modes import RisingModes
from equipoise.training.trainer import History, Trainer

__all__ = ["TrainedOperator", "predict_in_batches", "train_operator"]


@dataclass(frozen=True, eq=False)
class TrainedOperator:
    """A trained operator.

    Attributes:
        model: from physical inputs to physical outputs; the weights of the best validation where there was one.
        split: which samples it learned from. history: of the training. seconds: wall time.
        last: weights at the end, where they are not the best.
    """

    model: NormalisedOperator
    split: Split
    history: History
    seconds: float
    last: Mapping[str, torch.Tensor] | None = field(default=None)


def train_operator(
    operator: nn.Module,
    data: FieldDataset,
    *,
    split: Split | None = None,
    loss: str | float | RelativeLoss = "l2",
    residual: Problem | None = None,
    residual_scale: float = 1.0,
    residual_weight: float = 1.0,
    epochs: int = 100,
    batch_size: int = 16,
    optimiser: str = "adam",
    learning_rate: float = 1e-3,
    final_learning_rate: float = 1e-6,
    schedule: str = "cosine",
    weight_decay: float = 0.0,
    clip_norm: float | None = None,
    accumulate: int = 1,
    input_normaliser: str = "channel",
    output_normaliser: str = "channel",
    validate_every: int = 1,
    patience: int | None = None,
    first_modes: int | None = None,
    precision: str = "full",
    compile: bool = False,
    seed: int = 0,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    checkpoint_every: int = 500,
    resume: bool = False,
    on_step: Callable[[int, int, int, float], None] | None = None,
    on_row: Callable[[Mapping[str, float]], None] | None = None,
) -> TrainedOperator:
    """Train an operator on fields; inputs and outputs are normalised by the training samples alone.

    Args:
        operator: maps `(n, channel, *grid)` to `(n, channel, *grid)`; trained in place, in the dtype of the data.
        data: samples, in memory or left in their file (`stream_fields`).
        split: which of them train and validate; all train by default.
        loss: `"l2"`, `"h1"`, `"sobolev:ORDER"`, the order as a number, or a loss, in physical units and relative to
            the norm of each sample.
        residual: family whose mean square residual is added, divided by `residual_scale` and times `residual_weight`.
        epochs, batch_size, optimiser, learning_rate, final_learning_rate, schedule, weight_decay, clip_norm,
            accumulate: see `Phase`.
        input_normaliser, output_normaliser: `"none"`, `"scalar"`, `"channel"` or `"point"`.
        validate_every: epochs between validations; the weights of the best are kept.
        patience: validations without improvement after which it stops.
        first_modes: Fourier modes along each axis to begin with, raised to all over the first half, see `RisingModes`;
            validations before that are recorded only.
        precision: `"full"`, `"bf16"` or `"fp16"`. compile: through `torch.compile`, worth it for long trainings.
        seed: of the batches. device: to train on.
        checkpoint, checkpoint_every, resume: see `Trainer`.

    Raises:
        FormatError: for data with values that are not finite, naming the first sample.
        ValueError: for a split of other data, or options out of range. ConvergenceError: at a loss that is not finite.
    """
    data.check_finite()
    split = Split(tuple(range(len(data)))) if split is None else split
    split.check_count(len(data))
    train = data.subset(torch.tensor(split.train))
    chosen = loss if isinstance(loss, RelativeLoss) else field_loss(loss, data.grid)
    phase = Phase(
        optimiser,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        final_learning_rate=final_learning_rate,
        schedule=schedule,
        weight_decay=weight_decay,
        clip_norm=clip_norm,
        accumulate=accumulate,
    )
    rising = None if first_modes is None else RisingModes(operator, first_modes)
    acceleration = accelerate(precision, device)
    model = NormalisedOperator(
        operator,
        Normaliser.fit(train.inputs, kind=input_normaliser),
        Normaliser.fit(train.outputs, kind=output_normaliser),
    ).to(device=device, dtype=train.outputs.dtype)
    _fit_to_data(model, train)
    asked = None if residual is None else ResidualLoss(residual, scale=residual_scale)
    objective = OperatorObjective(train, loss=chosen, residual=asked, residual_weight=residual_weight, device=device)
    validate = None
    if split.validation:
        validate = _Validation(data.subset(torch.tensor(split.validation)), chosen, batch_size)
    if compile:
        operator.compile()
    batches = phase.batches(len(train))
    trainer = Trainer(
        model,
        objective,
        seed=seed,
        record_every=batches,
        validate=validate,
        validate_every=validate_every * batches,
        patience=patience,
        before_step=rising,
        compare_from=0 if rising is None else rising.steps(phase.total_steps(len(train))),
        acceleration=acceleration,
        checkpoint=checkpoint,
        checkpoint_every=checkpoint_every,
        on_step=on_step,
        on_row=on_row,
    )
    # What is fitted and not trained, such as a linear map, is done.
    is_trained = any(parameter.requires_grad for parameter in model.parameters())
    history = trainer.fit([phase], resume=resume) if is_trained else History()
    last = None
    if trainer.best is not None:
        last = {name: value.detach().clone() for name, value in model.state_dict().items()}
        model.load_state_dict(trainer.best)
    model.eval()
    return TrainedOperator(model, split, history, history.seconds, last)


@torch.no_grad()
def _fit_to_data(model: NormalisedOperator, train: FieldDataset) -> None:
    """Let an operator that takes more than weights from the training data, such as modes of the outputs, do so."""
    operator = model.operator
    inner = operator.operator if isinstance(operator, QueryOnGrid) else operator
    fit = getattr(operator, "fit", None)
    if fit is not None and hasattr(inner, "fit"):
        if not isinstance(train.outputs, torch.Tensor):
            raise ValueError(
                f"{type(inner).__name__} takes its modes from all training samples at once; read the data into memory, "
                "without streaming."
            )
        home = model.inputs.mean.device
        fit(model.inputs(train.inputs.to(home)), model.outputs(train.outputs.to(home)))


class _Validation:
    """Mean loss over the samples that are held back for validation."""

    def __init__(self, data: FieldDataset, loss: RelativeLoss, batch_size: int) -> None:
        self.data, self.loss, self.batch_size = data, loss, batch_size

    def __call__(self, model: nn.Module) -> Mapping[str, float]:
        home = next(model.parameters(), torch.zeros(())).device
        losses = []
        for first in range(0, len(self.data), self.batch_size):
            part = slice(first, first + self.batch_size)
            exact = self.data.outputs[part]
            losses.append(self.loss(model(self.data.inputs[part].to(home)).to(exact.device), exact))
        return {"validation": float(torch.cat(losses).mean())}


@torch.no_grad()
def predict_in_batches(model: nn.Module, inputs: Samples, *, batch_size: int = 16) -> torch.Tensor:
    """`model(inputs)` without gradients, a few samples at a time, on the device of the model and back."""
    home, parts = next(model.parameters(), torch.zeros(())).device, []
    for first in range(0, len(inputs), batch_size):
        part = inputs[first : first + batch_size]
        parts.append(model(part.to(home)).to(part.device))
    return torch.cat(parts)
