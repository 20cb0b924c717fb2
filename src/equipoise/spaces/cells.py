"""Built-in unit cells that need no mesher: one fibre, random fibres and spheres on a raster, laminates.

Tag 1 is the matrix, tag 2 the inclusion. All cells fill the unit square or cube about the origin and are periodic.
"""

from __future__ import annotations

import ast
import difflib
import inspect
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import MeshError
from equipoise.spaces.mesh import CellBlock, Mesh
from equipoise.spaces.raster import raster_mesh

__all__ = [
    "BUILTIN_CELLS",
    "builtin_cell",
    "fibre_cell",
    "homogeneous_cell",
    "laminate_cell",
    "random_fibre_cell",
    "random_sphere_cell",
]


def homogeneous_cell(*, n: int = 2, dim: int = 2, element: str | None = None) -> Mesh:
    """Cell of matrix alone, `n` elements to a side."""
    shape = (n,) * dim
    return raster_mesh([np.linspace(-0.5, 0.5, n + 1)] * dim, np.ones(shape, dtype=np.int64), _default(element, dim))


def laminate_cell(
    *, fractions: tuple[float, ...] = (0.5, 0.5), normal: int = 0, dim: int = 2, element: str | None = None
) -> Mesh:
    """Layers across axis `normal`, tagged 1, 2, … in turn, of the given volume fractions (which sum to 1)."""
    if not np.isclose(sum(fractions), 1.0) or min(fractions) <= 0:
        raise MeshError(f"layer fractions {fractions} must be positive and sum to 1.")
    if not 0 <= normal < dim:
        raise MeshError(f"normal={normal} must be an axis of a cell of dimension {dim}.")
    axes = [np.linspace(-0.5, 0.5, 3) for _ in range(dim)]
    edges = np.concatenate([[0.0], np.cumsum(fractions)]) - 0.5
    edges[-1] = 0.5
    axes[normal] = edges
    shape = tuple(len(axis) - 1 for axis in axes)
    layers = np.arange(1, len(fractions) + 1).reshape([-1 if axis == normal else 1 for axis in range(dim)])
    return raster_mesh(axes, np.broadcast_to(layers, shape).astype(np.int64), _default(element, dim))


def random_fibre_cell(
    *, pixels: int = 32, fraction: float = 0.3, n_fibres: int = 6, seed: int = 0, element: str = "quad4"
) -> Mesh:
    """Random periodic fibres that don't overlap, painted on a raster of `pixels` to a side."""
    return _random_cell(2, pixels, fraction, n_fibres, seed, element)


def random_sphere_cell(
    *, voxels: int = 12, fraction: float = 0.2, n_spheres: int = 4, seed: int = 0, element: str = "hex8"
) -> Mesh:
    """Random periodic spheres that don't overlap, painted on a raster of `voxels` to a side."""
    return _random_cell(3, voxels, fraction, n_spheres, seed, element)


def _random_cell(dim: int, cells: int, fraction: float, count: int, seed: int, element: str) -> Mesh:
    if not 0 < fraction < 0.6:
        raise MeshError(f"fraction={fraction} must lie between 0 and 0.6 for inclusions that don't overlap.")
    generator = np.random.default_rng(seed)
    ball = np.pi if dim == 2 else 4 * np.pi / 3
    radius = (fraction / (count * ball)) ** (1 / dim)
    centres = _scattered(generator, dim, count, 2.02 * radius)
    axis = (np.arange(cells) + 0.5) / cells - 0.5
    grid = np.stack(np.meshgrid(*[axis] * dim, indexing="ij"), axis=-1)
    offset = grid[..., None, :] - centres
    offset -= np.round(offset)
    nearest = np.linalg.norm(offset, axis=-1).min(axis=-1)
    chosen = np.argsort(nearest, axis=None, kind="stable")[: round(fraction * nearest.size)]
    tags = np.ones(nearest.size, dtype=np.int64)
    tags[chosen] = 2
    return raster_mesh([np.linspace(-0.5, 0.5, cells + 1)] * dim, tags.reshape(nearest.shape), element)


def _scattered(generator: np.random.Generator, dim: int, count: int, distance: float) -> NDArray[np.float64]:
    """Random centres whose periodic distances are at least `distance`, by rejection."""
    for _ in range(200):
        centres: list[NDArray[np.float64]] = []
        for _ in range(2000):
            point = generator.uniform(-0.5, 0.5, size=dim)
            offsets = [point - other - np.round(point - other) for other in centres]
            if all(np.linalg.norm(offset) >= distance for offset in offsets):
                centres.append(point)
            if len(centres) == count:
                return np.stack(centres)
    raise MeshError(f"{count} inclusions at distance {distance:.3g} could not be placed; lower the fraction.")


