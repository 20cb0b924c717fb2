"""Modified DeepONet: branch and trunk are mixed in every layer, so that each pair of input and point is a pass."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import nn

from equipoise.nn.feature_maps import FeatureMap
from equipoise.nn.perceptron import ACTIVATIONS, MultilayerPerceptron
from equipoise.operators.branch_trunk import flat_sensors

__all__ = ["ModifiedDeepONet"]


class ModifiedDeepONet(nn.Module):
    """Two networks whose hidden layers move between two encodings: `H <- (1 - Z) U + Z V`, `Z = s(H W + b)`.

    U encodes the input, V the point; the answer is the inner product of both networks' outputs. Every pair costs a
    pass, N x P for N functions at P points, where a DeepONet needs N + P.

    Args:
        sensors: values that describe an input: their number, or the shape `(channel, *grid)` of a field.
        dim: coordinates of a point. out_channels: components of the answer.
        width, n_layers: of the hidden layers, all of one width. n_modes: terms of the inner product.
        activation: see `MultilayerPerceptron`. periods: see `FeatureMap`. seed: of the initial weights.

    Raises:
        ValueError: for sizes that are not positive or an unknown activation.

    Source: Wang, Wang and Perdikaris (2022), improved architectures of DeepONets.
    """

    def __init__(
        self,
        *,
        sensors: int | tuple[int, ...],
        dim: int,
        out_channels: int = 1,
        width: int = 64,
        n_layers: int = 3,
        n_modes: int = 64,
        activation: str = "tanh",
        periods: tuple[float, ...] = (),
        seed: int = 0,
    ) -> None:
        config = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        super().__init__()
        self.config: dict[str, Any] = config
        self.shape = (sensors,) if isinstance(sensors, int) else tuple(sensors)
        if min(*self.shape, dim, out_channels, width, n_layers, n_modes) < 1:
            raise ValueError("sensors, dim, out_channels, width, n_layers and n_modes must be positive.")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation={activation!r} is unknown; use one of {', '.join(ACTIVATIONS)}.")
        self.dim, self.out_channels, self.n_modes = dim, out_channels, n_modes
        generator = torch.Generator().manual_seed(seed)
        self.feature_map = FeatureMap(dim, periods=periods)
        reads = (math.prod(self.shape), self.feature_map.size)

        def layers(sizes: tuple[int, ...]) -> MultilayerPerceptron:
            return MultilayerPerceptron(
                sizes, generator=generator, activation=activation, dtype=torch.float32, distribution="normal"
            )

        self.encoders = nn.ModuleList(layers((count, width)) for count in reads)
        hidden = (*[width] * n_layers, out_channels * n_modes)
        self.branch_net, self.trunk_net = (layers((count, *hidden)) for count in reads)
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.activation = activation

    def forward(
        self, inputs: Float[torch.Tensor, "batch *any values"], points: Float[torch.Tensor, "*own point dim"]
    ) -> Float[torch.Tensor, "batch point outputs"]:
        """Answers at query points; arguments and errors as for `BranchTrunk.forward`."""
        flat = flat_sensors(inputs, self.shape, name="modified DeepONet")
        if points.ndim not in (2, 3) or points.shape[-1] != self.dim:
            raise ValueError(f"points have shape {tuple(points.shape)}; give (point, {self.dim}), or with a batch.")
        if points.ndim == 3 and len(points) != len(flat):
            raise ValueError(f"points of {len(points)} functions came with {len(flat)} inputs; give as many of each.")
        features = self.feature_map(points.reshape(-1, self.dim)).view(*points.shape[:-1], -1)
        if points.ndim == 2:
            features = features[None]
        return self._answer(flat[:, None], features)

    def _answer(self, sensors: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        activate = ACTIVATIONS[self.activation]
        reads = (sensors, features)
        u, v = (activate(_dense(net, read, 0)) for net, read in zip(self.encoders, reads, strict=True))
        outputs = []
        for net, read in zip((self.branch_net, self.trunk_net), reads, strict=True):
            hidden = read
            for layer in range(len(net.weights) - 1):
                gate = activate(_dense(net, hidden, layer))
                hidden = u + gate * (v - u)
            found = _dense(net, hidden, len(net.weights) - 1)
            outputs.append(found.unflatten(-1, (self.out_channels, self.n_modes)))
        return (outputs[0] * outputs[1]).sum(-1) + self.bias

    def derivatives(
        self, inputs: Float[torch.Tensor, "batch *any values"], points: Float[torch.Tensor, "point dim"], order: int = 1
    ) -> tuple[torch.Tensor, ...]:
        """As `BranchTrunk.derivatives`; here each pair is differentiated, in forward mode."""
        if order not in (1, 2):
            raise ValueError(f"order={order} must be 1 or 2.")
        flat = flat_sensors(inputs, self.shape, name="modified DeepONet")

        def one(point: torch.Tensor) -> torch.Tensor:
            return self._answer(flat[:, None], self.feature_map(point[None])[None])[:, 0]

        found = [one]
        for _ in range(order):
            found.append(torch.func.jacfwd(found[-1]))
        return tuple(torch.func.vmap(function, out_dims=1)(points) for function in found)


def _dense(network: nn.Module, inputs: torch.Tensor, layer: int) -> torch.Tensor:
    found: torch.Tensor = inputs @ network.weights[layer] + network.biases[layer]  # type: ignore[index]
    return found
