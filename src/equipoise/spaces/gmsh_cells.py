"""Unit cells with random fibres and conforming meshes, made by gmsh (extra `mesh`).

Cells that need no mesher are in `cells.py`.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import MeshError
from equipoise.spaces.mesh import CellBlock, Mesh
from equipoise.spaces.options import check_count, check_length, check_share
from equipoise.spaces.packing import inclusion_radius, scattered_centres
from equipoise.spaces.quadrature import quadrature

__all__ = ["conforming_fibre_cell"]

Array = NDArray[np.float64]
_MODEL = "equipoise-cell"


def conforming_fibre_cell(
    *, fraction: float = 0.4, n_fibres: int = 6, seed: int = 0, size: float = 0.05, element: str = "tri6"
) -> Mesh:
    """Unit square with random periodic circular fibres, meshed along their rims; tag 1 is the matrix, 2 the fibres.

    Nodes on opposite sides match. gmsh is started for the call and left as it was.

    Args:
        fraction: volume fraction of the fibres, below 0.6, met to about 1e-3 by tri3 and 1e-5 by tri6.
        n_fibres: number of fibres of equal radius, at least a twentieth of their diameter apart.
        seed: of their positions. size: length of an element's side, as a share of the cell's.
        element: `"tri3"` or `"tri6"`, whose nodes in the middle of edges lie on the rims.

    Raises:
        ModuleNotFoundError: without gmsh, naming the extra. MeshError: for options out of range, or fibres that could
            not be placed or meshed.
    """
    check_share("fraction", fraction, below=0.6)
    check_count("n_fibres", n_fibres)
    check_count("seed", seed, least=0)
    check_length("size", size)
    if element not in ("tri3", "tri6"):
        raise MeshError(f"element={element!r} must be 'tri3' or 'tri6'.")
    radius = inclusion_radius(2, fraction, n_fibres)
    centres = scattered_centres(np.random.default_rng(seed), 2, n_fibres, 2.1 * radius)
    centres = _clear_of_sides(centres, radius)
    gmsh = _load()
    was_running = bool(gmsh.isInitialized())
    if not was_running:
        gmsh.initialize(readConfigFiles=False, interruptible=False)
    before = {name: gmsh.option.getNumber(name) for name in _OPTIONS}
    previous = gmsh.model.getCurrent() if was_running else ""
    try:
        for name, value in (
            _OPTIONS | {"Mesh.MeshSizeMin": size, "Mesh.MeshSizeMax": size, "Mesh.RandomSeed": 1}
        ).items():
            gmsh.option.setNumber(name, value)
        first = _meshed(gmsh, centres, radius, element)
        # Straight or parabolic edges hold less than the circle through their nodes: widen the circles to match.
        area = float(sum(block.weights[block.tags == 2].sum() for block in quadrature(first)))
        return _meshed(gmsh, centres, radius * float(np.sqrt(fraction / area)), element)
    except MeshError:
        raise
    except Exception as error:  # gmsh raises plain exceptions with its own last message
        raise MeshError(f"gmsh could not mesh {n_fibres} fibres with size={size}: {error}.") from error
    finally:
        if was_running:
            for name, value in before.items():
                gmsh.option.setNumber(name, value)
            if previous in gmsh.model.list():
                gmsh.model.setCurrent(previous)
        else:
            gmsh.finalize()


_OPTIONS = {
    "General.Terminal": 0.0,
    "Mesh.MeshSizeMin": 0.0,
    "Mesh.MeshSizeMax": 1e22,
    "Mesh.RandomSeed": 1.0,
    "Mesh.Algorithm": 6.0,
    "Mesh.HighOrderOptimize": 1.0,
    "General.NumThreads": 1.0,
}


def _load() -> ModuleType:
    try:
        import gmsh
    except ImportError as error:
        raise ModuleNotFoundError(
            "conforming fibre meshes need gmsh: install the extra with pip install 'equipoise[mesh]'."
        ) from error
    return gmsh


def _clear_of_sides(centres: Array, radius: float) -> Array:
    """Shift all fibres together so that none nearly touches a side or a corner, where elements would be slivers."""
    steps = (np.arange(24) + 0.5) / 24
    best, clearance = centres, -1.0
    for shift in np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2):
        moved = centres + shift
        moved -= np.round(moved)
        to_side = 0.5 - np.abs(moved)
        distances = np.column_stack([to_side, np.linalg.norm(to_side, axis=1)])
        nearest = float(np.abs(distances - radius).min())
        if nearest > clearance:
            best, clearance = moved, nearest
    return best


def _meshed(gmsh: ModuleType, centres: Array, radius: float, element: str) -> Mesh:
    gmsh.model.add(_MODEL)
    try:
        fibres, matrix = _draw(gmsh, centres, radius)
        gmsh.model.mesh.generate(2)
        gmsh.model.mesh.setOrder(2 if element == "tri6" else 1)
        return _collected(gmsh, matrix, fibres, element)
    finally:
        gmsh.model.setCurrent(_MODEL)
        gmsh.model.remove()


def _draw(gmsh: ModuleType, centres: Array, radius: float) -> tuple[list[int], list[int]]:
    """Surfaces of the fibres and of the matrix in the current model, with matching sides."""
    kernel = gmsh.model.occ
    square = kernel.addRectangle(-0.5, -0.5, 0, 1, 1)
    discs = []
    for shift in np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1], indexing="ij"), axis=-1).reshape(-1, 2):
        for x, y in centres + shift:
            outside = np.maximum(np.abs([x, y]) - 0.5, 0)
            if np.linalg.norm(outside) < radius:
                discs.append((2, kernel.addDisk(x, y, 0, radius, radius)))
    pieces, origin = kernel.fragment([(2, square)], discs)
    inside = set(origin[0])
    in_discs = {piece for children in origin[1:] for piece in children}
    kernel.remove([piece for piece in pieces if piece not in inside], recursive=True)
    kernel.synchronize()
    for axis in range(2):
        _match_sides(gmsh, axis)
    return sorted(tag for _, tag in inside & in_discs), sorted(tag for _, tag in inside - in_discs)


def _match_sides(gmsh: ModuleType, axis: int) -> None:
    """Make the curves of the high side copies of those of the low side."""
    sides = []
    for value in (-0.5, 0.5):
        low, high = [-0.51, -0.51, -0.01], [0.51, 0.51, 0.01]
        low[axis], high[axis] = value - 1e-4, value + 1e-4
        curves = [tag for _, tag in gmsh.model.getEntitiesInBoundingBox(*low, *high, dim=1)]
        middles = [gmsh.model.occ.getCenterOfMass(1, tag)[1 - axis] for tag in curves]
        sides.append([curves[i] for i in np.argsort(middles)])
    move = np.eye(4)
    move[axis, 3] = 1.0
    gmsh.model.mesh.setPeriodic(1, sides[1], sides[0], move.ravel().tolist())


def _collected(gmsh: ModuleType, matrix: list[int], fibres: list[int], element: str) -> Mesh:
    """The current model's triangles as a mesh."""
    numbers, coordinates, _ = gmsh.model.mesh.getNodes()
    kind, width = (9, 6) if element == "tri6" else (2, 3)
    tables, tags = [], []
    for tag, surfaces in ((1, matrix), (2, fibres)):
        for surface in surfaces:
            nodes = gmsh.model.mesh.getElementsByType(kind, surface)[1].astype(np.int64).reshape(-1, width)
            tables.append(nodes)
            tags.append(np.full(len(nodes), tag, dtype=np.int64))
    used, connectivity = np.unique(np.concatenate(tables), return_inverse=True)
    place = np.full(int(numbers.max()) + 1, -1, dtype=np.int64)
    place[numbers.astype(np.int64)] = np.arange(len(numbers))
    points = np.ascontiguousarray(coordinates.reshape(-1, 3)[place[used], :2])
    for value in (-0.5, 0.5):
        points[np.abs(points - value) < 1e-9] = value
    block = CellBlock(element, connectivity.reshape(-1, width), np.concatenate(tags))
    return Mesh(points, (block,))
