"""Stencils at fixed physical offsets, on a grid of any spacing: the field is interpolated between its points.

An operator `(K u)(x) = sum_t k_t u(x + t)` with offsets t in units of length means the same on every grid. On a grid
whose points hold the offsets it is a dilated convolution; on any other, u is interpolated by cubics through four
neighbours, which is a convolution again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float

__all__ = ["convolve", "cubic_cardinal", "offset_matrix"]

_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def cubic_cardinal(distance: torch.Tensor) -> torch.Tensor:
    """Value at a distance (in spacings) of the cubic interpolant of a field that is 1 at one point and 0 elsewhere.

    The values over all points sum to one, and cubic polynomials are reproduced (Lagrange, four neighbours).
    """
    t = distance.abs()
    near = 1 - t / 2 - t**2 + t**3 / 2
    far = 1 - 11 * t / 6 + t**2 - t**3 / 6
    return torch.where(t <= 1, near, torch.where(t < 2, far, torch.zeros_like(t)))


def offset_matrix(offsets: Sequence[float]) -> tuple[int, Float[torch.Tensor, "points taps"]]:
    """The weights of grid points that interpolate a field at offsets, in spacings; and the first point's number."""
    low, high = math.floor(min(offsets)), math.ceil(max(offsets))
    if any(offset != round(offset) for offset in offsets):
        low, high = low - 1, high + 1
    points = torch.arange(low, high + 1, dtype=torch.float64)
    return low, cubic_cardinal(torch.tensor(list(offsets), dtype=torch.float64)[None, :] - points[:, None])


def convolve(
    inputs: Float[torch.Tensor, "batch channels *grid"],
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    stride: Sequence[int] | int = 1,
    dilation: Sequence[int] | int = 1,
    groups: int = 1,
) -> Float[torch.Tensor, "batch filters *out"]:
    """Torch's convolution (a correlation) in 1, 2 or 3 dimensions without padding; the number follows the weight."""
    dim = weight.ndim - 2
    wide = [[value] * dim if isinstance(value, int) else list(value) for value in (stride, dilation)]
    return _CONVOLUTIONS[dim](inputs, weight, bias, stride=wide[0], dilation=wide[1], groups=groups)
