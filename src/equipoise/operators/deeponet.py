"""DeepONet: a branch network reads the input, a trunk network the query point, and their inner product answers."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import nn

from equipoise.nn.perceptron import MultilayerPerceptron

__all__ = ["DeepONet"]


class DeepONet(nn.Module):
    """Unstacked DeepONet for inputs that are vectors, on shared query points.

    Args:
        n_inputs: length of the input vector. dim: coordinates of a query point. n_outputs: components of the answer.
        modes: terms of the inner product for each component.
        width, depth: of the hidden layers of both networks.
        periods: length of the period of the first coordinates, which then enter by their cosines and sines of two
            frequencies; coordinates after them enter as they are.
        seed: of the initial weights; float64.

    Source: Lu, Jin and Karniadakis (2019); several outputs by splitting both networks' outputs, Lu et al. (2022).
    """

    def __init__(
        self,
        *,
        n_inputs: int,
        dim: int,
        n_outputs: int = 1,
        modes: int = 32,
        width: int = 64,
        depth: int = 3,
        periods: tuple[float, ...] = (),
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(n_inputs, dim, n_outputs, modes, width, depth) < 1 or len(periods) > dim:
            raise ValueError("sizes must be positive, and there are at most as many periods as coordinates.")
        self.config: dict[str, Any] = {
            "n_inputs": n_inputs,
            "dim": dim,
            "n_outputs": n_outputs,
            "modes": modes,
            "width": width,
            "depth": depth,
            "periods": tuple(periods),
            "seed": seed,
        }
        generator = torch.Generator().manual_seed(seed)
        hidden, features = [width] * depth, dim + 3 * len(periods)
        self.branch_net = MultilayerPerceptron((n_inputs, *hidden, n_outputs * modes), generator=generator)
        self.trunk_net = MultilayerPerceptron((features, *hidden, n_outputs * modes), generator=generator)
        self.bias = nn.Parameter(torch.zeros(n_outputs, dtype=torch.float64))

    def features(self, points: torch.Tensor) -> torch.Tensor:
        """What the trunk reads, `(p, dim)` to `(p, features)`."""
        periods = self.config["periods"]
        columns = []
        for axis, period in enumerate(periods):
            angle = 2 * torch.pi * points[:, axis] / period
            columns += [angle.cos(), angle.sin(), (2 * angle).cos(), (2 * angle).sin()]
        return torch.cat([torch.stack([*columns, *points[:, len(periods) :].T], -1)], -1)

    def forward(
        self, inputs: Float[torch.Tensor, "n inputs"], points: Float[torch.Tensor, "p dim"]
    ) -> Float[torch.Tensor, "n p outputs"]:
        """Every input at every point, `(n, n_inputs)` and `(p, dim)` to `(n, p, n_outputs)`."""
        outputs, modes = self.config["n_outputs"], self.config["modes"]
        branch = self.branch_net(inputs).view(-1, outputs, modes)
        trunk = torch.nn.functional.silu(self.trunk_net(self.features(points))).view(-1, outputs, modes)
        return torch.einsum("nom,pom->npo", branch, trunk) / modes**0.5 + self.bias
