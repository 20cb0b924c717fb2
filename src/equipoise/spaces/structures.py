"""Meshes of structures for the macroscale, with named boundary groups; lengths in mm.

Each is a raster of elements, mapped or cut; what holds and loads them is said elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import MeshError
from equipoise.spaces.boundary import with_facet_groups
from equipoise.spaces.mesh import CellBlock, Mesh
from equipoise.spaces.options import built, check_count, check_length, check_share, nearest
from equipoise.spaces.raster import raster_mesh

__all__ = [
    "BUILTIN_MESHES",
    "box",
    "bracket",
    "builtin_structure",
    "cooks_membrane",
    "l_profile",
    "plate_with_hole",
    "rectangle",
]

Array = NDArray[np.float64]
_SIDES = (("left", "right"), ("bottom", "top"), ("back", "front"))


def rectangle(
    *, elements: tuple[int, int] = (8, 8), size: tuple[float, float] = (1.0, 1.0), element: str = "quad8"
) -> Mesh:
    """Rectangle from the origin, with groups left, right, bottom and top.

    Args:
        elements: along x and y. size: side lengths, mm. element: any plane element.
    """
    return _brick(2, elements, size, element)


def box(
    *,
    elements: tuple[int, int, int] = (4, 4, 4),
    size: tuple[float, float, float] = (1.0, 1.0, 1.0),
    element: str = "hex8",
) -> Mesh:
    """Box from the origin, with groups left, right (x), bottom, top (y), back and front (z); `element` in space."""
    return _brick(3, elements, size, element)


def _brick(dim: int, elements: tuple[int, ...], size: tuple[float, ...], element: str) -> Mesh:
    if len(elements) != dim or len(size) != dim:
        raise MeshError(f"elements={elements} and size={size} must have {dim} values each, one per axis.")
    for number, length in zip(elements, size, strict=True):
        check_count("elements", number)
        check_length("size", length)
    mesh = _raster([np.linspace(0, length, n + 1) for n, length in zip(elements, size, strict=True)], element)
    conditions: dict[str, Callable[[Array], NDArray[np.bool_]]] = {}
    for axis, (low, high) in enumerate(_SIDES[: len(size)]):
        conditions[low] = _on_plane(axis, 0.0, size[axis])
        conditions[high] = _on_plane(axis, size[axis], size[axis])
    return _with_groups(mesh, conditions)


def _on_plane(axis: int, value: float, scale: float) -> Callable[[Array], NDArray[np.bool_]]:
    return lambda x: np.abs(x[:, axis] - value) < 1e-9 * scale


def cooks_membrane(*, elements: tuple[int, int] = (8, 8), element: str = "quad8") -> Mesh:
    """Cook's membrane, (0, 0)-(48, 44)-(48, 60)-(0, 44); groups left, right, bottom and top.

    Source: Cook (1974).
    """
    if len(elements) != 2:
        raise MeshError(f"elements={elements} must have 2 values, one per axis.")
    for number in elements:
        check_count("elements", number)
    mesh = _raster([np.linspace(0, 1, n + 1) for n in elements], element)
    r, s = mesh.points.T
    points = np.column_stack([48 * r, (1 - s) * 44 * r + s * (44 + 16 * r)])
    mapped = Mesh(points, mesh.blocks)
    return _with_groups(
        mapped,
        {
            "left": lambda x: np.abs(x[:, 0]) < 1e-9,
            "right": lambda x: np.abs(x[:, 0] - 48) < 1e-9,
            "bottom": lambda x: np.abs(x[:, 1] - 44 / 48 * x[:, 0]) < 1e-9,
            "top": lambda x: np.abs(x[:, 1] - 44 - 16 / 48 * x[:, 0]) < 1e-9,
        },
    )


def plate_with_hole(*, elements: int = 8, radius: float = 0.2, size: float = 1.0, element: str = "quad8") -> Mesh:
    """Quarter of a square plate with a circular hole at the origin, graded towards the hole.

    Groups: left (x = 0) and bottom (y = 0), the planes of symmetry; right, top and hole.

    Args:
        elements: across the ring, and along each half of the hole. radius: as a share of `size`. size: side, mm.
    """
    check_count("elements", elements)
    check_share("radius", radius, below=1)
    check_length("size", size)
    mesh = _raster([np.linspace(0, 1, elements + 1), np.linspace(0, 2, 2 * elements + 1)], element)
    r, t = mesh.points.T
    grade = r * (0.4 + 0.6 * r)
    angle = t * np.pi / 4
    inner = radius * size * np.column_stack([np.cos(angle), np.sin(angle)])
    outer = size * np.column_stack([np.minimum(1.0, 2.0 - t), np.minimum(t, 1.0)])
    points = inner + grade[:, None] * (outer - inner)
    points[np.abs(points) < 1e-12 * size] = 0.0
    return _with_groups(
        Mesh(points, mesh.blocks),
        {
            "bottom": lambda x: np.abs(x[:, 1]) < 1e-9 * size,
            "left": lambda x: np.abs(x[:, 0]) < 1e-9 * size,
            "right": lambda x: np.abs(x[:, 0] - size) < 1e-9 * size,
            "top": lambda x: np.abs(x[:, 1] - size) < 1e-9 * size,
            "hole": lambda x: np.linalg.norm(x, axis=1) < (1 + 1e-9) * radius * size,
        },
    )


def l_profile(*, elements: int = 8, size: float = 100.0, element: str = "quad8") -> Mesh:
    """L-shaped domain: a square without its lower right quarter, legs 2 : 1; groups top, end (x = size), left, bottom.

    Args:
        elements: along the width of a leg. size: side of the square, mm.
    """
    check_count("elements", elements)
    check_length("size", size)
    mesh = _raster([np.linspace(0, size, 2 * elements + 1)] * 2, element)
    centre = mesh.points[mesh.blocks[0].connectivity].mean(axis=1)
    mesh = _cut(mesh, ~((centre[:, 0] > size / 2) & (centre[:, 1] < size / 2)))
    return _with_groups(
        mesh,
        {
            "top": lambda x: np.abs(x[:, 1] - size) < 1e-9 * size,
            "end": lambda x: np.abs(x[:, 0] - size) < 1e-9 * size,
            "left": lambda x: np.abs(x[:, 0]) < 1e-9 * size,
            "bottom": lambda x: np.abs(x[:, 1]) < 1e-9 * size,
        },
    )


def bracket(*, elements: int = 2, size: float = 40.0, element: str = "hex20") -> Mesh:
    """Angle bracket in space: an L of legs 2 : 1, a quarter of its size wide; groups wall (x = 0) and end (y = size).

    Args:
        elements: through the thickness of a leg. size: length of a leg, mm.
    """
    check_count("elements", elements)
    check_length("size", size)
    axis = np.linspace(0, size, 4 * elements + 1)
    mesh = _raster([axis, axis, np.linspace(0, size / 4, elements + 1)], element)
    centre = mesh.points[mesh.blocks[0].connectivity].mean(axis=1)
    mesh = _cut(mesh, (centre[:, 1] < size / 4) | (centre[:, 0] > 3 * size / 4))
    return _with_groups(
        mesh,
        {
            "wall": lambda x: np.abs(x[:, 0]) < 1e-9 * size,
            "end": lambda x: np.abs(x[:, 1] - size) < 1e-9 * size,
            "bottom": lambda x: np.abs(x[:, 1]) < 1e-9 * size,
        },
    )


BUILTIN_MESHES: dict[str, Callable[..., Mesh]] = {
    "rectangle": rectangle,
    "box": box,
    "cooks-membrane": cooks_membrane,
    "plate-with-hole": plate_with_hole,
    "l-profile": l_profile,
    "bracket": bracket,
}


def builtin_structure(name: str, **options: object) -> Mesh:
    """A structure's mesh by name; raises `MeshError` naming the known names or options."""
    if name not in BUILTIN_MESHES:
        known = list(BUILTIN_MESHES)
        raise MeshError(f"built-in structure {name!r} is unknown; use one of {', '.join(known)}{nearest(name, known)}")
    return built(name, BUILTIN_MESHES[name], options)


def _raster(axes: list[Array], element: str) -> Mesh:
    return raster_mesh(axes, np.ones([len(axis) - 1 for axis in axes], dtype=np.int64), element)


def _cut(mesh: Mesh, keep: NDArray[np.bool_]) -> Mesh:
    """The mesh of the chosen cells of a single block, without nodes that no cell uses."""
    (block,) = mesh.blocks
    used, connectivity = np.unique(block.connectivity[keep], return_inverse=True)
    shape = (int(keep.sum()), block.connectivity.shape[1])
    return Mesh(mesh.points[used], (CellBlock(block.element, connectivity.reshape(shape), block.tags[keep]),))


def _with_groups(mesh: Mesh, conditions: Mapping[str, Callable[[Array], NDArray[np.bool_]]]) -> Mesh:
    """Name the boundary facets all of whose nodes satisfy a condition on coordinates."""
    return with_facet_groups(mesh, {name: np.nonzero(test(mesh.points))[0] for name, test in conditions.items()})
