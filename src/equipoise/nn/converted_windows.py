"""Convolutions and pooling of ordinary networks whose windows keep their physical offsets on every grid.

At the training grid each computes what the original layer computes. Strides stay in points, so that all levels of a
network become finer together; which layer becomes which is decided in `operators.conversion`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import nn

from equipoise.nn.grid_padding import pad_field
from equipoise.nn.resolution import Resolution
from equipoise.nn.stencils import convolve, offset_matrix

__all__ = ["FixedOffsetConvolution", "PhysicalPooling", "per_axis"]

_INTERPOLATION = {1: "linear", 2: "bilinear", 3: "trilinear"}
_MAX_POOLS: dict[int, Any] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


def per_axis(value: int | tuple[int, ...], dim: int) -> tuple[int, ...]:
    """One number for each axis."""
    return (value,) * dim if isinstance(value, int) else tuple(value)


def _padded(
    inputs: torch.Tensor,
    resolution: Resolution,
    *,
    reach: list[tuple[int, int]],
    stride: tuple[int, ...],
    lost: list[int],
    padding: tuple[int, ...],
    mode: str,
    fill: float = 0.0,
) -> torch.Tensor:
    """The field with all points that the windows of the current resolution see.

    Args:
        reach: first and last point of the window relative to its output, along each axis.
        lost: training points by which windows reach less far than padding, so that there are fewer outputs.
        padding: training points of the original; where it has none, windows that cross the end see the period or the
            nearest point.
    """
    shape = tuple(inputs.shape[2:])
    for axis, (first, last) in enumerate(reach):
        count = shape[axis]
        # Windows that tile the domain in training tile it now, though the last may cross the end.
        missing = 0 if 0 <= lost[axis] < stride[axis] else _up(lost[axis] * resolution.ratios[axis])
        outputs = (count - 1 - missing) // stride[axis] + 1
        after = (outputs - 1) * stride[axis] + last - (count - 1)
        continuation = mode
        if padding[axis] == 0:
            continuation = "circular" if resolution.training.wraps[axis] else "replicate"
        if continuation == "zeros" and fill:
            size = [0, 0] * (inputs.ndim - 3 - axis) + [-first, after]
            inputs = F.pad(inputs, size, value=fill)
            continue
        left, right = [0] * len(shape), [0] * len(shape)
        left[axis], right[axis] = -first, after
        inputs = pad_field(inputs, left, right, [continuation] * len(shape))
    return inputs


def _up(value: float) -> int:
    return -int(-(value - 1e-6) // 1)


class FixedOffsetConvolution(nn.Module):
    """A convolution whose taps keep their physical offsets, or whose kernel is resized as a function of the offset.

    Args:
        layer: `Conv1d`, `Conv2d` or `Conv3d` whose parameters it takes.
        resolution: shared with the whole network.
        kernel: `"fixed-offsets"`, `(K u)(x) = sum_t k_t u(x + t h_train)`: a dilated convolution where ratios are
            whole, and cubic interpolation of u elsewhere. `"interpolated"`, as published: the kernel is resized
            linearly onto the current spacing and divided by the growth of its number of taps.

    Source: Berner et al. (2025), for the interpolated kernel.
    """

    def __init__(self, layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, resolution: Resolution, *, kernel: str) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        self.resolution, self.kernel = resolution, kernel
        dim = self.weight.ndim - 2
        self.stride, self.dilation = per_axis(layer.stride, dim), per_axis(layer.dilation, dim)
        self.groups, self.padding_mode = layer.groups, layer.padding_mode
        self.spans = tuple(d * (size - 1) for d, size in zip(self.dilation, self.weight.shape[2:], strict=True))
        if layer.padding == "same":
            self.left = tuple(span // 2 for span in self.spans)
            self.right = tuple(span - span // 2 for span in self.spans)
        else:
            both = (0,) * dim if isinstance(layer.padding, str) else per_axis(layer.padding, dim)
            self.left = self.right = both

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"taps={tuple(self.weight.shape[2:])}, stride={self.stride}, kernel={self.kernel!r}"

    def forward(self, inputs: Float[torch.Tensor, "batch channels *grid"]) -> Float[torch.Tensor, "batch filters *out"]:
        """The convolution at the current resolution.

        Raises:
            ValueError: for a level that the stride does not divide.
        """
        with self.resolution.inside():
            if self.resolution.is_training:
                padded = pad_field(inputs, self.left, self.right, [self.padding_mode] * len(self.left))
                return convolve(
                    padded, self.weight, self.bias, stride=self.stride, dilation=self.dilation, groups=self.groups
                )
            self.resolution.check_stride(tuple(inputs.shape[2:]), self.stride)
            first, weight, dilation = self._stencil()
            ends = zip(first, dilation, weight.shape[2:], strict=True)
            padded = _padded(
                inputs,
                self.resolution,
                reach=[(start, start + step * (size - 1)) for start, step, size in ends],
                stride=self.stride,
                lost=[s - before - after for s, before, after in zip(self.spans, self.left, self.right, strict=True)],
                padding=self.left,
                mode=self.padding_mode,
            )
            return convolve(padded, weight, self.bias, stride=self.stride, dilation=dilation, groups=self.groups)

    def _stencil(self) -> tuple[list[int], torch.Tensor, tuple[int, ...]]:
        """First point of the stencil along each axis, its weights, and the distance of its points."""
        ratios, whole = self.resolution.ratios, self.resolution.whole_ratios
        if self.kernel == "interpolated":
            return self._resized(ratios)
        if whole is not None:
            first = [-before * ratio for before, ratio in zip(self.left, whole, strict=True)]
            return first, self.weight, tuple(d * ratio for d, ratio in zip(self.dilation, whole, strict=True))
        first, weight = [], self.weight
        for axis, ratio in enumerate(ratios):
            taps = [tap * self.dilation[axis] - self.left[axis] for tap in range(weight.shape[2 + axis])]
            start, matrix = offset_matrix([tap * ratio for tap in taps])
            first.append(start)
            weight = torch.movedim(torch.movedim(weight, 2 + axis, -1) @ matrix.T.to(weight), -1, 2 + axis)
        return first, weight, (1,) * len(ratios)

    def _resized(self, ratios: tuple[float, ...]) -> tuple[list[int], torch.Tensor, tuple[int, ...]]:
        first = [-round(before * ratio) for before, ratio in zip(self.left, ratios, strict=True)]
        weight, growth = self.weight, 1.0
        sizes = []
        for axis, (start, before, span, ratio) in enumerate(zip(first, self.left, self.spans, ratios, strict=True)):
            sizes.append(round((span - before) * ratio) - start + 1)
            growth *= sizes[-1] / weight.shape[2 + axis]
            if sizes[-1] == 1:
                # A kernel narrower than the spacing is the mean of its taps, times their number.
                weight = weight.mean(2 + axis, keepdim=True)
        weight = F.interpolate(weight, size=tuple(sizes), mode=_INTERPOLATION[len(sizes)], align_corners=True)
        return first, weight / growth, (1,) * len(ratios)


class PhysicalPooling(nn.Module):
    """Pooling over a window that keeps its physical offsets.

    Averages are convolutions at fixed offsets. Maxima are taken over the same offsets where ratios are whole. All else
    (maxima between points, `ceil_mode`, averages that leave padding out) happens at the training spacing.

    Args:
        layer: `MaxPool` or `AvgPool` of torch, in 1, 2 or 3 dimensions. dim: which.
        resolution: shared with the whole network.
    """

    def __init__(self, layer: nn.Module, resolution: Resolution, *, dim: int) -> None:
        super().__init__()
        self.layer, self.resolution = layer, resolution
        options: Any = layer
        self.is_max = type(layer).__name__.startswith("Max")
        self.size, self.padding = per_axis(options.kernel_size, dim), per_axis(options.padding, dim)
        self.stride = per_axis(options.stride, dim)
        self.dilation = per_axis(getattr(options, "dilation", 1), dim)
        counts_padding = getattr(options, "count_include_pad", True) or not any(self.padding)
        self.is_plain = not options.ceil_mode and counts_padding and not getattr(options, "divisor_override", None)

    def forward(
        self, inputs: Float[torch.Tensor, "batch channels *grid"]
    ) -> Float[torch.Tensor, "batch channels *out"]:
        """The pooled field at the current resolution.

        Raises:
            ValueError: for a level that the stride does not divide.
        """
        with self.resolution.inside():
            if self.resolution.is_training:
                return self.layer(inputs)
            self.resolution.check_stride(tuple(inputs.shape[2:]), self.stride)
            whole = self.resolution.whole_ratios
            if not self.is_plain or (self.is_max and whole is None):
                return self.resolution.at_training_spacing(self.layer, inputs)
            return self._windows(inputs)

    def _windows(self, inputs: torch.Tensor) -> torch.Tensor:
        spans = [d * (n - 1) for d, n in zip(self.dilation, self.size, strict=True)]
        lost = [span - 2 * pad for span, pad in zip(spans, self.padding, strict=True)]
        reach, kernel = [], inputs.new_ones((1, 1, *[1] * len(spans)))
        whole = self.resolution.whole_ratios
        for axis, (size, pad, ratio) in enumerate(zip(self.size, self.padding, self.resolution.ratios, strict=True)):
            taps = [(tap * self.dilation[axis] - pad) * ratio for tap in range(size)]
            start, matrix = offset_matrix([round(tap) for tap in taps] if whole is not None else taps)
            reach.append((start, start + len(matrix) - 1))
            shape = [1] * kernel.ndim
            shape[2 + axis] = len(matrix)
            kernel = kernel * matrix.mean(1).to(inputs).view(shape)
        padded = _padded(
            inputs,
            self.resolution,
            reach=reach,
            stride=self.stride,
            lost=lost,
            padding=self.padding,
            mode="zeros",
            fill=float("-inf") if self.is_max else 0.0,
        )
        if self.is_max and whole is not None:
            dilation = tuple(d * ratio for d, ratio in zip(self.dilation, whole, strict=True))
            return _MAX_POOLS[len(spans)](padded, self.size, stride=self.stride, dilation=dilation)
        pooled = convolve(padded.flatten(0, 1)[:, None], kernel, stride=self.stride)
        return pooled.view(*inputs.shape[:2], *pooled.shape[2:])
