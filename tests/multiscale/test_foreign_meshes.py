"""Structures on gmsh files of another project: named groups, tetrahedra, mixed and second-order elements."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sample_structures import Hardening, Linear

from equipoise.errors import MeshError
from equipoise.multiscale.macroscale import simulate
from equipoise.multiscale.structure import Load, Region, Structure, Support
from equipoise.spaces.mesh_files import read_mesh


@pytest.mark.parametrize("name", ["internal.msh", "mixedtriquad.msh", "quadratic_tri.msh", "box.msh"])
def test_a_pulled_gmsh_part_balances_its_load(shared_data: Path, name: str) -> None:
    mesh = read_mesh(shared_data / "meshes" / name)
    low, high = mesh.bounds[:, 0]
    left = Region(where={"x": (low, low + 0.2 * (high - low))})
    held = Support(left, dict.fromkeys("xyz"[: mesh.dim], 0.0), name="held")
    force = tuple([0.2, -0.1, 0.05][: mesh.dim])
    pull = Load(Region(nearest=tuple(mesh.points[np.argmax(mesh.points[:, 0])])), force=force)
    simulation = simulate(Structure(mesh, [held], [pull]), Hardening(mesh.dim))
    np.testing.assert_allclose(simulation.steps[-1].reactions["held"], -np.array(force), atol=1e-7)
    assert simulation.is_complete


def test_the_named_groups_of_a_gmsh_file_carry_supports_and_loads(shared_data: Path) -> None:
    mesh = read_mesh(shared_data / "meshes" / "internal.msh")
    supports = [Support(Region(group="bottom"), {"x": 0.0, "y": 0.0}, name="bottom")]
    simulation = simulate(Structure(mesh, supports, [Load(Region(group="top"), traction=(0.0, 1.0))]), Linear(2))
    width = float(np.ptp(mesh.points[Region(group="top").nodes(mesh), 0]))
    np.testing.assert_allclose(simulation.steps[-1].reactions["bottom"], [0.0, -width], atol=1e-7)


def test_a_missing_group_of_a_gmsh_file_lists_those_there_are(shared_data: Path) -> None:
    mesh = read_mesh(shared_data / "meshes" / "internal.msh")
    with pytest.raises(MeshError, match=r"'inside' is not in the mesh; it has .*'bottom', 'internal', 'left'"):
        Region(group="inside").nodes(mesh)


def test_a_pressure_on_the_internal_line_of_a_gmsh_file_is_refused(shared_data: Path) -> None:
    mesh = read_mesh(shared_data / "meshes" / "internal.msh")
    supports = [Support(Region(group="bottom"), {"x": 0.0, "y": 0.0})]
    with pytest.raises(MeshError, match="lies inside the structure"):
        simulate(Structure(mesh, supports, [Load(Region(group="internal"), pressure=1.0)]), Linear(2))
