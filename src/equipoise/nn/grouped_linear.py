"""Several perceptrons of one shape, evaluated together: one weight with a group axis in place of a list of modules."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import nn

from equipoise.nn.perceptron import ACTIVATIONS

__all__ = ["GroupedPerceptron"]


class GroupedPerceptron(nn.Module):
    """`groups` independent perceptrons that read the same inputs.

    Args:
        groups: number of networks. sizes: widths of each, from input to output.
        generator, activation, dtype, distribution, last_activation: see `MultilayerPerceptron`; one group has the
            weights of that class.
    """

    def __init__(
        self,
        groups: int,
        sizes: tuple[int, ...],
        *,
        generator: torch.Generator,
        activation: str = "swish",
        dtype: torch.dtype = torch.float64,
        distribution: str = "uniform",
        last_activation: bool = False,
    ) -> None:
        super().__init__()
        if groups < 1 or len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(f"groups={groups} and sizes={sizes} must hold one group and two widths, all positive.")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation={activation!r} is unknown; use one of {', '.join(ACTIVATIONS)}.")
        if distribution not in ("uniform", "normal"):
            raise ValueError(f"distribution={distribution!r} is unknown; use 'uniform' or 'normal'.")
        self.groups, self.sizes = groups, tuple(sizes)
        self.activation, self.last_activation = activation, last_activation
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for inputs, outputs in pairwise(sizes):
            shape = (groups, inputs, outputs)
            if distribution == "normal":
                weight = torch.randn(shape, generator=generator, dtype=torch.float64) * (2 / (inputs + outputs)) ** 0.5
            else:
                uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
                weight = (2 * uniform - 1) * (6 / (inputs + outputs)) ** 0.5
            self.weights.append(nn.Parameter(weight.to(dtype)))
            self.biases.append(nn.Parameter(torch.zeros(groups, 1, outputs, dtype=dtype)))

    def forward(self, inputs: Float[torch.Tensor, "n inputs"]) -> Float[torch.Tensor, "n groups outputs"]:
        """`(n, inputs)` to `(n, groups, outputs)`."""
        activate = ACTIVATIONS[self.activation]
        last = len(self.weights) - 1
        # The first layer of all groups is one matrix product, because they read the same.
        first = inputs @ self.weights[0].permute(1, 0, 2).flatten(1)
        hidden = first.view(inputs.shape[0], self.groups, -1).transpose(0, 1) + self.biases[0]
        if last > 0 or self.last_activation:
            hidden = activate(hidden)
        for layer in range(1, len(self.weights)):
            hidden = torch.baddbmm(self.biases[layer], hidden, self.weights[layer])
            if layer < last or self.last_activation:
                hidden = activate(hidden)
        return hidden.transpose(0, 1)
