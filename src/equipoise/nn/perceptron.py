"""Multilayer perceptrons, and their value and input derivatives in one forward sweep."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice, pairwise

import torch
from jaxtyping import Float
from torch import nn

__all__ = ["MultilayerPerceptron", "forward_sweep"]

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "swish": nn.functional.silu,
    "tanh": torch.tanh,
    "gelu": nn.functional.gelu,
    "relu": torch.relu,
}

_SWEPT = ("swish", "tanh")

# Rows of a sweep: enough to make up for the calls, few enough for the caches.
_ROWS = 2500


class MultilayerPerceptron(nn.Module):
    """Fully connected network with an activation after every layer, but after the last only if asked.

    Args:
        sizes: widths from input to output, such as `(3, 64, 64, 16)`.
        generator: source of the weights; biases start at zero.
        activation: `"swish"`, `"tanh"`, `"gelu"` or `"relu"`.
        dtype: of the parameters, float64 by default.
        distribution: of the initial weights, `"uniform"` or `"normal"`, of the variance of Glorot and Bengio (2010).
        last_activation: whether the last layer is followed by the activation too.
        has_bias: without, biases are zero and stay so; with `"tanh"` the network is then odd, `net(-x) = -net(x)`.
    """

    def __init__(
        self,
        sizes: tuple[int, ...],
        *,
        generator: torch.Generator,
        activation: str = "swish",
        dtype: torch.dtype = torch.float64,
        distribution: str = "uniform",
        last_activation: bool = False,
        has_bias: bool = True,
    ) -> None:
        super().__init__()
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(f"sizes={sizes} must hold two or more positive widths.")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation={activation!r} is unknown; use one of {', '.join(ACTIVATIONS)}.")
        if distribution not in ("uniform", "normal"):
            raise ValueError(f"distribution={distribution!r} is unknown; use 'uniform' or 'normal'.")
        self.sizes, self.activation, self.last_activation = tuple(sizes), activation, last_activation
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for inputs, outputs in pairwise(sizes):
            if distribution == "normal":
                spread = (2 / (inputs + outputs)) ** 0.5
                weight = spread * torch.randn(inputs, outputs, generator=generator, dtype=torch.float64)
            else:
                bound = (6 / (inputs + outputs)) ** 0.5
                weight = (2 * torch.rand(inputs, outputs, generator=generator, dtype=torch.float64) - 1) * bound
            self.weights.append(nn.Parameter(weight.to(dtype)))
            self.biases.append(nn.Parameter(torch.zeros(outputs, dtype=dtype), requires_grad=has_bias))

    def forward(self, inputs: Float[torch.Tensor, "n inputs"]) -> Float[torch.Tensor, "n outputs"]:
        """`(n, inputs)` to `(n, outputs)`."""
        hidden = self._layers(inputs, len(self.sizes) - 1)
        return ACTIVATIONS[self.activation](hidden) if self.last_activation else hidden

    def features(self, inputs: Float[torch.Tensor, "n inputs"]) -> Float[torch.Tensor, "n features"]:
        """What the last layer reads: the activated last hidden layer, `(n, inputs)` to `(n, sizes[-2])`."""
        last = len(self.sizes) - 2
        hidden = self._layers(inputs, last)
        return ACTIVATIONS[self.activation](hidden) if last else hidden

    def _layers(self, inputs: torch.Tensor, count: int) -> torch.Tensor:
        """The first so many layers, without the activation after the last of them."""
        activate, hidden = ACTIVATIONS[self.activation], inputs
        # Iterating over a list of parameters looks each up by its name, which small networks notice. Its dictionary is
        # typed to hold None as well, and never does here.
        layers = zip(self.weights._parameters.values(), self.biases._parameters.values(), strict=True)
        for layer, (weight, bias) in enumerate(islice(layers, count)):
            hidden = torch.addmm(bias, activate(hidden) if layer else hidden, weight)  # type: ignore[arg-type]
        return hidden


@torch.no_grad()
def forward_sweep(
    network: MultilayerPerceptron, inputs: torch.Tensor, projection: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """`network(inputs) @ projection` and its derivatives by the inputs, without autograd.

    The derivatives are carried from layer to layer beside the value, and a few outputs cost no more than one.

    Args:
        inputs: `(n, v)`. projection: `(outputs, p)`.

    Returns:
        `(n, p)` and `(v, n, p)`; the second is the derivative by input 0, 1, ...

    Raises:
        ValueError: for an activation that has no sweep, or one after the last layer.
    """
    if network.activation not in _SWEPT or network.last_activation:
        raise ValueError(f"a sweep needs {' or '.join(_SWEPT)}, and a linear last layer; see `nn.jets` for others.")
    count, columns = inputs.shape
    weights = [*network.weights[:-1], network.weights[-1] @ projection]
    biases = [*network.biases[:-1], network.biases[-1] @ projection]
    if len(weights) == 1:
        return torch.addmm(biases[0], inputs, weights[0]), weights[0][:, None].expand(-1, count, -1)
    if network.activation == "tanh":
        weights, biases = _as_logistic(weights, biases)
    sweep = _Sweep(network, weights, biases, min(_ROWS, max(count, 1)))
    both = inputs.new_empty(projection.shape[1], 1 + columns, count)
    for first in range(0, count, _ROWS):
        part = slice(first, first + _ROWS)
        both[:, :, part] = sweep(inputs[part])
    return both[:, 0].T.add_(biases[-1]), both[:, 1:].permute(1, 2, 0)


class _Sweep:
    """One network's layers applied to blocks of rows, in memory that is used again for each block.

    Value and derivatives lie behind one another, so that a layer is one product for all of them.
    """

    def __init__(
        self, network: MultilayerPerceptron, weights: list[torch.Tensor], biases: list[torch.Tensor], rows: int
    ) -> None:
        self.activation, self.weights, self.biases = network.activation, weights, biases
        size = rows * max(network.sizes[1:-1])
        self.carried, self.factor = weights[0].new_empty(2, (1 + network.sizes[0]) * size), weights[0].new_empty(size)

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """Value and derivatives of all layers, without the last bias: `(n, v)` to `(p, 1 + v, n)`."""
        count, columns = inputs.shape
        carried = inputs
        for layer, (weight, bias) in enumerate(zip(self.weights[:-1], self.biases[:-1], strict=True)):
            width = weight.shape[1]
            following = self.carried[layer % 2, : (1 + columns) * count * width].view(1 + columns, count, width)
            value, slopes = following[0], following[1:]
            if layer == 0:
                torch.addmm(bias, inputs, weight, out=value)
                torch.mul(weight[:, None], self._activate(value), out=slopes)
            else:
                torch.mm(carried.view(-1, weight.shape[0]), weight, out=following.view(-1, width))
                slopes *= self._activate(value.add_(bias))
            carried = following
        # A product with few rows takes a third of the time of one with few columns.
        return (self.weights[-1].T @ carried.view(-1, carried.shape[2]).T).view(-1, 1 + columns, count)

    def _activate(self, hidden: torch.Tensor) -> torch.Tensor:
        """Apply the activation in place; its derivative. For `"tanh"` it is the logistic function of `_as_logistic`."""
        factor = self.factor[: hidden.numel()].view(hidden.shape)
        if self.activation == "tanh":
            hidden.sigmoid_()
            return torch.addcmul(hidden, hidden, hidden, value=-1, out=factor)
        gate = torch.sigmoid(hidden)
        hidden *= gate
        return torch.addcmul(gate, hidden, 1 - gate, out=factor)


def _as_logistic(
    weights: list[torch.Tensor], biases: list[torch.Tensor]
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The same network with the logistic function in place of tanh: `tanh(z) = 2 s(2 z) - 1`, and s is cheaper."""
    inner = [2 * weights[0], *(4 * weight for weight in weights[1:-1]), 2 * weights[-1]]
    shifts = [2 * biases[0]]
    shifts += [2 * (bias - weight.sum(0)) for weight, bias in zip(weights[1:-1], biases[1:-1], strict=True)]
    return inner, [*shifts, biases[-1] - weights[-1].sum(0)]
