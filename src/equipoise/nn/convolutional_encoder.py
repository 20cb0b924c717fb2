"""Strided convolutions that turn a field on one grid into a vector; the branch of a DeepONet for grid inputs."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import nn

from equipoise.nn.initialisation import seeded
from equipoise.nn.perceptron import ACTIVATIONS, MultilayerPerceptron

__all__ = ["ConvolutionalEncoder"]


class ConvolutionalEncoder(nn.Module):
    """Convolutions of stride 2 without padding, each followed by the activation, then dense layers.

    Args:
        shape: of one input, `(channel, *grid)`, in 1, 2 or 3 dimensions.
        channels: of the convolutions. dense: widths of the layers after them, the last being the output.
        kernel: points of the kernels along each axis. activation: see `MultilayerPerceptron`. seed: of the weights.

    Raises:
        ValueError: for a grid that the convolutions shrink to nothing, naming the smallest.

    Source: Lu et al. (2022), Darcy flow: channels (64, 128), kernel 5, dense (128, p).
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        channels: tuple[int, ...],
        dense: tuple[int, ...],
        kernel: int = 5,
        activation: str = "relu",
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        grid = shape[1:]
        if not 1 <= len(grid) <= 3 or not channels or not dense or min(*shape, *channels, *dense, kernel) < 1:
            raise ValueError(f"a convolutional branch reads (channel, *grid) of 1 to 3 axes; shape={shape} is not.")
        least = 1
        for _ in channels:
            least = 2 * (least - 1) + kernel
        if min(grid) < least:
            raise ValueError(f"a grid of {grid} is too small: {len(channels)} convolutions need {least} points.")
        for _ in channels:
            grid = tuple((n - kernel) // 2 + 1 for n in grid)
        kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[len(grid) - 1]
        with seeded(seed):
            widths = (shape[0], *channels)
            self.convolutions = nn.ModuleList(
                kind(inputs, outputs, kernel, stride=2, dtype=dtype) for inputs, outputs in pairwise(widths)
            )
        self.activation = activation
        size = channels[-1] * int(torch.tensor(grid).prod())
        generator = torch.Generator().manual_seed(seed)
        self.dense = MultilayerPerceptron(
            (size, *dense), generator=generator, activation=activation, dtype=dtype, distribution="normal"
        )

    def forward(self, fields: Float[torch.Tensor, "n channel *grid"]) -> Float[torch.Tensor, "n outputs"]:
        """`(n, channel, *grid)` to `(n, dense[-1])`."""
        activate = ACTIVATIONS[self.activation]
        for convolution in self.convolutions:
            fields = activate(convolution(fields))
        return self.dense(fields.flatten(1))
