"""Grid operators by name, as the command line and run folders know them.

Classes are imported when they are asked for, from the table here, never by a name of a module in a file.
"""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from equipoise.spaces.grid import Grid

__all__ = ["OPERATORS", "FieldSizes", "NamedOperator", "load_operator", "make_operator", "operator_options"]


@dataclass(frozen=True)
class FieldSizes:
    """What an operator has to fit: channels of both sides, and their grids."""

    in_channels: int
    out_channels: int
    grid: Grid
    input_grid: Grid


@dataclass(frozen=True)
class NamedOperator:
    """An architecture by name.

    Attributes:
        description: one line about it. module, class_name: where it stands.
        arguments: of the constructor, as data of these sizes need or suggest them.
        at_points: whether it answers at points, and is asked at those of the grid.
    """

    description: str
    module: str
    class_name: str
    arguments: Callable[[FieldSizes], dict[str, Any]]
    at_points: bool = False


def _channels(sizes: FieldSizes) -> dict[str, Any]:
    if sizes.input_grid != sizes.grid:
        raise ValueError(
            f"inputs live on a grid of shape {sizes.input_grid.shape} and outputs on one of {sizes.grid.shape}; only "
            "operators with query points, such as deeponet, answer on another grid."
        )
    return {"in_channels": sizes.in_channels, "out_channels": sizes.out_channels}


