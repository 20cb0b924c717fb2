"""A U-Net with residual blocks: an ordinary network, as a baseline and as what `to_operator` converts."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import nn

from equipoise.nn.coordinates import coordinate_channels
from equipoise.nn.initialisation import seeded
from equipoise.spaces.grid import Grid

__all__ = ["UNet"]

_CONVOLUTIONS: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED: dict[int, Any] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


class UNet(nn.Module):
    """U-Net on fields `(batch, channel, *grid)`; its windows are counted in points, as in any network for images.

    Args:
        in_channels, out_channels: of the fields. dim: axes of the grid, 1 to 3.
        width: channels of the finest level. multipliers: of the width, one for each level.
        kernel_size: taps of the convolutions along each axis, odd.
        n_blocks: residual blocks for each level on the way down; one more on the way up.
        padding: `"zeros"` or `"circular"`.
        coordinates: whether the coordinates, from 0 to 1, are appended to the input.
        seed: of the initial weights.

    Raises:
        ValueError: for sizes out of range; in `forward` for another rank, other channels, or a grid that can't be
            halved as often as there are levels.

    Source: Ronneberger, Fischer and Brox (2015); blocks and norm as in Berner et al. (2025), who pad by zeros.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        dim: int = 2,
        width: int = 12,
        multipliers: tuple[int, ...] = (1, 2, 2),
        kernel_size: int = 5,
        n_blocks: int = 2,
        padding: str = "circular",
        coordinates: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(in_channels, out_channels, width, n_blocks, *multipliers) < 1 or not 1 <= dim <= 3:
            raise ValueError("channels, width, multipliers and n_blocks must be positive, and dim one of 1, 2, 3.")
        if kernel_size % 2 == 0 or padding not in ("zeros", "circular"):
            raise ValueError(f"kernel_size={kernel_size} must be odd, and padding={padding!r} 'zeros' or 'circular'.")
        self.config: dict[str, Any] = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "dim": dim,
            "width": width,
            "multipliers": tuple(multipliers),
            "kernel_size": kernel_size,
            "n_blocks": n_blocks,
            "padding": padding,
            "coordinates": coordinates,
            "seed": seed,
        }
        with seeded(seed):
            self._build()

    def _build(self) -> None:
        config = self.config
        dim, padding = config["dim"], config["padding"]
        widths = [config["width"] * multiplier for multiplier in config["multipliers"]]
        convolution, shared = _CONVOLUTIONS[dim], {"padding_mode": padding}
        size, half = config["kernel_size"], config["kernel_size"] // 2
        channels = config["in_channels"] + (dim if config["coordinates"] else 0)
        self.lift = convolution(channels, widths[0], size, padding=half, **shared)
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        self.grow, self.up = nn.ModuleList(), nn.ModuleList()
        current = widths[0]
        for level, wide in enumerate(widths):
            blocks = []
            for _ in range(config["n_blocks"]):
                blocks.append(ResidualBlock(current, wide, dim=dim, kernel_size=size, padding=padding))
                current = wide
            self.down.append(nn.Sequential(*blocks))
            if level < len(widths) - 1:
                self.shrink.append(convolution(current, current, 3, stride=2, padding=1, **shared))
        for wide in reversed(widths[:-1]):
            transposed = PERIODIC_TRANSPOSED[dim] if padding == "circular" else _TRANSPOSED[dim]
            self.grow.append(transposed(current, wide, 4, stride=2, padding=1))
            blocks, current = [], 2 * wide
            for _ in range(config["n_blocks"] + 1):
                blocks.append(ResidualBlock(current, wide, dim=dim, kernel_size=size, padding=padding))
                current = wide
            self.up.append(nn.Sequential(*blocks))
        self.norm = nn.GroupNorm(1, current)
        self.project = convolution(current, config["out_channels"], size, padding=half, **shared)

    def forward(self, inputs: Float[torch.Tensor, "batch channels *grid"]) -> Float[torch.Tensor, "batch out *grid"]:
        """The answer on the grid of the input."""
        self._check(inputs)
        if self.config["coordinates"]:
            grid = Grid(tuple(inputs.shape[2:]), (), self.config["padding"] == "circular")
            place = coordinate_channels(grid, dtype=inputs.dtype, device=inputs.device)
            inputs = torch.cat([inputs, place.expand(inputs.shape[0], *place.shape[1:])], 1)
        hidden = self.lift(inputs)
        skipped = []
        for level, blocks in enumerate(self.down):
            hidden = blocks(hidden)
            if level < len(self.shrink):
                skipped.append(hidden)
                hidden = self.shrink[level](hidden)
        for grow, blocks in zip(self.grow, self.up, strict=True):
            hidden = blocks(torch.cat([grow(hidden), skipped.pop()], 1))
        return self.project(F.gelu(self.norm(hidden)))

    def _check(self, inputs: torch.Tensor) -> None:
        dim, channels = self.config["dim"], self.config["in_channels"]
        if inputs.ndim != 2 + dim or inputs.shape[1] != channels:
            raise ValueError(f"inputs have shape {tuple(inputs.shape)}; expected {channels} channels on {dim} axes.")
        multiple = 2 ** (len(self.config["multipliers"]) - 1)
        if any(count % multiple for count in inputs.shape[2:]):
            raise ValueError(
                f"a grid of {tuple(inputs.shape[2:])} points can't be halved; use multiples of {multiple}."
            )


class ResidualBlock(nn.Module):
    """`x + conv(act(norm(conv(act(norm(x))))))`, with a 1x1 convolution on x where channels change."""

    def __init__(self, in_channels: int, out_channels: int, *, dim: int, kernel_size: int, padding: str) -> None:
        super().__init__()
        convolution, half = _CONVOLUTIONS[dim], kernel_size // 2
        self.first_norm, self.second_norm = nn.GroupNorm(1, in_channels), nn.GroupNorm(1, out_channels)
        self.first = convolution(in_channels, out_channels, kernel_size, padding=half, padding_mode=padding)
        self.second = convolution(out_channels, out_channels, kernel_size, padding=half, padding_mode=padding)
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else convolution(in_channels, out_channels, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The sum of both ways."""
        hidden = self.first(F.gelu(self.first_norm(inputs)))
        return self.shortcut(inputs) + self.second(F.gelu(self.second_norm(hidden)))


class _PeriodicTransposed(nn.Module):
    """Transposed convolution of a periodic field: its outputs wrap around, where torch's would lose them."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The field `stride` times as fine."""
        layer: Any = self
        dim = inputs.ndim - 2
        wrapped = F.pad(inputs, [1, 1] * dim, mode="circular")
        padding = [p + s for p, s in zip(layer.padding, layer.stride, strict=True)]
        return _TRANSPOSED_CALLS[dim](wrapped, layer.weight, layer.bias, stride=layer.stride, padding=padding)


_TRANSPOSED_CALLS: dict[int, Any] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


class PeriodicConvTranspose1d(_PeriodicTransposed, nn.ConvTranspose1d):  # type: ignore[misc]  # no output size
    """On one periodic axis."""


class PeriodicConvTranspose2d(_PeriodicTransposed, nn.ConvTranspose2d):  # type: ignore[misc]  # no output size
    """On two periodic axes."""


class PeriodicConvTranspose3d(_PeriodicTransposed, nn.ConvTranspose3d):  # type: ignore[misc]  # no output size
    """On three periodic axes."""


PERIODIC_TRANSPOSED: dict[int, Any] = {
    1: PeriodicConvTranspose1d,
    2: PeriodicConvTranspose2d,
    3: PeriodicConvTranspose3d,
}
