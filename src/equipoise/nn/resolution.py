"""The resolution that a converted network works at: its training grid, the grid of the field at hand, and their ratio.

Converted layers share one such object, because ordinary networks hand fields alone from layer to layer. A level of the
network with fewer points than its input keeps the same ratio to the level that it had in training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float

from equipoise.nn.band_limited_pooling import resample_grid
from equipoise.spaces.grid import Grid

__all__ = ["Resolution", "every"]

_TOLERANCE = 1e-9


def every(
    field: Float[torch.Tensor, "batch channels *grid"], steps: Sequence[int]
) -> Float[torch.Tensor, "batch channels *coarse"]:
    """Values at every so-manieth point along each axis, from the first."""
    for axis, step in enumerate(steps):
        index = torch.arange(0, field.shape[2 + axis], step, device=field.device)
        field = field if step == 1 else field.index_select(2 + axis, index)
    return field


class Resolution:
    """Training grid, current grid, and the ratio of their numbers of intervals.

    Args:
        training: grid that the network was, or would be, trained on.

    Attributes:
        current: grid of the field at hand. is_inside: whether a converted layer is at work.
    """

    def __init__(self, training: Grid) -> None:
        self.training = self.current = training
        self.is_inside = False

    @property
    def ratios(self) -> tuple[float, ...]:
        """Intervals of the current grid over those of the training grid, along each axis: `h_train / h`."""
        return tuple(now / then for now, then in zip(self.current.intervals, self.training.intervals, strict=True))

    @property
    def whole_ratios(self) -> tuple[int, ...] | None:
        """The ratios where all are whole, else `None`."""
        if any(abs(ratio - round(ratio)) > _TOLERANCE for ratio in self.ratios):
            return None
        return tuple(round(ratio) for ratio in self.ratios)

    @property
    def is_training(self) -> bool:
        """Whether the current grid is the training grid."""
        return self.current.shape == self.training.shape

    @contextmanager
    def at(self, shape: Sequence[int]) -> Iterator[None]:
        """Work at another number of points for a while."""
        before = self.current
        self.current = self.training.resized(shape)
        try:
            yield
        finally:
            self.current = before

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Mark that a converted layer is at work, whose own calls are not to be converted again."""
        before, self.is_inside = self.is_inside, True
        try:
            yield
        finally:
            self.is_inside = before

    def check_stride(self, shape: Sequence[int], strides: Sequence[int]) -> None:
        """Raise `ValueError` for a level that its stride doesn't divide as in training, naming points that it would."""
        training = self.level(shape, to_training=True)
        for axis, (count, stride) in enumerate(zip(shape, strides, strict=True)):
            if not self.training.wraps[axis] or count % stride == 0 or training[axis] % stride:
                continue
            now = self.current.shape[axis]
            multiple = stride * max(1, round(now / count))
            raise ValueError(
                f"{now} points along axis {axis} are {count} at a level that has a stride of {stride}; take a multiple "
                f"of {multiple}."
            )

    def level(self, shape: Sequence[int], *, to_training: bool) -> tuple[int, ...]:
        """Points of a level of the current grid in training, or of a level of the training grid now."""
        counts = []
        for count, ratio, wraps in zip(shape, self.ratios, self.training.wraps, strict=True):
            factor = 1 / ratio if to_training else ratio
            counts.append(max(1, round(count * factor) if wraps else round((count - 1) * factor) + 1))
        return tuple(counts)

    def at_training_spacing(
        self,
        layer: Callable[[torch.Tensor], torch.Tensor],
        inputs: Float[torch.Tensor, "batch channels *grid"],
    ) -> Float[torch.Tensor, "batch filters *out"]:
        """Apply a layer that belongs to one spacing: values at training points, the layer, and interpolation back.

        Where the ratio is whole the values are a subset of those at hand; elsewhere they are interpolated.
        """
        if self.is_training:
            return layer(inputs)
        shape = tuple(inputs.shape[2:])
        coarse, whole = self.level(shape, to_training=True), self.whole_ratios
        box = Grid(shape, (), self.training.periodic)
        is_subset = whole is not None and all(
            count == (coarser * ratio if wraps else (coarser - 1) * ratio + 1)
            for count, coarser, ratio, wraps in zip(shape, coarse, whole, self.training.wraps, strict=True)
        )
        values = every(inputs, whole) if whole is not None and is_subset else resample_grid(inputs, box, coarse)
        outputs = layer(values)
        grid = Grid(tuple(outputs.shape[2:]), (), self.training.periodic)
        return resample_grid(outputs, grid, self.level(tuple(outputs.shape[2:]), to_training=False))

    def scaled(self, counts: Sequence[int], what: str) -> list[int]:
        """Numbers of training points at the current spacing.

        Raises:
            ValueError: where one is not whole, naming resolutions for which all are.
        """
        scaled = []
        for count, ratio, training in zip(counts, self.ratios, self.training.intervals, strict=True):
            value = count * ratio
            if abs(value - round(value)) > 1e-6:
                step = training // math.gcd(training, abs(count))
                raise ValueError(
                    f"{what} of {count} points is not whole at the resolution {self.current.shape}; use a multiple of "
                    f"{step} intervals."
                )
            scaled.append(round(value))
        return scaled
