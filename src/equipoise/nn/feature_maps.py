"""What a network over space reads in place of the coordinates, and factors that vanish where conditions are exact.

Both are made of jets, so that their values and derivatives come from one description.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import nn

from equipoise.nn.jets import Jet, concatenate, coordinates, cosine, sine

__all__ = ["BoundaryFactor", "FeatureMap"]

SIDES = ("none", "low", "high", "both")


class FeatureMap(nn.Module):
    """Coordinates, or waves of the periodic ones, or random waves of both.

    Args:
        dim: coordinates of a point.
        periods: length of the period of the first coordinates, 0 for one that is not periodic. A periodic coordinate
            enters by the cosines and sines of `n_frequencies` multiples of its wavenumber, then come the others.
        n_random: random waves; half of them cosines, half sines, of wavenumbers drawn from a normal distribution of
            standard deviation `random_scale`. They take the place of what they are made of.
        generator: source of the random waves.

    Raises:
        ValueError: for more periods than coordinates, a negative one, or an odd number of random waves.

    Sources: Lu et al. (2022), section 3; random waves, Tancik et al. (2020).
    """

    random: torch.Tensor

    def __init__(
        self,
        dim: int,
        *,
        periods: Sequence[float] = (),
        n_frequencies: int = 2,
        n_random: int = 0,
        random_scale: float = 1.0,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        periods = tuple(float(period) for period in periods)
        if dim < 1 or len(periods) > dim or any(period < 0 for period in periods):
            raise ValueError(f"periods={periods} of {dim} coordinates: give at most one for each, and none negative.")
        if n_frequencies < 1 or n_random < 0 or n_random % 2:
            raise ValueError(
                f"n_frequencies={n_frequencies} must be positive, and n_random={n_random} even and not negative."
            )
        self.dim, self.n_frequencies = dim, n_frequencies
        self.periods = periods + (0.0,) * (dim - len(periods))
        waves = sum(period > 0 for period in self.periods)
        plain = dim - waves + 2 * n_frequencies * waves
        self.size = n_random or plain
        drawn = torch.randn(plain, n_random // 2, generator=generator, dtype=torch.float64) * random_scale
        self.register_buffer("random", drawn.to(dtype))

    def jet(self, points: Float[torch.Tensor, "n dim"], order: int) -> Jet:
        """Features of points with their derivatives by the coordinates."""
        start = coordinates(points, order)
        found = []
        for axis, period in enumerate(self.periods):
            if period > 0:
                column = start.columns([axis])
                for multiple in range(1, self.n_frequencies + 1):
                    factor = 2 * torch.pi * multiple / period
                    scaled = column.each(lambda part, factor=factor: part * factor)  # type: ignore[misc]
                    found += [scaled.through(cosine), scaled.through(sine)]
        rest = [axis for axis, period in enumerate(self.periods) if period == 0]
        if rest:
            found.append(start.columns(rest) if len(rest) < self.dim else start)
        features = concatenate(found) if len(found) > 1 else found[0]
        if self.random.shape[1] == 0:
            return features
        waves = features.linear(self.random)
        return concatenate([waves.through(cosine), waves.through(sine)])

    def forward(self, points: Float[torch.Tensor, "n dim"]) -> Float[torch.Tensor, "n features"]:
        """Features of points, `(n, dim)` to `(n, size)`."""
        if self.random.shape[1] == 0 and not any(self.periods):
            return points
        return self.jet(points, 0).value


class BoundaryFactor(nn.Module):
    """A product of polynomials, one for each axis, that vanishes at chosen ends of the box and nowhere inside.

    Args:
        sides: for each axis `"none"`, `"low"`, `"high"` or `"both"`. bounds: ends of each axis.

    Along an axis with x from 0 to 1 between its ends the factor is x, 1 - x, or 4 x (1 - x).
    """

    def __init__(self, sides: Sequence[str], *, bounds: Sequence[Sequence[float]]) -> None:
        super().__init__()
        if len(sides) != len(bounds) or any(side not in SIDES for side in sides):
            raise ValueError(f"sides={tuple(sides)} must name {', '.join(SIDES)} for each of {len(bounds)} axes.")
        self.sides = tuple(sides)
        self.bounds = tuple((float(low), float(high)) for low, high in bounds)

    def jet(self, points: Float[torch.Tensor, "n dim"], order: int) -> Jet:
        """The factor at points with its derivatives, one column."""
        start = coordinates(points, order)
        factor: Jet | None = None
        for axis, (side, (low, high)) in enumerate(zip(self.sides, self.bounds, strict=True)):
            if side == "none":
                continue
            column, length = start.columns([axis]), high - low
            for end, sign in ((low, 1.0), (high, -1.0)):
                if side != "both" and side != ("low" if sign > 0 else "high"):
                    continue
                size = (2.0 if side == "both" else 1.0) * sign / length
                term = Jet(column.value - end, column.first, column.second)
                term = term.each(lambda part, size=size: part * size)  # type: ignore[misc]
                factor = term if factor is None else factor.times(term)
        if factor is None:
            nothing = start.each(torch.zeros_like).columns([0])
            return Jet(nothing.value + 1, nothing.first, nothing.second)
        return factor

    def forward(self, points: Float[torch.Tensor, "n dim"]) -> Float[torch.Tensor, "n 1"]:
        """The factor at points, `(n, dim)` to `(n, 1)`."""
        return self.jet(points, 0).value
