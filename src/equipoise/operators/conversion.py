"""`to_operator`: an ordinary network becomes an operator that takes any resolution, with the parameters that it had."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import nn
from torch.nn.utils import parametrize

from equipoise.nn.band_limited_pooling import at_points, resample_grid
from equipoise.nn.converted_layers import InterpolatedPosition
from equipoise.nn.resolution import Resolution, every
from equipoise.operators.consistency import trigonometric_field
from equipoise.operators.conversion_inspection import ModulePath, Watch
from equipoise.operators.conversion_rules import Converted, Refused, convert_layer, table_layout
from equipoise.operators.function_calls import CONVERTED_CALLS, FunctionCall, FunctionCalls
from equipoise.operators.grid_picks import GridPick, picked_points
from equipoise.operators.grid_reshapes import GridReshape, counted_points
from equipoise.spaces.grid import Grid

__all__ = ["METHODS", "Change", "ConvertedOperator", "Method", "to_operator"]

Method = Literal["fixed-offsets", "interpolated-kernels", "resampling"]
_OPERATOR_LAYERS = ("equipoise.nn.spectral", "equipoise.nn.fno_block", "equipoise.nn.pointwise")
METHODS = ("fixed-offsets", "interpolated-kernels", "resampling")


@dataclass(frozen=True)
class Change:
    """One change: path of the module in the network, what stood there, and what stands there now."""

    path: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.path or '(network)'}: {self.before} -> {self.after}"


class ConvertedOperator(nn.Module):
    """An operator on any resolution of the box of its training grid; made by `to_operator`.

    It trains like any module. `print` names all changes.

    Attributes:
        network: the converted copy. changes: what was changed. grid: the training grid. method: how.
        consistency_gap: relative difference, at the points of the training grid, of the answers to one smooth random
            input there and on a grid twice as fine; `None` where it was not measured. A large value warns of something
            that still counts points.
    """

    def __init__(
        self,
        network: nn.Module,
        resolution: Resolution,
        *,
        changes: Sequence[Change],
        calls: Sequence[FunctionCall],
        method: Method,
    ) -> None:
        super().__init__()
        self.network, self.resolution = network, resolution
        self.changes, self.calls, self.method = tuple(changes), tuple(calls), method
        self.consistency_gap: float | None = None

    @property
    def grid(self) -> Grid:
        """The training grid."""
        return self.resolution.training

    def forward(self, inputs: Float[torch.Tensor, "batch channels *grid"]) -> torch.Tensor:
        """The answer on the grid of the input; for a network that returns no field, what it returns.

        Raises:
            ValueError: for a field of another dimension, or a resolution that the network's strides do not divide.
        """
        if inputs.ndim != 2 + self.grid.dim:
            raise ValueError(
                f"inputs have shape {tuple(inputs.shape)}; expected (batch, channel) and {self.grid.dim} axes."
            )
        shape = tuple(inputs.shape[2:])
        work = self._work_shape(shape)
        if work == shape:
            return self._answer(inputs)
        outputs = self._answer(resample_grid(inputs, self.grid.resized(shape), work))
        return at_points(outputs, self.grid.resized(work), shape) if outputs.shape[2:] == work else outputs

    def _work_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Points that the network works on: those of the training grid, or where it can at least those."""
        if self.method == "resampling":
            return self.grid.shape
        if self.method == "interpolated-kernels":
            return shape
        return tuple(max(now, then) for now, then in zip(shape, self.grid.shape, strict=True))

    def _answer(self, inputs: torch.Tensor) -> torch.Tensor:
        if self.method == "resampling":
            return self.network(inputs)
        with self.resolution.at(tuple(inputs.shape[2:])):
            if self.resolution.is_training or not self.calls:
                return self.network(inputs)
            with FunctionCalls(self.resolution, self.calls):
                return self.network(inputs)

    def __str__(self) -> str:
        lines = [f"{type(self.network).__name__} as an operator, {self.method}, trained on {self.grid.shape}"]
        lines += [f"  {change}" for change in self.changes]
        if self.consistency_gap is not None:
            lines.append(f"  consistency gap to twice the resolution: {self.consistency_gap:.2g}")
        return "\n".join(lines)


