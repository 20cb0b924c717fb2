"""What all operators of branch and trunk share: the contraction, the bias, exact conditions, and derivatives in space.

Subclasses say what reads the input (`branch`) and which functions of space there are (`trunk_jet`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import nn

from equipoise.nn.feature_maps import BoundaryFactor
from equipoise.nn.jets import Jet, derivatives_of

__all__ = ["BranchTrunk", "flat_sensors"]


def flat_sensors(inputs: torch.Tensor, shape: tuple[int, ...], *, name: str) -> torch.Tensor:
    """Inputs as vectors of sensors, `(batch, sensors)`.

    Raises:
        ValueError: for another number of values per function, naming the number expected.
    """
    count = math.prod(shape)
    flat = inputs.flatten(1) if inputs.ndim > 1 else inputs[:, None]
    if flat.shape[1] != count:
        fields = f", or fields of {' x '.join(map(str, shape))}" if len(shape) > 1 else ""
        raise ValueError(
            f"the inputs hold {flat.shape[1]} values for each function; this {name} reads {count} sensors: give "
            f"(batch, {count}){fields}."
        )
    return flat


class BranchTrunk(nn.Module, ABC):
    """`G(u)(y)_q = c + l(y) (sum_k b_qk(u) t_qk(y) + bias_q)`: every input at every point, or each at its own points.

    Args:
        dim: coordinates of a point. out_channels: components q of the answer.
        bias: whether there is one for each component.
        vanishing, bounds: where the answer is exact, see `BoundaryFactor`; none by default.
        boundary_value: c, which the answer takes there. For another function override `lift`.
        dtype: of the bias.
    """

    def __init__(
        self,
        *,
        dim: int,
        out_channels: int,
        bias: bool,
        vanishing: tuple[str, ...] = (),
        bounds: tuple[tuple[float, float], ...] = (),
        boundary_value: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if dim < 1 or out_channels < 1:
            raise ValueError(f"dim={dim} and out_channels={out_channels} must be positive.")
        self.dim, self.out_channels, self.boundary_value = dim, out_channels, boundary_value
        self.bias = nn.Parameter(torch.zeros(out_channels, dtype=dtype)) if bias else None
        self.boundary: BoundaryFactor | None = None
        if vanishing:
            if len(vanishing) != dim:
                raise ValueError(f"vanishing={vanishing} must name a side for each of {dim} coordinates.")
            self.boundary = BoundaryFactor(vanishing, bounds=bounds or ((0.0, 1.0),) * dim)

    @abstractmethod
    def branch(self, inputs: torch.Tensor) -> torch.Tensor:
        """Coefficients of inputs, `(batch, q, p)`; one q or p of size 1 may stand for all."""

    @abstractmethod
    def trunk_jet(self, points: torch.Tensor, order: int) -> Jet:
        """Functions at points and their derivatives; values `(q, n, p)`."""

    def trunk(self, points: torch.Tensor | None) -> torch.Tensor:
        """Functions at points, `(n, q, p)`; operators that know a grid take `None` for its points."""
        if points is None:
            raise ValueError(f"{type(self).__name__} has no points of its own; give points (point, {self.dim}).")
        return self.trunk_jet(points, 0).value.transpose(0, 1)

    def lift(self, points: Float[torch.Tensor, "n dim"]) -> torch.Tensor | float:
        """What the answer is where the boundary factor vanishes; a constant here, or a tensor `(n, q)`."""
        return self.boundary_value

    def forward(
        self, inputs: Float[torch.Tensor, "batch *any values"], points: Float[torch.Tensor, "*own point dim"] | None
    ) -> Float[torch.Tensor, "batch point outputs"]:
        """Answers at query points.

        Args:
            inputs: one function a row, at the sensors; `(batch, sensors)` or `(batch, channel, *grid)`.
            points: `(point, dim)`, shared by all functions, for which the trunk is evaluated once; or
                `(batch, point, dim)`, of each function its own; or `None`, for the points of an operator's own grid.

        Raises:
            ValueError: for another number of sensors or coordinates, or points of another number of functions.
        """
        coefficients = self.branch(inputs)
        if points is not None:
            self.check_points(points, coefficients.shape[0])
        if points is None or points.ndim == 2:
            values = self.contract(coefficients, self.trunk(points), self.bias)
            return values if self.boundary is None or points is None else self._bound(values, points)
        flat = points.flatten(0, 1)
        functions = self.trunk(flat).unflatten(0, points.shape[:2])
        values = (coefficients[:, None] * functions).sum(-1)
        values = values if self.bias is None else values + self.bias
        return values if self.boundary is None else self._bound(values, points)

    def derivatives(
        self, inputs: Float[torch.Tensor, "batch *any values"], points: Float[torch.Tensor, "point dim"], order: int = 1
    ) -> tuple[torch.Tensor, ...]:
        """Answers at shared points with their derivatives by the coordinates, differentiable in the weights.

        The trunk is differentiated once for each point, in forward mode, and contracted with the branch.

        Returns:
            Value `(batch, point, q)`, gradient `(batch, point, q, dim)`; for order 2 the Hessian, with one more axis.

        Raises:
            ValueError: as `forward`; and for an order other than 1 and 2.
        """
        if order not in (1, 2):
            raise ValueError(f"order={order} must be 1 or 2.")
        coefficients = self.branch(inputs)
        self.check_points(points, coefficients.shape[0])
        trunk = self.trunk_jet(points, order)
        factor = None if self.boundary is None else self.boundary.jet(points, order)
        if factor is not None:
            trunk = trunk.times(factor.each(lambda part: part.unsqueeze(-3)))

        def contracted(functions: torch.Tensor | None) -> torch.Tensor | None:
            if functions is None:
                return None
            parts = [self.contract(coefficients, part.transpose(0, 1)) for part in functions]
            return parts[0][None] if len(parts) == 1 else torch.stack(parts)

        value = self.contract(coefficients, trunk.value.transpose(0, 1))
        found = Jet(value, contracted(trunk.first), contracted(trunk.second))
        if self.bias is not None:
            found = _add_bias(found, factor, self.bias)
        if self.boundary is not None:
            found = Jet(found.value + self.lift(points), found.first, found.second)
        return derivatives_of(found)

    def contract(
        self, coefficients: torch.Tensor, functions: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Every input at every point: `(b, q, p)` and `(n, q, p)` to `(b, n, q)`, with a bias `(q,)` added."""
        # The gradient of a squeeze is a view, that of an index a copy into zeros.
        if self.out_channels == 1:
            left, right = coefficients.squeeze(1), functions.squeeze(1).T
            return (left @ right if bias is None else torch.addmm(bias, left, right)).unsqueeze(-1)
        if functions.shape[1] == 1:
            # One set of functions for all components: one matrix product.
            found = coefficients.flatten(0, 1) @ functions.squeeze(1).T
            found = found.unflatten(0, coefficients.shape[:2]).transpose(1, 2)
        elif coefficients.shape[1] == 1:
            count, channels = functions.shape[:2]
            found = (coefficients.squeeze(1) @ functions.flatten(0, 1).T).view(-1, count, channels)
        else:
            found = torch.einsum("bqp,nqp->bnq", coefficients, functions)
        return found if bias is None else found + bias

    def check_points(self, points: torch.Tensor, batch: int) -> None:
        """Raise `ValueError` for points of another rank or dimension, or of another number of functions."""
        if points.ndim not in (2, 3) or points.shape[-1] != self.dim:
            raise ValueError(
                f"points have shape {tuple(points.shape)}; give (point, {self.dim}) for all functions, or "
                f"(batch, point, {self.dim}) for each its own."
            )
        if points.ndim == 3 and points.shape[0] != batch:
            raise ValueError(f"points of {len(points)} functions came with {batch} inputs; give as many of each.")

    def _bound(self, values: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Values with the conditions at the boundary."""
        assert self.boundary is not None
        flat = points.reshape(-1, self.dim)
        factor = self.boundary(flat).view(*points.shape[:-1], 1)
        lift = self.lift(flat)
        if isinstance(lift, torch.Tensor):
            lift = lift.view(*points.shape[:-1], -1)
        return lift + factor * values


def _add_bias(jet: Jet, factor: Jet | None, bias: torch.Tensor) -> Jet:
    """Answers `(b, n, q)` with the bias times the boundary factor, `(n, 1)`."""
    if factor is None:
        return Jet(jet.value + bias, jet.first, jet.second)
    added = factor.each(lambda part: part * bias)
    first, second = jet.first, jet.second
    if first is not None and added.first is not None:
        first = first + added.first[:, None]
    if second is not None and added.second is not None:
        second = second + added.second[:, None]
    return Jet(jet.value + added.value, first, second)