def _spectral(sizes: FieldSizes) -> dict[str, Any]:
    return {**_channels(sizes), "n_modes": tuple(max(1, min(16, n // 2)) for n in sizes.grid.shape)}


def _multigrid(sizes: FieldSizes) -> dict[str, Any]:
    boundary = tuple("periodic" if wraps else "dirichlet" for wraps in sizes.grid.wraps)
    return {**_channels(sizes), "grid": sizes.grid.shape, "boundary": boundary}


def _sensors(sizes: FieldSizes) -> dict[str, Any]:
    sensors = (sizes.in_channels, *sizes.input_grid.shape)
    return {
        "sensors": sensors,
        "dim": sizes.grid.dim,
        "out_channels": sizes.out_channels,
        "branch": (128, 128),
        "trunk": (128, 128),
        "n_modes": 64,
        "activation": "gelu",
        "periods": tuple(
            length if wraps else 0.0 for length, wraps in zip(sizes.grid.lengths, sizes.grid.wraps, strict=True)
        ),
    }


def _modes_of_outputs(sizes: FieldSizes) -> dict[str, Any]:
    return {
        "sensors": (sizes.in_channels, *sizes.input_grid.shape),
        "out_channels": sizes.out_channels,
        "shape": sizes.grid.shape,
        "bounds": sizes.grid.bounds,
        "periodic": sizes.grid.wraps,
    }


def _linear(sizes: FieldSizes) -> dict[str, Any]:
    return {**_modes_of_outputs(sizes), "rank": min(512, sizes.in_channels * math.prod(sizes.input_grid.shape))}


def _local(sizes: FieldSizes) -> dict[str, Any]:
    grid = sizes.grid
    if any(grid.wraps) and not all(grid.wraps):
        raise ValueError(f"local-fno takes boxes that are periodic along all axes or none; this one is {grid.wraps}.")
    box = {"shape": grid.shape, "bounds": grid.bounds, "periodic": all(grid.wraps)}
    return {**_spectral(sizes), **box, "differences": True}


def _pixels(sizes: FieldSizes) -> dict[str, Any]:
    padding = "circular" if all(sizes.grid.wraps) else "zeros"
    return {**_channels(sizes), "dim": sizes.grid.dim, "padding": padding}


def _patches(sizes: FieldSizes) -> dict[str, Any]:
    modes = tuple(max(1, min(16, n // 4)) for n in sizes.grid.shape)
    return {**_channels(sizes), "n_modes": modes}


OPERATORS: dict[str, NamedOperator] = {
    "fno": NamedOperator("Fourier neural operator", "equipoise.operators.fno", "FNO", _spectral),
    "tfno": NamedOperator(
        "Fourier neural operator with low-rank weights", "equipoise.operators.tfno", "TFNO", _spectral
    ),
    "mg-tfno": NamedOperator(
        "the same on patches with coarse views of their surroundings", "equipoise.operators.tfno", "MGTFNO", _patches
    ),
    "mgno": NamedOperator("learned multigrid cycles as layers", "equipoise.operators.mgno", "MgNO", _multigrid),
    "deeponet": NamedOperator(
        "branch and trunk networks, for answers at any point",
        "equipoise.operators.deeponet",
        "DeepONet",
        _sensors,
        at_points=True,
    ),
    "pod-deeponet": NamedOperator(
        "modes of the training outputs, and a branch network with a linear part for their coefficients",
        "equipoise.operators.pod_deeponet",
        "PODDeepONet",
        _modes_of_outputs,
        at_points=True,
    ),
    "local-fno": NamedOperator(
        "Fourier neural operator that also differentiates, and integrates over a fixed radius",
        "equipoise.operators.local_fno",
        "LocalFNO",
        _local,
    ),
    "linear": NamedOperator(
        "ridge regression, the baseline of nearly linear families; fitted, not trained",
        "equipoise.operators.linear_map",
        "LinearMap",
        _linear,
        at_points=True,
    ),
    "unet": NamedOperator("an ordinary U-Net, tied to its grid", "equipoise.operators.unet", "UNet", _pixels),
}


def make_operator(name: str, sizes: FieldSizes, **options: Any) -> nn.Module:
    """A fresh operator for data of the given sizes, such as `make_operator("fno", sizes, width=64)`.

    A number given where the architecture has one value for each axis stands for all axes.

    Raises:
        ValueError: for an unknown name or option, or data that the architecture cannot take.
    """
    entry = _entry(name)
    kind = _class(entry)
    arguments = entry.arguments(sizes)
    known = inspect.signature(kind).parameters
    for option, value in options.items():
        if option not in known:
            raise ValueError(f"{name} has no option {option!r}; it has {', '.join(known)}.")
        default = arguments.get(option, known[option].default)
        if isinstance(default, tuple) and isinstance(value, int | float):
            value = (value,) * len(default)
        arguments[option] = tuple(value) if isinstance(value, list) else value
    try:
        operator = kind(**arguments)
    except TypeError as error:
        raise ValueError(f"{name} cannot be built from {options}: {error}.") from error
    return _on_grid(operator, sizes) if entry.at_points else operator


def load_operator(name: str, config: Mapping[str, Any]) -> nn.Module:
    """The operator that a run folder's configuration describes, with fresh weights."""
    entry = _entry(name)
    kind = _query_on_grid() if entry.at_points else _class(entry)
    return kind(**_tuples(dict(config)))


def _on_grid(operator: nn.Module, sizes: FieldSizes) -> nn.Module:
    inputs, outputs = sizes.input_grid, sizes.grid
    apart: dict[str, Any] = {}
    if inputs != outputs:
        apart = {
            "output_shape": outputs.shape,
            "output_bounds": outputs.bounds,
            "output_periodic": outputs.wraps,
        }
    return _query_on_grid()(
        operator=operator,
        shape=inputs.shape,
        bounds=inputs.bounds,
        periodic=inputs.wraps,
        resample=inputs == outputs,
        **apart,
    )


def _query_on_grid() -> Callable[..., nn.Module]:
    found: Callable[..., nn.Module] = importlib.import_module("equipoise.operators.query_on_grid").QueryOnGrid
    return found


def operator_options(name: str) -> dict[str, Any]:
    """Options of an operator's constructor and their defaults; `inspect.Parameter.empty` for those without one.

    Raises:
        ValueError: for an unknown name.
    """
    parameters = inspect.signature(_class(_entry(name))).parameters
    return {option: parameter.default for option, parameter in parameters.items()}


def _entry(name: str) -> NamedOperator:
    if name not in OPERATORS:
        raise ValueError(f"operator {name!r} is unknown; use one of {', '.join(OPERATORS)}.")
    return OPERATORS[name]


def _class(entry: NamedOperator) -> Callable[..., nn.Module]:
    found: Callable[..., nn.Module] = getattr(importlib.import_module(entry.module), entry.class_name)
    return found


def _tuples(value: Any) -> Any:
    """Lists, as JSON gives them, as tuples, at any depth."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
