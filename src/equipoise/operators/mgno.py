"""MgNO: an operator on a grid whose layers are learned multigrid V-cycles, without lifting or projection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import nn

from equipoise.nn.initialisation import seeded
from equipoise.nn.multigrid_convolution import NORMS, FieldNorm, MgLinear, channel_map, channels_last
from equipoise.nn.multigrid_levels import default_smoothing

__all__ = ["MgNO"]

_POINTWISE: tuple[Any, ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class MgNO(nn.Module):
    """Layers `u <- GELU(W u + K u + b)` of a multigrid operator W, a matrix K over channels and a bias b; a linear end.

    Its kernels belong to the spacing of the training grid: it is **not** independent of the discretisation, and on
    another grid of the same box it answers with the shape of that grid but without the accuracy. What it can be asked
    on is a larger or smaller domain at the same spacing. The training grid is kept in `config`.

    Args:
        in_channels, out_channels: of the fields.
        grid: points along each axis of the training grid, one to three axes.
        width: channels inside. n_layers: before the linear end.
        smoothing: smoothing steps before and after the coarser levels, for each level, finest first; by default one
            and none, two on the coarsest of as many levels as the grid holds, six at most.
        boundary: how fields continue, `"dirichlet"`, `"periodic"` or `"neumann"`, for all axes or for each.
        transfer, restrict_residual, norm, multigrid_bias, growing: see `MgLinear`.
        pointwise: whether layers have K and b.
        activation_norm: of what GELU is applied to, one of the norms of `MgLinear`.
        end: `"matrix"` over channels, or `"multigrid"`, another operator W.
        increment: whether the network's answer is added to its input, for a step in time.
        seed: of the initial weights.

    Raises:
        ValueError: for sizes that are not positive, or levels that the grid is too small for.

    Source: He, Liu and Xu (2024); their Darcy flow is the default at `width=24, n_layers=4`, their Navier-Stokes
    `boundary="periodic", norm="layer", multigrid_bias=True, pointwise=False, increment=True`, their Helmholtz equation
    `boundary="neumann", transfer="inner", growing=True, multigrid_bias=True, activation_norm="layer", end="multigrid"`
    at `width=20` on 101 points, with five levels of `smoothing`.
    """

    def __init__(
        self,
        *,
        in_channels: int = 1,
        out_channels: int = 1,
        grid: Sequence[int],
        width: int = 24,
        n_layers: int = 4,
        smoothing: Sequence[Sequence[int]] | None = None,
        boundary: str | Sequence[str] = "dirichlet",
        transfer: str = "parity",
        restrict_residual: bool = False,
        norm: str = "none",
        multigrid_bias: bool = False,
        pointwise: bool = True,
        increment: bool = False,
        growing: bool = False,
        activation_norm: str = "none",
        end: str = "matrix",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(in_channels, out_channels, width, n_layers) < 1:
            raise ValueError(
                f"in_channels={in_channels}, out_channels={out_channels}, width={width} and n_layers={n_layers} must be"
                " at least 1."
            )
        if increment and in_channels != out_channels:
            raise ValueError(f"increment=True adds {out_channels} output channels to {in_channels} input channels.")
        for name, value, accepted in (
            ("activation_norm", activation_norm, NORMS),
            ("end", end, ("matrix", "multigrid")),
        ):
            if value not in accepted:
                raise ValueError(f"{name}={value!r} is unknown; use one of {', '.join(accepted)}.")
        cycle: dict[str, Any] = {
            "grid": tuple(grid),
            "smoothing": tuple(map(tuple, default_smoothing(grid, transfer) if smoothing is None else smoothing)),
            "boundary": boundary if isinstance(boundary, str) else tuple(boundary),
            "transfer": transfer,
            "restrict_residual": restrict_residual,
            "norm": norm,
            "growing": growing,
        }
        self.config: dict[str, Any] = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "width": width,
            "n_layers": n_layers,
            **cycle,
            "multigrid_bias": multigrid_bias,
            "pointwise": pointwise,
            "increment": increment,
            "activation_norm": activation_norm,
            "end": end,
            "seed": seed,
        }
        sources = (in_channels,) + (width,) * (n_layers - 1)
        with seeded(seed):
            self.multigrid = nn.ModuleList(
                MgLinear(in_channels=source, channels=width, bias=multigrid_bias, **cycle) for source in sources
            )
            convolution = _POINTWISE[len(cycle["grid"]) - 1]
            self.pointwise = nn.ModuleList(convolution(source, width, 1) for source in sources if pointwise)
            is_matrix = end == "matrix"
            self.end = (
                convolution(width, out_channels, 1, bias=False)
                if is_matrix
                else MgLinear(in_channels=width, channels=out_channels, bias=multigrid_bias, **cycle)
            )
            shape = tuple(cycle["grid"])
            self.norms = nn.ModuleList(
                FieldNorm(activation_norm, width, shape) for _ in sources if activation_norm != "none"
            )

    def forward(
        self, inputs: Float[torch.Tensor, "batch in_channels *grid"]
    ) -> Float[torch.Tensor, "batch out_channels *grid"]:
        """Answer on the grid of the inputs.

        Raises:
            ValueError: for another rank or number of channels, or a grid that the levels don't fit, saying which do.
        """
        inputs = channels_last(inputs)
        fields = inputs
        for number, multigrid in enumerate(self.multigrid):
            changed = multigrid(fields)
            if self.pointwise:
                # Not in place: the map may be a view, whose gradient autograd would then copy, in another layout.
                changed = changed + channel_map(fields, self.pointwise[number])
            if self.norms:
                self._check_tied(tuple(changed.shape[2:]))
                changed = self.norms[number](changed)
            fields = nn.functional.gelu(changed)
        answer = channel_map(fields, self.end) if self.config["end"] == "matrix" else self.end(fields)
        return answer + inputs if self.config["increment"] else answer

    def _check_tied(self, shape: tuple[int, ...]) -> None:
        own = self.config["grid"]
        if self.config["activation_norm"] == "layer" and shape != own:
            raise ValueError(f"the grid {shape} doesn't fit activation_norm='layer', whose weights are those of {own}.")
