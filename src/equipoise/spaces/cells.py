"""Built-in unit cells that need no mesher: one fibre, random fibres and spheres on a raster, laminates.

Tag 1 is the matrix, tag 2 the inclusion. All cells fill the unit square or cube about the origin and are periodic.
Random fibres with conforming meshes are in `gmsh_cells.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from equipoise.errors import MeshError
from equipoise.spaces.gmsh_cells import conforming_fibre_cell
from equipoise.spaces.mesh import CellBlock, Mesh
from equipoise.spaces.options import built, check_count, check_share, nearest, parse_options
from equipoise.spaces.packing import inclusion_radius, scattered_centres
from equipoise.spaces.quadrature import quadrature
from equipoise.spaces.raster import raster_mesh
from equipoise.spaces.simplices import SPLIT_FROM, split_into_simplices

__all__ = [
    "BUILTIN_CELLS",
    "builtin_cell",
    "builtin_cells",
    "fibre_cell",
    "homogeneous_cell",
    "laminate_cell",
    "random_fibre_cell",
    "random_sphere_cell",
]

Array = NDArray[np.float64]


def homogeneous_cell(*, n: int = 2, dim: int = 2, element: str | None = None) -> Mesh:
    """Cell of matrix alone.

    Args:
        n: boxes to a side, each one element, or two triangles or six tetrahedra.
        dim: 2 or 3. element: any of that dimension; quad8 or hex8 unless given.
    """
    check_count("n", n)
    _check_dim(dim)
    tags = np.ones((n,) * dim, dtype=np.int64)
    return raster_mesh([np.linspace(-0.5, 0.5, n + 1)] * dim, tags, _default(element, dim))


def laminate_cell(
    *,
    fractions: tuple[float, ...] = (0.5, 0.5),
    tags: tuple[int, ...] | None = None,
    normal: int = 0,
    dim: int = 2,
    n: int = 1,
    element: str | None = None,
) -> Mesh:
    """Layers across one axis.

    Args:
        fractions: volume fraction of each layer; they sum to 1.
        tags: tag of each layer; 1, 2, 1, 2, … in turn unless given.
        normal: axis across the layers, 0, 1 or 2. dim: 2 or 3.
        n: boxes across each layer, and half of those along an axis in the layers.
        element: any of that dimension; quad8 or hex8 unless given.
    """
    check_count("n", n)
    _check_dim(dim)
    if not isinstance(fractions, tuple) or not fractions:
        raise MeshError(f"fractions={fractions!r} must be a list of numbers, such as (0.5, 0.5).")
    for share in fractions:
        check_share("fractions", share, below=1 + 1e-12)
    if not np.isclose(sum(fractions), 1.0, rtol=0, atol=1e-9):
        raise MeshError(f"layer fractions {fractions} sum to {sum(fractions):g}; they must sum to 1.")
    if isinstance(normal, bool) or normal not in range(dim):
        raise MeshError(f"normal={normal!r} must be an axis of a cell of dimension {dim}: 0 to {dim - 1}.")
    chosen = tuple(1 + i % 2 for i in range(len(fractions))) if tags is None else tags
    if not isinstance(chosen, tuple) or len(chosen) != len(fractions):
        raise MeshError(f"tags={chosen!r} must be one whole number for each of the {len(fractions)} layers.")
    for tag in chosen:
        check_count("tags", tag)
    ends = np.concatenate([[0.0], np.cumsum(fractions)]) - 0.5
    ends[-1] = 0.5
    axes = [np.linspace(-0.5, 0.5, 2 * n + 1) for _ in range(dim)]
    axes[normal] = np.concatenate([[-0.5], *(np.linspace(a, b, n + 1)[1:] for a, b in itertools.pairwise(ends))])
    layers = np.repeat(chosen, n).reshape([-1 if axis == normal else 1 for axis in range(dim)])
    table = np.broadcast_to(layers, tuple(len(axis) - 1 for axis in axes)).astype(np.int64)
    return raster_mesh(axes, table, _default(element, dim))


def random_fibre_cell(
    *, pixels: int = 32, fraction: float = 0.3, n_fibres: int = 6, seed: int = 0, element: str = "quad4"
) -> Mesh:
    """Random periodic fibres that don't overlap, painted on a raster.

    Args:
        pixels: boxes to a side. fraction: volume fraction, below 0.6, met to half a pixel.
        n_fibres: number of fibres of equal radius. seed: of their positions. element: any plane element.

    Raises:
        MeshError: for options out of range, or fibres that could not be placed without overlap.
    """
    check_count("pixels", pixels)
    check_count("n_fibres", n_fibres)
    return _random_cell(2, pixels, fraction, n_fibres, seed, element)


def random_sphere_cell(
    *, voxels: int = 12, fraction: float = 0.2, n_spheres: int = 4, seed: int = 0, element: str = "hex8"
) -> Mesh:
    """Random periodic spheres that don't overlap, painted on a raster of `voxels` to a side; else as the fibres."""
    check_count("voxels", voxels)
    check_count("n_spheres", n_spheres)
    return _random_cell(3, voxels, fraction, n_spheres, seed, element)


