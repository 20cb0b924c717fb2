"""Conforming random fibres by gmsh: fraction, periodicity, rims, and a gmsh session that is left as it was."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from equipoise.errors import MeshError
from equipoise.spaces.gmsh_cells import conforming_fibre_cell
from equipoise.spaces.mesh import Mesh
from equipoise.spaces.periodicity import periodic_images
from equipoise.spaces.quadrature import quadrature


def fraction_of(mesh: Mesh) -> float:
    return float(sum(block.weights[block.tags == 2].sum() for block in quadrature(mesh)))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("element", "tolerance"), [("tri3", 1e-3), ("tri6", 1e-5)])
def test_cell_is_whole_periodic_and_has_its_fraction(seed: int, element: str, tolerance: float) -> None:
    pytest.importorskip("gmsh")
    mesh = conforming_fibre_cell(fraction=0.35, n_fibres=4, seed=seed, size=0.08, element=element)
    np.testing.assert_array_equal(mesh.bounds, [[-0.5, -0.5], [0.5, 0.5]])
    assert sum(block.weights.sum() for block in quadrature(mesh)) == pytest.approx(1, rel=1e-12)
    assert fraction_of(mesh) == pytest.approx(0.35, abs=tolerance)
    assert len(np.unique(periodic_images(mesh))) == mesh.n_nodes - (mesh.points > 0.5 - 1e-9).any(axis=1).sum()
    assert [block.element for block in mesh.blocks] == [element]


def test_phases_meet_in_circles() -> None:
    pytest.importorskip("gmsh")
    mesh = conforming_fibre_cell(fraction=0.3, n_fibres=1, seed=2, size=0.1)
    (block,) = mesh.blocks
    rim = np.intersect1d(block.connectivity[block.tags == 1], block.connectivity[block.tags == 2])
    # The centre is the mean angle of the fibre's points on the torus.
    (part,) = quadrature(mesh)
    weights = part.weights * (part.tags == 2)[:, None]
    turns = np.einsum("nq,nqd->d", weights, np.exp(2j * np.pi * part.points))
    offset = mesh.points[rim] - np.angle(turns) / (2 * np.pi)
    offset -= np.round(offset)
    radius = np.linalg.norm(offset, axis=1)
    np.testing.assert_allclose(radius, np.sqrt(0.3 / np.pi), rtol=1e-4)


def test_same_seed_gives_the_same_mesh() -> None:
    pytest.importorskip("gmsh")
    first, again = (conforming_fibre_cell(n_fibres=2, seed=4, size=0.1) for _ in range(2))
    assert first.fingerprint == again.fingerprint


def test_running_session_is_left_as_it_was() -> None:
    gmsh = pytest.importorskip("gmsh")
    gmsh.initialize(interruptible=False)
    try:
        gmsh.option.setNumber("General.Terminal", 0)
        gmsh.option.setNumber("Mesh.MeshSizeMax", 0.123)
        gmsh.model.add("mine")
        conforming_fibre_cell(n_fibres=1, size=0.2)
        assert gmsh.isInitialized()
        assert gmsh.option.getNumber("Mesh.MeshSizeMax") == 0.123
        assert gmsh.model.getCurrent() == "mine"
        assert "equipoise-cell" not in gmsh.model.list()
    finally:
        gmsh.finalize()
    conforming_fibre_cell(n_fibres=1, size=0.2)
    assert not gmsh.isInitialized()


def test_missing_gmsh_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gmsh", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'equipoise\[mesh\]'"):
        conforming_fibre_cell()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fraction": 0.6}, "fraction=0.6 must lie between 0 and 0.6"),
        ({"n_fibres": 0}, "n_fibres=0"),
        ({"seed": -1}, "seed=-1"),
        ({"size": 0}, "size=0 must be a positive number"),
        ({"size": float("inf")}, "size=inf must be"),
        ({"element": "quad8"}, "element='quad8' must be 'tri3' or 'tri6'"),
    ],
)
def test_options_out_of_range_are_named(options: dict[str, object], words: str) -> None:
    with pytest.raises(MeshError, match=words):
        conforming_fibre_cell(**options)  # type: ignore[arg-type]
