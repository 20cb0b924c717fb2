"""The spectral convolution: the lowest modes of a field, multiplied channel by channel, and transformed back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import nn

from equipoise.nn.spectral_weight import DenseSpectralWeight, SpectralWeight, kept_modes, spectral_deviation
from equipoise.nn.truncated_transforms import METHODS, analyse, mean_mode, synthesise

__all__ = ["SpectralConvolution"]


class SpectralConvolution(nn.Module):
    """Convolution with a kernel that has a few Fourier modes; the same operator on every grid that resolves them.

    Args:
        in_channels, out_channels: of the layer.
        n_modes: along each axis, one to three.
        weight: of the modes; a new dense one by default.
        bias: whether a trained constant is added to each output channel.
        method: `"matrix"` or `"fft"`; by default the faster one, see `truncated_transforms`.

    Raises:
        ValueError: for a weight of other modes or channels, or an unknown method.

    Source: Li et al. (2021).
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        n_modes: Sequence[int],
        weight: SpectralWeight | None = None,
        bias: bool = True,
        method: str | None = None,
    ) -> None:
        super().__init__()
        kept = kept_modes(n_modes)
        if method not in (None, *METHODS):
            raise ValueError(f"method={method!r} is unknown; use one of {', '.join(METHODS)}.")
        if weight is None:
            weight = DenseSpectralWeight(kept=kept, in_channels=in_channels, out_channels=out_channels)
        if (weight.kept, weight.in_channels, weight.out_channels) != (kept, in_channels, out_channels):
            raise ValueError(
                f"the weight keeps {weight.kept} modes from {weight.in_channels} to {weight.out_channels} channels; "
                f"the layer needs {kept} from {in_channels} to {out_channels}."
            )
        self.n_modes, self.method, self.weight = tuple(n_modes), method, weight
        deviation = spectral_deviation(in_channels, out_channels)
        self.bias = nn.Parameter(deviation * torch.randn(out_channels)) if bias else None

    def forward(self, field: Float[torch.Tensor, "batch inputs *grid"]) -> Float[torch.Tensor, "batch outputs *grid"]:
        """`(batch, in, *grid)` to `(batch, out, *grid)`.

        Raises:
            ValueError: for a grid that does not resolve the modes.
        """
        return self.channels_last(field.movedim(1, -1)).movedim(-1, 1)

    def channels_last(
        self, field: Float[torch.Tensor, "batch *grid inputs"]
    ) -> Float[torch.Tensor, "batch *grid outputs"]:
        """The same for `(batch, *grid, in)`, without the copies."""
        modes = self.multiply(analyse(field, self.n_modes, method=self.method))
        return synthesise(modes, field.shape[1:-1], self.n_modes, method=self.method)

    def use_modes(self, n_modes: Sequence[int]) -> None:
        """Transform the lowest of the modes only, from now on; the weight keeps all.

        Raises:
            ValueError: for more modes than the weight has, or another number of axes.
        """
        kept = kept_modes(n_modes)
        if len(kept) != len(self.weight.kept) or any(a > b for a, b in zip(kept, self.weight.kept, strict=True)):
            raise ValueError(f"n_modes={tuple(n_modes)} stores {kept} modes; the weight has {self.weight.kept}.")
        self.n_modes = tuple(n_modes)

    def multiply(
        self, modes: Float[torch.Tensor, "*kept 2 batch inputs"]
    ) -> Float[torch.Tensor, "*kept 2 batch outputs"]:
        """Multiply the modes by the weight and add the bias, which is a change of the mean."""
        modes = self.weight.contract(modes)
        if self.bias is None:
            return modes
        # Placed by padding, which compilers and exporters take: one row of many.
        *kept, _, _, outputs = modes.shape
        mean = mean_mode(self.n_modes)
        shift = self.bias.view(*(1,) * (len(kept) + 2), outputs)
        around = [0, 0, 0, 0, 0, 1]
        for index, count in zip(reversed(mean), reversed(kept), strict=True):
            around += [index, count - index - 1]
        return modes + nn.functional.pad(shift, around)
