"""Random periodic positions of inclusions that don't overlap, in the unit square or cube about the origin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import MeshError

__all__ = ["inclusion_radius", "scattered_centres"]

_ATTEMPTS, _TRIALS = 50, 2000


def inclusion_radius(dim: int, fraction: float, count: int) -> float:
    """Radius of `count` equal discs (`dim` 2) or balls (`dim` 3) of a total volume fraction of the unit cell."""
    unit = np.pi if dim == 2 else 4 * np.pi / 3
    return float((fraction / (count * unit)) ** (1 / dim))


def scattered_centres(generator: np.random.Generator, dim: int, count: int, distance: float) -> NDArray[np.float64]:
    """Random centres, `(count, dim)`, whose periodic distances are at least `distance`: random sequential addition.

    Raises:
        MeshError: if an inclusion would touch its own image, or no arrangement is found.
    """
    if distance > 1:
        raise MeshError(
            f"inclusions of diameter {distance:.3g} touch their own images in a cell of side 1; lower the fraction."
        )
    for _ in range(_ATTEMPTS):
        centres = np.empty((0, dim))
        for point in generator.uniform(-0.5, 0.5, size=(_TRIALS, dim)):
            offset = point - centres
            offset -= np.round(offset)
            if (np.einsum("ij,ij->i", offset, offset) >= distance**2).all():
                centres = np.vstack([centres, point])
            if len(centres) == count:
                return centres
    raise MeshError(f"{count} inclusions at distance {distance:.3g} could not be placed; lower the fraction.")
