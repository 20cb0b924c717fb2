"""Trained direction networks in run folders: one for every size that the training went through."""

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
    """Networks for several sizes.

    Attributes:
        networks: by cells along a side. settings: of the training.
    """

    networks: Mapping[int, DirectionNet]
    settings: Mapping[str, Any]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Cells along a side of the grids that there are networks for, in ascending order."""
        return tuple(sorted(self.networks))

    @property
    def dim(self) -> int:
        """Axes of the grids."""
        return int(self.networks[self.sizes[0]].config["dim"])

    def trained_at(self, size: int) -> int:
        """The size whose network serves a grid of `size` cells along each side: the nearest on a logarithmic scale."""
        return min(self.sizes, key=lambda n: max(n / size, size / n))

    def network(self, size: int | None = None) -> DirectionNet:
        """The network for this size, by default for the largest that was trained at."""
        return self.networks[self.sizes[-1] if size is None else self.trained_at(size)]


def save_direction_run(
    path: str | Path,
    trained: TrainedDirections,
    *,
    settings: Mapping[str, Any] | None = None,
    earlier: Mapping[int, DirectionNet] | None = None,
    card: str = "",
    overwrite: bool = False,
) -> None:
    """Write a run folder, whole or not at all.

    Args:
        path: the folder. trained: by `train_directions`. settings: how, plain JSON values.
        earlier: networks of other sizes to keep with them, such as those that the training started from.
        card: text of `card.md`. overwrite: replace a run.

    Raises:
        FileExistsError: if something else is there.
    """
    networks = {**(earlier or {}), **trained.networks}
    config = {
        "kind": KIND,
        "networks": {str(size): network.config for size, network in sorted(networks.items())},
        "iterations": {str(size): value for size, value in trained.iterations.items()},
        "settings": dict(settings or {}),
    }
    tensors = {f"size-{size}": network.state_dict() for size, network in networks.items()}
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
        networks: dict[int, DirectionNet] = {}
        for size, options in config["networks"].items():
            network = DirectionNet(**options)
            network.load_state_dict(tensors[f"size-{size}"])
            networks[int(size)] = network.to(device)
        run = DirectionRun(networks, dict(config["settings"]))
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise FormatError(f"the configuration and the weights of {path} don't fit each other: {error}.") from error
    return run
