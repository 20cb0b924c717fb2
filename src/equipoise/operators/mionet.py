"""MIONet: several input functions, one branch network for each, whose outputs are multiplied."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import nn

from equipoise.nn.feature_maps import FeatureMap
from equipoise.nn.jets import Jet, perceptron_jet
from equipoise.nn.perceptron import MultilayerPerceptron
from equipoise.operators.branch_trunk import BranchTrunk, flat_sensors

__all__ = ["MIONet"]


class MIONet(BranchTrunk):
    """`G(u_1, u_2, ...)(y) = sum_k b1_k(u_1) b2_k(u_2) ... t_k(y) + bias`: linear in each branch.

    Args:
        sensors: number of sensors of each input. Inputs come side by side, `(batch, sum of sensors)`, or as the
            channels of a field; `join` puts separate tensors together.
        dim, out_channels, n_modes, branch, trunk, activation, periods, vanishing, bounds, boundary_value, bias, seed:
            as for `DeepONet`; the components divide the outputs of all networks.

    Source: Jin, Meng and Lu (2022), MIONet, SIAM Journal on Scientific Computing 44.
    """

    def __init__(
        self,
        *,
        sensors: tuple[int, ...],
        dim: int,
        out_channels: int = 1,
        n_modes: int = 40,
        branch: tuple[int, ...] = (40,),
        trunk: tuple[int, ...] = (40,),
        activation: str = "relu",
        periods: tuple[float, ...] = (),
        vanishing: tuple[str, ...] = (),
        bounds: tuple[tuple[float, float], ...] = (),
        boundary_value: float = 0.0,
        bias: bool = True,
        seed: int = 0,
    ) -> None:
        config = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        super().__init__(
            dim=dim,
            out_channels=out_channels,
            bias=bias,
            vanishing=vanishing,
            bounds=bounds,
            boundary_value=boundary_value,
        )
        self.config: dict[str, Any] = config
        if not sensors or min(sensors) < 1 or n_modes < 1:
            raise ValueError(f"sensors={sensors} and n_modes={n_modes} must be positive.")
        self.sensors, self.n_modes = tuple(sensors), n_modes
        generator = torch.Generator().manual_seed(seed)
        options: dict[str, Any] = {
            "generator": generator,
            "activation": activation,
            "dtype": torch.float32,
            "distribution": "normal",
        }
        outputs = out_channels * n_modes
        self.branch_nets = nn.ModuleList(
            MultilayerPerceptron((count, *branch, outputs), **options) for count in self.sensors
        )
        self.feature_map = FeatureMap(dim, periods=periods)
        self.trunk_net = MultilayerPerceptron((self.feature_map.size, *trunk, outputs), last_activation=True, **options)

    def join(self, inputs: Sequence[torch.Tensor]) -> Float[torch.Tensor, "batch values"]:
        """Inputs given one by one as the vectors that `forward` takes.

        Raises:
            ValueError: for another number of inputs, or of sensors of one.
        """
        if len(inputs) != len(self.sensors):
            raise ValueError(f"{len(inputs)} inputs were given; this MIONet has {len(self.sensors)} branches.")
        return torch.cat(
            [flat_sensors(part, (count,), name="branch") for part, count in zip(inputs, self.sensors, strict=True)], 1
        )

    def branch(self, inputs: torch.Tensor) -> torch.Tensor:
        """Products of the branches' outputs, `(batch, q, p)`."""
        flat = flat_sensors(inputs, (sum(self.sensors),), name="MIONet")
        parts = [net(part) for net, part in zip(self.branch_nets, flat.split(self.sensors, 1), strict=True)]
        found: torch.Tensor = math.prod(parts[1:], start=parts[0])
        return found.view(flat.shape[0], self.out_channels, self.n_modes)

    def trunk(self, points: torch.Tensor | None) -> torch.Tensor:
        """Functions at points, `(n, q, p)`."""
        if points is None:
            return super().trunk(points)
        found: torch.Tensor = self.trunk_net(self.feature_map(points))
        return found.view(points.shape[0], self.out_channels, self.n_modes)

    def trunk_jet(self, points: torch.Tensor, order: int) -> Jet:
        """See `BranchTrunk.trunk_jet`."""
        jet = perceptron_jet(self.trunk_net, self.feature_map.jet(points, order))
        return jet.each(lambda part: part.unflatten(-1, (-1, self.n_modes)).transpose(-3, -2))
