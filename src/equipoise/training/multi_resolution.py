"""Training one operator on the same family at several resolutions: every batch is of one of them, drawn at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from equipoise.data.field_dataset import FieldDataset
from equipoise.data.split import Split
from equipoise.operators.normalisation import NormalisedOperator, Normaliser
from equipoise.training.losses import field_loss
from equipoise.training.operator_objective import OperatorObjective
from equipoise.training.operators import TrainedOperator
from equipoise.training.phases import Phase
from equipoise.training.trainer import Trainer

__all__ = ["MultiResolutionObjective", "train_on_resolutions"]


class MultiResolutionObjective:
    """Mean loss of a batch at one resolution, which the batch's samples determine.

    The resolution is pseudo-random and a function of the samples alone, so that a training that is resumed, or shared
    among processes, sees the same batches. A sample is met at all resolutions in the course of the epochs.

    Args:
        datasets: as many samples at each resolution, all of one family; no two on one grid.
        loss: of each, on its own grid, as in `field_loss`. device: that batches are moved to.

    Raises:
        ValueError: for fewer than two data sets, different numbers of samples, or two on one grid.
    """

    def __init__(
        self, datasets: Sequence[FieldDataset], *, loss: str | float = "l2", device: torch.device | str = "cpu"
    ) -> None:
        counts, shapes = [len(data) for data in datasets], [data.grid.shape for data in datasets]
        if len(datasets) < 2 or len(set(counts)) > 1 or len(set(shapes)) < len(shapes):
            raise ValueError(
                f"give two or more data sets of as many samples on different grids; got {counts} samples on {shapes}."
            )
        self.size = counts[0]
        self.parts = [OperatorObjective(data, loss=field_loss(loss, data.grid), device=device) for data in datasets]

    def choice(self, samples: torch.Tensor) -> int:
        """Number of the data set that a batch is taken from."""
        numbers = samples.to(torch.int64)
        # Every sample counts by its own multiple, so that the choice is even over batches of any size.
        return int((numbers * 2654435761 % 4294967296).sum() // 65536) % len(self.parts)

    def __call__(self, model: nn.Module, samples: torch.Tensor | None) -> Mapping[str, torch.Tensor]:
        """The loss as one term; over all samples it is the mean over all resolutions."""
        if samples is not None:
            return self.parts[self.choice(samples)](model, samples)
        terms = [part(model, None)["data"] for part in self.parts]
        return {"data": torch.stack(terms).mean()}


def train_on_resolutions(
    operator: nn.Module,
    datasets: Sequence[FieldDataset],
    *,
    loss: str | float = "l2",
    epochs: int = 100,
    batch_size: int = 16,
    learning_rate: float = 1e-3,
    schedule: str = "cosine",
    weight_decay: float = 0.0,
    input_normaliser: str = "channel",
    output_normaliser: str = "channel",
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> TrainedOperator:
    """Train an operator on several resolutions of one family at once; one normaliser serves all.

    Args:
        operator: maps `(n, channel, *grid)` to `(n, channel, *grid)` on all the grids; trained in place.
        datasets: see `MultiResolutionObjective`; normalisers are fitted on the first.
        loss, epochs, batch_size, learning_rate, schedule, weight_decay: as in `train_operator`.
        input_normaliser, output_normaliser: `"none"`, `"scalar"` or `"channel"`.
        seed: of the batches. device: to train on.

    Raises:
        FormatError: for data with values that are not finite, naming the first sample.
        ValueError: for data sets that do not belong together, or a normaliser that is tied to one grid.
    """
    if "point" in (input_normaliser, output_normaliser):
        raise ValueError("a normaliser fitted point by point is tied to one grid; use 'channel'.")
    for data in datasets:
        data.check_finite()
    objective = MultiResolutionObjective(datasets, loss=loss, device=device)
    first = datasets[0]
    model = NormalisedOperator(
        operator,
        Normaliser.fit(first.inputs, kind=input_normaliser),
        Normaliser.fit(first.outputs, kind=output_normaliser),
    ).to(device=device, dtype=first.outputs.dtype)
    phase = Phase(
        "adam",
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        schedule=schedule,
        weight_decay=weight_decay,
    )
    history = Trainer(model, objective, seed=seed, record_every=phase.batches(objective.size)).fit([phase])
    model.eval()
    return TrainedOperator(model, Split(tuple(range(objective.size))), history, history.seconds)
