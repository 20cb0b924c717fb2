"""Fields brought to zero mean and unit spread for a network, and back; fitted on training data, kept in checkpoints.

The statistics are buffers of the model, so that a run folder holds them and `predict` needs nothing else.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import nn

from equipoise.spaces.sample_chunks import Samples, sample_chunks

__all__ = ["KINDS", "NormalisedOperator", "Normaliser"]

KINDS = ("none", "scalar", "channel", "point")


class Normaliser(nn.Module):
    """`(u - mean) / std`, with statistics per nothing, all, channel or point.

    Args:
        kind: `"none"` leaves fields as they are; `"scalar"` has one mean and spread for all channels; `"channel"` one
            for each; `"point"` one for each channel and point, which ties it to one grid.
        shape: of one sample, `(channel, *grid)`; sets the shapes of the statistics.

    Raises:
        ValueError: for an unknown kind.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, *, kind: str = "channel", shape: tuple[int, ...]) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"normaliser {kind!r} is unknown; use one of {', '.join(KINDS)}.")
        self.config: dict[str, Any] = {"kind": kind, "shape": tuple(shape)}
        ones = (1,) * (len(shape) - 1)
        statistics = {"none": (1, *ones), "scalar": (1, *ones), "channel": (shape[0], *ones), "point": shape}[kind]
        self.register_buffer("mean", torch.zeros(statistics))
        self.register_buffer("std", torch.ones(statistics))

    @classmethod
    @torch.no_grad()
    def fit(cls, fields: Samples, *, kind: str = "channel") -> Normaliser:
        """Statistics of training fields, kept in their dtype; a constant channel or point keeps unit spread.

        Args:
            fields: `(n, channel, *grid)`, a tensor or in a file; gone through once, a few megabytes at a time.
            kind: see `Normaliser`.

        Raises:
            ValueError: for no samples, or values that are not finite.
        """
        if len(fields) == 0:
            raise ValueError("a normaliser needs at least one training sample.")
        normaliser = cls(kind=kind, shape=tuple(fields.shape[1:])).to(fields.dtype)
        if kind == "none":
            return normaliser
        std, mean = _spread_and_mean(fields, kind)
        # Round-off of a constant is not a spread.
        floor = 1e-7 * mean.abs()
        std = torch.where(std > floor, std, torch.ones_like(std))
        normaliser.mean.copy_(mean[0])
        normaliser.std.copy_(std[0])
        return normaliser

    def forward(self, fields: Float[torch.Tensor, "n channel *grid"]) -> Float[torch.Tensor, "n channel *grid"]:
        """Physical to normalised units.

        Raises:
            ValueError: for another number of channels, or another grid where the statistics are per point.
        """
        if self.config["kind"] == "none":
            return fields
        self._check(fields)
        return (fields - self.mean) / self.std

    def inverse(self, fields: Float[torch.Tensor, "n channel *grid"]) -> Float[torch.Tensor, "n channel *grid"]:
        """Normalised to physical units; the same errors as `forward`."""
        if self.config["kind"] == "none":
            return fields
        self._check(fields)
        return fields * self.std + self.mean

    def _check(self, fields: torch.Tensor) -> None:
        shape = self.config["shape"]
        if fields.ndim != 1 + len(shape) or fields.shape[1] != shape[0]:
            raise ValueError(
                f"fields of shape {tuple(fields.shape)} do not fit a normaliser of {shape[0]} channels on "
                f"{len(shape) - 1} axes."
            )
        if self.config["kind"] == "point" and tuple(fields.shape[2:]) != tuple(shape[1:]):
            raise ValueError(
                f"fields on the grid {tuple(fields.shape[2:])} do not fit a normaliser fitted point by point on "
                f"{tuple(shape[1:])}; evaluate on that grid, or train with the normaliser 'channel'."
            )


def _spread_and_mean(fields: Samples, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Of all samples in one pass, by merging those of chunks (Chan, Golub and LeVeque, 1983)."""
    dim = len(fields.shape)
    axes = {"scalar": tuple(range(dim)), "channel": (0, *range(2, dim)), "point": (0,)}[kind]
    seen = 0
    mean = squares = torch.zeros(())
    for chunk in sample_chunks(fields):
        if not bool(torch.isfinite(chunk).all()):
            raise ValueError("the training fields of a normaliser hold values that are not finite.")
        variance, own = torch.var_mean(chunk.double(), dim=axes, correction=0, keepdim=True)
        if seen == 0:
            mean, squares = own, variance * len(chunk)
        else:
            share, change = len(chunk) / (seen + len(chunk)), own - mean
            squares = squares + variance * len(chunk) + change.square() * seen * share
            mean = mean + share * change
        seen += len(chunk)
    return (squares / seen).sqrt(), mean


class NormalisedOperator(nn.Module):
    """A grid operator between normalisers: physical units in, physical units out.

    Args:
        operator: maps normalised inputs to normalised outputs.
        inputs, outputs: of the two sides.
    """

    def __init__(self, operator: nn.Module, inputs: Normaliser, outputs: Normaliser) -> None:
        super().__init__()
        self.operator, self.inputs, self.outputs = operator, inputs, outputs

    def forward(self, inputs: Float[torch.Tensor, "n channel *grid"]) -> Float[torch.Tensor, "n outputs *grid"]:
        """Answers in physical units, `(n, channel, *grid)`.

        Raises:
            ValueError: for inputs on another device or of another dtype than the model.
        """
        mean = self.inputs.mean
        if inputs.device != mean.device or inputs.dtype != mean.dtype:
            raise ValueError(
                f"inputs are {inputs.dtype} on {inputs.device} and the model is {mean.dtype} on {mean.device}; "
                "move one to the other with .to(...)."
            )
        return self.outputs.inverse(self.operator(self.inputs(inputs)))
