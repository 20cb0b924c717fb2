"""Training that starts with few Fourier modes and takes in more as it goes on."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

__all__ = ["RisingModes"]

_SHARE = 0.5


class RisingModes:
    """Raises the modes in use from some to all over the first half of a training, as a function of the step alone.

    Low frequencies are learned first, and the first steps are cheaper.

    Args:
        operator: with `use_modes` and `n_modes` in its configuration, such as an FNO.
        first: modes along each axis to begin with, at most all.

    Raises:
        ValueError: for an operator without modes to raise, or a number that is not positive.

    Source: George, Zhao, Kossaifi, Li and Anandkumar (2024), with a fixed schedule in place of their criteria.
    """

    def __init__(self, operator: nn.Module, first: int) -> None:
        named: Any = operator
        self._operator = named
        if not hasattr(operator, "use_modes"):
            raise ValueError(
                f"{type(operator).__name__} has no modes to raise; first_modes belongs to Fourier operators."
            )
        if first < 1:
            raise ValueError(f"first_modes={first} must be at least 1.")
        self.all: tuple[int, ...] = tuple(named.config["n_modes"])
        self.first = tuple(min(first, modes) for modes in self.all)

    @staticmethod
    def steps(steps: int) -> int:
        """Steps of a training before all modes are in use."""
        return math.ceil(_SHARE * steps)

    def __call__(self, step: int, steps: int) -> None:
        """Set the modes of a step, counted from zero, of so many."""
        share = min(1.0, step / max(1, self.steps(steps)))
        modes = tuple(a + math.floor(share * (b - a)) for a, b in zip(self.first, self.all, strict=True))
        if self._operator.config.get("active_modes") != modes:
            self._operator.use_modes(modes)