def fibre_cell(*, n: int = 4, fraction: float = 0.3, element: str = "quad8") -> Mesh:
    """One centred circular fibre with a conforming structured mesh.

    Args:
        n: elements along a quarter of the circle; the mesh has `8 n (n // 2 + 1)` elements about the core's `n^2 4`.
        fraction: volume fraction of the fibre, up to 0.6. element: `"quad4"`, `"quad8"` or `"quad9"`.
    """
    if not 0 < fraction <= 0.6:
        raise MeshError(f"fraction={fraction} must lie between 0 and 0.6.")
    if n < 1 or element not in ("quad4", "quad8", "quad9"):
        raise MeshError(f"n={n} and element={element!r}: give n of at least 1 and quad4, quad8 or quad9.")
    side = 2 * n
    unit = raster_mesh([np.linspace(-1, 1, side + 1)] * 2, np.full((side, side), 2, dtype=np.int64), element)
    layers = max(1, n // 2 + 1)
    radius = np.sqrt(fraction / np.pi)
    parts = [(_disc(unit.points, radius), unit.blocks[0].connectivity, unit.blocks[0].tags)]
    ring = raster_mesh(
        [np.linspace(-1, 1, side + 1), np.linspace(0, 1, layers + 1)], np.ones((side, layers), dtype=np.int64), element
    )
    for quarter in range(4):
        along, out = ring.points.T
        face = np.column_stack([-along, np.ones_like(along)])
        inner = _disc(face, radius)
        points = inner + out[:, None] * (face / 2 - inner)
        turn = np.linalg.matrix_power(np.array([[0, -1], [1, 0]]), quarter)
        connectivity = _turned(ring.blocks[0].connectivity, element)
        parts.append((points @ turn.T, connectivity, ring.blocks[0].tags))
    return _merged(parts, element)


def _disc(points: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """Map the square [-1, 1]^2 onto a disc: circular at the rim, square-like at the centre."""
    largest = np.abs(points).max(axis=1, keepdims=True)
    norm = np.linalg.norm(points, axis=1, keepdims=True)
    safe = np.where(norm > 0, norm, 1.0)
    circle = points / safe * largest
    square = points * np.sqrt(0.5)
    return radius * (largest * circle + (1 - largest) * square)


def _turned(connectivity: NDArray[np.int64], element: str) -> NDArray[np.int64]:
    """Reverse the orientation of quadrilaterals."""
    order = {"quad4": [0, 3, 2, 1], "quad8": [0, 3, 2, 1, 7, 6, 5, 4], "quad9": [0, 3, 2, 1, 7, 6, 5, 4, 8]}[element]
    return connectivity[:, order]


def _merged(parts: list[tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]], element: str) -> Mesh:
    """One mesh from parts that share nodes at equal coordinates."""
    points = np.concatenate([part[0] for part in parts])
    starts = np.cumsum([0, *(len(part[0]) for part in parts)])
    connectivity = np.concatenate([part[1] + start for part, start in zip(parts, starts, strict=False)])
    _, first, inverse = np.unique(np.round(points, 9), axis=0, return_index=True, return_inverse=True)
    return Mesh(
        points[first], (CellBlock(element, inverse.ravel()[connectivity], np.concatenate([p[2] for p in parts])),)
    )


def _default(element: str | None, dim: int) -> str:
    return element or ("quad8" if dim == 2 else "hex8")


BUILTIN_CELLS: dict[str, tuple[Callable[..., Mesh], str]] = {
    "fibre": (fibre_cell, "one centred circular fibre, conforming"),
    "random-fibres": (random_fibre_cell, "random periodic fibres on a raster"),
    "random-spheres": (random_sphere_cell, "random periodic spheres on a raster, in space"),
    "laminate": (laminate_cell, "layers across one axis"),
    "homogeneous": (homogeneous_cell, "matrix alone"),
}
"""Built-in cells by name: their function and one line about them."""


def builtin_cell(name: str, **options: object) -> Mesh:
    """A built-in unit cell by name, with options after a colon or as keywords: `"fibre:fraction=0.4,n=6"`.

    Raises:
        MeshError: for an unknown name or option, naming the known ones, or a value of the wrong kind.
    """
    kind, _, text = name.partition(":")
    if kind not in BUILTIN_CELLS:
        close = difflib.get_close_matches(kind, list(BUILTIN_CELLS), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise MeshError(
            f"{name!r} is neither a mesh file, a folder, nor a built-in cell ({', '.join(BUILTIN_CELLS)}){hint}"
        )
    make = BUILTIN_CELLS[kind][0]
    known = inspect.signature(make).parameters
    values = {**_parsed(name, text), **options}
    for key in values:
        if key not in known:
            raise MeshError(f"cell {kind!r} has no option {key!r}; it takes {', '.join(known)}.")
    try:
        return make(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
    except TypeError as error:
        raise MeshError(f"cell {name!r} has an option of the wrong kind: {error}.") from error


def _parsed(name: str, text: str) -> dict[str, object]:
    """Options `key=value,key=value`; values are Python literals or bare words."""
    values: dict[str, object] = {}
    depth, part, parts = 0, "", []
    for letter in text:
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth == 0:
            parts.append(part)
            part = ""
        else:
            part += letter
    for item in [*parts, part] if text else []:
        key, equals, word = item.partition("=")
        if not equals:
            raise MeshError(f"{name!r}: {item!r} is not of the form option=value.")
        try:
            values[key.strip()] = ast.literal_eval(word.strip())
        except (ValueError, SyntaxError):
            values[key.strip()] = word.strip()
    return values
