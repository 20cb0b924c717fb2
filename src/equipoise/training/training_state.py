"""The state of an interrupted training: tensors in a safetensors file, everything else in JSON within it; no pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from equipoise.data.whole_files import write_whole
from equipoise.errors import FormatError

__all__ = ["TrainingState", "load_training_state", "save_training_state"]

_VERSION = "2"


@dataclass(frozen=True)
class TrainingState:
    """What `save_training_state` wrote.

    Attributes:
        weights: at the checkpoint. optimiser: its state. random_state: of torch's generator on the CPU.
        progress: plain values. best: weights at the best validation, or `None`.
    """

    weights: dict[str, torch.Tensor]
    optimiser: dict[str, Any]
    random_state: torch.Tensor
    progress: dict[str, Any]
    best: dict[str, torch.Tensor] | None


def save_training_state(
    path: Path,
    weights: Mapping[str, torch.Tensor],
    optimiser: Mapping[str, Any],
    random_state: torch.Tensor,
    progress: Mapping[str, Any],
    *,
    best: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write what a training needs to go on; the file appears when it is whole. See `TrainingState`."""
    tensors: dict[str, torch.Tensor] = {}
    whole = {
        "weights": dict(weights),
        "optimiser": dict(optimiser),
        "random_state": random_state,
        "best": None if best is None else dict(best),
    }
    skeleton = _flatten(whole, tensors)
    metadata = {"version": _VERSION, "skeleton": json.dumps(skeleton), "progress": json.dumps(dict(progress))}
    write_whole(path, save({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, metadata))


def load_training_state(path: Path) -> TrainingState:
    """Read what `save_training_state` wrote.

    Raises:
        FileNotFoundError: if there is no such file. FormatError: for a file that is damaged or of another version.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no training state at {path} to resume from.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{path} is damaged: {error}.") from error
    if metadata.get("version") != _VERSION:
        raise FormatError(f"{path} is not a training state of version {_VERSION}.")
    whole = _restore(json.loads(metadata["skeleton"]), tensors)
    return TrainingState(**whole, progress=json.loads(metadata["progress"]))


def _flatten(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """Replace tensors by references into `tensors`; what remains is JSON."""
    if isinstance(value, torch.Tensor):
        name = f"t{len(tensors)}"
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, Mapping):
        pairs = [[key, isinstance(key, int), _flatten(item, tensors)] for key, item in value.items()]
        return {"mapping": pairs}
    if isinstance(value, list | tuple):
        return {"tuple" if isinstance(value, tuple) else "list": [_flatten(item, tensors) for item in value]}
    return {"plain": value}


def _restore(skeleton: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    (kind, value), *_ = skeleton.items()
    if kind == "tensor":
        # A copy of its own: the place of a tensor in the file decides the last bit of products with it.
        return tensors[value].clone()
    if kind == "mapping":
        return {int(key) if is_integer else key: _restore(item, tensors) for key, is_integer, item in value}
    if kind in ("list", "tuple"):
        items = [_restore(item, tensors) for item in value]
        return tuple(items) if kind == "tuple" else items
    return value
