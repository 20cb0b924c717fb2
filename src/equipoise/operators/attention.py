"""A vision transformer on fields: patches, a learned table of positions and attention among the patches.

An ordinary network: its patches and its table belong to the training grid. It is a baseline, and what `to_operator`
converts.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import nn

from equipoise.nn.band_limited_pooling import resample_grid
from equipoise.nn.initialisation import seeded
from equipoise.spaces.grid import Grid

__all__ = ["PatchTransformer"]

_CONVOLUTIONS: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED: dict[int, Any] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


class PatchTransformer(nn.Module):
    """Transformer whose tokens are patches of a field.

    On another grid than that of the training the patches keep their number of points, and the table of positions is
    interpolated: what is commonly done, and no operator.

    Args:
        in_channels, out_channels: of the fields.
        shape: of the training grid; its number of axes is the dimension.
        patch: points of a patch along each axis, a divisor of the grid.
        width: of a token. n_layers, n_heads: of the attention. expansion: of the perceptrons between.
        local_taps: taps, odd, of a convolution for each channel among the patches inside those perceptrons; 0 for none.
        periodic: whether positions are interpolated periodically.
        seed: of the initial weights.

    Raises:
        ValueError: for sizes that do not fit; in `forward` for another rank, other channels, or a grid that is no
            multiple of the patch.

    Source: Dosovitskiy et al. (2021).
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        shape: tuple[int, ...],
        patch: int = 4,
        width: int = 64,
        n_layers: int = 4,
        n_heads: int = 4,
        expansion: int = 2,
        local_taps: int = 0,
        periodic: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(in_channels, out_channels, patch, width, n_layers, n_heads, expansion) < 1 or not 1 <= len(shape) <= 3:
            raise ValueError("all sizes must be positive, and shape have one to three axes.")
        if local_taps < 0 or (local_taps and local_taps % 2 == 0):
            raise ValueError(f"local_taps={local_taps} must be odd, or 0 for none.")
        if width % n_heads or any(count % patch for count in shape):
            raise ValueError(f"width={width} must be a multiple of n_heads={n_heads}, and shape={shape} of {patch}.")
        self.config: dict[str, Any] = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "shape": tuple(shape),
            "patch": patch,
            "width": width,
            "n_layers": n_layers,
            "n_heads": n_heads,
            "expansion": expansion,
            "local_taps": local_taps,
            "periodic": periodic,
            "seed": seed,
        }
        dim, tokens = len(shape), [count // patch for count in shape]
        with seeded(seed):
            self.embed = _CONVOLUTIONS[dim](in_channels, width, patch, stride=patch)
            self.position = nn.Parameter(0.02 * torch.randn(1, width, *tokens))
            local: dict[str, Any] = {
                "dim": dim,
                "local_taps": local_taps,
                "padding_mode": "circular" if periodic else "zeros",
            }
            self.layers = nn.ModuleList(_TransformerBlock(width, n_heads, expansion, **local) for _ in range(n_layers))
            self.norm = nn.LayerNorm(width)
            self.decode = _TRANSPOSED[dim](width, out_channels, patch, stride=patch)

    def forward(self, inputs: Float[torch.Tensor, "batch channels *grid"]) -> Float[torch.Tensor, "batch out *grid"]:
        """The answer on the grid of the input."""
        shape, patch, channels = self.config["shape"], self.config["patch"], self.config["in_channels"]
        if inputs.ndim != 2 + len(shape) or inputs.shape[1] != channels:
            raise ValueError(
                f"inputs have shape {tuple(inputs.shape)}; expected {channels} channels on {len(shape)} axes."
            )
        if any(count % patch for count in inputs.shape[2:]):
            raise ValueError(
                f"a grid of {tuple(inputs.shape[2:])} points has no whole patches; use multiples of {patch}."
            )
        tokens = self.embed(inputs)
        position: torch.Tensor = self.position
        if position.shape[2:] != tokens.shape[2:]:
            grid = Grid(tuple(position.shape[2:]), (), self.config["periodic"])
            position = resample_grid(position, grid, tuple(tokens.shape[2:]))
        hidden = (tokens + position).flatten(2).transpose(1, 2)
        for layer in self.layers:
            hidden = layer(hidden, tokens.shape[2:])
        hidden = self.norm(hidden).transpose(1, 2).unflatten(2, tokens.shape[2:])
        return self.decode(hidden)


class _TransformerBlock(nn.Module):
    """Attention and a perceptron, each behind a norm and beside an identity."""

    def __init__(
        self, width: int, n_heads: int, expansion: int, *, dim: int, local_taps: int, padding_mode: str
    ) -> None:
        super().__init__()
        self.first_norm, self.second_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, n_heads, batch_first=True)
        wide = expansion * width
        self.widen, self.narrow = nn.Linear(width, wide), nn.Linear(wide, width)
        self.local = None
        if local_taps:
            options = {"padding": local_taps // 2, "padding_mode": padding_mode, "groups": wide}
            self.local = _CONVOLUTIONS[dim](wide, wide, local_taps, **options)

    def forward(self, tokens: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        """The same tokens, which lie on a grid of the given shape."""
        normed = self.first_norm(tokens)
        tokens = tokens + self.attention(normed, normed, normed, need_weights=False)[0]
        hidden = self.widen(self.second_norm(tokens))
        if self.local is not None:
            field = hidden.transpose(1, 2).unflatten(2, shape)
            hidden = hidden + self.local(field).flatten(2).transpose(1, 2)
        return tokens + self.narrow(F.gelu(hidden))
