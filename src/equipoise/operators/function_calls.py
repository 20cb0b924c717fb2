"""Calls of functions with sizes in points (padding, pooling, upsampling) inside the `forward` of a network.

They are seen and replaced while the network works, through `torch.overrides.TorchFunctionMode`, so that any control
flow is allowed. A call is converted where it happened in training too, on a field of the same level.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from equipoise.nn.converted_layers import PhysicalPadding
from equipoise.nn.converted_windows import PhysicalPooling
from equipoise.nn.resolution import Resolution

__all__ = ["CONVERTED_CALLS", "FunctionCall", "FunctionCalls", "described"]

_POOLS: dict[str, tuple[Any, int]] = {
    "max_pool1d": (nn.MaxPool1d, 1),
    "max_pool2d": (nn.MaxPool2d, 2),
    "max_pool3d": (nn.MaxPool3d, 3),
    "avg_pool1d": (nn.AvgPool1d, 1),
    "avg_pool2d": (nn.AvgPool2d, 2),
    "avg_pool3d": (nn.AvgPool3d, 3),
}
_POOL_ARGUMENTS = {
    "max": ("kernel_size", "stride", "padding", "dilation", "ceil_mode"),
    "avg": ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
}

CONVERTED_CALLS = {
    **dict.fromkeys(_POOLS, "pooling over a fixed physical window"),
    "interpolate": "applied at training points, then interpolated",
    "pixel_shuffle": "applied at training points, then interpolated",
    "pixel_unshuffle": "applied at training points, then interpolated",
    "pad": "padding by a fixed length",
}
"""Functions that are converted, and what the report says of them."""


@dataclass(frozen=True)
class FunctionCall:
    """A call that training makes: where, of what, on a field of how many channels and points, and with which sizes."""

    path: str
    function: str
    channels: int
    shape: tuple[int, ...]
    sizes: tuple[int, ...] = ()


class FunctionCalls(TorchFunctionMode):
    """Replaces the calls that training makes by what they mean at the current resolution.

    Args:
        resolution: shared with the network. calls: made in training, in their order.
    """

    def __init__(self, resolution: Resolution, calls: Sequence[FunctionCall]) -> None:
        super().__init__()
        self.resolution = resolution
        self.remaining = {name: [call for call in calls if call.function == name] for name in CONVERTED_CALLS}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Torch's hook: the value of a call, converted or as it is."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        call = described(name, args, kwargs, self.resolution, path="")
        if call is None or not self.remaining[name] or not self._is_made_in_training(call):
            return func(*args, **kwargs)
        expected = self.remaining[name].pop(0)
        with self.resolution.inside():
            return _convert(func, args, kwargs, self.resolution, expected, call.sizes)

    def _is_made_in_training(self, call: FunctionCall) -> bool:
        expected = self.remaining[call.function][0]
        shape = self.resolution.level(expected.shape, to_training=False)
        # Padding whose numbers have changed follows the input already.
        follows = call.function == "pad" and call.sizes != expected.sizes
        return call.channels == expected.channels and call.shape == shape and not follows


def described(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], resolution: Resolution, *, path: str
) -> FunctionCall | None:
    """The call, where it is one that may be converted: on a field of the grid's dimension, outside converted layers."""
    if name not in CONVERTED_CALLS or resolution.is_inside:
        return None
    field = args[0] if args else kwargs.get("input")
    dim = resolution.training.dim
    if not isinstance(field, torch.Tensor) or field.ndim != 2 + dim:
        return None
    sizes: tuple[int, ...] = ()
    if name == "pad":
        given = args[1] if len(args) > 1 else kwargs["pad"]
        sizes = tuple(int(value) for value in given)
        if not any(sizes) or any(sizes[2 * dim :]):
            return None
    if name == "interpolate":
        size = args[1] if len(args) > 1 else kwargs.get("size")
        if size is not None:
            sizes = (int(size),) * dim if isinstance(size, int) else tuple(int(value) for value in size)
    return FunctionCall(path, name, field.shape[1], tuple(field.shape[2:]), sizes)


def _convert(
    func: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    resolution: Resolution,
    expected: FunctionCall,
    sizes: tuple[int, ...],
) -> torch.Tensor:
    name = expected.function
    field = args[0] if args else kwargs["input"]
    rest = {key: value for key, value in kwargs.items() if key != "input"}
    if name in _POOLS:
        kind, dim = _POOLS[name]
        names = _POOL_ARGUMENTS[name[:3]]
        options = {**dict(zip(names, args[1:], strict=False)), **{k: v for k, v in rest.items() if k in names}}
        return PhysicalPooling(kind(**options), resolution, dim=dim)(field)
    if name == "pad":
        given = dict(zip(("pad", "mode", "value"), args[1:], strict=False)) | rest
        mode = given.get("mode", "constant")
        padding = PhysicalPadding(
            sizes, resolution, mode="zeros" if mode == "constant" else mode, value=float(given.get("value") or 0.0)
        )
        return padding(field)
    if name == "interpolate":
        given = dict(zip(("size", "scale_factor", "mode", "align_corners"), args[1:], strict=False)) | rest
        if given.get("size") is not None:
            # A size that is written down is that of training; any other follows the input.
            is_fixed = sizes == expected.sizes
            given["size"] = expected.sizes if is_fixed else resolution.level(sizes, to_training=True)
        return resolution.at_training_spacing(lambda values: F.interpolate(values, **given), field)
    return resolution.at_training_spacing(lambda values: func(values, *args[1:], **rest), field)
