"""Trained direction networks in run folders: the weights of every size that they were trained at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from equipoise.data.run_folder import metrics_table, read_run_folder, write_run_folder
from equipoise.errors import FormatError
from equipoise.operators.direction_net import DirectionNet
from equipoise.training.learned_directions import TrainedDirections

__all__ = ["KIND", "DirectionRun", "load_direction_run", "save_direction_run"]

KIND = "search directions"


@dataclass(frozen=True, eq=False)
class DirectionRun:
    """A network with weights for several sizes.

    Attributes:
        config: of the network. weights: by cells along a side. settings: of the training. device: of the networks.
    """

    config: Mapping[str, Any]
    weights: Mapping[int, Mapping[str, torch.Tensor]]
    settings: Mapping[str, Any]
    device: torch.device | str = "cpu"

    @property
    def sizes(self) -> tuple[int, ...]:
        """Cells along a side of the grids that there are weights for, in ascending order."""
        return tuple(sorted(self.weights))

    def trained_at(self, size: int) -> int:
        """The size whose weights serve a grid of `size` cells along each side: the nearest on a logarithmic scale."""
        return min(self.sizes, key=lambda n: max(n / size, size / n))

    def network(self, size: int | None = None) -> DirectionNet:
        """A network for this size, by default for the largest that it was trained at; ready to be used or trained."""
        network = DirectionNet(**self.config)
        network.load_state_dict(self.weights[self.sizes[-1] if size is None else self.trained_at(size)])
        return network.to(self.device)


def save_direction_run(
    path: str | Path,
    trained: TrainedDirections,
    *,
    settings: Mapping[str, Any] | None = None,
    earlier: Mapping[int, Mapping[str, torch.Tensor]] | None = None,
    card: str = "",
    overwrite: bool = False,
) -> None:
    """Write a run folder, whole or not at all.

    Args:
        path: the folder. trained: by `train_directions`. settings: how, plain JSON values.
        earlier: weights of other sizes to keep with them, such as those that the training started from.
        card: text of `card.md`. overwrite: replace a run.

    Raises:
        FileExistsError: if something else is there.
    """
    weights = {**(earlier or {}), **trained.weights}
    config = {
        "kind": KIND,
        "network_config": trained.network.config,
        "sizes": sorted(weights),
        "iterations": {str(size): value for size, value in trained.iterations.items()},
        "settings": dict(settings or {}),
    }
    tensors: dict[str, Mapping[str, torch.Tensor]] = {f"size-{size}": group for size, group in weights.items()}
    tensors["weights"] = trained.network.state_dict()
    texts = {"metrics.csv": metrics_table(trained.rows), "card.md": card or "# dcdm\n"}
    write_run_folder(path, config=config, tensors=tensors, texts=texts, overwrite=overwrite)


def load_direction_run(path: str | Path, *, device: torch.device | str = "cpu") -> DirectionRun:
    """Read a run folder of a direction network; no code in it is run.

    Raises:
        FileNotFoundError: if there is none. FormatError: for one that is damaged, or holds another kind of model.
    """
    config, tensors = read_run_folder(path)
    if config.get("kind") != KIND:
        raise FormatError(f"{path} holds a model of the kind {config.get('kind')!r}; expected {KIND}.")
    try:
        weights = {int(size): tensors[f"size-{size}"] for size in config["sizes"]}
        run = DirectionRun(dict(config["network_config"]), weights, dict(config["settings"]), device)
        for size in run.sizes:
            run.network(size)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise FormatError(f"the configuration and the weights of {path} don't fit each other: {error}.") from error
    return run
