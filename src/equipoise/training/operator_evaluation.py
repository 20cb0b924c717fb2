"""A trained operator against data, at the resolution of the data and at others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from equipoise.data.field_dataset import FieldDataset
from equipoise.data.generate_fields import draw_inputs, sample_numbers
from equipoise.problems.registry import PROBLEMS, make_problem
from equipoise.spaces.resampling import resample
from equipoise.training.metrics import FieldErrors, error_summary, sample_errors
from equipoise.training.operator_runs import OperatorRun
from equipoise.training.operators import predict_in_batches

__all__ = ["EvaluatedOperator", "at_resolution", "evaluate_operator", "held_back"]


# Samples of data left in their file that are moved to another resolution at once.
_PIECE = 256


@dataclass(frozen=True, eq=False)
class EvaluatedOperator:
    """Errors of an operator, and its worst prediction.

    Attributes:
        figures: plain JSON values. samples: that it was evaluated on, by number.
        worst: the one sample with the largest relative error in L2. worst_prediction: for it, `(1, channel, *grid)`.
    """

    figures: dict[str, Any]
    samples: tuple[int, ...]
    worst: FieldDataset
    worst_prediction: torch.Tensor


def held_back(run: OperatorRun, data: FieldDataset) -> tuple[int, ...]:
    """Samples to evaluate on: the test part where the data are those of the training, else all.

    Raises:
        ValueError: where the data are those of the training and no part was held back.
    """
    if data.fingerprint != run.fingerprint:
        return tuple(range(len(data)))
    held = run.split.test or run.split.validation
    if not held:
        raise ValueError("the run was trained on all samples of these data, so that none is left; give other data.")
    return held


def at_resolution(data: FieldDataset, points: int, samples: Sequence[int]) -> tuple[FieldDataset, str]:
    """The chosen samples on a grid with so many points along each axis, and where they come from.

    Data that this library generated are drawn and solved again, from the same seeds, at the new resolution. All others
    are resampled, spectrally: exact for what both grids resolve, and blind to what only the finer one would.

    Returns:
        The data, and `"solved"`, `"resampled"` or `"as given"`.
    """
    chosen = data.subset(torch.tensor(tuple(samples)))
    if all(count == points for count in data.grid.shape):
        return chosen, "as given"
    family, options = data.settings.get("family"), dict(data.settings.get("options", {}))
    if family in PROBLEMS and isinstance(data.settings.get("seed"), int):
        problem = make_problem(str(family), **{**options, "resolution": points})
        seed = int(data.settings["seed"])
        numbers = sample_numbers(data.settings, len(data))
        inputs = draw_inputs(problem, [numbers[sample] for sample in samples], seed=seed)
        outputs = torch.cat([problem.solve(part) for part in torch.split(inputs, 16)])
        kind = data.outputs.dtype
        solved = FieldDataset(
            inputs.to(kind),
            outputs.to(kind),
            problem.grid,
            problem.input_grid,
            data.input_names,
            data.output_names,
            data.times,
            data.settings,
        )
        return solved, "solved"
    source = data.input_grid or data.grid
    shapes = [(points,) * grid.dim for grid in (source, data.grid)]
    moved = FieldDataset(
        resample(chosen.inputs[:], source, shapes[0]),
        resample(chosen.outputs[:], data.grid, shapes[1]),
        data.grid.resized(shapes[1]),
        source.resized(shapes[0]),
        data.input_names,
        data.output_names,
        data.times,
        data.settings,
    )
    return moved, "resampled"


def evaluate_operator(
    run: OperatorRun,
    data: FieldDataset,
    *,
    samples: Sequence[int] | None = None,
    resolution: int | None = None,
    batch_size: int = 16,
) -> EvaluatedOperator:
    """Errors on some samples of a data set, which may be left in its file.

    Args:
        run: the operator. data: finite, of its channels and box, on any grid that the operator takes.
        samples: numbers; those of `held_back` by default. resolution: points along each axis, see `at_resolution`; as
            given by default. batch_size: samples predicted at once.

    Raises:
        FormatError: for data that are not finite. ValueError: for data of other channels or another box, or a grid
            that the operator cannot take.
    """
    run.check_data(data)
    data.check_finite()
    numbers = held_back(run, data) if samples is None else tuple(samples)
    tally, source = _Tally(), "as given"
    step = len(numbers) if isinstance(data.outputs, torch.Tensor) else _PIECE
    for first in range(0, len(numbers), step):
        piece = numbers[first : first + step]
        if resolution is None:
            chosen = data.subset(torch.tensor(piece))
        else:
            chosen, source = at_resolution(data, resolution, piece)
        for begin in range(0, len(piece), batch_size):
            tally.add(run, chosen.subset(slice(begin, begin + batch_size)))
    assert tally.worst is not None
    grid = tally.worst[0].grid
    figures: dict[str, Any] = {"n_samples": len(numbers), "grid": list(grid.shape), "reference": source}
    for name, parts in tally.errors.items():
        summary = error_summary(torch.cat(parts))
        figures[name] = {**summary, "worst_sample": numbers[summary["worst_sample"]]}
    names = [f"time {time:g}" for time in run.times[1:]] if run.times else list(data.output_names)
    assert tally.fields is not None
    figures["by_time" if run.times else "by_channel"] = tally.fields.by_channel(names)
    figures["by_wavenumber"] = tally.fields.by_wavenumber()
    return EvaluatedOperator(figures, numbers, *tally.worst)


class _Tally:
    """Errors of the batches so far, and the worst sample among them."""

    def __init__(self) -> None:
        self.errors: dict[str, list[torch.Tensor]] = {"relative_l2": [], "relative_h1": []}
        self.fields: FieldErrors | None = None
        self.worst: tuple[FieldDataset, torch.Tensor] | None = None
        self._largest = -1.0

    def add(self, run: OperatorRun, part: FieldDataset) -> None:
        """Predict a batch and count its errors in."""
        kind = run.model.inputs.mean.dtype
        prediction = predict_in_batches(run.model, part.inputs[:].to(kind), batch_size=len(part))
        exact, grid = part.outputs[:].to(prediction), part.grid
        for order, parts in zip((0.0, 1.0), self.errors.values(), strict=True):
            parts.append(sample_errors(prediction, exact, grid, order=order))
        self.fields = FieldErrors(grid) if self.fields is None else self.fields
        self.fields.add(prediction, exact)
        # A lost sample is the worst of all.
        sizes = self.errors["relative_l2"][-1].nan_to_num(nan=torch.inf)
        place = int(sizes.argmax())
        if float(sizes[place]) > self._largest:
            self._largest = float(sizes[place])
            self.worst = (part.subset(slice(place, place + 1)), prediction[place : place + 1])
