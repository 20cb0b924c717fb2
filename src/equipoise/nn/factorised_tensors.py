"""Tucker, canonical polyadic (CP) and tensor-train forms of a complex tensor, as values: parts in, algebra out.

Every form offers the dense tensor, rows and blocks of it in the same form, and, for a tensor of shape
`(*modes, in, out)`, the small maps that an input passes through where the dense tensor is never built. Parameters,
ranks and initial values stand in `factorised_weights`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Complex

__all__ = ["CanonicalTensor", "ChannelMaps", "FactorisedTensor", "TensorTrain", "TuckerTensor", "multiply_axis"]


def multiply_axis(tensor: torch.Tensor, matrix: torch.Tensor, axis: int) -> torch.Tensor:
    """`matrix (s, r)` times one axis of length r, which becomes s long; nothing is transposed in memory."""
    before, after = math.prod(tensor.shape[:axis]), math.prod(tensor.shape[axis + 1 :])
    shape = (*tensor.shape[:axis], len(matrix), *tensor.shape[axis + 1 :])
    if after == 1:
        return (tensor.reshape(before, -1) @ matrix.mT).reshape(shape)
    return (matrix @ tensor.reshape(before, -1, after)).reshape(shape)


@dataclass(frozen=True)
class ChannelMaps:
    """A weight `(*modes, in, out)` as three maps in a row: one for all modes, one of each mode, one for all modes.

    Attributes:
        enter: `(in, p)`, or `None` where p is in. modes: `(K, p, q)`, or `(K, p)` for diagonal maps; K modes in all.
        leave: `(q, out)`, or `None` where q is out.
    """

    enter: torch.Tensor | None
    modes: torch.Tensor
    leave: torch.Tensor | None


class FactorisedTensor(ABC):
    """What every form offers."""

    @abstractmethod
    def dense(self) -> Complex[torch.Tensor, "*shape"]:
        """The tensor itself."""

    @abstractmethod
    def row(self, index: int) -> FactorisedTensor:
        """The tensor at one index of the first axis, in the same form and with its parts shared."""

    @abstractmethod
    def narrowed(self, slices: tuple[slice, ...]) -> FactorisedTensor:
        """The part of the tensor at these slices of the first axes, in the same form."""

    @property
    @abstractmethod
    def channel_ranks(self) -> tuple[int, int]:
        """p and q of `channel_maps()`."""

    @abstractmethod
    def channel_maps(self) -> ChannelMaps:
        """For a tensor of shape `(*modes, in, out)`: itself as maps between small spaces of channels."""


@dataclass(frozen=True)
class TuckerTensor(FactorisedTensor):
    """`T = G x_1 U_1 ... x_n U_n`.

    Attributes:
        core: G, `(r_1, ..., r_n)`. factors: U_i, `(s_i, r_i)`.
    """

    core: torch.Tensor
    factors: tuple[torch.Tensor, ...]

    def dense(self) -> Complex[torch.Tensor, "*shape"]:
        """See `FactorisedTensor.dense`; channels grow before modes, whose ranks are shorter."""
        tensor = self.core
        for axis in reversed(range(tensor.ndim)):
            tensor = multiply_axis(tensor, self.factors[axis], axis)
        return tensor

    def row(self, index: int) -> TuckerTensor:
        """See `FactorisedTensor.row`."""
        row = self.factors[0][index]
        core = (row @ self.core.reshape(len(row), -1)).reshape(self.core.shape[1:])
        return TuckerTensor(core, self.factors[1:])

    def narrowed(self, slices: tuple[slice, ...]) -> TuckerTensor:
        """See `FactorisedTensor.narrowed`."""
        count = len(slices)
        cut = [factor[part] for factor, part in zip(self.factors[:count], slices, strict=True)]
        return TuckerTensor(self.core, (*cut, *self.factors[count:]))

    @property
    def channel_ranks(self) -> tuple[int, int]:
        """See `FactorisedTensor.channel_ranks`."""
        return self.core.shape[-2], self.core.shape[-1]

    def channel_maps(self) -> ChannelMaps:
        """See `FactorisedTensor.channel_maps`."""
        *modes, enter, leave = self.factors
        tensor = self.core
        for axis in reversed(range(len(modes))):
            tensor = multiply_axis(tensor, modes[axis], axis)
        return ChannelMaps(enter, tensor.reshape(-1, *tensor.shape[-2:]), leave.mT)


@dataclass(frozen=True)
class CanonicalTensor(FactorisedTensor):
    """`T = sum_r w_r u_1r o ... o u_nr`.

    Attributes:
        weights: w, `(r,)`. factors: u_i, `(s_i, r)`.
    """

    weights: torch.Tensor
    factors: tuple[torch.Tensor, ...]

    def dense(self) -> Complex[torch.Tensor, "*shape"]:
        """See `FactorisedTensor.dense`; one product of the first axes by the last two."""
        split = max(1, len(self.factors) - 2)
        left, right = _row_products(self.factors[:split]), _row_products(self.factors[split:])
        shape = tuple(len(factor) for factor in self.factors)
        return ((left * self.weights) @ right.mT).reshape(shape)

    def row(self, index: int) -> CanonicalTensor:
        """See `FactorisedTensor.row`."""
        return CanonicalTensor(self.weights * self.factors[0][index], self.factors[1:])

    def narrowed(self, slices: tuple[slice, ...]) -> CanonicalTensor:
        """See `FactorisedTensor.narrowed`."""
        count = len(slices)
        cut = [factor[part] for factor, part in zip(self.factors[:count], slices, strict=True)]
        return CanonicalTensor(self.weights, (*cut, *self.factors[count:]))

    @property
    def channel_ranks(self) -> tuple[int, int]:
        """See `FactorisedTensor.channel_ranks`."""
        return len(self.weights), len(self.weights)

    def channel_maps(self) -> ChannelMaps:
        """See `FactorisedTensor.channel_maps`."""
        *modes, enter, leave = self.factors
        return ChannelMaps(enter, _row_products(modes) * self.weights, leave.mT)


@dataclass(frozen=True)
class TensorTrain(FactorisedTensor):
    """`T[i_1 ... i_n] = G_1[:, i_1, :] ... G_n[:, i_n, :]`.

    Attributes:
        cores: G_i, `(r_(i-1), s_i, r_i)` with `r_0 = r_n = 1`.
    """

    cores: tuple[torch.Tensor, ...]

    def dense(self) -> Complex[torch.Tensor, "*shape"]:
        """See `FactorisedTensor.dense`."""
        return _chain(self.cores).reshape(tuple(core.shape[1] for core in self.cores))

    def row(self, index: int) -> TensorTrain:
        """See `FactorisedTensor.row`."""
        row, following = self.cores[0][:, index], self.cores[1]
        joined = (row @ following.reshape(row.shape[1], -1)).reshape(-1, *following.shape[1:])
        return TensorTrain((joined, *self.cores[2:]))

    def narrowed(self, slices: tuple[slice, ...]) -> TensorTrain:
        """See `FactorisedTensor.narrowed`."""
        count = len(slices)
        cut = [core[:, part] for core, part in zip(self.cores[:count], slices, strict=True)]
        return TensorTrain((*cut, *self.cores[count:]))

    @property
    def channel_ranks(self) -> tuple[int, int]:
        """See `FactorisedTensor.channel_ranks`."""
        return self.cores[-2].shape[1], self.cores[-1].shape[0]

    def channel_maps(self) -> ChannelMaps:
        """See `FactorisedTensor.channel_maps`."""
        *modes, enter, leave = self.cores
        maps = _chain((*modes, enter))
        return ChannelMaps(None, maps.reshape(-1, enter.shape[1], enter.shape[2]), leave[:, :, 0])


def _row_products(factors: list[torch.Tensor] | tuple[torch.Tensor, ...]) -> torch.Tensor:
    """`(s_1, r), (s_2, r) ...` to `(s_1 s_2 ..., r)`: products of every row with every row."""
    result = factors[0]
    for factor in factors[1:]:
        result = (result[:, None] * factor).reshape(-1, factor.shape[1])
    return result


def _chain(cores: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Product of neighbouring cores, `(r_0 s_1 ... s_k, r_k)`."""
    result = cores[0].reshape(-1, cores[0].shape[-1])
    for core in cores[1:]:
        result = (result @ core.reshape(core.shape[0], -1)).reshape(-1, core.shape[-1])
    return result
