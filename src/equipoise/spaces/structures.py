"""Meshes of structures for the macroscale, with named boundary groups; lengths in mm.

Each is a raster of elements, mapped or cut; what holds and loads them is said elsewhere.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import MeshError
from equipoise.spaces.mesh import CellBlock, FacetBlock, Mesh
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
    return _brick(elements, size, element)


def box(
    *,
    elements: tuple[int, int, int] = (4, 4, 4),
    size: tuple[float, float, float] = (1.0, 1.0, 1.0),
    element: str = "hex8",
) -> Mesh:
    """Box from the origin, with groups left, right (x), bottom, top (y), back and front (z); `element` in space."""
    return _brick(elements, size, element)


def _brick(elements: tuple[int, ...], size: tuple[float, ...], element: str) -> Mesh:
    _check_counts(elements)
    if min(size) <= 0:
        raise MeshError(f"size={size} must be positive.")
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
    _check_counts(elements)
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
    _check_counts((elements,))
    if not 0 < radius < 1:
        raise MeshError(f"radius={radius} must lie between 0 and 1.")
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
            "hole": lambda x: np.linalg.norm(x, axis=1) < (1 + 1e-3) * radius * size,
        },
    )


def l_profile(*, elements: int = 8, size: float = 100.0, element: str = "quad8") -> Mesh:
    """L-shaped domain: a square without its lower right quarter, legs 2 : 1; groups top, end (x = size), left, bottom.

    Args:
        elements: along the width of a leg. size: side of the square, mm.
    """
    _check_counts((elements,))
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
    _check_counts((elements,))
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
        close = difflib.get_close_matches(name, list(BUILTIN_MESHES), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise MeshError(f"built-in structure {name!r} is unknown; use one of {', '.join(BUILTIN_MESHES)}{hint}")
    known = inspect.signature(BUILTIN_MESHES[name]).parameters
    for key in options:
        if key not in known:
            raise MeshError(f"structure {name!r} has no option {key!r}; it takes {', '.join(known)}.")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    try:
        return BUILTIN_MESHES[name](**values)
    except TypeError as error:
        raise MeshError(f"structure {name!r} has an option of the wrong kind: {error}.") from error


def _check_counts(counts: tuple[int, ...]) -> None:
    if any(not isinstance(count, int) or count < 1 for count in counts):
        raise MeshError(f"elements={counts} must be whole numbers of at least 1.")


_SPLIT = {"tri3": "quad4", "tri6": "quad9", "tet4": "hex8", "tet10": "hex27"}
_SIX_TETRAHEDRA = np.array([(0, 1, 2, 6), (0, 2, 3, 6), (0, 3, 7, 6), (0, 7, 4, 6), (0, 4, 5, 6), (0, 5, 1, 6)])


def _raster(axes: list[Array], element: str) -> Mesh:
    """Raster of any element; triangles and tetrahedra come from splitting quadrilaterals and hexahedra."""
    tags = np.ones([len(axis) - 1 for axis in axes], dtype=np.int64)
    if element not in _SPLIT:
        return raster_mesh(axes, tags, element)
    return split_into_simplices(raster_mesh(axes, tags, _SPLIT[element]), element)


def split_into_simplices(mesh: Mesh, element: str) -> Mesh:
    """Triangles from quad4 or quad9 cells, tetrahedra from hex8 or hex27 cells; tags are inherited."""
    from equipoise.spaces.elements import reference_element

    (block,) = mesh.blocks
    base, target = reference_element(block.element), reference_element(element)
    corners = _SIX_TETRAHEDRA if mesh.dim == 3 else np.array([(0, 1, 2), (0, 2, 3)])
    # The nodes of each simplex, at the middles of its edges, are nodes of the cell: found by reference coordinates.
    coordinates = np.einsum("kc,scd->skd", _barycentric(target.nodes), base.nodes[corners])
    distance = np.linalg.norm(coordinates[:, :, None] - base.nodes, axis=-1)
    local = distance.argmin(axis=-1)
    table = block.connectivity[:, local].reshape(-1, target.n_nodes)
    split = Mesh(mesh.points, (CellBlock(element, table, np.repeat(block.tags, len(corners))),))
    return _cut(split, np.ones(len(table), dtype=bool))


def _barycentric(nodes: Array) -> Array:
    return np.column_stack([1 - nodes.sum(axis=1), nodes])


def _cut(mesh: Mesh, keep: NDArray[np.bool_]) -> Mesh:
    """The mesh of the chosen cells of a single block, without nodes that no cell uses."""
    (block,) = mesh.blocks
    used, connectivity = np.unique(block.connectivity[keep], return_inverse=True)
    shape = (int(keep.sum()), block.connectivity.shape[1])
    return Mesh(mesh.points[used], (CellBlock(block.element, connectivity.reshape(shape), block.tags[keep]),))


def _with_groups(mesh: Mesh, conditions: Mapping[str, Callable[[Array], NDArray[np.bool_]]]) -> Mesh:
    """Name the boundary facets all of whose nodes satisfy a condition on coordinates."""
    groups: dict[str, tuple[FacetBlock, ...]] = {}
    boundary = mesh.boundary_facets()
    for name, condition in conditions.items():
        inside = condition(mesh.points)
        parts = [FacetBlock(f.element, f.connectivity[inside[f.connectivity].all(axis=1)]) for f in boundary]
        parts = [part for part in parts if len(part.connectivity)]
        if parts:
            groups[name] = tuple(parts)
    return Mesh(mesh.points, mesh.blocks, mesh.tag_names, groups)
