"""Which samples train, validate and test: drawn once from a seed, and recorded by index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

__all__ = ["Split"]


@dataclass(frozen=True)
class Split:
    """Numbers of the samples of each part, without overlap.

    Attributes:
        train, validation, test: sample numbers, sorted. Validation and test may be empty.

    Raises:
        ValueError: for an empty training part, a number twice, or a negative number.
    """

    train: tuple[int, ...]
    validation: tuple[int, ...] = ()
    test: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("train", "validation", "test"):
            object.__setattr__(self, name, tuple(sorted(int(number) for number in getattr(self, name))))
        if not self.train:
            raise ValueError("the training part of the split is empty; give it at least one sample.")
        numbers = [*self.train, *self.validation, *self.test]
        if min(numbers) < 0:
            raise ValueError(f"sample {min(numbers)} of the split is negative.")
        if len(set(numbers)) != len(numbers):
            twice = next(number for number in numbers if numbers.count(number) > 1)
            raise ValueError(f"sample {twice} is in the split twice.")

    @classmethod
    def random(cls, count: int, *, validation: float = 0.1, test: float = 0.1, seed: int = 0) -> Split:
        """Draw a split of `count` samples by shares; each share that is not zero gets at least one sample.

        Raises:
            ValueError: for shares outside `[0, 1)`, or that leave nothing to train on.
        """
        for name, share in (("validation", validation), ("test", test)):
            if not 0 <= share < 1:
                raise ValueError(f"the {name} share {share} must be in [0, 1).")
        held = [0 if share == 0 else max(1, round(share * count)) for share in (validation, test)]
        if sum(held) >= count:
            raise ValueError(
                f"{count} samples leave none to train on after {held[0]} for validation and {held[1]} for testing."
            )
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
        first, second = held[0], held[0] + held[1]
        return cls(tuple(order[second:]), tuple(order[:first]), tuple(order[first:second]))

    def check_count(self, count: int) -> None:
        """Raise `ValueError` where a sample lies outside a set of `count` samples."""
        highest = max([*self.train, *self.validation, *self.test])
        if highest >= count:
            raise ValueError(f"the split names sample {highest}; the data have {count} samples.")

    def as_lists(self) -> dict[str, list[int]]:
        """Plain JSON values."""
        return {"train": list(self.train), "validation": list(self.validation), "test": list(self.test)}

    @classmethod
    def from_lists(cls, values: Mapping[str, Sequence[int]]) -> Split:
        """What `as_lists` gave."""
        return cls(*(tuple(values[name]) for name in ("train", "validation", "test")))
