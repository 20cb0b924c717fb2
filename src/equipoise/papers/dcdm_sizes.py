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
    """

    dim: int
    layout: str
    width: int
    stages: tuple[Stage, ...]
    judged: int
    domains: tuple[str, ...] | None = None

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
    ),
    "cpu": Sizes(
        2,
        "k64",
        16,
        (
            Stage(32, 800, 16, 2e-3, ritz=300, vectors=3000),
            Stage(64, 700, 8, 1e-3, ritz=600, vectors=3000),
            Stage(128, 300, 4, 1e-3, ritz=400, vectors=1200, validations=3),
        ),
        64,
    ),
    "gpu": Sizes(
        3,
        "k128",
        16,
        (
            Stage(32, 5000, 16, 2e-3, ritz=2000, vectors=20_000),
            Stage(64, 5000, 16, 1e-3, ritz=2000, vectors=20_000),
            Stage(128, 3000, 4, 1e-3, ritz=1000, vectors=20_000),
        ),
        64,
    ),
}
