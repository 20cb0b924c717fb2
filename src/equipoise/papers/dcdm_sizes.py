"""The scales of the reproduction of deep conjugate directions: stages of training and grids compared on."""

from __future__ import annotations

from dataclasses import dataclass

from equipoise.training.learned_directions import Stage

__all__ = ["SIZES", "Sizes"]


@dataclass(frozen=True)
class Sizes:
    """One scale.

    Attributes:
        dim, layout, width: of the network. stages: of the training; each of their sizes is compared at.
        judged: size at which the shares of CG's iterations count. domains: names, or all.
        trainings: from as many seeds, which all medians are over.
    """

    dim: int
    layout: str
    width: int
    stages: tuple[Stage, ...]
    judged: int
    domains: tuple[str, ...] | None = None
    trainings: int = 3

    def shape(self, size: int) -> tuple[int, ...]:
        """A grid with so many cells along each side."""
        return (size,) * self.dim


SIZES = {
    "smoke": Sizes(
        2,
        "k64",
        16,
        (Stage(16, 300, 16, 5e-3, ritz=64, vectors=500, validations=3),),
        16,
        domains=("empty", "wall with gap"),
        trainings=1,
    ),
    "cpu": Sizes(
        2,
        "k64",
        16,
        (
            Stage(32, 1200, 4, 8e-3, ritz=320),
            Stage(64, 1000, 2, 4e-3, ritz=640),
            Stage(128, 2000, 2, 4e-3, ritz=1280, vectors=2000, validations=4, layout="k128"),
        ),
        64,
    ),
    "gpu": Sizes(
        3,
        "k128",
        16,
        (
            Stage(32, 8000, 4, 4e-3, ritz=2000, vectors=20_000),
            Stage(64, 8000, 4, 2e-3, ritz=2000, vectors=20_000),
            Stage(128, 4000, 2, 2e-3, ritz=1280, vectors=20_000),
        ),
        64,
    ),
}
