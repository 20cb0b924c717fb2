"""DeepONet: a branch network reads the input, a trunk network the query point, and their inner product answers."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import nn

from equipoise.nn.convolutional_encoder import ConvolutionalEncoder
from equipoise.nn.feature_maps import FeatureMap
from equipoise.nn.grouped_linear import GroupedPerceptron
from equipoise.nn.jets import Jet, perceptron_jet
from equipoise.nn.perceptron import MultilayerPerceptron
from equipoise.operators.branch_trunk import BranchTrunk, flat_sensors

__all__ = ["DeepONet"]

FORMS = ("unstacked", "stacked")
STRATEGIES = ("independent", "split_both", "split_branch", "split_trunk")


class DeepONet(BranchTrunk):
    """Deep operator network for inputs at fixed sensors and answers at any point.

    The last layer of the branch is linear, that of the trunk has an activation.

    Args:
        sensors: values that describe an input: their number, or the shape `(channel, *grid)` of a field.
        dim: coordinates of a point. out_channels: components of the answer.
        n_modes: terms of the inner product for each component.
        branch, trunk: widths of the hidden layers.
        activation: `"relu"`, `"tanh"`, `"gelu"` or `"swish"`; ReLU has no second derivatives to speak of.
        form: `"unstacked"`, one branch network, or `"stacked"`, one for each coefficient.
        strategy: for several components: `"independent"` networks; `"split_both"`, `"split_branch"` or `"split_trunk"`,
            where the outputs of both networks or of one are divided among the components.
        branch_channels: convolutions of a branch that reads a field, before its dense layers; none by default.
        periods, n_frequencies, n_random, random_scale: what the trunk reads, see `FeatureMap`.
        vanishing, bounds, boundary_value: exact conditions, see `BranchTrunk`.
        bias: whether each component has one. normalise: keep statistics of the sensors, see `fit_inputs`.
        seed: of the initial weights, of Glorot's normal distribution.

    Raises:
        ValueError: for sizes that are not positive, or an unknown form, strategy or activation.

    Sources: Lu, Jin and Karniadakis (2019); several components, features and exact conditions, Lu et al. (2022).
    """

    sensor_mean: torch.Tensor
    sensor_std: torch.Tensor

    def __init__(
        self,
        *,
        sensors: int | tuple[int, ...],
        dim: int,
        out_channels: int = 1,
        n_modes: int = 40,
        branch: tuple[int, ...] = (40,),
        trunk: tuple[int, ...] = (40,),
        activation: str = "relu",
        form: str = "unstacked",
        strategy: str = "split_both",
        branch_channels: tuple[int, ...] = (),
        periods: tuple[float, ...] = (),
        n_frequencies: int = 2,
        n_random: int = 0,
        random_scale: float = 1.0,
        vanishing: tuple[str, ...] = (),
        bounds: tuple[tuple[float, float], ...] = (),
        boundary_value: float = 0.0,
        bias: bool = True,
        normalise: bool = False,
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
        self.shape = (sensors,) if isinstance(sensors, int) else tuple(sensors)
        _check(self.shape, n_modes, form, strategy)
        self.n_modes, self.strategy = n_modes, strategy
        generator = torch.Generator().manual_seed(seed)
        self.branch_net = self._branch_net(branch, branch_channels, activation, form, generator, seed)
        self.feature_map = FeatureMap(
            dim,
            periods=periods,
            n_frequencies=n_frequencies,
            n_random=n_random,
            random_scale=random_scale,
            generator=generator,
        )
        self.trunk_net = self._trunk_net(trunk, activation, generator)
        if normalise:
            self.register_buffer("sensor_mean", torch.zeros(math.prod(self.shape)))
            self.register_buffer("sensor_std", torch.ones(math.prod(self.shape)))

    def _branch_net(
        self,
        hidden: tuple[int, ...],
        channels: tuple[int, ...],
        activation: str,
        form: str,
        generator: torch.Generator,
        seed: int,
    ) -> nn.Module:
        """Gives all coefficients as one vector; those of a component lie together."""
        outputs = self.n_modes * (1 if self.strategy == "split_trunk" else self.out_channels)
        sizes = (math.prod(self.shape), *hidden)
        if channels:
            if form == "stacked" or self.strategy == "independent":
                raise ValueError("a convolutional branch is one network: take form='unstacked' and a split strategy.")
            return ConvolutionalEncoder(
                self.shape, channels=channels, dense=(*hidden, outputs), activation=activation, seed=seed
            )
        options: dict[str, Any] = {"generator": generator, "activation": activation, "dtype": torch.float32}
        if form == "stacked":
            return GroupedPerceptron(outputs, (*sizes, 1), distribution="normal", **options)
        if self.strategy == "independent" and self.out_channels > 1:
            return GroupedPerceptron(self.out_channels, (*sizes, self.n_modes), distribution="normal", **options)
        return MultilayerPerceptron((*sizes, outputs), distribution="normal", **options)

    def _trunk_net(
        self, hidden: tuple[int, ...], activation: str, generator: torch.Generator
    ) -> MultilayerPerceptron | GroupedPerceptron:
        options: dict[str, Any] = {
            "generator": generator,
            "activation": activation,
            "dtype": torch.float32,
            "distribution": "normal",
            "last_activation": True,
        }
        sizes = (self.feature_map.size, *hidden)
        if self.strategy == "independent" and self.out_channels > 1:
            return GroupedPerceptron(self.out_channels, (*sizes, self.n_modes), **options)
        outputs = self.n_modes * (1 if self.strategy == "split_branch" else self.out_channels)
        return MultilayerPerceptron((*sizes, outputs), **options)

    @property
    def n_parameters(self) -> int:
        """Number of trained parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    @torch.no_grad()
    def fit_inputs(self, inputs: Float[torch.Tensor, "n *any values"]) -> None:
        """Keep mean and spread of each sensor over training inputs; inputs are then normalised by them.

        Raises:
            ValueError: for a network built without `normalise`, or another number of sensors.
        """
        if not self.config["normalise"]:
            raise ValueError("this DeepONet was built with normalise=False; build it with True to keep statistics.")
        flat = flat_sensors(inputs, self.shape, name="DeepONet")
        std, mean = torch.std_mean(flat, dim=0, correction=0)
        self.sensor_mean.copy_(mean)
        self.sensor_std.copy_(torch.where(std > 1e-7 * mean.abs(), std, torch.ones_like(std)))

    def forward(
        self, inputs: Float[torch.Tensor, "batch *any values"], points: Float[torch.Tensor, "*own point dim"] | None
    ) -> Float[torch.Tensor, "batch point outputs"]:
        """See `BranchTrunk.forward`."""
        if points is None or points.ndim != 2 or self.out_channels > 1 or self.boundary is not None:
            return super().forward(inputs, points)
        # One component at shared points, the usual case: without the views of the general one, whose passage forth and
        # back takes a tenth of the step of a small network.
        self.check_points(points, inputs.shape[0])
        left, right = self._coefficients(inputs), self.trunk_net(self.feature_map(points)).flatten(1).T
        return (left @ right if self.bias is None else torch.addmm(self.bias, left, right)).unsqueeze(-1)

    def _coefficients(self, inputs: torch.Tensor) -> torch.Tensor:
        """All coefficients side by side, `(batch, q p)`."""
        flat = flat_sensors(inputs, self.shape, name="DeepONet")
        if self.config["normalise"]:
            flat = (flat - self.sensor_mean) / self.sensor_std
        if isinstance(self.branch_net, ConvolutionalEncoder):
            flat = flat.unflatten(1, self.shape)
        found: torch.Tensor = self.branch_net(flat)
        return found if found.ndim == 2 else found.flatten(1)

    def branch(self, inputs: torch.Tensor) -> torch.Tensor:
        """Coefficients of inputs, `(batch, q, p)`; q is 1 for `"split_trunk"`."""
        return self._coefficients(inputs).unflatten(1, (-1, self.n_modes))

    def trunk(self, points: torch.Tensor | None) -> torch.Tensor:
        """Functions at points, `(n, q, p)`; q is 1 for `"split_branch"`."""
        if points is None:
            return super().trunk(points)
        found: torch.Tensor = self.trunk_net(self.feature_map(points))
        return found.reshape(points.shape[0], -1, self.n_modes)

    def trunk_jet(self, points: torch.Tensor, order: int) -> Jet:
        """See `BranchTrunk.trunk_jet`."""
        jet = perceptron_jet(self.trunk_net, self.feature_map.jet(points, order))
        if isinstance(self.trunk_net, GroupedPerceptron):
            return jet
        return jet.each(lambda part: part.unflatten(-1, (-1, self.n_modes)).transpose(-3, -2))


def _check(shape: tuple[int, ...], n_modes: int, form: str, strategy: str) -> None:
    if not shape or min(shape) < 1 or n_modes < 1:
        raise ValueError(f"sensors={shape} and n_modes={n_modes} must be positive.")
    if form not in FORMS:
        raise ValueError(f"form={form!r} is unknown; use one of {', '.join(FORMS)}.")
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy={strategy!r} is unknown; use one of {', '.join(STRATEGIES)}.")
