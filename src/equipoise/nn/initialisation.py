"""Reproducible initial weights from a seed, without touching torch's global generator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["seeded"]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Layers built inside draw their initial weights from this seed; the global generator is left as it was.

    Raises:
        ValueError: for a negative seed.
    """
    if seed < 0:
        raise ValueError(f"seed={seed} must not be negative.")
    with torch.random.fork_rng(devices=[]):
        # The CPU's generator alone: `torch.manual_seed` would also set those of accelerators, which are not forked.
        torch.default_generator.manual_seed(seed)
        yield
