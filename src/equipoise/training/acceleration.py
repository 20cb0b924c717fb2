"""One process in full precision, or several processes and mixed precision through `accelerate`.

The trainer asks this object for what differs: the wrapped model, the backward pass, clipping, and its part of a batch.
`accelerate` is imported only where several processes or another precision are asked for.
"""

from __future__ import annotations

import atexit
import os
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import distributed, nn

__all__ = ["PRECISIONS", "Acceleration", "accelerate"]

PRECISIONS = ("full", "bf16", "fp16")


class Acceleration:
    """One process in full precision.

    Attributes:
        processes: number of processes that train together. index: of this one.
    """

    processes: int = 1
    index: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and reports."""
        return self.index == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """What the objective is to call in place of the model."""
        return model

    def optimiser(self, optimiser: torch.optim.Optimizer) -> Any:
        """What is to step in place of the optimiser."""
        return optimiser

    def part(self, *, last: bool) -> AbstractContextManager[None]:
        """Around forward and backward of one part of a step; gradients of all processes are averaged at the last."""
        return nullcontext()

    def backward(self, loss: torch.Tensor) -> None:
        """Add gradients."""
        loss.backward()

    def clip(self, model: nn.Module, norm: float) -> None:
        """Bound the norm of the gradient."""
        torch.nn.utils.clip_grad_norm_(model.parameters(), norm)

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """Average over the processes."""
        return value


def _leave_process_group() -> None:
    """End the group of processes while the interpreter still runs.

    A thread of the group that lets go of its last tensor only while the interpreter shuts down ends the process with
    SIGABRT (PyTorch, pull request 179291). The group lives on in whoever still holds the wrapped model, so that ending
    it does not wait for its threads: the pause does, and gives them the interpreter's lock.
    """
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
        time.sleep(0.1)


class _Accelerated(Acceleration):
    """Several processes, or mixed precision."""

    def __init__(self, precision: str, device: torch.device) -> None:
        try:
            from accelerate import Accelerator
            from accelerate.state import AcceleratorState
        except ImportError as error:
            raise ImportError(
                "several processes and mixed precision need the package accelerate: "
                "pip install 'equipoise[distributed]'."
            ) from error
        kind = "no" if precision == "full" else precision
        # The package keeps one precision and one device a process; an earlier training may have had others.
        AcceleratorState._reset_state(reset_partial_state=int(os.environ.get("WORLD_SIZE", "1")) == 1)
        self._accelerator: Any = Accelerator(mixed_precision=kind, cpu=device.type == "cpu")
        self.processes, self.index = self._accelerator.num_processes, self._accelerator.process_index
        self._model: nn.Module | None = None
        if self.processes > 1:
            atexit.unregister(_leave_process_group)
            atexit.register(_leave_process_group)

    def wrap(self, model: nn.Module) -> nn.Module:
        self._model = self._accelerator.prepare_model(model)
        return self._model

    def optimiser(self, optimiser: torch.optim.Optimizer) -> Any:
        return self._accelerator.prepare_optimizer(optimiser)

    def part(self, *, last: bool) -> AbstractContextManager[None]:
        if last or self._model is None:
            return nullcontext()
        return self._accelerator.no_sync(self._model)

    def backward(self, loss: torch.Tensor) -> None:
        self._accelerator.backward(loss)

    def clip(self, model: nn.Module, norm: float) -> None:
        self._accelerator.clip_grad_norm_(model.parameters(), norm)

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        return self._accelerator.reduce(value, reduction="mean")


def accelerate(precision: str = "full", device: torch.device | str = "cpu") -> Acceleration:
    """What the environment and the precision ask for; `torchrun` sets the number of processes.

    Args:
        precision: `"full"`, `"bf16"` or `"fp16"` (with scaled gradients; on a GPU only).

    Raises:
        ValueError: for an unknown precision, or `"fp16"` without a GPU. ImportError: where `accelerate` is missing.
    """
    device = torch.device(device)
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r} is unknown; use one of {', '.join(PRECISIONS)}.")
    if precision == "fp16" and device.type == "cpu":
        raise ValueError("precision 'fp16' needs a GPU; use 'bf16' or 'full' on a CPU.")
    if precision == "full" and int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Acceleration()
    return _Accelerated(precision, device)
