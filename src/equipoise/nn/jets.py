"""Functions of points with their first and second derivatives, carried forward together through layers.

One pass gives what residuals of differential equations need, for all outputs of a network at once, and the pass itself
is differentiable in the weights. Contracting derivatives with a branch is the operators' business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import torch
from torch import nn

from equipoise.nn.grouped_linear import GroupedPerceptron
from equipoise.nn.perceptron import MultilayerPerceptron

__all__ = ["Jet", "concatenate", "coordinates", "derivatives_of", "perceptron_jet"]

Scalar = Callable[[torch.Tensor, int], tuple[torch.Tensor, ...]]
"""A function of one variable and its first derivatives, as many as the number says."""


@dataclass(frozen=True, eq=False)
class Jet:
    """Values of k functions at n points, and their derivatives by d coordinates.

    Attributes:
        terms: `(t, ..., n, k)`; first the values, then d first derivatives, then the second ones of the pairs
            (0, 0), (0, 1), ..., (d-1, d-1); as far as the order goes.
        dim: d. order: 0, 1 or 2.
    """

    terms: torch.Tensor
    dim: int
    order: int

    @property
    def value(self) -> torch.Tensor:
        """`(..., n, k)`."""
        return self.terms[0]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Coordinates of each second derivative."""
        return list(combinations_with_replacement(range(self.dim), 2))

    def linear(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> Jet:
        """All functions through `f @ weight + bias`."""
        terms = self.terms @ weight
        if bias is not None:
            terms = torch.cat([terms[:1] + bias, terms[1:]])
        return Jet(terms, self.dim, self.order)

    def through(self, function: Scalar) -> Jet:
        """Each function through a function of one variable, by the chain rule."""
        found = function(self.terms[0], self.order)
        if self.order == 0:
            return Jet(found[0][None], self.dim, 0)
        first = self.terms[1 : 1 + self.dim]
        parts = [found[0][None], first * found[1]]
        if self.order == 2:
            left, right = ([pair[side] for pair in self.pairs] for side in (0, 1))
            parts.append(found[2] * first[left] * first[right] + found[1] * self.terms[1 + self.dim :])
        return Jet(torch.cat(parts), self.dim, self.order)

    def times(self, other: Jet) -> Jet:
        """Products of functions, where `(..., n, k)` of both fit."""
        parts = [(self.terms[0] * other.terms[0])[None]]
        ones = slice(1, 1 + self.dim)
        if self.order > 0:
            parts.append(self.terms[ones] * other.terms[0] + self.terms[0] * other.terms[ones])
        if self.order == 2:
            twos = slice(1 + self.dim, None)
            left, right = ([pair[side] for pair in self.pairs] for side in (0, 1))
            crossed = self.terms[ones][left] * other.terms[ones][right]
            crossed = crossed + self.terms[ones][right] * other.terms[ones][left]
            parts.append(self.terms[twos] * other.terms[0] + crossed + self.terms[0] * other.terms[twos])
        return Jet(torch.cat(parts), self.dim, self.order)

    def columns(self, which: slice | Sequence[int]) -> Jet:
        """Some of the functions."""
        return Jet(self.terms[..., which], self.dim, self.order)


def coordinates(points: torch.Tensor, order: int) -> Jet:
    """The coordinates themselves as functions of the points, `(n, d)`.

    Raises:
        ValueError: for an order other than 0, 1 or 2.
    """
    if order not in (0, 1, 2):
        raise ValueError(f"order={order} must be 0, 1 or 2.")
    count, dim = points.shape
    parts = [points[None]]
    if order > 0:
        parts.append(torch.eye(dim, dtype=points.dtype, device=points.device)[:, None].expand(dim, count, dim))
    if order == 2:
        parts.append(points.new_zeros(dim * (dim + 1) // 2, count, dim))
    return Jet(torch.cat(parts), dim, order)


def concatenate(jets: Sequence[Jet]) -> Jet:
    """The functions of all jets at the same points, side by side."""
    return Jet(torch.cat([jet.terms for jet in jets], -1), jets[0].dim, jets[0].order)


def perceptron_jet(network: MultilayerPerceptron | GroupedPerceptron, jet: Jet) -> Jet:
    """A network of the functions: `(t, n, inputs)` to `(t, n, outputs)`, or to `(t, groups, n, outputs)`."""
    if isinstance(network, GroupedPerceptron):
        jet = Jet(jet.terms[:, None], jet.dim, jet.order)
    last = len(network.weights) - 1
    for layer, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        jet = jet.linear(weight, bias)
        if layer < last or network.last_activation:
            jet = jet.through(ACTIVATION_JETS[network.activation])
    return jet


def derivatives_of(jet: Jet) -> tuple[torch.Tensor, ...]:
    """Value `(..., n, k)`, gradient `(..., n, k, d)` and Hessian `(..., n, k, d, d)`, as far as the order goes."""
    found = [jet.value]
    if jet.order > 0:
        found.append(torch.movedim(jet.terms[1 : 1 + jet.dim], 0, -1))
    if jet.order == 2:
        index = torch.zeros(jet.dim, jet.dim, dtype=torch.long)
        for number, (i, j) in enumerate(jet.pairs):
            index[i, j] = index[j, i] = 1 + jet.dim + number
        found.append(torch.movedim(jet.terms[index], (0, 1), (-2, -1)))
    return tuple(found)


def cosine(x: torch.Tensor, order: int) -> tuple[torch.Tensor, ...]:
    """cos and its derivatives."""
    value = x.cos()
    return (value, -x.sin(), -value)[: order + 1] if order else (value,)


def sine(x: torch.Tensor, order: int) -> tuple[torch.Tensor, ...]:
    """sin and its derivatives."""
    value = x.sin()
    return (value, x.cos(), -value)[: order + 1] if order else (value,)


def _tanh(x: torch.Tensor, order: int) -> tuple[torch.Tensor, ...]:
    value = torch.tanh(x)
    if order == 0:
        return (value,)
    slope = 1 - value.square()
    return (value, slope) if order == 1 else (value, slope, -2 * value * slope)


def _swish(x: torch.Tensor, order: int) -> tuple[torch.Tensor, ...]:
    if order == 0:
        return (nn.functional.silu(x),)
    gate = torch.sigmoid(x)
    slope = gate * (1 - gate)
    value, first = x * gate, gate + x * slope
    return (value, first) if order == 1 else (value, first, slope * (2 + x * (1 - 2 * gate)))


def _gelu(x: torch.Tensor, order: int) -> tuple[torch.Tensor, ...]:
    if order == 0:
        return (nn.functional.gelu(x),)
    share = 0.5 * (1 + torch.erf(x / 2**0.5))
    density = torch.exp(-x.square() / 2) / (2 * torch.pi) ** 0.5
    found = (x * share, share + x * density, density * (2 - x.square()))
    return found[: order + 1]


def _relu(x: torch.Tensor, order: int) -> tuple[torch.Tensor, ...]:
    # Second derivatives vanish but at the kinks: useless for residuals of second order.
    found = (torch.relu(x), (x > 0).to(x), torch.zeros_like(x))
    return found[: order + 1]


ACTIVATION_JETS: dict[str, Scalar] = {"tanh": _tanh, "swish": _swish, "gelu": _gelu, "relu": _relu}
"""Every activation of `nn.perceptron` with its derivatives."""
