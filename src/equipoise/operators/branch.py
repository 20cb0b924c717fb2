"""Branch networks: from a macroscopic strain to the coefficients of modes.

The anchored form has the exact derivative at zero strain; the published form has one scale for all modes. Value and
derivative leave together, in one forward sweep, because a structure always asks for both.
"""

from __future__ import annotations

import torch
from torch import nn

from equipoise.nn.perceptron import MultilayerPerceptron, forward_sweep

__all__ = ["AnchoredBranch", "PlainBranch"]


class AnchoredBranch(nn.Module):
    """`c(E) = L E + s |x| (net(x) - net(0))` with `x = E / s_in`: value and derivative are exact at zero strain.

    Structures are full of points at small strain, where a network that is accurate in its box is not accurate relative
    to the answer. The factor `|x|` makes the learned part of second order; it has the kink of the answer for laws whose
    stiffness depends on the size of the strain.

    Args:
        network: from strain components to modes.
        linear: L, `(modes, v)`. scale: s, `(modes,)`. input_scale: s_in, `(v,)`.
    """

    linear: torch.Tensor
    scale: torch.Tensor
    input_scale: torch.Tensor

    def __init__(
        self, network: MultilayerPerceptron, *, linear: torch.Tensor, scale: torch.Tensor, input_scale: torch.Tensor
    ) -> None:
        super().__init__()
        self.network = network
        for name, value in (("linear", linear), ("scale", scale), ("input_scale", input_scale)):
            self.register_buffer(name, value)

    def learned(self, strain: torch.Tensor) -> torch.Tensor:
        """`|x| (net(x) - net(0))`, `(n, v)` to `(n, modes)`."""
        inputs = strain / self.input_scale
        size = torch.linalg.vector_norm(inputs, dim=-1, keepdim=True)
        return size * (self.network(inputs) - self.network(torch.zeros_like(inputs[:1])))

    def forward(self, strain: torch.Tensor) -> torch.Tensor:
        """Coefficients, `(n, v)` to `(n, modes)`."""
        return strain @ self.linear.T + self.scale * self.learned(strain)

    def projected(self, strain: torch.Tensor, projection: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`projection @ coefficients` and its derivative by the strain, without autograd.

        Args:
            strain: `(n, v)`.
            projection: rows that the coefficients are contracted with, `(p, modes)`.

        Returns:
            `(n, p)` and `(n, p, v)`.
        """
        inputs = strain / self.input_scale
        size = torch.linalg.vector_norm(inputs, dim=-1, keepdim=True)
        weight = self.scale[:, None] * projection.T
        network, slopes = forward_sweep(self.network, inputs, weight)
        with torch.no_grad():
            network -= self.network(torch.zeros_like(inputs[:1])) @ weight
            linear = projection @ self.linear
            direction = inputs / size.clamp(min=torch.finfo(size.dtype).tiny) / self.input_scale
            tangent = torch.addcmul(linear, network[:, :, None], direction[:, None, :])
            tangent += (slopes * size).permute(1, 2, 0) / self.input_scale
            return torch.addmm(size * network, strain, linear.T), tangent


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
