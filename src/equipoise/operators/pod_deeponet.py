"""POD-DeepONet: the trunk is the proper orthogonal decomposition of the training outputs, only a branch is learned."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float

from equipoise.nn.feature_maps import FeatureMap
from equipoise.nn.jets import Jet
from equipoise.nn.perceptron import MultilayerPerceptron
from equipoise.nn.sampled_functions import SampledFunctions
from equipoise.operators.branch import AnchoredBranch
from equipoise.operators.branch_trunk import BranchTrunk, flat_sensors
from equipoise.operators.linear_map import fit_ridge, principal_components

__all__ = ["PODDeepONet", "pod"]

FORMS = ("anchored", "paper")


def pod(outputs: Float[torch.Tensor, "n k"], n_modes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean `(k,)` and modes `(k, n_modes)` of samples, of unit mean square, in order of the variance they hold.

    Modes that the samples do not have are zero: there are at most as many as samples.

    Source: Lu et al. (2022), section 3.
    """
    parts = principal_components(outputs)
    kept = min(n_modes, parts.directions.shape[1])
    modes = outputs.new_zeros(outputs.shape[1], n_modes)
    modes[:, :kept] = parts.directions[:, :kept] * outputs.shape[1] ** 0.5
    return parts.mean, modes


class PODDeepONet(BranchTrunk):
    """`G(u)(y) = mean(y) + sum_k b_k(u) phi_k(y)` with fixed phi, of unit mean square over the points.

    In the `"anchored"` form the branch is `AnchoredBranch`, as EquiNO's: a ridge-regressed linear map of the input's
    principal components plus `s (net(x) - net(0))`, where x are the first components, divided by a power of their
    spread, and s is the spread of what the linear map leaves over in each mode. `"paper"` is the published form, a
    network of the sensors whose outputs are divided by the number of modes.

    Args:
        sensors: values that describe an input: their number, or the shape `(channel, *grid)` of a field.
        out_channels: components of the answer, which share coefficients.
        shape, bounds, periodic: of the grid of the answers, see `Grid`.
        n_modes: of the outputs. n_components: of the inputs that the network of the anchored form reads.
        whitening: power of the spread that its inputs are divided by; 1 gives all components the same weight, which
            the last ones do not deserve, and 0 leaves them as they are.
        branch: widths of its hidden layers. activation: see `MultilayerPerceptron`.
        form: `"anchored"` or `"paper"`.
        trunk: widths of the hidden layers of a network that adds `n_learned` functions, with a bias; none by default.
        seed: of the initial weights.

    `fit` sets the modes and the linear map from training pairs; they are buffers, and are saved with the weights.
    Answers between the grid's points are interpolated by cubics.

    Source: Lu et al. (2022), section 3; the anchored form is Equipoise's.
    """

    sensor_mean: torch.Tensor
    directions: torch.Tensor
    units: torch.Tensor

    def __init__(
        self,
        *,
        sensors: int | tuple[int, ...],
        shape: tuple[int, ...],
        out_channels: int = 1,
        bounds: tuple[tuple[float, float], ...] = (),
        periodic: tuple[bool, ...] | bool = False,
        n_modes: int = 32,
        n_components: int = 20,
        whitening: float = 0.5,
        branch: tuple[int, ...] = (96, 96, 96),
        activation: str = "gelu",
        form: str = "anchored",
        trunk: tuple[int, ...] = (),
        n_learned: int = 0,
        seed: int = 0,
    ) -> None:
        config = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        super().__init__(dim=len(shape), out_channels=out_channels, bias=n_learned > 0)
        if form not in FORMS:
            raise ValueError(f"form={form!r} is unknown; use one of {', '.join(FORMS)}.")
        if n_modes < 1 or n_components < 1 or n_learned < 0:
            raise ValueError(f"n_modes={n_modes} and n_components={n_components} must be positive.")
        self.config: dict[str, Any] = config
        self.shape = (sensors,) if isinstance(sensors, int) else tuple(sensors)
        self.n_modes, self.n_learned, self.form = n_modes, n_learned, form
        count = math.prod(self.shape)
        generator = torch.Generator().manual_seed(seed)
        read = min(n_components, count) if form == "anchored" else count
        network = MultilayerPerceptron(
            (read, *branch, n_modes + n_learned), generator=generator, activation=activation, dtype=torch.float32
        )
        outputs = n_modes + n_learned
        self.branch_net = AnchoredBranch(
            network,
            linear=torch.zeros(outputs, count),
            scale=torch.full((outputs,), 1 / outputs),
            input_scale=torch.ones(count),
            second_order=False,
        )
        self.functions = SampledFunctions(
            out_channels * (1 + n_modes), shape=shape, bounds=bounds, periodic=periodic, dtype=torch.float32
        )
        self.grid = self.functions.grid
        self.register_buffer("sensor_mean", torch.zeros(count))
        self.register_buffer("directions", torch.eye(count))
        self.register_buffer("units", torch.ones(out_channels))
        self.trunk_net: MultilayerPerceptron | None = None
        if n_learned:
            self.feature_map = FeatureMap(self.dim)
            self.trunk_net = MultilayerPerceptron(
                (self.dim, *trunk, out_channels * n_learned),
                generator=generator,
                activation=activation,
                dtype=torch.float32,
                last_activation=True,
            )

    @torch.no_grad()
    def fit(
        self, inputs: Float[torch.Tensor, "n *any values"], outputs: Float[torch.Tensor, "n outputs *grid"]
    ) -> Float[torch.Tensor, "n modes"]:
        """Set modes, linear map and scales from training pairs; computed in float64.

        Returns:
            Coefficients of the training outputs in the modes, what the branch is to answer.

        Raises:
            ValueError: for another number of sensors, or outputs that do not live on the grid.
        """
        self.grid.check_field(outputs, name="the outputs")
        if outputs.shape[1] != self.out_channels:
            raise ValueError(f"the outputs have {outputs.shape[1]} channels; this operator gives {self.out_channels}.")
        flat = flat_sensors(inputs, self.shape, name="POD-DeepONet").double()
        wide = outputs.double()
        # Components of other units weigh alike in the modes.
        units = wide.std(dim=(0, *range(2, wide.ndim)), correction=0).clamp(min=1e-300)
        scaled = (wide.flatten(2) / units[:, None]).flatten(1)
        mean, modes = pod(scaled, self.n_modes)
        self.units.copy_(units)
        table = torch.cat([mean[:, None], modes], 1).unflatten(0, (self.out_channels, -1)) * units[:, None, None]
        self.functions.table.copy_(table.transpose(0, 1).flatten(1))
        coefficients = self.project(wide)
        if self.form == "anchored":
            self._fit_branch(flat, coefficients)
        return coefficients

    def project(self, outputs: Float[torch.Tensor, "n outputs *grid"]) -> Float[torch.Tensor, "n modes"]:
        """Coefficients of fields on the grid in the modes, what the branch is to answer."""
        table = self.functions.table.to(outputs).unflatten(1, (self.out_channels, -1))
        # The modes are orthonormal in the mean square of outputs over their units.
        weight = table[..., 1:] / self.units.to(outputs).square()[:, None]
        change = outputs.flatten(2).transpose(1, 2) - table[..., 0]
        return change.flatten(1) @ weight.flatten(0, 1) / weight.shape[:2].numel()

    def _fit_branch(self, inputs: torch.Tensor, coefficients: torch.Tensor) -> None:
        fitted = fit_ridge(inputs, coefficients)
        parts, branch = fitted.inputs, self.branch_net
        kept = parts.directions.shape[1]
        self.sensor_mean.copy_(parts.mean)
        self.directions.zero_()[:, :kept] = parts.directions.to(self.directions)
        branch.linear.zero_()[: self.n_modes, :kept] = fitted.weights.T.to(branch.linear)
        spread = parts.spread / parts.spread[0]
        branch.input_scale.fill_(1.0)[:kept] = (parts.spread[0] * spread ** self.config["whitening"]).to(branch.linear)
        left = (coefficients - fitted(inputs)).std(0)
        # A mode that is linear to round-off, or that the outputs do not have, keeps a scale that is small but not zero.
        branch.scale[: self.n_modes] = left.clamp(min=1e-12 * float(coefficients.abs().max())).to(branch.scale)

    def components(self, inputs: torch.Tensor) -> torch.Tensor:
        """What the branch reads: principal components of the inputs, or in the published form the sensors."""
        flat = flat_sensors(inputs, self.shape, name="POD-DeepONet")
        return (flat - self.sensor_mean) @ self.directions if self.form == "anchored" else flat

    def coefficients(self, inputs: Float[torch.Tensor, "n *any values"]) -> Float[torch.Tensor, "n modes"]:
        """Coefficients of the modes, those of the data first."""
        components = self.components(inputs)
        if self.form == "anchored":
            return self.branch_net(components)
        return self.branch_net.scale * self.branch_net.network(components)

    def branch(self, inputs: torch.Tensor) -> torch.Tensor:
        """One, for the mean, and the coefficients; `(batch, 1, 1 + modes)`."""
        found = self.coefficients(inputs)
        return torch.cat([torch.ones_like(found[:, :1]), found], 1)[:, None]

    def trunk(self, points: torch.Tensor | None) -> torch.Tensor:
        """Mean and modes at points, `(n, q, 1 + modes)`; at the grid's own for `None`."""
        known: torch.Tensor = self.functions(points).unflatten(1, (self.out_channels, -1))
        if self.trunk_net is None:
            return known
        if points is None:
            points = self.grid.points(dtype=known.dtype, device=known.device).flatten(0, -2)
        learned = self.trunk_net(self.feature_map(points)).unflatten(1, (self.out_channels, -1))
        return torch.cat([known, learned], -1)

    def trunk_jet(self, points: torch.Tensor, order: int) -> Jet:
        """Only values: modes are known at points, and their slopes are not.

        Raises:
            ValueError: for an order above 0.
        """
        if order > 0:
            raise ValueError("POD modes are known at points only; this operator has no derivatives in space.")
        return Jet(self.trunk(points).transpose(0, 1))
