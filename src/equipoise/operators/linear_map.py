"""The best linear map between functions, by ridge regression: what every learned operator has to beat.

Several published cases are linear or nearly so, and a linear map then answers better than a network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float

from equipoise.nn.jets import Jet
from equipoise.nn.sampled_functions import SampledFunctions
from equipoise.operators.branch_trunk import BranchTrunk, flat_sensors

__all__ = ["STRENGTHS", "LinearMap", "PrincipalComponents", "RidgeFit", "fit_ridge", "principal_components"]

STRENGTHS = tuple(10.0**power for power in range(-14, 1))
"""Ridge strengths that are tried, relative to the largest variance of a principal component."""


@dataclass(frozen=True, eq=False)
class PrincipalComponents:
    """Inputs in the basis of their own variation.

    Attributes:
        mean: `(m,)`. directions: orthonormal columns, `(m, r)`.
        spread: standard deviation of each component, `(r,)`, falling. scores: of the inputs, `(n, r)`.
    """

    mean: torch.Tensor
    directions: torch.Tensor
    spread: torch.Tensor
    scores: torch.Tensor


def principal_components(values: Float[torch.Tensor, "n m"]) -> PrincipalComponents:
    """Principal components of samples, one in a row; those below round-off of the first are left out.

    Raises:
        ValueError: for fewer than two samples.
    """
    if len(values) < 2:
        raise ValueError(f"{len(values)} samples have no principal components; give at least 2.")
    mean = values.mean(0)
    left, size, right = torch.linalg.svd(values - mean, full_matrices=False)
    kept = max(1, int((size > size[0] * torch.finfo(values.dtype).eps * max(values.shape)).sum()))
    left, size, right = left[:, :kept], size[:kept], right[:kept]
    return PrincipalComponents(mean, right.T.contiguous(), size / (len(values) - 1) ** 0.5, left * size)


@dataclass(frozen=True, eq=False)
class RidgeFit:
    """A linear map between centred vectors.

    Attributes:
        inputs: principal components of the inputs. output_mean: `(k,)`.
        weights: from components to outputs, `(r, k)`.
        strength: ridge strength relative to the largest variance. validation: mean relative error on held-out samples.
    """

    inputs: PrincipalComponents
    output_mean: torch.Tensor
    weights: torch.Tensor
    strength: float
    validation: float

    def __call__(self, values: Float[torch.Tensor, "n m"]) -> Float[torch.Tensor, "n k"]:
        """Answers of the map."""
        return (values - self.inputs.mean) @ self.inputs.directions @ self.weights + self.output_mean


def fit_ridge(
    inputs: Float[torch.Tensor, "n m"],
    outputs: Float[torch.Tensor, "n k"],
    *,
    strengths: tuple[float, ...] = STRENGTHS,
    held_out: float = 0.2,
) -> RidgeFit:
    """Ridge regression in principal components, its strength chosen on the last samples and then fitted to all.

    Args:
        strengths: tried, relative to the largest variance of a component. held_out: share of the samples to choose on.

    Raises:
        ValueError: for fewer than two samples on either side of the choice, where there is a choice.
    """
    chosen, error = strengths[0], math.nan
    if len(strengths) > 1:
        last = max(1, round(held_out * len(inputs)))
        train, test = slice(None, len(inputs) - last), slice(len(inputs) - last, None)
        parts = principal_components(inputs[train])
        mean = outputs[train].mean(0)
        scores = (inputs[test] - parts.mean) @ parts.directions
        size = torch.linalg.vector_norm(outputs[test], dim=1).clamp(min=torch.finfo(outputs.dtype).tiny)
        errors = []
        for strength in strengths:
            answer = scores @ _weights(parts, outputs[train] - mean, strength) + mean
            errors.append(float((torch.linalg.vector_norm(answer - outputs[test], dim=1) / size).mean()))
        error = min(errors)
        chosen = strengths[errors.index(error)]
    parts, mean = principal_components(inputs), outputs.mean(0)
    return RidgeFit(parts, mean, _weights(parts, outputs - mean, chosen), chosen, error)


def _weights(parts: PrincipalComponents, outputs: torch.Tensor, strength: float) -> torch.Tensor:
    variance = parts.spread.square()
    shrunk = 1 / (variance + strength * variance[0]) / (len(outputs) - 1)
    return shrunk[:, None] * (parts.scores.T @ outputs)


class LinearMap(BranchTrunk):
    """A linear operator between functions at sensors and functions on a grid, fitted by `fit`; nothing is trained.

    Args:
        sensors: values that describe an input: their number, or the shape `(channel, *grid)` of a field.
        out_channels: components of the answer. shape, bounds, periodic: of the grid of the answers, see `Grid`.
        rank: most directions of the inputs that are kept; that of the sensors by default.

    Answers between the grid's points are interpolated by cubics.
    """

    mean: torch.Tensor
    directions: torch.Tensor

    def __init__(
        self,
        *,
        sensors: int | tuple[int, ...],
        shape: tuple[int, ...],
        out_channels: int = 1,
        bounds: tuple[tuple[float, float], ...] = (),
        periodic: tuple[bool, ...] | bool = False,
        rank: int | None = None,
    ) -> None:
        config = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        super().__init__(dim=len(shape), out_channels=out_channels, bias=False)
        self.config: dict[str, Any] = config
        self.shape = (sensors,) if isinstance(sensors, int) else tuple(sensors)
        count = math.prod(self.shape)
        self.rank = min(rank or count, count)
        # The first function is the mean of the outputs, whose coefficient is one.
        self.functions = SampledFunctions(
            out_channels * (1 + self.rank), shape=shape, bounds=bounds, periodic=periodic, dtype=torch.float32
        )
        self.grid = self.functions.grid
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("directions", torch.zeros(count, self.rank))

    @torch.no_grad()
    def fit(
        self,
        inputs: Float[torch.Tensor, "n *any values"],
        outputs: Float[torch.Tensor, "n outputs *grid"],
        *,
        strengths: tuple[float, ...] = STRENGTHS,
    ) -> RidgeFit:
        """Set the map from training pairs, see `fit_ridge`; computed in float64.

        Raises:
            ValueError: for another number of sensors, or outputs that do not live on the grid.
        """
        self.grid.check_field(outputs, name="the outputs")
        flat = flat_sensors(inputs, self.shape, name="linear map").double()
        found = fit_ridge(flat, outputs.double().flatten(1), strengths=strengths)
        kept = min(self.rank, found.weights.shape[0])
        self.mean.copy_(found.inputs.mean)
        self.directions.zero_()[:, :kept] = found.inputs.directions[:, :kept].to(self.directions)
        rows = torch.cat([found.output_mean[None], found.weights[:kept]]).unflatten(1, (self.out_channels, -1))
        table = rows.new_zeros(len(self.functions.table), self.out_channels, 1 + self.rank)
        table[..., : 1 + kept] = rows.permute(2, 1, 0)
        self.functions.table.copy_(table.flatten(1))
        return found

    def branch(self, inputs: torch.Tensor) -> torch.Tensor:
        """One and the components of inputs, `(batch, 1, 1 + rank)`."""
        flat = flat_sensors(inputs, self.shape, name="linear map")
        components = (flat - self.mean) @ self.directions
        return torch.cat([torch.ones_like(components[:, :1]), components], 1)[:, None]

    def trunk(self, points: torch.Tensor | None) -> torch.Tensor:
        """The mean of the outputs and the answer to each component, `(n, q, 1 + rank)`."""
        found: torch.Tensor = self.functions(points)
        return found.unflatten(1, (self.out_channels, -1))

    def trunk_jet(self, points: torch.Tensor, order: int) -> Jet:
        """Only values: the functions are known at points, and their slopes are not.

        Raises:
            ValueError: for an order above 0.
        """
        if order > 0:
            raise ValueError("a linear map knows its answers at points only; it has no derivatives in space.")
        return Jet(self.trunk(points).transpose(0, 1))
