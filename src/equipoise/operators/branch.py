"""Branch networks: from a macroscopic strain, or the principal components of a function, to the coefficients of modes.

The anchored form has an exact linear part; the published form has one scale for all modes. Value and derivative leave
together, in one forward sweep, because a structure always asks for both.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from equipoise.nn.perceptron import MultilayerPerceptron, forward_sweep

__all__ = ["AnchoredBranch", "PlainBranch"]


class AnchoredBranch(nn.Module):
    """`c(E) = L E + s |x| (net(x) - net(0))` with `x = E / s_in`: exact at zero, with an exact derivative there.

    Structures are full of points at small strain, where a network that is accurate in its box is not accurate relative
    to the answer. The factor `|x|` makes the learned part of second order; it has the kink of the answer for laws whose
    stiffness depends on the size of the strain. Without that factor the value is exact at zero and L is only the part
    that is not learned: the form for operators whose linear part is the best linear fit.

    Args:
        network: from inputs to modes; one that reads fewer inputs reads the first.
        linear: L, `(modes, v)`. scale: s, `(modes,)`. input_scale: s_in, `(v,)`.
        second_order: whether there is the factor `|x|`.
    """

    linear: torch.Tensor
    scale: torch.Tensor
    input_scale: torch.Tensor

    def __init__(
        self,
        network: MultilayerPerceptron,
        *,
        linear: torch.Tensor,
        scale: torch.Tensor,
        input_scale: torch.Tensor,
        second_order: bool = True,
    ) -> None:
        super().__init__()
        self.network, self.second_order = network, second_order
        for name, value in (("linear", linear), ("scale", scale), ("input_scale", input_scale)):
            self.register_buffer(name, value)

    def scaled(self, inputs: torch.Tensor) -> torch.Tensor:
        """x, as far as the network reads it."""
        read = self.network.sizes[0]
        return inputs[:, :read] / self.input_scale[:read]

    def learned(self, inputs: torch.Tensor) -> torch.Tensor:
        """`|x| (net(x) - net(0))`, `(n, v)` to `(n, modes)`; without `|x|` where it is of first order."""
        return self._from_zero(self.network, inputs)

    def _from_zero(self, function: Callable[[torch.Tensor], torch.Tensor], inputs: torch.Tensor) -> torch.Tensor:
        """`|x| (f(x) - f(0))`; without `|x|` where the learned part is of first order."""
        x = self.scaled(inputs)
        change = function(x) - function(torch.zeros_like(x[:1]))
        return torch.linalg.vector_norm(x, dim=-1, keepdim=True) * change if self.second_order else change

    def features(self, inputs: torch.Tensor) -> torch.Tensor:
        """What the last layer maps to the learned part, up to the scales of the modes: `(n, v)` to `(n, features)`."""
        return self._from_zero(self.network.features, inputs)

    def set_last_layer(self, weight: torch.Tensor) -> None:
        """Make the learned part `features @ weight`, `(features, modes)`, in units of the coefficients."""
        self.network.weights[-1].data.copy_(weight / self.scale)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Coefficients, `(n, v)` to `(n, modes)`."""
        return torch.addmm(self.scale * self.learned(inputs), inputs, self.linear.T)

    def projected(self, inputs: torch.Tensor, projection: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`projection @ coefficients` and its derivative by the inputs, without autograd.

        Args:
            inputs: `(n, v)`.
            projection: rows that the coefficients are contracted with, `(p, modes)`.

        Returns:
            `(n, p)` and `(n, p, v)`.
        """
        x, weight = self.scaled(inputs), self.scale[:, None] * projection.T
        read = x.shape[1]
        network, slopes = forward_sweep(self.network, x, weight)
        with torch.no_grad():
            network -= self.network(torch.zeros_like(x[:1])) @ weight
            linear = projection @ self.linear
            if not self.second_order:
                tangent = linear.repeat(len(x), 1, 1)
                tangent[..., :read] += slopes.permute(1, 2, 0) / self.input_scale[:read]
                return torch.addmm(network, inputs, linear.T), tangent
            size = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
            direction = x / size.clamp(min=torch.finfo(size.dtype).tiny) / self.input_scale[:read]
            change = network[:, :, None] * direction[:, None, :]
            change += (slopes * size).permute(1, 2, 0) / self.input_scale[:read]
            if read == inputs.shape[1]:
                tangent = change.add_(linear)
            else:
                tangent = linear.repeat(len(x), 1, 1)
                tangent[..., :read] += change
            return torch.addmm(size * network, inputs, linear.T), tangent


class PlainBranch(nn.Module):
    """`c(E) = std net(E / s_in) + mean` with one pair of numbers for all modes, as published.

    Args:
        network: from strain components to modes.
        mean, std: over all coefficients of the snapshots. input_scale: s_in, `(v,)`.

    Source: Eivazi et al. (2026), section 3 and its code.
    """

    mean: torch.Tensor
    scale: torch.Tensor
    input_scale: torch.Tensor

    def __init__(
        self, network: MultilayerPerceptron, *, mean: torch.Tensor, std: torch.Tensor, input_scale: torch.Tensor
    ) -> None:
        super().__init__()
        self.network = network
        modes = network.sizes[-1]
        self.register_buffer("scale", std.expand(modes).clone())
        self.register_buffer("mean", mean.expand(modes).clone())
        self.register_buffer("input_scale", input_scale)

    def forward(self, strain: torch.Tensor) -> torch.Tensor:
        """Coefficients, `(n, v)` to `(n, modes)`."""
        return self.scale * self.network(strain / self.input_scale) + self.mean

    def projected(self, strain: torch.Tensor, projection: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `AnchoredBranch.projected`."""
        weight = self.scale[:, None] * projection.T
        value, slopes = forward_sweep(self.network, strain / self.input_scale, weight)
        return value + projection @ self.mean, slopes.permute(1, 2, 0) / self.input_scale
