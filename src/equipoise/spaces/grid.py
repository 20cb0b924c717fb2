"""Regular grids in one to three dimensions: points, wavenumbers and quadrature on any device and dtype.

Fields on a grid are channel-first, `(batch, channel, *grid)`. Norms, resampling and random fields have their own files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float

__all__ = ["Grid"]


@dataclass(frozen=True)
class Grid:
    """Regular grid on a box.

    A periodic axis of n points leaves out its upper end, which is its lower end again; any other axis holds both ends.

    Attributes:
        shape: points along each axis; one to three axes.
        bounds: lower and upper end of each axis; the unit interval by default.
        periodic: whether each axis is periodic; none by default. One value stands for all axes.

    Raises:
        ValueError: for no or more than three axes, too few points, ends that are not finite and increasing, or bounds
            or periodicity of another number of axes.
    """

    shape: tuple[int, ...]
    bounds: tuple[tuple[float, float], ...] = ()
    periodic: tuple[bool, ...] | bool = False

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        if not 1 <= len(shape) <= 3:
            raise ValueError(f"shape={shape} must have one to three axes.")
        bounds = tuple((float(a), float(b)) for a, b in self.bounds) or ((0.0, 1.0),) * len(shape)
        periodic = self.periodic if isinstance(self.periodic, tuple) else (self.periodic,) * len(shape)
        if len(bounds) != len(shape) or len(periodic) != len(shape):
            raise ValueError(
                f"shape={shape} has {len(shape)} axes, bounds have {len(bounds)}, periodic has {len(periodic)}."
            )
        for n, (low, high), wraps in zip(shape, bounds, periodic, strict=True):
            if n < (1 if wraps else 2):
                raise ValueError(f"shape={shape}: a periodic axis needs at least 1 point, any other at least 2.")
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ValueError(f"bounds ({low}, {high}) must be finite and increasing.")
        for name, value in (("shape", shape), ("bounds", bounds), ("periodic", tuple(bool(p) for p in periodic))):
            object.__setattr__(self, name, value)

    @property
    def dim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def lengths(self) -> tuple[float, ...]:
        """Length of each axis."""
        return tuple(high - low for low, high in self.bounds)

    @property
    def volume(self) -> float:
        """Product of the lengths."""
        return math.prod(self.lengths)

    @property
    def spacings(self) -> tuple[float, ...]:
        """Distance of neighbouring points along each axis."""
        return tuple(length / intervals for length, intervals in zip(self.lengths, self.intervals, strict=True))

    @property
    def intervals(self) -> tuple[int, ...]:
        """Number of intervals along each axis: the points, less one where the axis is not periodic."""
        return tuple(n if wraps else n - 1 for n, wraps in zip(self.shape, self.wraps, strict=True))

    @property
    def wraps(self) -> tuple[bool, ...]:
        """Whether each axis is periodic, one value for each axis."""
        assert isinstance(self.periodic, tuple)
        return self.periodic

    def resized(self, shape: Sequence[int]) -> Grid:
        """The same box with other numbers of points."""
        return Grid(tuple(shape), self.bounds, self.periodic)

    def axis(
        self, number: int, *, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"
    ) -> Float[torch.Tensor, " points"]:
        """Coordinates along one axis."""
        low = self.bounds[number][0]
        index = torch.arange(self.shape[number], dtype=dtype, device=device)
        return low + self.spacings[number] * index

    def points(
        self, *, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"
    ) -> Float[torch.Tensor, "*grid dim"]:
        """Coordinates of all points, `(*grid, dim)`."""
        axes = [self.axis(i, dtype=dtype, device=device) for i in range(self.dim)]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)

    def wavenumbers(
        self,
        number: int,
        *,
        half: bool = False,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> Float[torch.Tensor, " modes"]:
        """Angular wavenumbers of one axis, in the order of the discrete transform.

        `2 pi m / L` in the order of `torch.fft.fft` on a periodic axis, or of `rfft` with `half`; `pi m / L`, of the
        cosines, on any other.
        """
        count, length = self.shape[number], self.lengths[number]
        if not self.wraps[number]:
            return torch.pi / length * torch.arange(count, dtype=dtype, device=device)
        frequencies = torch.fft.rfftfreq if half else torch.fft.fftfreq
        return 2 * torch.pi * frequencies(count, length / count, dtype=dtype, device=device)

    def weights(
        self, *, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"
    ) -> Float[torch.Tensor, "*grid"]:
        """Trapezoidal quadrature weights of all points; their sum is the volume."""
        weights = torch.ones((), dtype=dtype, device=device)
        for count, spacing, wraps in zip(self.shape, self.spacings, self.wraps, strict=True):
            along = torch.full((count,), spacing, dtype=dtype, device=device)
            if not wraps:
                along[0] = along[-1] = spacing / 2
            weights = weights[..., None] * along
        return weights

    def check_field(self, field: torch.Tensor, *, name: str = "the field") -> None:
        """Raise `ValueError` for a field that is not `(batch, channel, *grid)` on this grid."""
        if field.ndim != 2 + self.dim or tuple(field.shape[2:]) != self.shape:
            expected = ", ".join(map(str, ("batch", "channel", *self.shape)))
            raise ValueError(f"{name} has shape {tuple(field.shape)}; expected ({expected}).")
