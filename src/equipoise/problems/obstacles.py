"""Boxes of cells with solid obstacles: which cells hold fluid. Shapes only; the equations stand in `pressure.py`.

All shapes are given in the unit box, whose cells have their centres at `(i + 1/2) / N`, so that one name means one
domain at any resolution.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool

__all__ = ["DOMAINS", "ball", "boxes", "domain", "empty_box", "random_obstacles", "wall_with_gap"]

Mask = Bool[torch.Tensor, "*grid"]
Range = tuple[float, float]


def empty_box(shape: Sequence[int]) -> Mask:
    """All fluid."""
    return torch.ones(tuple(shape), dtype=torch.bool)


def ball(shape: Sequence[int], *, centre: Sequence[float], radius: float) -> Mask:
    """A disc in the plane, a sphere in space; True where there is fluid."""
    distance = torch.zeros(tuple(shape), dtype=torch.float64)
    for place, middle in zip(_centres(shape), centre, strict=True):
        distance = distance + (place - middle).square()
    return distance > radius**2


def boxes(shape: Sequence[int], *, ranges: Sequence[Sequence[Range]]) -> Mask:
    """Blocks, each one range of coordinates for every axis."""
    solid = torch.zeros(tuple(shape), dtype=torch.bool)
    for box in ranges:
        inside = torch.ones_like(solid)
        for place, (low, high) in zip(_centres(shape), box, strict=True):
            inside &= (place > low) & (place < high)
        solid |= inside
    return ~solid


def wall_with_gap(
    shape: Sequence[int], *, place: float = 0.5, thickness: float = 0.06, gap: Range = (0.4, 0.6)
) -> Mask:
    """A wall across the first axis, open where the second coordinate lies in the gap."""
    first, second = _centres(shape)[:2]
    wall = (first - place).abs() < max(thickness / 2, 0.51 / shape[0])
    solid = wall & ((second < gap[0]) | (second > gap[1]))
    return ~solid.expand(tuple(shape))


def random_obstacles(shape: Sequence[int], generator: torch.Generator, *, count: int = 4) -> Mask:
    """Balls and blocks of random places and sizes, at least a twentieth of the box away from its sides."""
    fluid, dim = empty_box(shape), len(shape)
    for _ in range(count):
        draw = torch.rand(2 * dim + 1, generator=generator, dtype=torch.float64).tolist()
        centre = [0.2 + 0.6 * value for value in draw[:dim]]
        half = [0.04 + 0.11 * value for value in draw[dim : 2 * dim]]
        if draw[-1] < 0.5:
            fluid &= ball(shape, centre=centre, radius=half[0])
        else:
            fluid &= boxes(shape, ranges=[[(c - h, c + h) for c, h in zip(centre, half, strict=True)]])
    return fluid


def _centres(shape: Sequence[int]) -> list[torch.Tensor]:
    """Coordinates of the centres along each axis, shaped to broadcast over the grid."""
    return [
        ((torch.arange(n, dtype=torch.float64) + 0.5) / n).reshape([-1 if i == axis else 1 for i in range(len(shape))])
        for axis, n in enumerate(shape)
    ]


def _disc(shape: Sequence[int]) -> Mask:
    return ball(shape, centre=(0.45, 0.5, 0.5)[: len(shape)], radius=0.18)


def _two_boxes(shape: Sequence[int]) -> Mask:
    first: list[Range] = [(0.2, 0.4), (0.15, 0.45), (0.2, 0.6)]
    second: list[Range] = [(0.55, 0.8), (0.55, 0.8), (0.4, 0.8)]
    return boxes(shape, ranges=[first[: len(shape)], second[: len(shape)]])


def _random(shape: Sequence[int]) -> Mask:
    return random_obstacles(shape, torch.Generator().manual_seed(2023))


DOMAINS: dict[str, Callable[[Sequence[int]], Mask]] = {
    "empty": empty_box,
    "disc": _disc,
    "two boxes": _two_boxes,
    "wall with gap": wall_with_gap,
    "random": _random,
}
"""The domains on which learned directions are compared, in the plane and in space; none but the first is trained on."""


def domain(name: str, shape: Sequence[int]) -> Mask:
    """A domain of `DOMAINS` on a grid of so many cells.

    Raises:
        ValueError: for an unknown name, or another number of axes than two or three.
    """
    if name not in DOMAINS:
        raise ValueError(f"domain {name!r} is unknown; use one of {', '.join(DOMAINS)}.")
    if len(shape) not in (2, 3):
        raise ValueError(f"a grid of {len(shape)} axes has no domains; give two or three.")
    return DOMAINS[name](shape)
