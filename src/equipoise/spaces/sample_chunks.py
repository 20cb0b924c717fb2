"""Samples in memory or in a file, taken a few megabytes at a time, so that statistics need no more than that."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch

__all__ = ["Samples", "sample_chunks"]

_CHUNK_VALUES = 1 << 21


@runtime_checkable
class Samples(Protocol):
    """Values with samples along the first axis: a tensor, or what reads tensors out of a file."""

    @property
    def shape(self) -> torch.Size:
        """Of all samples."""

    @property
    def dtype(self) -> torch.dtype:
        """Of the values."""

    def __len__(self) -> int: ...

    def __getitem__(self, samples: slice, /) -> torch.Tensor: ...


def sample_chunks(values: Samples) -> Iterator[torch.Tensor]:
    """All samples in order; the chunks depend on the shape alone, so that sums over them do too."""
    step = max(1, _CHUNK_VALUES // max(1, math.prod(values.shape[1:])))
    for first in range(0, len(values), step):
        yield values[first : first + step]
