"""What a user says about a structure: its mesh, where it is held, how it is loaded, and when.

Plain data and their checks. The unknowns and forces that follow from them are in `supports.py` and `loads.py`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import MeshError
from equipoise.multiscale.load_stepping import Stepping
from equipoise.spaces.mesh import FacetBlock, Mesh

__all__ = ["AXES", "History", "Load", "Region", "Structure", "Support"]

AXES = ("x", "y", "z")


@dataclass(frozen=True)
class History:
    """Load factor over pseudo-time, piecewise linear; constant beyond the ends.

    Attributes:
        times: strictly increasing.
        factors: one for each time.
    """

    times: tuple[float, ...] = (0.0, 1.0)
    factors: tuple[float, ...] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if len(self.times) != len(self.factors) or len(self.times) < 2:
            raise ValueError(
                f"a load history needs two or more times with one factor each, got {len(self.times)} times and "
                f"{len(self.factors)} factors."
            )
        if not np.isfinite((*self.times, *self.factors)).all() or (np.diff(self.times) <= 0).any():
            raise ValueError(f"the times of a load history must be finite and increase, got {list(self.times)}.")

    def __call__(self, time: float) -> float:
        return float(np.interp(time, self.times, self.factors))


@dataclass(frozen=True)
class Region:
    """Part of a structure's boundary or a set of its nodes, by physical group or by coordinates.

    Attributes:
        group: name of a facet group of the mesh.
        where: range of coordinates by axis, such as `{"x": (0.0, 0.0)}`; all nodes inside are meant.
        nearest: a point; the one node nearest to it is meant.
        Exactly one of the three is given.
    """

    group: str | None = None
    where: Mapping[str, tuple[float, float]] | None = None
    nearest: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if sum(part is not None for part in (self.group, self.where, self.nearest)) != 1:
            raise ValueError("a region is given by exactly one of a boundary group, a coordinate range or a point.")
        for axis in self.where or {}:
            if axis not in AXES:
                raise ValueError(f"{axis!r} is not an axis; use x, y or z.")

    @property
    def label(self) -> str:
        """Short text that names the region."""
        if self.group is not None:
            return self.group
        if self.where is not None:
            return ", ".join(
                f"{axis}={low:g}" if low == high else f"{low:g}<={axis}<={high:g}"
                for axis, (low, high) in self.where.items()
            )
        return "(" + ", ".join(f"{x:g}" for x in self.nearest or ()) + ")"

    def nodes(self, mesh: Mesh) -> NDArray[np.int64]:
        """Numbers of the nodes meant, sorted.

        Raises:
            MeshError: for a group that the mesh lacks (all groups are listed), or a range that holds no node.
        """
        if self.group is not None:
            blocks = _group(mesh, self.group)
            return np.unique(np.concatenate([block.connectivity.ravel() for block in blocks]))
        if self.nearest is not None:
            if len(self.nearest) != mesh.dim:
                raise ValueError(f"point {self.label} needs {mesh.dim} coordinates.")
            return np.array([int(np.argmin(np.linalg.norm(mesh.points - np.array(self.nearest), axis=1)))])
        inside = self._inside(mesh)
        if not inside.any():
            low, high = mesh.bounds
            span = ", ".join(f"{a}: {x:g} to {y:g}" for a, x, y in zip(AXES, low, high, strict=False))
            raise MeshError(f"no node lies at {self.label}; the mesh spans {span}.")
        return np.nonzero(inside)[0]

    def facets(self, mesh: Mesh) -> tuple[FacetBlock, ...]:
        """Boundary facets meant: those of the group, or those with every node in the range.

        Raises:
            MeshError: as `nodes`, or if no facet of the boundary lies in the range. ValueError: for a single point.
        """
        if self.group is not None:
            return _group(mesh, self.group)
        if self.nearest is not None:
            raise ValueError(f"a point such as {self.label} carries a point force, not a traction or a pressure.")
        inside = np.zeros(mesh.n_nodes, dtype=bool)
        inside[self.nodes(mesh)] = True
        chosen = []
        for block in mesh.boundary_facets():
            keep = inside[block.connectivity].all(axis=1)
            if keep.any():
                chosen.append(FacetBlock(block.element, block.connectivity[keep]))
        if not chosen:
            raise MeshError(f"no facet of the boundary lies at {self.label}; name a plane of the boundary or a group.")
        return tuple(chosen)

    def _inside(self, mesh: Mesh) -> NDArray[np.bool_]:
        tolerance = 1e-8 * float(np.linalg.norm(mesh.bounds[1] - mesh.bounds[0]))
        inside = np.ones(mesh.n_nodes, dtype=bool)
        for axis, (low, high) in (self.where or {}).items():
            number = AXES.index(axis)
            if number >= mesh.dim:
                raise ValueError(f"axis {axis} of {self.label} does not exist in a mesh of dimension {mesh.dim}.")
            column = mesh.points[:, number]
            inside &= (column >= low - tolerance) & (column <= high + tolerance)
        return inside


def _group(mesh: Mesh, name: str) -> tuple[FacetBlock, ...]:
    if name in mesh.facet_groups:
        return mesh.facet_groups[name]
    known = sorted(mesh.facet_groups)
    if not known:
        raise MeshError(f"boundary group {name!r} is not in the mesh, which has no groups; give coordinates instead.")
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise MeshError(f"boundary group {name!r} is not in the mesh; it has {', '.join(map(repr, known))}{hint}")


@dataclass(frozen=True)
class Support:
    """Displacements prescribed on a region.

    Attributes:
        region: where.
        displacement: value by axis, mm, such as `{"x": 0.0, "y": 1.5}`; axes left out are free.
        is_symmetric: hold the direction normal to the region, a plane across an axis, at zero.
        history: factor over pseudo-time on nonzero values.
        name: for reports; the region's label by default.
    """

    region: Region
    displacement: Mapping[str, float] = field(default_factory=dict)
    is_symmetric: bool = False
    history: History = field(default_factory=History)
    name: str = ""

    def __post_init__(self) -> None:
        for axis, value in self.displacement.items():
            if axis not in AXES:
                raise ValueError(f"support at {self.label}: {axis!r} is not an axis; use x, y or z.")
            if not np.isfinite(value):
                raise ValueError(f"support at {self.label}: displacement {axis}={value} is not finite.")
        if not self.displacement and not self.is_symmetric:
            raise ValueError(f"support at {self.label} holds nothing; give x, y or z, or symmetric = true.")

    @property
    def label(self) -> str:
        """Name for reports."""
        return self.name or self.region.label


@dataclass(frozen=True)
class Load:
    """A force on a structure; exactly one kind is given.

    Attributes:
        region: where; `None` only for a body force on the whole structure.
        traction: force per area of the undeformed boundary, MPa, one value per axis.
        pressure: MPa, along the inward normal of the undeformed boundary (it does not follow the deformation).
        force: N, one value per axis; on a point it acts there, on a boundary it is spread evenly.
        body_force: force per volume, N/mm^3, one value per axis.
        history: factor over pseudo-time.
        name: for reports.
    """

    region: Region | None = None
    traction: tuple[float, ...] | None = None
    pressure: float | None = None
    force: tuple[float, ...] | None = None
    body_force: tuple[float, ...] | None = None
    history: History = field(default_factory=History)
    name: str = ""

    def __post_init__(self) -> None:
        kinds = {
            "traction": self.traction,
            "pressure": self.pressure,
            "force": self.force,
            "body_force": self.body_force,
        }
        given = [kind for kind, value in kinds.items() if value is not None]
        if len(given) != 1:
            raise ValueError(
                f"load at {self.label} needs exactly one of traction, pressure, force and body_force, "
                f"got {', '.join(given) or 'none'}."
            )
        if not np.isfinite(np.atleast_1d(np.asarray(kinds[given[0]], dtype=float))).all():
            raise ValueError(f"load at {self.label}: {given[0]} is not finite.")
        if self.region is None and self.body_force is None:
            raise ValueError(f"a {given[0]} needs a region.")
        if self.region is not None and self.body_force is not None:
            raise ValueError("a body force acts on the whole structure; leave its region out.")

    @property
    def label(self) -> str:
        """Name for reports."""
        return self.name or (self.region.label if self.region is not None else "body")


@dataclass(frozen=True)
class Structure:
    """A structure ready to be simulated with any micro model; lengths in mm, stresses in MPa.

    Attributes:
        mesh: 2-D or 3-D mesh; its tags are not used, every point asks the same micro model.
        supports: where displacements are prescribed.
        loads: forces; may be empty if displacements are prescribed.
        stepping: pseudo-time and its steps.
        thickness: of a plane structure, mm.
        monitored: points by name, at which displacements are recorded and fields localised.
        name: for reports.

    Raises:
        ValueError: for a structure without supports, or a thickness that is not positive.
    """

    mesh: Mesh
    supports: Sequence[Support]
    loads: Sequence[Load] = ()
    stepping: Stepping = field(default_factory=Stepping)
    thickness: float = 1.0
    monitored: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    name: str = "structure"

    def __post_init__(self) -> None:
        if not self.supports:
            raise ValueError(f"structure {self.name!r} has no supports, so every rigid body motion is free.")
        if not (self.thickness > 0 and np.isfinite(self.thickness)):
            raise ValueError(f"thickness={self.thickness} must be positive.")
        if self.mesh.dim == 3 and self.thickness != 1.0:
            raise ValueError(f"thickness={self.thickness} belongs to a plane structure; this one is solid.")
        for name, point in self.monitored.items():
            if len(point) != self.mesh.dim:
                raise ValueError(f"monitored point {name!r} needs {self.mesh.dim} coordinates, got {len(point)}.")

    @property
    def breakpoints(self) -> tuple[float, ...]:
        """Times at which some history has a corner; load steps end there exactly."""
        histories = [*(support.history for support in self.supports), *(load.history for load in self.loads)]
        times = {time for history in histories for time in history.times}
        return tuple(sorted(time for time in times if self.stepping.start < time < self.stepping.end))
