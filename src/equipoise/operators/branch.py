"""Branch networks: from a macroscopic strain to the coefficients of modes.

A multilayer perceptron, its anchored form with a linear part, and the published form with one scale for all modes.
Value and derivative leave together, in one forward sweep, because a structure always asks for both.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

__all__ = ["AnchoredBranch", "MultilayerPerceptron", "PlainBranch"]

_CHUNK = 256


class MultilayerPerceptron(nn.Module):
    """Fully connected network with swish after every layer but the last.

    Args:
        sizes: widths from input to output, such as `(3, 64, 64, 16)`.
        generator: source of the Glorot-uniform weights; biases start at zero.
        dtype: of the parameters, float64 by default.

    Source: Eivazi et al. (2026), section 3, for width, depth and activation.
    """

    def __init__(
        self, sizes: tuple[int, ...], *, generator: torch.Generator, dtype: torch.dtype = torch.float64
    ) -> None:
        super().__init__()
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(f"sizes={sizes} must hold two or more positive widths.")
        self.sizes = tuple(sizes)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for inputs, outputs in pairwise(sizes):
            bound = (6 / (inputs + outputs)) ** 0.5
            uniform = torch.rand(inputs, outputs, generator=generator, dtype=torch.float64)
            self.weights.append(nn.Parameter(((2 * uniform - 1) * bound).to(dtype)))
            self.biases.append(nn.Parameter(torch.zeros(outputs, dtype=dtype)))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """`(n, inputs)` to `(n, outputs)`."""
        hidden = inputs
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = torch.addmm(bias, hidden, weight)
            if layer < len(self.weights) - 1:
                hidden = torch.nn.functional.silu(hidden)
        return hidden

    def hidden_with_slopes(self, inputs: torch.Tensor) -> torch.Tensor:
        """Last hidden layer and its derivatives by each input, `(n, inputs)` to `(1 + inputs, n, width)`.

        Forward differentiation by hand: the derivatives share each layer's matrix product with the value.
        """
        count, columns = len(inputs), inputs.shape[1]
        if len(self.weights) == 1:
            identity = torch.eye(columns, dtype=inputs.dtype, device=inputs.device)
            return torch.cat([inputs[None], identity[:, None].expand(-1, count, -1)])
        stack = torch.addmm(self.biases[0], inputs, self.weights[0])[None]
        slopes = self.weights[0][:, None, :]
        layers = len(self.weights) - 1
        for layer in range(layers):
            value = stack[0]
            gate = torch.sigmoid(value)
            swish = value * gate
            slope = torch.addcmul(gate, swish, 1 - gate)
            following = value.new_empty(1 + columns, count, value.shape[1])
            following[0] = swish
            torch.mul(slopes if layer == 0 else stack[1:], slope, out=following[1:])
            if layer == layers - 1:
                return following
            weight = self.weights[layer + 1]
            stack = torch.mm(following.view(-1, following.shape[2]), weight).view(1 + columns, count, -1)
            stack[0] += self.biases[layer + 1]
        return stack


class _Branch(nn.Module):
    """What both forms share: an affine map of the network's last hidden layer, and a linear part in the strain."""

    network: MultilayerPerceptron
    linear: torch.Tensor
    scale: torch.Tensor
    input_scale: torch.Tensor

    def offset(self) -> torch.Tensor:
        """What is added to the scaled network, `(modes,)`."""
        raise NotImplementedError

    def forward(self, strain: torch.Tensor) -> torch.Tensor:
        """Coefficients, `(n, v)` to `(n, modes)`."""
        return strain @ self.linear.T + self.scale * self.network(strain / self.input_scale) + self.offset()

    def projected(self, strain: torch.Tensor, projection: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`projection @ coefficients` and its derivative by the strain, without autograd.

        Args:
            strain: `(n, v)`.
            projection: rows that the coefficients are contracted with, `(p, modes)`.

        Returns:
            `(n, p)` and `(n, p, v)`.
        """
        with torch.no_grad():
            weight = (self.network.weights[-1] * self.scale) @ projection.T
            bias = projection @ (self.scale * self.network.biases[-1] + self.offset())
            linear = projection @ self.linear
            value = strain @ linear.T + bias
            slope = linear.expand(len(strain), -1, -1).clone()
            inverse = 1 / self.input_scale
            for first in range(0, len(strain), _CHUNK):
                part = slice(first, first + _CHUNK)
                stack = self.network.hidden_with_slopes(strain[part] * inverse)
                product = torch.mm(stack.view(-1, stack.shape[2]), weight).view(*stack.shape[:2], -1)
                value[part] += product[0]
                slope[part] += (product[1:] * inverse[:, None, None]).permute(1, 2, 0)
            return value, slope


class AnchoredBranch(_Branch):
    """`c(E) = L E + s (net(E / s_in) - net(0))`: exact zero at zero strain, one scale for each mode.

    Args:
        network: from strain components to modes.
        linear: L, `(modes, v)`. scale: s, `(modes,)`. input_scale: s_in, `(v,)`.
    """

    def __init__(
        self, network: MultilayerPerceptron, *, linear: torch.Tensor, scale: torch.Tensor, input_scale: torch.Tensor
    ) -> None:
        super().__init__()
        self.network = network
        for name, value in (("linear", linear), ("scale", scale), ("input_scale", input_scale)):
            self.register_buffer(name, value)

    def offset(self) -> torch.Tensor:
        return -self.scale * self.network(self.linear.new_zeros(1, self.linear.shape[1]))[0]

    def forward(self, strain: torch.Tensor) -> torch.Tensor:
        coefficients = super().forward(strain)
        # Two evaluations of the network at zero may differ in the last bit; the anchor is exact all the same.
        return torch.where((strain == 0).all(-1, keepdim=True), torch.zeros_like(coefficients), coefficients)

    def projected(self, strain: torch.Tensor, projection: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        value, slope = super().projected(strain, projection)
        return value.masked_fill_((strain == 0).all(-1, keepdim=True), 0.0), slope


class PlainBranch(_Branch):
    """`c(E) = std net(E / s_in) + mean` with one pair of numbers for all modes, as published.

    Args:
        network: from strain components to modes.
        mean, std: over all coefficients of the snapshots. input_scale: s_in, `(v,)`.

    Source: Eivazi et al. (2026), section 3 and its code.
    """

    mean: torch.Tensor

    def __init__(
        self, network: MultilayerPerceptron, *, mean: torch.Tensor, std: torch.Tensor, input_scale: torch.Tensor
    ) -> None:
        super().__init__()
        self.network = network
        modes = network.sizes[-1]
        self.register_buffer("linear", input_scale.new_zeros(modes, network.sizes[0]))
        self.register_buffer("scale", std.expand(modes).clone())
        self.register_buffer("mean", mean.expand(modes).clone())
        self.register_buffer("input_scale", input_scale)

    def offset(self) -> torch.Tensor:
        return self.mean