def _random_cell(dim: int, boxes: int, fraction: float, count: int, seed: int, element: str) -> Mesh:
    check_share("fraction", fraction, below=0.6)
    check_count("seed", seed, least=0)
    wanted = round(fraction * boxes**dim)
    if wanted == 0:
        raise MeshError(f"fraction={fraction} of {boxes**dim} boxes is less than half a box; refine the raster.")
    radius = inclusion_radius(dim, fraction, count)
    centres = scattered_centres(np.random.default_rng(seed), dim, count, 2.02 * radius)
    axis = (np.arange(boxes) + 0.5) / boxes - 0.5
    grid = np.stack(np.meshgrid(*[axis] * dim, indexing="ij"), axis=-1)
    nearest_centre = np.full(grid.shape[:-1], np.inf)
    for centre in centres:
        offset = grid - centre
        offset -= np.round(offset)
        np.minimum(nearest_centre, np.linalg.norm(offset, axis=-1), out=nearest_centre)
    # Painting the boxes nearest to a centre, in order, picks the common radius that meets the fraction best.
    chosen = np.argsort(nearest_centre, axis=None, kind="stable")[:wanted]
    tags = np.ones(nearest_centre.size, dtype=np.int64)
    tags[chosen] = 2
    return raster_mesh([np.linspace(-0.5, 0.5, boxes + 1)] * dim, tags.reshape(nearest_centre.shape), element)


def fibre_cell(*, n: int = 4, fraction: float = 0.3, element: str = "quad8") -> Mesh:
    """One centred circular fibre, conforming: a square core, a ring of fibre about it and a ring of matrix.

    Args:
        n: half the number of elements along a quarter of the circle. Quadrilaterals: `4 n^2` in the core and `8 n` in
            each layer of the rings, which have `(n + 2) // 3` layers of fibre and `n // 2 + 1` of matrix; twice as
            many triangles.
        fraction: volume fraction of the fibre, up to 0.6, met exactly by the mesh, whose nodes lie on a circle.
        element: any plane element.
    """
    check_count("n", n)
    if fraction != 0.6:
        check_share("fraction", fraction, below=0.6)
    base = SPLIT_FROM.get(element, element)
    if base not in ("quad4", "quad8", "quad9"):
        raise MeshError(f"element={element!r} is not a plane element; use tri3, tri6, quad4, quad8 or quad9.")
    radius = inclusion_radius(2, fraction, 1)
    # A mesh of straight or parabolic edges holds less than the circle through its nodes: widen the circle to match.
    area = float(sum(block.weights[block.tags == 2].sum() for block in quadrature(_fibre_mesh(n, radius, base))))
    mesh = _fibre_mesh(n, radius * np.sqrt(fraction / area), base)
    return split_into_simplices(mesh, element) if element in SPLIT_FROM else mesh


