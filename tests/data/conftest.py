"""Records of tiny cells."""

from __future__ import annotations

import pytest
from stand_in_solver import MATERIALS

from equipoise.data.snapshots import CellRecord
from equipoise.spaces.cells import homogeneous_cell


@pytest.fixture(scope="session", params=[2, 3], ids=["plane", "space"])
def record(request: pytest.FixtureRequest) -> CellRecord:
    """Record of a homogeneous cell, in the plane and in space."""
    mesh = homogeneous_cell(n=2, dim=request.param)
    return CellRecord(mesh=mesh, materials=MATERIALS, material_fingerprint="f" * 64)


@pytest.fixture(scope="session")
def plane_record() -> CellRecord:
    """Record of a homogeneous cell in the plane."""
    return CellRecord(mesh=homogeneous_cell(n=2), materials=MATERIALS, material_fingerprint="f" * 64)
