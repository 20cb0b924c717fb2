"""Meshes as coloured triangles: elements of the plane, or the boundary of a solid, with values at their nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from equipoise.spaces.mesh import Mesh
from equipoise.viz.element_values import element_values, nodal_averages

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_plane", "draw_solid"]

_ELEVATION, _AZIMUTH = 24.0, -58.0
"""Where solids are looked at from, degrees."""

_TRIANGLES: dict[str, list[tuple[int, int, int]]] = {
    "tri3": [(0, 1, 2)],
    "tri6": [(0, 3, 5), (3, 1, 4), (5, 4, 2), (3, 4, 5)],
    "quad4": [(0, 1, 2), (0, 2, 3)],
    "quad8": [(0, 4, 7), (4, 1, 5), (5, 2, 6), (6, 3, 7), (4, 5, 7), (5, 6, 7)],
    "quad9": [(8, 0, 4), (8, 4, 1), (8, 1, 5), (8, 5, 2), (8, 2, 6), (8, 6, 3), (8, 3, 7), (8, 7, 0)],
}
_OUTLINE: dict[str, list[int]] = {
    "tri3": [0, 1, 2, 0],
    "tri6": [0, 3, 1, 4, 2, 5, 0],
    "quad4": [0, 1, 2, 3, 0],
    "quad8": [0, 4, 1, 5, 2, 6, 3, 7, 0],
    "quad9": [0, 4, 1, 5, 2, 6, 3, 7, 0],
}


def draw_plane(
    axes: Axes,
    mesh: Mesh,
    field: NDArray[np.float64],
    *,
    displacement: NDArray[np.float64] | None = None,
    limits: tuple[float, float] | None = None,
    cmap: str = "cividis",
    norm: Any = None,
    outline: str | None = "elements",
    constant: bool = False,
) -> Any:
    """Colour a plane mesh by a field and return the artist, for a colour bar.

    Args:
        axes: where to draw; set to equal aspect without frame.
        mesh: two-dimensional.
        field: values at the quadrature points, `(Q,)`, in the order of the mesh's blocks.
        displacement: nodal, `(nodes, 2)`, added to the coordinates (scaled by the caller).
        limits: of the colour map; those of the field by default.
        cmap, norm: of Matplotlib.
        outline: `"elements"`, `"boundary"` or `None`.
        constant: colour each element by its largest value instead of interpolating.
    """
    from matplotlib.tri import Triangulation

    points = mesh.points if displacement is None else mesh.points + displacement
    coordinates, triangles, values, start = [], [], [], 0
    for block, value in zip(mesh.blocks, element_values(mesh, field), strict=True):
        count, nodes = block.connectivity.shape
        shown = np.repeat(value.max(axis=1, keepdims=True), nodes, axis=1) if constant else value
        coordinates.append(points[block.connectivity].reshape(-1, 2))
        offsets = start + nodes * np.arange(count)[:, None, None]
        triangles.append((offsets + np.array(_TRIANGLES[block.element])).reshape(-1, 3))
        values.append(shown.ravel())
        start += count * nodes
    x, y = np.concatenate(coordinates).T
    low, high = limits if limits is not None else _limits(field)
    scale: dict[str, Any] = {"norm": norm} if norm is not None else {"vmin": low, "vmax": high}
    colours = np.concatenate(values)
    if norm is None:
        colours = np.clip(colours, low, high)
    connected = Triangulation(x, y, np.concatenate(triangles))
    artist = axes.tripcolor(connected, colours, shading="gouraud", cmap=cmap, rasterized=True, **scale)
    _draw_lines(axes, mesh, points, outline)
    axes.set_aspect("equal")
    return artist


def _draw_lines(axes: Axes, mesh: Mesh, points: NDArray[np.float64], outline: str | None) -> None:
    from matplotlib.collections import LineCollection

    if outline == "elements":
        for block in mesh.blocks:
            lines = points[block.connectivity[:, _OUTLINE[block.element]]]
            axes.add_collection(LineCollection(list(lines), colors="k", linewidths=0.25, alpha=0.45))
    if outline is not None:
        for facets in mesh.boundary_facets():
            order = [0, 2, 1] if facets.connectivity.shape[1] == 3 else [0, 1]
            lines = points[facets.connectivity[:, order]]
            axes.add_collection(LineCollection(list(lines), colors="k", linewidths=0.7))


def draw_outline(axes: Axes, mesh: Mesh, *, colour: str = "0.6") -> None:
    """Draw the boundary of a plane mesh, undeformed, dashed."""
    from matplotlib.collections import LineCollection

    for facets in mesh.boundary_facets():
        order = [0, 2, 1] if facets.connectivity.shape[1] == 3 else [0, 1]
        lines = list(mesh.points[facets.connectivity[:, order]])
        axes.add_collection(LineCollection(lines, colors=colour, linewidths=0.7, linestyles="--"))


def draw_solid(
    axes: Any,
    mesh: Mesh,
    field: NDArray[np.float64],
    *,
    displacement: NDArray[np.float64] | None = None,
    limits: tuple[float, float] | None = None,
    cmap: str = "cividis",
    norm: Any = None,
) -> Any:
    """Colour the boundary of a solid mesh by a field and return the artist, for a colour bar.

    Args:
        axes: three-dimensional axes.
        mesh: three-dimensional.
        field: values at the quadrature points, `(Q,)`; shown are averages at the nodes.
        displacement: nodal, `(nodes, 3)`, added to the coordinates (scaled by the caller).
        limits, cmap, norm: as for `draw_plane`.
    """
    from matplotlib.colors import Normalize
    from matplotlib.ticker import MaxNLocator
    from mpl_toolkits.mplot3d.art3d import Line3DCollection, Poly3DCollection

    points = mesh.points if displacement is None else mesh.points + displacement
    nodal = nodal_averages(mesh, field)
    low, high = limits if limits is not None else _limits(field)
    polygons, colours = [], []
    lines: list[NDArray[np.float64]] = []
    for facets in mesh.boundary_facets():
        seen = facets.connectivity[_faces_viewer(points[facets.connectivity[:, :3]])]
        triangles = seen[:, np.array(_TRIANGLES[facets.element])].reshape(-1, 3)
        fine = _split(np.concatenate([points[triangles], nodal[triangles][..., None]], axis=-1), times=2)
        polygons.append(fine[..., :3])
        colours.append(fine[..., 3].mean(axis=1))
        lines.extend(points[seen[:, _OUTLINE[facets.element]]])
    scale = norm if norm is not None else Normalize(low, high)
    artist = Poly3DCollection(np.concatenate(polygons), cmap=cmap, norm=scale, linewidths=0.0, antialiased=False)
    artist.set_array(np.concatenate(colours))
    axes.add_collection3d(artist)
    axes.add_collection3d(Line3DCollection(lines, colors="k", linewidths=0.25, alpha=0.35))
    lowest, highest = points.min(axis=0), points.max(axis=0)
    axes.set(xlim=(lowest[0], highest[0]), ylim=(lowest[1], highest[1]), zlim=(lowest[2], highest[2]))
    axes.set_box_aspect(np.maximum(highest - lowest, 1e-9), zoom=0.95)
    axes.view_init(elev=_ELEVATION, azim=_AZIMUTH)
    for axis, length in zip((axes.xaxis, axes.yaxis, axes.zaxis), highest - lowest, strict=True):
        axis.set_major_locator(MaxNLocator(max(2, int(np.ceil(6 * length / (highest - lowest).max())))))
    return artist


def _faces_viewer(corners: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which facets, given by three corners `(n, 3, 3)` in outward order, are turned to the viewer."""
    elevation, azimuth = np.deg2rad(_ELEVATION), np.deg2rad(_AZIMUTH)
    view = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return np.asarray(normal @ view > 0)


def _split(triangles: NDArray[np.float64], *, times: int) -> NDArray[np.float64]:
    """Each triangle `(n, 3, c)` cut into four, `times` over, with everything interpolated linearly."""
    for _ in range(times):
        a, b, c = triangles[:, 0], triangles[:, 1], triangles[:, 2]
        ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
        parts = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
        triangles = np.concatenate([np.stack(part, axis=1) for part in parts])
    return triangles


def _limits(field: NDArray[np.float64]) -> tuple[float, float]:
    low, high = float(np.min(field)), float(np.max(field))
    return (low, high) if high > low else (low - 0.5 * max(abs(low), 1e-12), high + 0.5 * max(abs(high), 1e-12))
