"""The Fourier neural operator on regular grids in one to three dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import nn

from equipoise.nn.fno_block import FNOBlock
from equipoise.nn.initialisation import seeded
from equipoise.nn.pointwise import PointwiseMLP
from equipoise.nn.pointwise_fused import keep_heap
from equipoise.nn.spectral_convolution import SpectralConvolution
from equipoise.nn.spectral_weight import DenseSpectralWeight, SpectralWeight, kept_modes
from equipoise.nn.truncated_transforms import smallest_grid

__all__ = ["FNO"]


class FNO(nn.Module):
    """Fourier neural operator: one set of weights for every grid that resolves its modes.

    Args:
        in_channels, out_channels: of the fields.
        n_modes: Fourier modes kept along each axis, one to three numbers; along the last, `n // 2 + 1` are stored.
        width: channels of the blocks. n_layers: number of blocks.
        lifting_ratio, projection_ratio: hidden channels of the networks before and behind the blocks, by the width.
        channel_mlp: whether each block has a pointwise network. mlp_ratio: its hidden channels, by the width.
        skip, mlp_skip: connections past the spectral convolution and past the pointwise network: `"linear"`,
            `"identity"`, `"soft-gating"` or `"none"`.
        norm: `"none"`, `"instance"` or `"group"`. preactivation: see `FNOBlock`.
        padding: zeros added at both ends of every axis during the blocks, as a fraction of its points.
        active_modes: the lowest modes in use, at most `n_modes`, which is the default; see `use_modes`.
        grid_embedding: whether the coordinates `i / n` of a point, from 0 to below 1, are appended as channels.
        seed: of the initial weights.

    A subclass with other weights of the modes overrides `spectral_weights`.

    Source: Li et al. (2021); blocks of Kossaifi et al. (2024). The defaults are those of neuraloperator 2.0.0.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        n_modes: tuple[int, ...],
        width: int = 32,
        n_layers: int = 4,
        lifting_ratio: float = 2,
        projection_ratio: float = 2,
        channel_mlp: bool = True,
        mlp_ratio: float = 0.5,
        skip: str = "linear",
        mlp_skip: str = "soft-gating",
        norm: str = "none",
        preactivation: bool = False,
        padding: float = 0.0,
        grid_embedding: bool = True,
        active_modes: tuple[int, ...] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        n_modes = tuple(n_modes)
        kept_modes(n_modes)
        if min(in_channels, out_channels, width, n_layers) < 1:
            raise ValueError(
                f"in_channels={in_channels}, out_channels={out_channels}, width={width} and n_layers={n_layers} "
                "must all be positive."
            )
        if min(lifting_ratio, projection_ratio, mlp_ratio) * width < 1:
            raise ValueError(
                f"lifting_ratio={lifting_ratio}, projection_ratio={projection_ratio} and mlp_ratio={mlp_ratio} must "
                f"leave at least one hidden channel at width={width}."
            )
        if not 0 <= padding < 1:
            raise ValueError(f"padding={padding} must be a fraction from 0 to below 1.")
        self.config: dict[str, Any] = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "n_modes": n_modes,
            "width": width,
            "n_layers": n_layers,
            "lifting_ratio": lifting_ratio,
            "projection_ratio": projection_ratio,
            "channel_mlp": channel_mlp,
            "mlp_ratio": mlp_ratio,
            "skip": skip,
            "mlp_skip": mlp_skip,
            "norm": norm,
            "preactivation": preactivation,
            "padding": padding,
            "grid_embedding": grid_embedding,
            "active_modes": None,
            "seed": seed,
        }
        keep_heap()
        with seeded(seed):
            embedded = in_channels + (len(n_modes) if grid_embedding else 0)
            self.lifting = PointwiseMLP(
                in_channels=embedded, hidden_channels=int(lifting_ratio * width), out_channels=width
            )
            self.blocks = nn.ModuleList(
                FNOBlock(
                    spectral=SpectralConvolution(in_channels=width, out_channels=width, n_modes=n_modes, weight=weight),
                    channel_mlp=round(mlp_ratio * width) if channel_mlp else None,
                    skip=skip,
                    mlp_skip=mlp_skip,
                    norm=norm,
                    preactivation=preactivation,
                    last=layer == n_layers - 1,
                )
                for layer, weight in enumerate(self.spectral_weights())
            )
            self.projection = PointwiseMLP(
                in_channels=width, hidden_channels=int(projection_ratio * width), out_channels=out_channels
            )
        if active_modes is not None:
            self.use_modes(active_modes)

    def spectral_weights(self) -> Sequence[SpectralWeight]:
        """New weights of the modes, one for each layer, from `self.config`; called once, by the constructor."""
        width = self.config["width"]
        return [
            DenseSpectralWeight(kept=kept_modes(self.config["n_modes"]), in_channels=width, out_channels=width)
            for _ in range(self.config["n_layers"])
        ]

    def use_modes(self, n_modes: tuple[int, ...]) -> None:
        """Use the lowest modes only, from now on, and record it in the configuration.

        Training that starts with few modes and raises them is cheaper at first, and learns low frequencies first. The
        weights of modes not in use stay as they are; they come in with the values of the start.

        Args:
            n_modes: along each axis, at most those of the constructor.

        Raises:
            ValueError: for more modes than there are, or another number of axes.

        Source: George, Zhao, Kossaifi, Li and Anandkumar (2024).
        """
        for block in self.blocks:
            assert isinstance(block, FNOBlock)
            block.spectral.use_modes(n_modes)
        self.config["active_modes"] = tuple(n_modes)

    @property
    def n_parameters(self) -> int:
        """Number of trained real parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def smallest_grid(self) -> tuple[int, ...]:
        """Fewest points along each axis that an input may have."""
        least = []
        for needed in smallest_grid(self.config["n_modes"]):
            points = 1
            while points + 2 * round(self.config["padding"] * points) < needed:
                points += 1
            least.append(points)
        return tuple(least)

    def forward(self, inputs: Float[torch.Tensor, "batch inputs *grid"]) -> Float[torch.Tensor, "batch outputs *grid"]:
        """`(batch, in_channels, *grid)` to `(batch, out_channels, *grid)`.

        Raises:
            ValueError: for another rank or number of channels, or a grid that does not resolve the modes.
        """
        self._check(inputs)
        field = inputs.movedim(1, -1)
        grid = field.shape[1:-1]
        if self.config["grid_embedding"]:
            axes = [torch.arange(n, dtype=field.dtype, device=field.device) / n for n in grid]
            places = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
            field = torch.cat([field, places.expand(field.shape[0], *places.shape)], -1)
        field = self.lifting(field)
        margins = [round(self.config["padding"] * n) for n in grid]
        if any(margins):
            around = [margin for margin in reversed(margins) for _ in range(2)]
            field = nn.functional.pad(field, [0, 0, *around])
        for block in self.blocks:
            field = block(field)
        for axis, (margin, points) in enumerate(zip(margins, grid, strict=True)):
            field = field.narrow(1 + axis, margin, points) if margin else field
        return self.projection(field).movedim(-1, 1)

    def _check(self, inputs: torch.Tensor) -> None:
        channels, dim = self.config["in_channels"], len(self.config["n_modes"])
        if inputs.ndim != 2 + dim or inputs.shape[1] != channels:
            axes = ", ".join(f"n{axis + 1}" for axis in range(dim))
            raise ValueError(f"the input has shape {tuple(inputs.shape)}; expected (batch, {channels}, {axes}).")
        least = self.smallest_grid
        if any(points < fewest for points, fewest in zip(inputs.shape[2:], least, strict=True)):
            grid, smallest = (" x ".join(map(str, shape)) for shape in (inputs.shape[2:], least))
            raise ValueError(
                f"a grid of {grid} points does not resolve n_modes={self.config['n_modes']}; "
                f"the smallest grid that does has {smallest} points, and every larger one is accepted."
            )
