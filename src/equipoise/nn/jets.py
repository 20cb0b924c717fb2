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
        value: `(..., n, k)`. first: `(d, ..., n, k)`, `None` for order 0.
        second: of the pairs (0, 0), (0, 1), ..., (d-1, d-1), `(pairs, ..., n, k)`, `None` below order 2.
    """

    value: torch.Tensor
    first: torch.Tensor | None = None
    second: torch.Tensor | None = None

    @property
    def order(self) -> int:
        """0, 1 or 2."""
        return 0 if self.first is None else 1 if self.second is None else 2

    def each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Jet:
        """The same linear change of the last axes of values and derivatives."""
        first, second = (None if part is None else change(part) for part in (self.first, self.second))
        return Jet(change(self.value), first, second)

    def linear(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> Jet:
        """All functions through `f @ weight + bias`."""
        found = self.each(lambda part: part @ weight)
        return found if bias is None else Jet(found.value + bias, found.first, found.second)

    def through(self, function: Scalar) -> Jet:
        """Each function through a function of one variable, by the chain rule."""
        found = function(self.value, self.order)
        if self.first is None:
            return Jet(found[0])
        first = self.first * found[1]
        if self.second is None:
            return Jet(found[0], first)
        left, right = _pairs(len(self.first))
        second = found[2] * self.first[left] * self.first[right] + found[1] * self.second
        return Jet(found[0], first, second)

    def times(self, other: Jet) -> Jet:
        """Products of functions of the same order, where `(..., n, k)` of both fit."""
        value = self.value * other.value
        if self.first is None or other.first is None:
            return Jet(value)
        first = self.first * other.value + self.value * other.first
        if self.second is None or other.second is None:
            return Jet(value, first)
        left, right = _pairs(len(self.first))
        crossed = self.first[left] * other.first[right] + self.first[right] * other.first[left]
        return Jet(value, first, self.second * other.value + crossed + self.value * other.second)

    def columns(self, which: slice | Sequence[int]) -> Jet:
        """Some of the functions."""
        return self.each(lambda part: part[..., which])


def _pairs(dim: int) -> tuple[list[int], list[int]]:
    """Coordinates of each second derivative."""
    pairs = list(combinations_with_replacement(range(dim), 2))
    return [i for i, _ in pairs], [j for _, j in pairs]


def coordinates(points: torch.Tensor, order: int) -> Jet:
    """The coordinates themselves as functions of the points, `(n, d)`.

    Raises:
        ValueError: for an order other than 0, 1 or 2.
    """
    if order not in (0, 1, 2):
        raise ValueError(f"order={order} must be 0, 1 or 2.")
    count, dim = points.shape
    first = second = None
    if order > 0:
        first = torch.eye(dim, dtype=points.dtype, device=points.device)[:, None].expand(dim, count, dim)
    if order == 2:
        second = points.new_zeros(dim * (dim + 1) // 2, count, dim)
    return Jet(points, first, second)


def concatenate(jets: Sequence[Jet]) -> Jet:
    """The functions of all jets, of one order and at the same points, side by side."""

    def joined(parts: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
        known = [part for part in parts if part is not None]
        return torch.cat(known, -1) if known else None

    value = torch.cat([jet.value for jet in jets], -1)
    return Jet(value, joined([jet.first for jet in jets]), joined([jet.second for jet in jets]))


def perceptron_jet(network: MultilayerPerceptron | GroupedPerceptron, jet: Jet) -> Jet:
    """A network of the functions: `(n, inputs)` to `(n, outputs)`, or to `(groups, n, outputs)`."""
    if isinstance(network, GroupedPerceptron):
        jet = jet.each(lambda part: part.unsqueeze(-3))
    last = len(network.weights) - 1
    for layer, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        jet = jet.linear(weight, bias)
        if layer < last or network.last_activation:
            jet = jet.through(ACTIVATION_JETS[network.activation])
    return jet


def derivatives_of(jet: Jet) -> tuple[torch.Tensor, ...]:
    """Value `(..., n, k)`, gradient `(..., n, k, d)` and Hessian `(..., n, k, d, d)`, as far as the order goes."""
    if jet.first is None:
        return (jet.value,)
    gradient = torch.movedim(jet.first, 0, -1)
    if jet.second is None:
        return jet.value, gradient
    dim = len(jet.first)
    index = torch.zeros(dim, dim, dtype=torch.long)
    for number, (i, j) in enumerate(zip(*_pairs(dim), strict=True)):
        index[i, j] = index[j, i] = number
    return jet.value, gradient, torch.movedim(jet.second[index], (0, 1), (-2, -1))


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
