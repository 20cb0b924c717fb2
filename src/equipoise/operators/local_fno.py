"""Fourier neural operator with local layers beside the spectral ones: finite differences and local integrals."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import nn

from equipoise.nn.coordinates import coordinate_channels
from equipoise.nn.finite_difference import FiniteDifferenceConvolution
from equipoise.nn.initialisation import seeded
from equipoise.nn.local_integral import LocalIntegralConvolution
from equipoise.nn.spectral_convolution import SpectralConvolution
from equipoise.nn.truncated_transforms import check_resolution
from equipoise.spaces.grid import Grid

__all__ = ["LocalFNO"]

_POINTWISE: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


class LocalFNO(nn.Module):
    """FNO whose layers may also differentiate, and integrate over a ball of fixed radius.

    A layer is `v = GELU(spectral(u) + W u + differences(u) + integral(u))`, then `GELU(mlp(v) + gate * u)`; the last
    layer has neither activation. Without local terms it is the FNO.

    Args:
        in_channels, out_channels: of the fields. width: channels inside. n_layers: of them.
        n_modes: kept along each axis, one to three axes.
        shape: of the training grid, whose spacing scales the differences. bounds: of the box, the unit box by default.
        periodic: whether the box is; one value for all axes.
        differences: whether the last layer has a finite-difference convolution.
        radius: of the local integrals in every layer, in the units of the bounds; `None` for none.
        n_radial, n_angular: basis functions of the integrals.
        seed: of the initial weights.

    Raises:
        ValueError: for sizes out of range; in `forward` for another rank, other channels, or a grid that does not
            resolve the modes.

    Source: Liu-Schiaffini et al. (2024); Berner et al. (2025).
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        width: int = 24,
        n_modes: tuple[int, ...] = (12, 12),
        n_layers: int = 3,
        shape: tuple[int, ...],
        bounds: tuple[tuple[float, float], ...] = (),
        periodic: bool = True,
        differences: bool = False,
        radius: float | None = None,
        n_radial: int = 2,
        n_angular: int = 4,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(in_channels, out_channels, width, n_layers) < 1 or len(n_modes) != len(shape):
            raise ValueError(f"channels, width and n_layers must be positive, and n_modes={n_modes} fit {shape}.")
        self.config: dict[str, Any] = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "width": width,
            "n_modes": tuple(n_modes),
            "n_layers": n_layers,
            "shape": tuple(shape),
            "bounds": tuple(tuple(ends) for ends in bounds),
            "periodic": periodic,
            "differences": differences,
            "radius": radius,
            "n_radial": n_radial,
            "n_angular": n_angular,
            "seed": seed,
        }
        self.grid = Grid(shape, bounds, periodic)
        dim, pointwise = self.grid.dim, _POINTWISE[self.grid.dim]
        with seeded(seed):
            self.lift = nn.Sequential(
                pointwise(in_channels + dim, 2 * width, 1), nn.GELU(), pointwise(2 * width, width, 1)
            )
            self.layers = nn.ModuleList()
            for number in range(n_layers):
                local = self._local_layers(number)
                self.layers.append(_LocalFNOLayer(width, tuple(n_modes), local, is_last=number == n_layers - 1))
            self.project = nn.Sequential(
                pointwise(width, 2 * width, 1), nn.GELU(), pointwise(2 * width, out_channels, 1)
            )

    def _local_layers(self, number: int) -> nn.ModuleList:
        config, local = self.config, nn.ModuleList()
        shared = {"in_channels": config["width"], "out_channels": config["width"], "dim": self.grid.dim}
        seed = config["seed"] + 101 * number
        if config["differences"] and number == config["n_layers"] - 1:
            spacing = math.prod(self.grid.spacings) ** (1 / self.grid.dim)
            local.append(FiniteDifferenceConvolution(**shared, reference_spacing=spacing, seed=seed))
        if config["radius"] is not None:
            basis = {"n_radial": config["n_radial"], "n_angular": config["n_angular"]}
            local.append(LocalIntegralConvolution(**shared, **basis, radius=config["radius"], seed=seed + 1))
        return local

    def forward(self, inputs: Float[torch.Tensor, "batch channels *grid"]) -> Float[torch.Tensor, "batch out *grid"]:
        """The answer on the grid of the input."""
        dim, channels = self.grid.dim, self.config["in_channels"]
        if inputs.ndim != 2 + dim or inputs.shape[1] != channels:
            raise ValueError(f"inputs have shape {tuple(inputs.shape)}; expected {channels} channels on {dim} axes.")
        grid = self.grid.resized(inputs.shape[2:])
        check_resolution(grid.shape, self.config["n_modes"])
        place = coordinate_channels(grid, dtype=inputs.dtype, device=inputs.device)
        hidden = self.lift(torch.cat([inputs, place.expand(inputs.shape[0], *place.shape[1:])], 1))
        for layer in self.layers:
            hidden = layer(hidden, grid)
        return self.project(hidden)


class _LocalFNOLayer(nn.Module):
    """One layer: spectral, pointwise and local terms, and a perceptron over channels beside a gated identity."""

    def __init__(self, width: int, n_modes: tuple[int, ...], local: nn.ModuleList, *, is_last: bool) -> None:
        super().__init__()
        pointwise, hidden = _POINTWISE[len(n_modes)], round(0.5 * width)
        self.is_last, self.local = is_last, local
        self.spectral = SpectralConvolution(in_channels=width, out_channels=width, n_modes=n_modes)
        self.skip = pointwise(width, width, 1, bias=False)
        self.perceptron = nn.Sequential(pointwise(width, hidden, 1), nn.GELU(), pointwise(hidden, width, 1))
        self.gate = nn.Parameter(torch.ones(1, width, *[1] * len(n_modes)))

    def forward(self, inputs: torch.Tensor, grid: Grid) -> torch.Tensor:
        """The field after the layer."""
        hidden = self.spectral(inputs) + self.skip(inputs)
        for layer in self.local:
            hidden = hidden + layer(inputs, grid)
        if not self.is_last:
            hidden = F.gelu(hidden)
        hidden = self.perceptron(hidden) + self.gate * inputs
        return hidden if self.is_last else F.gelu(hidden)