def to_operator(
    module: nn.Module,
    grid: Grid,
    *,
    method: Method = "fixed-offsets",
    in_channels: int | None = None,
    keep: tuple[type[nn.Module], ...] = (),
) -> ConvertedOperator:
    """A copy of an ordinary network, trained or not, that takes any resolution of the box of its training grid.

    Windows keep their physical size, strides their number of points, tables of positions become functions, and layers
    that place values by the phase of their points work at the training spacing. At the training grid the operator
    answers as the network did. Where a grid's points are cell centres, describe it as periodic, so that n points are n
    intervals.

    Args:
        module: maps `(batch, channel, *grid)` to a field of the same kind, or to numbers for each sample. It is copied.
        grid: that it was, or is to be, trained on.
        method: `"fixed-offsets"`: taps of convolutions keep their offsets; most accurate for a trained network. Fields
            on coarser grids are interpolated to the training grid first, and its answer is read at their points.
            `"interpolated-kernels"`: kernels are resized as functions of the offset, as published.
            `"resampling"`: the network is left as it is between two changes of resolution; nothing is refused, and
            nothing beyond the training grid's resolution is seen.
        in_channels: of the input, where `module.config`, `module.in_channels` or its first layer does not tell.
        keep: classes of your own that act on channels or are operators already; they are left as they are.

    Windows that `view` or `reshape` cuts out of the grid, as shifted-window attention does, and points taken by their
    number (slices, indices, gathering, differences of neighbours) are found by running on two grids, and refused. Sums
    over points, which grow with their number unless something is divided by them, are left: look at `consistency_gap`.

    Raises:
        ValueError: for layers that can't be converted, naming all by path and type; or where the network does not run
            on the training grid.
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r} is unknown; use one of {', '.join(METHODS)}.")
    resolution, network = Resolution(grid), copy.deepcopy(module)
    if method == "resampling":
        change = Change("", type(module).__name__, f"resampled to {grid.shape} before and back behind")
        return ConvertedOperator(network, resolution, changes=[change], calls=(), method=method)
    holder = nn.Module()
    holder.add_module("network", network)
    kernel = "fixed-offsets" if method == "fixed-offsets" else "interpolated"
    walk = _Walk(resolution, kernel, keep)
    walk.visit(holder, "network", "")
    types = {path: type(part).__name__ for path, part in module.named_modules()}
    inspection = _Inspection(holder.get_submodule("network"), resolution, walk)
    channels = _count_channels(module) if in_channels is None else in_channels
    inspection.run(module, channels)
    if walk.refusals:
        listed = "; ".join(
            f"{path or '(network)'} ({types.get(path, '?')}) {why}" for path, why in walk.refusals.items()
        )
        raise ValueError(f"{len(walk.refusals)} layers can't be converted: {listed}.")
    operator = ConvertedOperator(
        inspection.network, resolution, changes=walk.changes, calls=inspection.calls, method=method
    )
    operator.consistency_gap = inspection.gap
    return operator.train(module.training)


class _Walk:
    """Replaces layers from the root to the leaves, and keeps what it could not replace."""

    def __init__(self, resolution: Resolution, kernel: str, keep: tuple[type[nn.Module], ...]) -> None:
        self.resolution, self.kernel, self.keep = resolution, kernel, keep
        self.changes: list[Change] = []
        self.refusals: dict[str, str] = {}
        self.owned: dict[int, str] = {}
        self.tables: list[tuple[str, nn.Module, str]] = []
        self.done: dict[int, nn.Module] = {}
        self.kept: list[str] = []

    def visit(self, parent: nn.Module, name: str, path: str) -> None:
        """Convert one module, and its children where the table does not know it."""
        module: nn.Module = getattr(parent, name)
        if isinstance(module, self.keep) or type(module).__module__.startswith(_OPERATOR_LAYERS):
            self.kept.append(path)
            return
        if id(module) in self.done:
            # A layer that is used twice stays one layer.
            setattr(parent, name, self.done[id(module)])
            return
        found = convert_layer(module, self.resolution, kernel=self.kernel)
        if isinstance(found, Refused):
            self.refusals[path] = found.reason
        elif isinstance(found, Converted):
            self.changes.append(Change(path, type(module).__name__, found.description))
            self.done[id(module)] = found.layer
            setattr(parent, name, found.layer)
        elif found is None:
            for child, _ in list(module.named_children()):
                self.visit(module, child, f"{path}.{child}" if path else child)
            for own, parameter in module.named_parameters(recurse=False):
                self.owned[id(parameter)] = own
                self.tables.append((path, module, own))


class _Inspection:
    """Runs the converted network on two grids."""

    def __init__(self, network: nn.Module, resolution: Resolution, walk: _Walk) -> None:
        self.network, self.resolution, self.walk = network, resolution, walk
        self.path = ModulePath(network)
        self.calls: list[FunctionCall] = []
        self.reshapes: list[GridReshape] = []
        self.picks: list[GridPick] = []
        self.gap: float | None = None

    @torch.no_grad()
    def run(self, module: nn.Module, channels: int) -> None:
        """Watch the network on the training grid, then on one twice as fine; refusals are added to the walk's."""
        training = self.resolution.training
        fine = training.resized(
            [2 * n + (0 if wraps else 1) for n, wraps in zip(training.intervals, training.wraps, strict=True)]
        )
        parameter = next(module.parameters(), torch.zeros(()))
        inputs = trigonometric_field(fine, channels=channels).to(parameter)
        coarse_inputs = every(inputs, [2] * training.dim).contiguous()
        self.network.eval()
        with self.path.followed():
            try:
                with self.resolution.at(training.shape), self._watch(None) as watch:
                    coarse = self.network(coarse_inputs)
            except Exception as error:
                if self.walk.refusals:
                    return
                raise ValueError(
                    f"the network does not run on {channels} channels and the grid {training.shape}, at "
                    f"{self.path.current or '(network)'}: {error}; is in_channels right?"
                ) from error
            self.calls, self.reshapes, self.picks = watch.calls, watch.reshapes, watch.picks
            self.walk.changes += [
                Change(call.path, f"functional.{call.function}", CONVERTED_CALLS[call.function]) for call in self.calls
            ]
            self._note(watch)
            answer = self._fine(fine, inputs)
        if answer is None or not isinstance(coarse, torch.Tensor) or not isinstance(answer, torch.Tensor):
            return
        if coarse.shape[2:] == training.shape and answer.shape[2:] == fine.shape:
            answer = every(answer, [2] * training.dim)
        if answer.shape == coarse.shape:
            self.gap = float((answer - coarse).norm() / coarse.norm().clamp(min=torch.finfo(coarse.dtype).tiny))

    def _fine(self, fine: Grid, inputs: torch.Tensor) -> Any:
        """The answer on the finer grid; tables of positions are interpolated where it fails without."""
        while True:
            self.path.stack = [""]
            try:
                with self.resolution.at(fine.shape), self._watch(self.calls) as watch:
                    answer = self.network(inputs)
                self._note(watch)
                regrouped = counted_points(self.reshapes, watch.reshapes)
                picked = picked_points(self.picks, watch.picks, (self.resolution.training, fine))
                for path, reason in {**picked, **regrouped}.items():
                    self.walk.refusals.setdefault(path, reason)
                return answer
            except Exception as error:
                failed = self.path.current
                if not self._interpolate_tables(failed):
                    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                    self.walk.refusals.setdefault(failed, f"fails at another resolution: {reason}")
                    return None

    def _watch(self, calls: list[FunctionCall] | None) -> Watch:
        return Watch(self.resolution, self.path, self.walk.owned, calls, tuple(self.walk.kept))

    def _note(self, watch: Watch) -> None:
        for path, reason in watch.refusals.items():
            self.walk.refusals.setdefault(path, reason)

    def _interpolate_tables(self, path: str) -> bool:
        """Make functions of the tables of positions of the module that failed; whether there were any."""
        found = False
        for owner, module, name in list(self.walk.tables):
            if owner != path:
                continue
            table = getattr(module, name)
            layout = table_layout(tuple(table.shape), self.resolution.training)
            if layout is None:
                continue
            shape, axis, others = layout
            position = InterpolatedPosition(self.resolution, shape=shape, axis=axis, n_others=others)
            parametrize.register_parametrization(module, name, position)
            self.walk.tables.remove((owner, module, name))
            self.walk.changes.append(Change(path, f"parameter {name}", "table interpolated as a function of position"))
            found = True
        if found:
            self.network.eval()
        return found


def _count_channels(module: nn.Module) -> int:
    """Channels of the input, from a configuration or the first layer with weights."""
    for part in module.modules():
        config = getattr(part, "config", None)
        configured = config.get("in_channels") if isinstance(config, dict) else None
        for known in (configured, *(getattr(part, name, None) for name in ("in_channels", "in_features"))):
            if isinstance(known, int):
                return known
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            return part.num_features
    return 1
