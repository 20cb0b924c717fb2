"""From supports to held unknowns and their values, and the rigid body motions that supports leave free.

Unknowns are numbered node by node, component by component: unknown `dim * node + axis`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from equipoise.errors import MeshError
from equipoise.multiscale.structure import AXES, Region, Support
from equipoise.spaces.mesh import Mesh

__all__ = ["HeldUnknowns", "check_rigid_motions", "held_unknowns"]


@dataclass(frozen=True, eq=False)
class HeldUnknowns:
    """Prescribed unknowns of a structure.

    Attributes:
        unknowns: numbers, sorted, `(h,)`.
        values: value of each at factor one, `(h,)`.
        owner: index of the support whose history moves it, `(h,)`.
        supports: the supports, in order.
    """

    unknowns: NDArray[np.int64]
    values: NDArray[np.float64]
    owner: NDArray[np.int64]
    supports: tuple[Support, ...]

    def at(self, time: float) -> NDArray[np.float64]:
        """Prescribed displacements at a time, `(h,)`, mm."""
        factors = np.array([support.history(time) for support in self.supports])
        return np.asarray(self.values * factors[self.owner])


def held_unknowns(mesh: Mesh, supports: Sequence[Support]) -> HeldUnknowns:
    """Collect what all supports prescribe.

    Raises:
        MeshError: for a missing group, an empty range, or symmetry on a region that is no plane across an axis.
        ValueError: for an axis that the mesh lacks, or two supports that prescribe different values.
    """
    value: dict[int, tuple[float, int]] = {}
    for number, support in enumerate(supports):
        nodes = support.region.nodes(mesh)
        for axis, prescribed in _components(mesh, support, nodes).items():
            for unknown in (nodes * mesh.dim + axis).tolist():
                if unknown in value and not _agree(value[unknown], (prescribed, number), supports):
                    _conflict(mesh, unknown, supports[value[unknown][1]], support)
                if unknown not in value or prescribed != 0.0:
                    value[unknown] = (prescribed, number)
    unknowns = np.array(sorted(value), dtype=np.int64)
    return HeldUnknowns(
        unknowns=unknowns,
        values=np.array([value[unknown][0] for unknown in unknowns.tolist()]),
        owner=np.array([value[unknown][1] for unknown in unknowns.tolist()], dtype=np.int64),
        supports=tuple(supports),
    )


def _components(mesh: Mesh, support: Support, nodes: NDArray[np.int64]) -> dict[int, float]:
    components: dict[int, float] = {}
    for axis, prescribed in support.displacement.items():
        if AXES.index(axis) >= mesh.dim:
            raise ValueError(f"support at {support.label} holds {axis}, but the mesh has dimension {mesh.dim}.")
        components[AXES.index(axis)] = float(prescribed)
    if support.is_symmetric:
        components[_normal_axis(mesh, support.region, nodes)] = 0.0
    return components


def _normal_axis(mesh: Mesh, region: Region, nodes: NDArray[np.int64]) -> int:
    spread = np.ptp(mesh.points[nodes], axis=0)
    size = np.linalg.norm(mesh.bounds[1] - mesh.bounds[0])
    flat = np.nonzero(spread <= 1e-8 * size)[0]
    if len(flat) != 1:
        raise MeshError(f"symmetry at {region.label} needs a plane across one axis; its nodes spread by {spread} mm.")
    return int(flat[0])


def _agree(first: tuple[float, int], second: tuple[float, int], supports: Sequence[Support]) -> bool:
    if first[0] == second[0] == 0.0:
        return True
    return first[0] == second[0] and supports[first[1]].history == supports[second[1]].history


def _conflict(mesh: Mesh, unknown: int, first: Support, second: Support) -> None:
    node, axis = divmod(unknown, mesh.dim)
    place = ", ".join(f"{x:g}" for x in mesh.points[node])
    raise ValueError(
        f"supports at {first.label} and {second.label} prescribe different displacements in {AXES[axis]} at node "
        f"{node} ({place}); let one of them leave that axis free."
    )


def check_rigid_motions(mesh: Mesh, held: NDArray[np.int64]) -> None:
    """Raise `ValueError` naming the rigid body motions that the held unknowns leave free.

    Each connected part of the mesh is checked on its own: a part without supports of its own would float away.

    Args:
        mesh: the structure's mesh.
        held: numbers of the held unknowns.
    """
    count, part = _connected_parts(mesh)
    is_held = np.zeros(mesh.n_nodes * mesh.dim, dtype=bool)
    is_held[held] = True
    for number in range(count):
        nodes = np.nonzero(part == number)[0]
        names = free_motions(mesh.points[nodes], is_held.reshape(-1, mesh.dim)[nodes])
        if names:
            where = ""
            if count > 1:
                low, high = mesh.points[nodes].min(axis=0), mesh.points[nodes].max(axis=0)
                span = ", ".join(f"{a} {x:g} to {y:g}" for a, x, y in zip(AXES, low, high, strict=False))
                where = f" of the unconnected part at {span}"
            raise ValueError(
                f"the supports leave rigid body motion{where} free: {' and '.join(names)}; hold more of the structure."
            )


def _connected_parts(mesh: Mesh) -> tuple[int, NDArray[np.int32]]:
    rows, columns = [], []
    for block in mesh.blocks:
        nodes = block.connectivity
        rows.append(np.repeat(nodes[:, 0], nodes.shape[1] - 1))
        columns.append(nodes[:, 1:].ravel())
    row, column = np.concatenate(rows), np.concatenate(columns)
    graph = sp.coo_array((np.ones(len(row)), (row, column)), shape=(mesh.n_nodes, mesh.n_nodes))
    count, part = sp.csgraph.connected_components(graph, directed=False)
    return int(count), part


def free_motions(points: NDArray[np.float64], is_held: NDArray[np.bool_]) -> list[str]:
    """Names of the rigid motions of `points` `(n, dim)` that vanish at every held component `(n, dim)`."""
    dim = points.shape[1]
    modes = _rigid_modes(points)[is_held]
    _, singular, right = np.linalg.svd(np.vstack([modes, np.zeros((modes.shape[1], modes.shape[1]))]))
    null = right[singular <= 1e-8 * max(1.0, float(singular[0]))]
    rotations = {2: ("z",), 3: ("x", "y", "z")}[dim]
    null = _reduced(null, order=[*range(dim, dim + len(rotations)), *range(dim)])
    names = []
    for vector in null:
        if np.abs(vector[dim:]).max() > 1e-6:
            names.append(_named("rotation about", vector[dim:], rotations))
        else:
            names.append(_named("translation in", vector[:dim], AXES[:dim]))
    return names


def _rigid_modes(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Displacements of unit translations and rotations about the centre, `(n, dim, modes)`, of comparable size."""
    count, dim = points.shape
    relative = points - points.mean(axis=0)
    relative = relative / max(float(np.abs(relative).max()), 1e-300)
    modes = np.zeros((count, dim, {2: 3, 3: 6}[dim]))
    for axis in range(dim):
        modes[:, axis, axis] = 1.0
    if dim == 2:
        modes[:, 0, 2], modes[:, 1, 2] = -relative[:, 1], relative[:, 0]
    else:
        for axis in range(3):
            unit = np.zeros(3)
            unit[axis] = 1.0
            modes[:, :, 3 + axis] = np.cross(unit, relative)
    return modes


def _reduced(rows: NDArray[np.float64], order: list[int]) -> NDArray[np.float64]:
    """Row echelon form with pivots sought in the given column order, so that pure translations come last."""
    rows = rows.copy()
    done = 0
    for column in order:
        if done == len(rows):
            break
        pivot = done + int(np.argmax(np.abs(rows[done:, column])))
        if abs(rows[pivot, column]) < 1e-6:
            continue
        rows[[done, pivot]] = rows[[pivot, done]]
        rows[done] /= rows[done, column]
        others = np.arange(len(rows)) != done
        rows[others] -= np.outer(rows[others, column], rows[done])
        done += 1
    return rows


def _named(motion: str, vector: NDArray[np.float64], names: Sequence[str]) -> str:
    unit = vector / np.linalg.norm(vector)
    axis = int(np.argmax(np.abs(unit)))
    if abs(unit[axis]) > 1 - 1e-6:
        return f"{motion} {names[axis]}"
    direction = ", ".join(f"{x:.2f}" for x in unit * np.sign(unit[axis]))
    return f"{motion} direction ({direction})".replace("in direction", "along").replace("about direction", "about axis")
