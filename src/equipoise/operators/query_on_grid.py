"""A query operator as a grid operator: asked at all points of a grid, it trains and predicts on fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import nn

from equipoise.operators.deeponet import DeepONet
from equipoise.operators.linear_map import LinearMap
from equipoise.operators.mionet import MIONet
from equipoise.operators.modified_deeponet import ModifiedDeepONet
from equipoise.operators.pod_deeponet import PODDeepONet
from equipoise.spaces.grid import Grid
from equipoise.spaces.resampling import resample as resampled

__all__ = ["QUERY_OPERATORS", "QueryOnGrid"]

QUERY_OPERATORS: dict[str, type[nn.Module]] = {
    kind.__name__: kind for kind in (DeepONet, LinearMap, MIONet, ModifiedDeepONet, PODDeepONet)
}
"""Query operators by name, as a stored configuration knows them."""


class QueryOnGrid(nn.Module):
    """`(batch, channel, *grid)` to `(batch, channel, *grid)` through `operator(inputs, points)`; the points are shared.

    Args:
        operator: a query operator, which reads fixed sensors; or its description, `{"name": ..., "options": {...}}`
            with a name of `QUERY_OPERATORS`, from which it is built.
        shape, bounds, periodic: of the grid on which inputs are known to the sensors and answers are given.
        output_shape, output_bounds, output_periodic: of the grid of the answers, where it is another box.
        resample: whether inputs on another number of points are brought to the sensors by cubics, and answers given on
            theirs. It needs inputs and answers in the same box.

    Raises:
        ValueError: for `resample` with answers in another box, or an operator of an unknown name.
    """

    def __init__(
        self,
        *,
        operator: nn.Module | Mapping[str, Any],
        shape: tuple[int, ...],
        bounds: tuple[tuple[float, float], ...] = (),
        periodic: tuple[bool, ...] | bool = False,
        output_shape: tuple[int, ...] = (),
        output_bounds: tuple[tuple[float, float], ...] = (),
        output_periodic: tuple[bool, ...] | bool = False,
        resample: bool = False,
    ) -> None:
        config = {name: value for name, value in locals().items() if name not in ("self", "__class__", "operator")}
        super().__init__()
        if isinstance(operator, Mapping):
            name = operator.get("name")
            if name not in QUERY_OPERATORS:
                raise ValueError(f"operator {name!r} is unknown; use one of {', '.join(QUERY_OPERATORS)}.")
            operator = QUERY_OPERATORS[name](**operator.get("options", {}))
        description = {"name": type(operator).__name__, "options": getattr(operator, "config", {})}
        self.config: dict[str, Any] = {"operator": description, **config}
        self.operator = operator
        self.input_grid = Grid(tuple(shape), bounds, periodic)
        self.grid = Grid(tuple(output_shape), output_bounds, output_periodic) if output_shape else self.input_grid
        same_box = (self.grid.bounds, self.grid.wraps) == (self.input_grid.bounds, self.input_grid.wraps)
        if resample and not same_box:
            raise ValueError("resample=True needs inputs and answers in the same box; these live in two.")
        self.resample = resample

    def fit(
        self, inputs: Float[torch.Tensor, "n channel *grid"], outputs: Float[torch.Tensor, "n outputs *out"]
    ) -> None:
        """Set what the operator takes from training pairs, where it takes anything, such as modes of the outputs."""
        fit = getattr(self.operator, "fit", None)
        if fit is not None:
            fit(inputs, outputs)

    def forward(self, inputs: Float[torch.Tensor, "n channel *grid"]) -> Float[torch.Tensor, "n outputs *out"]:
        """Answers on the grid; on the inputs' own grid where they were resampled.

        Raises:
            ValueError: for inputs on another grid, naming the one expected, unless `resample`.
        """
        grid = self.grid
        shape = tuple(inputs.shape[2:])
        if len(shape) != self.input_grid.dim:
            raise ValueError(
                f"inputs have shape {tuple(inputs.shape)}; expected (batch, channel, "
                f"{', '.join(map(str, self.input_grid.shape))})."
            )
        if shape != self.input_grid.shape:
            if not self.resample:
                count = " x ".join(map(str, self.input_grid.shape))
                raise ValueError(
                    f"inputs live on {' x '.join(map(str, shape))} points; this operator's sensors are {count}. "
                    f"Build it with resample=True to have inputs brought there."
                )
            own = self.input_grid.resized(shape)
            inputs = resampled(inputs, own, self.input_grid.shape, method="cubic")
            grid = own
        if getattr(self.operator, "grid", None) == grid:
            values = self.operator(inputs, None)
        else:
            points = grid.points(dtype=inputs.dtype, device=inputs.device).flatten(0, -2)
            values = self.operator(inputs, points)
        return values.transpose(1, 2).unflatten(2, grid.shape)
