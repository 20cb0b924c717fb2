"""A trained operator against data, at the resolution of the data and at others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from equipoise.data.field_dataset import FieldDataset
from equipoise.data.generate_fields import draw_inputs
from equipoise.problems.registry import PROBLEMS, make_problem
from equipoise.spaces.resampling import resample
from equipoise.training.metrics import band_errors, channel_errors, error_summary, sample_errors
from equipoise.training.operator_runs import OperatorRun
from equipoise.training.operators import predict_in_batches

__all__ = ["EvaluatedOperator", "at_resolution", "evaluate_operator", "held_back"]


@dataclass(frozen=True, eq=False)
class EvaluatedOperator:
    """Errors of an operator, and its predictions.

    Attributes:
        figures: plain JSON values. data: that it was evaluated on. prediction: for all its samples.
        samples: their numbers in the whole data set.
    """

    figures: dict[str, Any]
    data: FieldDataset
    prediction: torch.Tensor
    samples: tuple[int, ...]


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
        inputs = torch.cat([draw_inputs(problem, range(number, number + 1), seed=seed) for number in samples])
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
        resample(chosen.inputs, source, shapes[0]),
        resample(chosen.outputs, data.grid, shapes[1]),
        data.grid.resized(shapes[1]),
        source.resized(shapes[0]),
        data.input_names,
        data.output_names,
        data.times,
        data.settings,
    )
    return moved, "resampled"


def evaluate_operator(
    run: OperatorRun, data: FieldDataset, *, samples: Sequence[int] | None = None, batch_size: int = 16
) -> EvaluatedOperator:
    """Errors on some samples of a data set.

    Args:
        run: the operator. data: finite, of its channels and box, on any grid that the operator takes.
        samples: numbers; those of `held_back` by default. batch_size: samples predicted at once.

    Raises:
        FormatError: for data that are not finite. ValueError: for data of other channels or another box, or a grid
            that the operator cannot take.
    """
    run.check_data(data)
    data.check_finite()
    numbers = held_back(run, data) if samples is None else tuple(samples)
    chosen = data.subset(torch.tensor(numbers))
    prediction = predict_in_batches(run.model, _typed(run, chosen.inputs), batch_size=batch_size)
    exact, grid = chosen.outputs.to(prediction), data.grid
    figures: dict[str, Any] = {"n_samples": len(numbers), "grid": list(grid.shape)}
    for name, order in (("relative_l2", 0.0), ("relative_h1", 1.0)):
        summary = error_summary(sample_errors(prediction, exact, grid, order=order))
        figures[name] = {**summary, "worst_sample": numbers[summary["worst_sample"]]}
    names = [f"time {time:g}" for time in run.times[1:]] if run.times else list(data.output_names)
    figures["by_time" if run.times else "by_channel"] = channel_errors(prediction, exact, grid, names)
    figures["by_wavenumber"] = band_errors(prediction, exact, grid)
    return EvaluatedOperator(figures, chosen, prediction, numbers)


def _typed(run: OperatorRun, inputs: torch.Tensor) -> torch.Tensor:
    return inputs.to(next(run.model.parameters()).dtype)
