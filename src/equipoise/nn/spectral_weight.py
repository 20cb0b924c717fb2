"""The weight of a spectral convolution: what it must offer, and the dense one.

A spectral convolution transforms a field, hands the kept modes to its weight and transforms the answer back. Every
weight, dense or factorised, is a `SpectralWeight`; `operators.fno.FNO.spectral_weights()` returns one for each layer,
and a subclass overrides it. The transforms stand in `truncated_transforms`, the layer in `spectral_convolution`.

Complex numbers are real tensors throughout, with an axis of two for the real and the imaginary part, so that
`module.double()` reaches them and products run in real arithmetic.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import nn

from equipoise.nn.pointwise_fused import fusion_applies

__all__ = [
    "DenseSpectralWeight",
    "SpectralWeight",
    "contract_pairs",
    "kept_modes",
    "lowest_block",
    "spectral_deviation",
]


def kept_modes(n_modes: Sequence[int]) -> tuple[int, ...]:
    """Modes that are stored along each axis: all of `n_modes`, but `n_modes[-1] // 2 + 1` along the last.

    Axes but the last hold the wavenumbers `-(n // 2) ... (n - 1) // 2` in this order; the last holds `0 ... n // 2`,
    since the field is real.

    Raises:
        ValueError: for no or more than three axes, or an axis without modes.
    """
    if not 1 <= len(n_modes) <= 3 or min(n_modes) < 1:
        raise ValueError(f"n_modes={tuple(n_modes)} must be one to three positive numbers, one for each axis.")
    return (*n_modes[:-1], n_modes[-1] // 2 + 1)


def lowest_block(kept: tuple[int, ...], fewer: tuple[int, ...]) -> tuple[slice, ...]:
    """Where fewer, lower modes stand among the kept ones; both are counts along each axis, in the order stored."""
    starts = [all_of // 2 - some // 2 for all_of, some in zip(kept[:-1], fewer[:-1], strict=True)]
    return tuple(slice(start, start + some) for start, some in zip([*starts, 0], fewer, strict=True))


def spectral_deviation(in_channels: int, out_channels: int) -> float:
    """Standard deviation of an entry (complex) of a spectral weight at the start, `sqrt(2 / (in + out))`."""
    return (2 / (in_channels + out_channels)) ** 0.5


class SpectralWeight(nn.Module, ABC):
    """Linear maps from channels to channels, one for each kept mode.

    A subclass offers `dense()`, and overrides `contract()` where it can do better than multiply by the dense weight.

    Args:
        kept: modes along each axis, `kept_modes(n_modes)`.
        in_channels, out_channels: of the layer.
    """

    def __init__(self, *, kept: tuple[int, ...], in_channels: int, out_channels: int) -> None:
        super().__init__()
        if min((*kept, in_channels, out_channels)) < 1:
            raise ValueError(
                f"kept={kept}, in_channels={in_channels} and out_channels={out_channels} must all be positive."
            )
        self.kept, self.in_channels, self.out_channels = tuple(kept), in_channels, out_channels

    @abstractmethod
    def dense(self) -> Complex[torch.Tensor, "*kept inputs outputs"]:
        """The weight itself, complex, `(*kept, in, out)`; differentiable."""

    def contract(
        self, modes: Float[torch.Tensor, "*kept 2 batch inputs"]
    ) -> Float[torch.Tensor, "*kept 2 batch outputs"]:
        """Multiply the channels of every mode: `y[k, b, o] = sum_i x[k, b, i] w[k, i, o]`.

        Args:
            modes: `(*kept, 2, batch, in)`; index 0 of the axis of two holds the real parts, index 1 the imaginary ones.
                With fewer modes along an axis, they are the lowest of the kept ones, and so are the matrices.

        Returns:
            `(*kept, 2, batch, out)`, likewise.
        """
        weight = self.dense()[self.block(modes)]
        return contract_pairs(modes, torch.stack([weight.real, weight.imag], -2))

    def block(self, modes: torch.Tensor) -> tuple[slice, ...]:
        """Which of the kept modes an argument of `contract` has."""
        return lowest_block(self.kept, tuple(modes.shape[:-3]))


class DenseSpectralWeight(SpectralWeight):
    """One independent complex matrix for each kept mode, drawn from torch's global generator (see `seeded`).

    The parameter `weight` is real, `(*kept, in, 2, out)`: real and imaginary parts lie side by side as the columns of
    one matrix, which is how `contract` multiplies them.

    Source: Li et al. (2021); initial deviation as in the library of Kossaifi et al. (2024).
    """

    def __init__(self, *, kept: tuple[int, ...], in_channels: int, out_channels: int) -> None:
        super().__init__(kept=kept, in_channels=in_channels, out_channels=out_channels)
        # A complex Gaussian: its variance is shared by the two parts.
        part = spectral_deviation(in_channels, out_channels) / 2**0.5
        self.weight = nn.Parameter(part * torch.randn(*self.kept, in_channels, 2, out_channels))

    def dense(self) -> Complex[torch.Tensor, "*kept inputs outputs"]:
        """Complex, `(*kept, in, out)`."""
        return torch.complex(self.weight[..., 0, :], self.weight[..., 1, :])

    def contract(
        self, modes: Float[torch.Tensor, "*kept 2 batch inputs"]
    ) -> Float[torch.Tensor, "*kept 2 batch outputs"]:
        """See `SpectralWeight.contract`."""
        # Even a slice of everything would cost its gradient a copy.
        weight = self.weight if modes.shape[:-3] == self.kept else self.weight[self.block(modes)]
        return contract_pairs(modes, weight)


def contract_pairs(
    modes: Float[torch.Tensor, "*kept 2 batch inputs"], weight: Float[torch.Tensor, "*kept inputs 2 outputs"]
) -> Float[torch.Tensor, "*kept 2 batch outputs"]:
    """Complex product over the channels in real arithmetic: one batched product over the modes.

    Args:
        modes: `(*kept, 2, batch, in)`. weight: `(*kept, in, 2, out)`.

    Returns:
        `(*kept, 2, batch, out)`.
    """
    *kept, _, batch, inputs = modes.shape
    outputs = weight.shape[-1]
    count = math.prod(kept)
    rows, columns = modes.reshape(count, 2 * batch, inputs), weight.reshape(count, inputs, 2 * outputs)
    products = _PairProduct.apply(rows, columns) if fusion_applies(modes) else _combine(torch.bmm(rows, columns))
    return products.view(*kept, 2, batch, outputs)


class _PairProduct(torch.autograd.Function):
    """`(n, 2 batch, in)` and `(n, in, 2 out)` to `(n, 2 batch, out)`; its gradient is two batched products."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(rows, columns)
        return _combine(torch.bmm(rows, columns))

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        rows, columns = ctx.saved_tensors
        real, imaginary = gradient.chunk(2, 1)
        spread = torch.cat([torch.cat([real, imaginary], 2), torch.cat([imaginary, -real], 2)], 1)
        return torch.bmm(spread, columns.transpose(1, 2)), torch.bmm(rows.transpose(1, 2), spread)


def _combine(products: torch.Tensor) -> torch.Tensor:
    """Complex products from those of the parts, `(n, 2 batch, 2 out)` to `(n, 2 batch, out)`."""
    above, below = products.chunk(2, 1)
    (a, b), (c, d) = above.chunk(2, 2), below.chunk(2, 2)
    return torch.cat([a - d, b + c], 1)
