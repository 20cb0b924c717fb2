"""Which layer of an ordinary network becomes which layer on any grid, which stays, and which can't be converted.

One table by type. The layers themselves stand in `nn`; how a whole network is walked is in `conversion`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from equipoise.nn.converted_layers import AtTrainingSpacing, DomainLayerNorm, PhysicalPadding, RadiusMessagePassing
from equipoise.nn.converted_windows import FixedOffsetConvolution, PhysicalPooling
from equipoise.nn.graph_kernel import GridMessagePassing
from equipoise.nn.resolution import Resolution
from equipoise.spaces.grid import Grid

__all__ = ["KEPT", "Converted", "Refused", "convert_layer", "table_layout"]

_CONVOLUTIONS = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}
_TRANSPOSED = {nn.ConvTranspose1d: 1, nn.ConvTranspose2d: 2, nn.ConvTranspose3d: 3}
_POOLS = {
    nn.MaxPool1d: 1,
    nn.MaxPool2d: 2,
    nn.MaxPool3d: 3,
    nn.AvgPool1d: 1,
    nn.AvgPool2d: 2,
    nn.AvgPool3d: 3,
}
_PADDINGS: dict[tuple[type[nn.Module], ...], str] = {
    (nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d): "zeros",
    (nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d): "circular",
    (nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d): "replicate",
    (nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d): "reflect",
}
_ONE_SPACING = (nn.Upsample, nn.PixelShuffle, nn.PixelUnshuffle)

KEPT: tuple[tuple[tuple[type[nn.Module], ...], str], ...] = (
    ((nn.Linear, nn.Identity, nn.PReLU), "acts on channels, the same at every point"),
    ((nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer), "equal weights of points cancel"),
    ((nn.GroupNorm, nn.modules.instancenorm._InstanceNorm), "its means over points are integrals"),
    ((nn.modules.batchnorm._BatchNorm,), "its statistics belong to channels"),
    ((nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d), "its windows are fractions of the domain"),
    ((nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d), "its windows are fractions of the domain"),
)
"""Layers with or without parameters that mean the same on every grid, and why."""

_REFUSED: tuple[tuple[tuple[type[nn.Module], ...], str], ...] = (
    ((nn.RNNBase, nn.RNNCellBase), "counts points as steps"),
    ((nn.Embedding, nn.EmbeddingBag), "reads an index; give it a function of the coordinate"),
    ((nn.Bilinear,), "has no rule"),
    ((nn.Fold, nn.Unfold), "cuts the grid into blocks of points; use a convolution with a stride"),
    ((nn.modules.conv._ConvNd,), "is a convolution whose shape is not known yet"),
    ((nn.modules.pooling._LPPoolNd, nn.FractionalMaxPool2d, nn.FractionalMaxPool3d), "has no rule"),
    ((nn.MaxUnpool1d, nn.MaxUnpool2d, nn.MaxUnpool3d), "places values by index; use a transposed convolution"),
    ((nn.LocalResponseNorm,), "has no rule"),
)


@dataclass(frozen=True)
class Converted:
    """A layer to put in place, and what the report says of it."""

    layer: nn.Module
    description: str


@dataclass(frozen=True)
class Refused:
    """Why a layer can't be converted."""

    reason: str


def convert_layer(layer: nn.Module, resolution: Resolution, *, kernel: str) -> Converted | Refused | str | None:
    """What becomes of one layer.

    Returns:
        The replacement; the refusal; a sentence on why it stays; or `None` for a module that the table does not know,
        whose children are to be looked at.
    """
    dim = resolution.training.dim
    for kinds in (_CONVOLUTIONS, _TRANSPOSED, _POOLS):
        for kind, axes in kinds.items():
            if isinstance(layer, kind) and axes != dim:
                if isinstance(layer, nn.modules.conv._ConvNd) and set(layer.kernel_size) == {1} == set(layer.stride):
                    return "acts on channels, the same at every point"
                return Refused(f"works on {axes} axes; the grid has {dim}")
    if hasattr(layer, "parametrizations"):
        return Refused("has parametrised weights; remove them first by torch.nn.utils.parametrize")
    if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return _convert_convolution(layer, resolution, kernel)
    if isinstance(layer, tuple(_TRANSPOSED)):
        return Converted(AtTrainingSpacing(layer, resolution), "applied at training points, then interpolated")
    if isinstance(layer, tuple(_POOLS)):
        if getattr(layer, "return_indices", False):
            return Refused("returns indices of points")
        return Converted(PhysicalPooling(layer, resolution, dim=dim), "pooling over a fixed physical window")
    if isinstance(layer, _ONE_SPACING):
        return Converted(AtTrainingSpacing(layer, resolution), "applied at training points, then interpolated")
    if isinstance(layer, GridMessagePassing):
        return Converted(RadiusMessagePassing(layer, resolution), "neighbours within a fixed radius, averaged")
    if isinstance(layer, nn.LayerNorm):
        return _convert_layer_norm(layer, resolution)
    for padding, mode in _PADDINGS.items():
        if isinstance(layer, padding):
            value = float(getattr(layer, "value", 0.0))
            padded = PhysicalPadding(layer.padding, resolution, mode=mode, value=value)  # type: ignore[arg-type]
            return Converted(padded, "padding by a fixed length")
    for refused, reason in _REFUSED:
        if isinstance(layer, refused):
            return Refused(reason)
    for kept, reason in KEPT:
        if isinstance(layer, kept):
            return reason
    return None


def _convert_convolution(
    layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, resolution: Resolution, kernel: str
) -> Converted | str:
    taps = math.prod(layer.kernel_size)
    if taps == 1 and set(layer.stride) == {1} and layer.padding in ("same", "valid", (0,) * len(layer.kernel_size)):
        return "acts on channels, the same at every point"
    description = "taps at fixed physical offsets" if kernel == "fixed-offsets" else "kernel interpolated"
    return Converted(FixedOffsetConvolution(layer, resolution, kernel=kernel), description)


def _convert_layer_norm(layer: nn.LayerNorm, resolution: Resolution) -> Converted | str:
    """A norm over channels stays; one over as many axes as the grid has, or more, is over the domain."""
    if len(layer.normalized_shape) < max(2, resolution.training.dim):
        if resolution.training.dim == 1 and layer.normalized_shape[0] == resolution.training.shape[0] > 1:
            return Converted(DomainLayerNorm(layer, resolution), "norm over the domain, factors interpolated")
        return "acts on channels, the same at every point"
    return Converted(DomainLayerNorm(layer, resolution), "norm over the domain, factors interpolated")


def table_layout(shape: tuple[int, ...], grid: Grid) -> tuple[tuple[int, ...], int | None, int] | None:
    """How a parameter of this shape holds one entry for each point of the grid, or of its patches.

    Returns:
        Shape of the points, axis of the parameter that runs over them (`None` where its last axes do), and the number
        of other entries before them (none, or one or two tokens); `None` where it holds no such thing.
    """
    patches = [size for size in range(1, min(grid.shape) // 2 + 1) if all(count % size == 0 for count in grid.shape)]
    levels = [tuple(count // size for count in grid.shape) for size in patches]
    for level in levels:
        if shape[-grid.dim :] == level and (grid.dim > 1 or len(shape) > 1):
            return level, None, 0
    order = [axis for axis in (len(shape) - 2, len(shape) - 1, *range(len(shape) - 2)) if axis >= 0]
    for others in (0, 1, 2):
        for level in levels:
            for axis in order:
                if shape[axis] == math.prod(level) + others:
                    return level, axis, others
    return None
