"""Reference elements: shape functions, quadrature and local facets, in meshio's node order.

Shape functions and quadrature come from scikit-fem; its numbering of degrees of freedom is matched to meshio's node
order by coordinates. The tables below are the only place where that order is written down.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import MeshError

__all__ = ["ELEMENT_NAMES", "ReferenceElement", "element_of_meshio", "reference_element"]

Array = NDArray[np.float64]

_SQUARE = [(0, 0), (1, 0), (1, 1), (0, 1)]
_TRIANGLE = [(0, 0), (1, 0), (0, 1)]
_TETRAHEDRON = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
_CUBE = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)]
_CUBE_EDGES = [(0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7)]
_CUBE_FACES = [(0, 4, 7, 3), (1, 2, 6, 5), (0, 1, 5, 4), (3, 7, 6, 2), (0, 3, 2, 1), (4, 5, 6, 7)]
_TETRAHEDRON_EDGES = [(0, 1), (1, 2), (2, 0), (0, 3), (1, 3), (2, 3)]
_TETRAHEDRON_FACES = [(0, 2, 1), (0, 1, 3), (1, 2, 3), (0, 3, 2)]


def _middles(corners: Sequence[tuple[int, ...]], groups: Sequence[tuple[int, ...]]) -> list[tuple[float, ...]]:
    return [tuple(np.mean([corners[i] for i in group], axis=0)) for group in groups]


def _cycle(count: int) -> list[tuple[int, int]]:
    return [(i, (i + 1) % count) for i in range(count)]


@dataclass(frozen=True)
class _Entry:
    meshio_name: str
    skfem_name: str
    nodes: Sequence[tuple[float, ...]]
    n_corners: int
    facet_name: str
    facets: Sequence[tuple[int, ...]]
    order: int
    rule: int | None = None  # order to ask scikit-fem for, where it is not the one that its rule is exact to


def _plane_facets(corners: int, quadratic: bool) -> list[tuple[int, ...]]:
    return [(i, j, corners + i) if quadratic else (i, j) for i, j in _cycle(corners)]


def _with_edges(
    faces: Sequence[tuple[int, ...]], edges: Sequence[tuple[int, int]], first: int, centre: int | None = None
) -> list[tuple[int, ...]]:
    """Faces with the numbers of their edge nodes, and of their centre node, appended."""
    number = {frozenset(edge): first + i for i, edge in enumerate(edges)}
    result = []
    for place, face in enumerate(faces):
        sides = [number[frozenset((face[i], face[(i + 1) % len(face)]))] for i in range(len(face))]
        result.append((*face, *sides) if centre is None else (*face, *sides, centre + place))
    return result


_ENTRIES: dict[str, _Entry] = {
    "line2": _Entry("line", "ElementLineP1", [(0,), (1,)], 2, "", [], 2),
    "line3": _Entry("line3", "ElementLineP2", [(0,), (1,), (0.5,)], 2, "", [], 5),
    "tri3": _Entry("triangle", "ElementTriP1", [*_TRIANGLE], 3, "line2", _plane_facets(3, False), 2),
    "tri6": _Entry(
        "triangle6",
        "ElementTriP2",
        [*_TRIANGLE, *_middles(_TRIANGLE, _cycle(3))],
        3,
        "line3",
        _plane_facets(3, True),
        4,
    ),
    "quad4": _Entry("quad", "ElementQuad1", [*_SQUARE], 4, "line2", _plane_facets(4, False), 3),
    "quad8": _Entry(
        "quad8", "ElementQuadS2", [*_SQUARE, *_middles(_SQUARE, _cycle(4))], 4, "line3", _plane_facets(4, True), 5
    ),
    "quad9": _Entry(
        "quad9",
        "ElementQuad2",
        [*_SQUARE, *_middles(_SQUARE, _cycle(4)), (0.5, 0.5)],
        4,
        "line3",
        _plane_facets(4, True),
        5,
    ),
    "tet4": _Entry("tetra", "ElementTetP1", [*_TETRAHEDRON], 4, "tri3", _TETRAHEDRON_FACES, 2),
    "tet10": _Entry(
        "tetra10",
        "ElementTetP2",
        [*_TETRAHEDRON, *_middles(_TETRAHEDRON, _TETRAHEDRON_EDGES)],
        4,
        "tri6",
        _with_edges(_TETRAHEDRON_FACES, _TETRAHEDRON_EDGES, 4),
        4,
        # scikit-fem's rules 3 and 4 have a negative weight; its rule 5, of 14 points, is exact to order 4 only.
        rule=5,
    ),
    "hex8": _Entry("hexahedron", "ElementHex1", [*_CUBE], 8, "quad4", _CUBE_FACES, 3),
    "hex20": _Entry(
        "hexahedron20",
        "ElementHexS2",
        [*_CUBE, *_middles(_CUBE, _CUBE_EDGES)],
        8,
        "quad8",
        _with_edges(_CUBE_FACES, _CUBE_EDGES, 8),
        5,
    ),
    "hex27": _Entry(
        "hexahedron27",
        "ElementHex2",
        [*_CUBE, *_middles(_CUBE, _CUBE_EDGES), *_middles(_CUBE, _CUBE_FACES), (0.5, 0.5, 0.5)],
        8,
        "quad9",
        _with_edges(_CUBE_FACES, _CUBE_EDGES, 8, 20),
        5,
    ),
}

ELEMENT_NAMES = tuple(_ENTRIES)


@dataclass(frozen=True, eq=False)
class ReferenceElement:
    """Shape functions of one element on its reference domain, the unit square, cube or simplex.

    Attributes:
        name, dim, n_nodes, n_corners, meshio_name: what they say.
        nodes: reference coordinates, `(k, dim)`.
        facet_name: element of the facets. facets: local nodes of each, outward where the cell is positively oriented.
        order: polynomial order that the default quadrature integrates exactly.
    """

    name: str
    dim: int
    n_nodes: int
    n_corners: int
    meshio_name: str
    nodes: Array
    facet_name: str
    facets: tuple[tuple[int, ...], ...]
    order: int
    _rule: int
    _basis: Any
    _permutation: NDArray[np.int64]

    def shape(self, points: Array) -> Array:
        """Shape functions at reference points, `(q, dim)` to `(q, k)`."""
        return np.stack([self._evaluate(points, i)[0] for i in range(self.n_nodes)], axis=-1)[:, self._permutation]

    def gradient(self, points: Array) -> Array:
        """Reference gradients of the shape functions, `(q, dim)` to `(q, k, dim)`."""
        values = np.stack([self._evaluate(points, i)[1] for i in range(self.n_nodes)], axis=1)
        return values[:, self._permutation]

    def _evaluate(self, points: Array, number: int) -> tuple[Array, Array]:
        value, gradient = self._basis.lbasis(np.ascontiguousarray(points.T), number)
        count = len(points)
        shape = np.broadcast_to(np.asarray(value, dtype=float), (count,))
        columns = [np.broadcast_to(np.asarray(column, dtype=float), (count,)) for column in np.atleast_1d(gradient)]
        return shape, np.stack(columns, axis=-1)

    def quadrature(self) -> tuple[Array, Array]:
        """Points `(q, dim)` and positive weights `(q,)` of the default rule on the reference domain."""
        from skfem.quadrature import get_quadrature

        points, weights = get_quadrature(self._basis.refdom, self._rule)
        return np.ascontiguousarray(points.T), np.asarray(weights)


@functools.cache
def reference_element(name: str) -> ReferenceElement:
    """Reference element by name, such as `"quad8"`.

    Raises:
        MeshError: for an unknown name; the nearest known one is named.
    """
    if name not in _ENTRIES:
        close = difflib.get_close_matches(name, ELEMENT_NAMES, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise MeshError(f"element type {name!r} is unknown; use one of {', '.join(ELEMENT_NAMES)}{hint}")
    import skfem

    entry = _ENTRIES[name]
    basis = getattr(skfem, entry.skfem_name)()
    nodes = np.array(entry.nodes, dtype=float)
    return ReferenceElement(
        name=name,
        dim=nodes.shape[1],
        n_nodes=len(nodes),
        n_corners=entry.n_corners,
        meshio_name=entry.meshio_name,
        nodes=nodes,
        facet_name=entry.facet_name,
        facets=tuple(entry.facets),
        order=entry.order,
        _rule=entry.rule or entry.order,
        _basis=basis,
        _permutation=_matched(np.asarray(basis.doflocs, dtype=float), nodes),
    )


def _matched(theirs: Array, ours: Array) -> NDArray[np.int64]:
    """For each of our nodes, the degree of freedom at the same place."""
    distance = np.linalg.norm(ours[:, None] - theirs[None], axis=-1)
    return distance.argmin(axis=1)


def element_of_meshio(name: str) -> str | None:
    """Our name of meshio's cell type, or `None` for one that is not supported."""
    return {entry.meshio_name: ours for ours, entry in _ENTRIES.items()}.get(name)
