"""Multilayer perceptrons, and their value and input derivatives in one forward sweep."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import nn

__all__ = ["MultilayerPerceptron", "forward_sweep"]

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"swish": nn.functional.silu, "tanh": torch.tanh}

# Rows of a sweep whose layers stay in the cache of one core.
_ROWS = 1024


class MultilayerPerceptron(nn.Module):
    """Fully connected network with an activation after every layer but the last.

    Args:
        sizes: widths from input to output, such as `(3, 64, 64, 16)`.
        generator: source of the Glorot-uniform weights; biases start at zero.
        activation: `"swish"` or `"tanh"`.
        dtype: of the parameters, float64 by default.
    """

    def __init__(
        self,
        sizes: tuple[int, ...],
        *,
        generator: torch.Generator,
        activation: str = "swish",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(f"sizes={sizes} must hold two or more positive widths.")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation={activation!r} is unknown; use one of {', '.join(ACTIVATIONS)}.")
        self.sizes, self.activation = tuple(sizes), activation
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for inputs, outputs in pairwise(sizes):
            bound = (6 / (inputs + outputs)) ** 0.5
            uniform = torch.rand(inputs, outputs, generator=generator, dtype=torch.float64)
            self.weights.append(nn.Parameter(((2 * uniform - 1) * bound).to(dtype)))
            self.biases.append(nn.Parameter(torch.zeros(outputs, dtype=dtype)))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """`(n, inputs)` to `(n, outputs)`."""
        activate = ACTIVATIONS[self.activation]
        hidden = inputs
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = torch.addmm(bias, hidden, weight)
            if layer < len(self.weights) - 1:
                hidden = activate(hidden)
        return hidden


@torch.no_grad()
def forward_sweep(
    network: MultilayerPerceptron, inputs: torch.Tensor, projection: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """`network(inputs) @ projection` and its derivatives by the inputs, without autograd.

    The derivatives share each layer's matrix product with the value, and a few outputs cost no more than one.

    Args:
        inputs: `(n, v)`. projection: `(outputs, p)`.

    Returns:
        `(n, p)` and `(v, n, p)`; the second is the derivative by input 0, 1, ...
    """
    count, columns = inputs.shape
    weights = [*network.weights[:-1], network.weights[-1] @ projection]
    biases = [*network.biases[:-1], network.biases[-1] @ projection]
    if len(weights) == 1:
        return torch.addmm(biases[0], inputs, weights[0]), weights[0][:, None].expand(-1, count, -1)
    if network.activation == "tanh":
        weights, biases = _as_logistic(weights, biases)
    value = inputs.new_empty(count, projection.shape[1])
    slopes = inputs.new_empty(columns, count, projection.shape[1])
    width, rows = max(network.sizes[1:-1]), min(_ROWS, max(count, 1))
    memory = inputs.new_empty(3, (1 + columns) * rows * width)
    for first in range(0, count, rows):
        part = slice(first, first + rows)
        _sweep(network, inputs[part], weights, biases, memory, value[part], slopes[:, part])
    return value, slopes


def _sweep(
    network: MultilayerPerceptron,
    inputs: torch.Tensor,
    weights: list[torch.Tensor],
    biases: list[torch.Tensor],
    memory: torch.Tensor,
    value: torch.Tensor,
    slopes: torch.Tensor,
) -> None:
    count, streams = len(inputs), 1 + inputs.shape[1]

    def held(place: int, streams: int, width: int) -> torch.Tensor:
        return memory[place, : streams * count * width].view(streams, count, width)

    width = weights[0].shape[1]
    hidden, slope = held(0, streams, width), held(2, 1, width)[0]
    torch.addmm(biases[0], inputs, weights[0], out=hidden[0])
    _activate(network.activation, hidden[0], slope)
    torch.mul(weights[0][:, None], slope, out=hidden[1:])
    for layer, (weight, bias) in enumerate(zip(weights[1:-1], biases[1:-1], strict=True), start=1):
        width = weight.shape[1]
        previous, hidden, slope = hidden, held(layer % 2, streams, width), held(2, 1, width)[0]
        torch.mm(previous.view(-1, weight.shape[0]), weight, out=hidden.view(-1, width))
        hidden[0] += bias
        _activate(network.activation, hidden[0], slope)
        hidden[1:] *= slope
    product = torch.mm(hidden.view(-1, weights[-1].shape[0]), weights[-1]).view(streams, count, -1)
    torch.add(product[0], biases[-1], out=value)
    slopes.copy_(product[1:])


def _activate(activation: str, value: torch.Tensor, slope: torch.Tensor) -> None:
    """Apply the activation in place and write its derivative; for `"tanh"` the logistic function of `_as_logistic`."""
    if activation == "tanh":
        value.sigmoid_()
        torch.addcmul(value, value, value, value=-1, out=slope)
        return
    gate = torch.sigmoid(value)
    value *= gate
    torch.addcmul(gate, value, 1 - gate, out=slope)


def _as_logistic(
    weights: list[torch.Tensor], biases: list[torch.Tensor]
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The same network with the logistic function in place of tanh: `tanh(z) = 2 s(2 z) - 1`, and s is cheaper."""
    inner = [2 * weights[0], *(4 * weight for weight in weights[1:-1]), 2 * weights[-1]]
    shifts = [2 * biases[0]]
    shifts += [2 * (bias - weight.sum(0)) for weight, bias in zip(weights[1:-1], biases[1:-1], strict=True)]
    return inner, [*shifts, biases[-1] - weights[-1].sum(0)]
