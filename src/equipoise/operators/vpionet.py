"""VPIONet: an operator network whose displacement is periodic by construction, trained on the energy."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import nn

from equipoise.nn.perceptron import MultilayerPerceptron

__all__ = ["VPIONet"]


class _PeriodicLayer(nn.Module):
    """First trunk layer: `tanh(A1 cos(2 pi x + p1) + c1) + tanh(A2 cos(2 pi y + p2) + c2) + tanh(A3 c + c3)`."""

    def __init__(self, width: int, generator: torch.Generator) -> None:
        super().__init__()

        def normal() -> nn.Parameter:
            return nn.Parameter(0.05 * torch.randn(width, generator=generator, dtype=torch.float64))

        self.phases = nn.ParameterList([normal(), normal()])
        self.slopes = nn.ParameterList([normal(), normal(), normal()])
        self.shifts = nn.ParameterList([normal(), normal(), normal()])

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        waves = [torch.cos(2 * torch.pi * points[:, axis, None] + self.phases[axis]) for axis in range(2)]
        inputs = [*waves, points[:, 2, None]]
        terms = [
            torch.tanh(value * slope + shift)
            for value, slope, shift in zip(inputs, self.slopes, self.shifts, strict=True)
        ]
        return terms[0] + terms[1] + terms[2]


class VPIONet(nn.Module):
    """Variational physics-informed operator network of a plane unit cell of unit size.

    Args:
        modes: terms of the inner product. width: of all hidden layers. seed: of the initial weights; float64.
        is_operator: with a branch network; without one it is the PINN of a single strain, whose modes are summed.
        displacement_scale: what the network's output is multiplied by; 1e-4 as published. Fluctuations of strains of
            0.04 are a hundred times as large, which some hundred steps of training do not make up for; 1e-2 starts at
            their size.

    Source: Eivazi et al. (2026), baselines, and its code; 37,168 parameters at the published sizes.
    """

    input_scale: torch.Tensor

    def __init__(
        self,
        *,
        modes: int = 16,
        width: int = 64,
        is_operator: bool = True,
        displacement_scale: float = 1e-4,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(modes, width) < 1 or not displacement_scale > 0:
            raise ValueError(
                f"modes={modes}, width={width} and displacement_scale={displacement_scale} must be positive."
            )
        self.config: dict[str, Any] = {
            "modes": modes,
            "width": width,
            "is_operator": is_operator,
            "displacement_scale": displacement_scale,
            "seed": seed,
        }
        generator = torch.Generator().manual_seed(seed)
        self.branch_net = MultilayerPerceptron((3, *[width] * 4, modes), generator=generator) if is_operator else None
        self.periodic = _PeriodicLayer(width, generator)
        # The stack of dense layers ends in two linear heads of `modes` each, which are one layer of twice as many.
        self.trunk_net = MultilayerPerceptron((width, *[width] * 5, 2 * modes), generator=generator)
        self.register_buffer("input_scale", torch.full((3,), 0.04, dtype=torch.float64))

    def trunk(self, points: torch.Tensor) -> torch.Tensor:
        """Displacement modes at points `(p, 3)` of x, y and the material's mark, `(p, modes, 2)`."""
        hidden = self.periodic(points)
        layers = list(zip(self.trunk_net.weights, self.trunk_net.biases, strict=True))
        for weight, bias in layers[:-1]:
            hidden = torch.tanh(torch.addmm(bias, hidden, weight))
        weight, bias = layers[-1]
        return torch.addmm(bias, hidden, weight).view(len(points), self.config["modes"], 2)

    def forward(
        self, strain: Float[torch.Tensor, "n 3"], points: Float[torch.Tensor, "p 3"]
    ) -> Float[torch.Tensor, "n p 2"]:
        """Periodic displacement fluctuation, `(n, 3)` and `(p, 3)` to `(n, p, 2)`."""
        modes = self.trunk(points)
        if self.branch_net is None:
            field = self.config["displacement_scale"] * modes.sum(1)
            return field.expand(len(strain), -1, -1)
        branch = self.branch_net(strain / self.input_scale)
        return self.config["displacement_scale"] * torch.einsum("nm,pmc->npc", branch, modes)
