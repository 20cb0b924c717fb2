"""Trained grid operators in run folders: weights, normalisers, split, settings and the grid they learned on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from equipoise.data.field_dataset import FieldDataset
from equipoise.data.run_folder import metrics_table, read_run_folder, write_run_folder
from equipoise.data.split import Split
from equipoise.errors import FormatError
from equipoise.operators.normalisation import NormalisedOperator, Normaliser
from equipoise.operators.registry import load_operator
from equipoise.spaces.grid import Grid
from equipoise.spaces.sample_chunks import Samples
from equipoise.training.operators import TrainedOperator

__all__ = ["KIND", "OperatorRun", "load_operator_run", "save_operator_run"]

KIND = "grid operator"


@dataclass(frozen=True, eq=False)
class OperatorRun:
    """A trained operator, and what it was trained on.

    Attributes:
        model: from physical inputs to physical outputs, in evaluation mode. name: of the architecture.
        grid, input_grid: that it learned on. input_names, output_names, times: of the data.
        split: sample numbers of the data. fingerprint: of the data. settings: of the training.
    """

    model: NormalisedOperator
    name: str
    grid: Grid
    input_grid: Grid
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    times: tuple[float, ...]
    split: Split
    fingerprint: str
    settings: Mapping[str, Any]

    def check_inputs(self, data: FieldDataset) -> None:
        """Raise `ValueError` for inputs of other channels or another box than the operator was trained on."""
        _check_side("inputs", self.input_names, self.input_grid, data.inputs, data.input_grid or data.grid)

    def check_data(self, data: FieldDataset) -> None:
        """Raise `ValueError` for data of other channels or another box than the operator was trained on."""
        self.check_inputs(data)
        _check_side("outputs", self.output_names, self.grid, data.outputs, data.grid)


def _check_side(side: str, names: Sequence[str], ours: Grid, fields: Samples, grid: Grid) -> None:
    if len(names) != fields.shape[1]:
        raise ValueError(
            f"the data have {fields.shape[1]} channels of {side}; the run has {len(names)}: {_few(names)}."
        )
    if ours.bounds != grid.bounds or ours.wraps != grid.wraps:
        raise ValueError(
            f"the {side} live on the box {grid.bounds}, periodic {grid.wraps}; the run was trained on {ours.bounds}, "
            f"periodic {ours.wraps}."
        )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 6 else f"{', '.join(names[:5])}, ..."


def save_operator_run(
    path: str | Path,
    trained: TrainedOperator,
    data: FieldDataset,
    *,
    name: str,
    settings: Mapping[str, Any] | None = None,
    origins: Mapping[str, str] | None = None,
    card: str = "",
    overwrite: bool = False,
) -> None:
    """Write a run folder, whole or not at all.

    Args:
        path: the folder. trained: by `train_operator`. data: that it was trained on. name: of the architecture.
        settings: how it was trained, plain JSON values. origins: where each of them comes from, such as "default".
        card: text of `card.md`. overwrite: replace a run.

    Raises:
        FileExistsError: if something else is there.
    """
    model = trained.model
    operator: Any = model.operator
    config = {
        "kind": KIND,
        "operator": name,
        "operator_config": operator.config,
        "normalisers": {"inputs": model.inputs.config, "outputs": model.outputs.config},
        "dtype": str(data.outputs.dtype).removeprefix("torch."),
        "grid": _grid_values(data.grid),
        "input_grid": _grid_values(data.input_grid or data.grid),
        "input_names": list(data.input_names),
        "output_names": list(data.output_names),
        "times": list(data.times),
        "data_fingerprint": data.fingerprint,
        "settings": dict(settings or {}),
    }
    tensors = {"weights": dict(model.state_dict())}
    if trained.last is not None:
        tensors["last"] = dict(trained.last)
    texts = {
        "settings.toml": _settings_text(settings or {}, origins or {}),
        "metrics.csv": metrics_table(trained.history.rows),
        "split.json": json.dumps(trained.split.as_lists()),
        "card.md": card or f"# {name}\n",
    }
    write_run_folder(path, config=config, tensors=tensors, texts=texts, overwrite=overwrite)


def load_operator_run(path: str | Path, *, device: torch.device | str = "cpu") -> OperatorRun:
    """Read a run folder of a grid operator; no code in it is run.

    Raises:
        FileNotFoundError: if there is none. FormatError: for one that is damaged, or holds another kind of model.
    """
    path = Path(path)
    config, tensors = read_run_folder(path)
    if config.get("kind") != KIND:
        raise FormatError(f"{path} holds a model of the kind {config.get('kind')!r}; expected a {KIND}.")
    try:
        operator = load_operator(config["operator"], config["operator_config"])
        sides = [
            Normaliser(kind=side["kind"], shape=tuple(side["shape"]))
            for side in (config["normalisers"]["inputs"], config["normalisers"]["outputs"])
        ]
        model = NormalisedOperator(operator, *sides).to(getattr(torch, config["dtype"]))
        model.load_state_dict(tensors["weights"])
        split = Split.from_lists(json.loads((path / "split.json").read_text()))
        run = OperatorRun(
            model=model.to(device).eval(),
            name=config["operator"],
            grid=_grid_of(config["grid"]),
            input_grid=_grid_of(config["input_grid"]),
            input_names=tuple(config["input_names"]),
            output_names=tuple(config["output_names"]),
            times=tuple(config["times"]),
            split=split,
            fingerprint=config["data_fingerprint"],
            settings=config["settings"],
        )
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise FormatError(f"the configuration and the weights of {path} don't fit each other: {error}.") from error
    return run


def _grid_values(grid: Grid) -> dict[str, Any]:
    return {"shape": list(grid.shape), "bounds": [list(ends) for ends in grid.bounds], "periodic": list(grid.wraps)}


def _grid_of(values: Mapping[str, Any]) -> Grid:
    bounds = tuple((float(low), float(high)) for low, high in values["bounds"])
    return Grid(tuple(values["shape"]), bounds, tuple(values["periodic"]))


def _settings_text(settings: Mapping[str, Any], origins: Mapping[str, str]) -> str:
    """TOML with the origin of each value; what is not set is a comment, as TOML has no word for it."""
    lines = []
    for key, value in settings.items():
        origin = f"  # {origins[key]}" if key in origins else ""
        lines.append(f"# {key} is not set{origin}" if value is None else f"{key} = {_toml(value)}{origin}")
    return "\n".join([*lines, ""])


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }" if value else "{}"
    return json.dumps(value)