def _fibre_mesh(n: int, radius: float, element: str) -> Mesh:
    side = 2 * n
    grid = np.linspace(-1, 1, side + 1)
    core = raster_mesh([grid, grid], np.full((side, side), 2, dtype=np.int64), element)
    parts = [Mesh(_core(core.points, radius), core.blocks)]
    for tag, layers in ((2, (n + 2) // 3), (1, n // 2 + 1)):
        unit = raster_mesh([grid, np.linspace(0, 1, layers + 1)], np.full((side, layers), tag, dtype=np.int64), element)
        along, outward = unit.points.T
        face = np.column_stack([along, np.ones_like(along)])
        rim = radius * np.column_stack([np.sin(np.pi / 4 * along), np.cos(np.pi / 4 * along)])
        start, end = (_core(face, radius), rim) if tag == 2 else (rim, face / 2)
        top = start + outward[:, None] * (end - start)
        for turn in ((1, 0), (0, 1), (-1, 0), (0, -1)):
            rotation = np.array([[turn[0], -turn[1]], [turn[1], turn[0]]])
            parts.append(Mesh(top @ rotation.T, unit.blocks))
    return _merged(parts, element)


def _core(points: Array, radius: float) -> Array:
    """Map the square [-1, 1]^2 onto one with bulging sides: corners at 0.6 radii, middles of sides at 0.5."""
    x, y = points.T
    bulge = 0.5 - 0.6 * np.sqrt(0.5)
    half = 0.6 * np.sqrt(0.5)
    return radius * np.column_stack([x * (half + bulge * (1 - y**2)), y * (half + bulge * (1 - x**2))])


def _merged(parts: list[Mesh], element: str) -> Mesh:
    """One mesh of the parts of a unit cell, which share nodes at places equal to round-off."""
    points = np.concatenate([part.points for part in parts])
    starts = np.cumsum([0, *(part.n_nodes for part in parts[:-1])])
    connectivity = np.concatenate([p.blocks[0].connectivity + start for p, start in zip(parts, starts, strict=True)])
    first = np.arange(len(points))
    pairs = cKDTree(points).query_pairs(1e-9, output_type="ndarray")
    np.minimum.at(first, pairs.max(axis=1), pairs.min(axis=1))
    used, connectivity_of_used = np.unique(first[connectivity], return_inverse=True)
    tags = np.concatenate([part.blocks[0].tags for part in parts])
    return Mesh(points[used], (CellBlock(element, connectivity_of_used.reshape(connectivity.shape), tags),))


def _check_dim(dim: int) -> None:
    if dim not in (2, 3):
        raise MeshError(f"dim={dim!r} must be 2 or 3.")


def _default(element: str | None, dim: int) -> str:
    return element or ("quad8" if dim == 2 else "hex8")


BUILTIN_CELLS: dict[str, tuple[Callable[..., Mesh], str]] = {
    "fibre": (fibre_cell, "one centred circular fibre, conforming"),
    "random-fibres": (random_fibre_cell, "random periodic fibres on a raster"),
    "gmsh-fibres": (conforming_fibre_cell, "random periodic fibres, conforming, meshed by gmsh"),
    "random-spheres": (random_sphere_cell, "random periodic spheres on a raster, in space"),
    "laminate": (laminate_cell, "layers across one axis"),
    "homogeneous": (homogeneous_cell, "matrix alone"),
}
"""Built-in cells by name: their function and one line about them."""


def builtin_cells() -> dict[str, str]:
    """One line about each built-in cell, by name."""
    return {name: line for name, (_, line) in BUILTIN_CELLS.items()}


def builtin_cell(name: str, **options: object) -> Mesh:
    """A built-in unit cell by name, with options after a colon or as keywords: `"fibre:fraction=0.4,n=6"`.

    Raises:
        MeshError: for an unknown name or option, naming the known ones, or a value of the wrong kind.
    """
    kind, given = parse_options(name) if name.partition(":")[0] in BUILTIN_CELLS else (name, {})
    if kind not in BUILTIN_CELLS:
        known = list(BUILTIN_CELLS)
        hint = nearest(kind.partition(":")[0], known)
        raise MeshError(f"{name!r} is neither a mesh file, a folder, nor a built-in cell ({', '.join(known)}){hint}")
    return built(kind, BUILTIN_CELLS[kind][0], {**given, **options})
