"""Meshes of structures: exact areas, named groups of exact lengths, every element, and options that are refused."""

from __future__ import annotations

import numpy as np
import pytest

from equipoise.errors import MeshError
from equipoise.spaces.mesh import Mesh
from equipoise.spaces.quadrature import facet_quadrature, quadrature
from equipoise.spaces.structures import (
    BUILTIN_MESHES,
    box,
    bracket,
    builtin_structure,
    cooks_membrane,
    l_profile,
    plate_with_hole,
    rectangle,
)

PLANE = ("tri3", "tri6", "quad4", "quad8", "quad9")
SPACE = ("tet4", "tet10", "hex8", "hex20", "hex27")


def volume(mesh: Mesh) -> float:
    return float(sum(block.weights.sum() for block in quadrature(mesh)))


def sizes(mesh: Mesh) -> dict[str, float]:
    return {
        name: float(sum(f.weights.sum() for f in facet_quadrature(mesh, name))) for name in sorted(mesh.facet_groups)
    }


@pytest.mark.parametrize("element", PLANE)
def test_rectangle(element: str) -> None:
    mesh = rectangle(elements=(3, 2), size=(3.0, 2.0), element=element)
    assert volume(mesh) == pytest.approx(6)
    assert sizes(mesh) == pytest.approx({"bottom": 3, "left": 2, "right": 2, "top": 3})


@pytest.mark.parametrize("element", SPACE)
def test_box(element: str) -> None:
    mesh = box(elements=(1, 2, 3), size=(1.0, 2.0, 3.0), element=element)
    assert volume(mesh) == pytest.approx(6)
    assert sizes(mesh) == pytest.approx({"back": 2, "bottom": 3, "front": 2, "left": 6, "right": 6, "top": 3})
    for name, normal in {"left": (-1, 0, 0), "top": (0, 1, 0), "front": (0, 0, 1)}.items():
        for facet in facet_quadrature(mesh, name):
            np.testing.assert_allclose(facet.normals, np.broadcast_to(normal, facet.normals.shape), atol=1e-13)


@pytest.mark.parametrize("element", PLANE)
def test_cooks_membrane(element: str) -> None:
    mesh = cooks_membrane(elements=(4, 3), element=element)
    assert volume(mesh) == pytest.approx(48 * (44 + 16) / 2)
    for corner in ((0, 0), (48, 44), (48, 60), (0, 44)):
        assert np.linalg.norm(mesh.points - corner, axis=1).min() < 1e-12
    lengths = {"bottom": np.hypot(48, 44), "left": 44, "right": 16, "top": np.hypot(48, 16)}
    assert sizes(mesh) == pytest.approx(lengths)


@pytest.mark.parametrize("element", PLANE)
@pytest.mark.parametrize("radius", [0.2, 0.9])
def test_plate_with_hole(element: str, radius: float) -> None:
    mesh = plate_with_hole(elements=12, radius=radius, element=element)
    exact = 1 - np.pi * radius**2 / 4
    assert volume(mesh) == pytest.approx(exact, rel=1e-2 if element in ("tri3", "quad4") else 1e-6)
    lengths = {"bottom": 1 - radius, "hole": np.pi * radius / 2, "left": 1 - radius, "right": 1, "top": 1}
    assert sizes(mesh) == pytest.approx(lengths, rel=1e-3)
    hole = np.concatenate([facet.connectivity.ravel() for facet in mesh.facet_groups["hole"]])
    np.testing.assert_allclose(np.linalg.norm(mesh.points[hole], axis=1), radius, rtol=1e-13)
    for facet in facet_quadrature(mesh, "hole"):
        assert (np.einsum("nqd,nqd->nq", facet.normals, facet.points) < 0).all()


def test_plate_is_graded_towards_the_hole() -> None:
    mesh = plate_with_hole(elements=8)
    on_axis = np.sort(mesh.points[mesh.points[:, 1] == 0, 0])[::2]
    steps = np.diff(on_axis)
    assert (np.diff(steps) > 0).all()
    assert on_axis[0] == pytest.approx(0.2)
    assert on_axis[-1] == pytest.approx(1)


@pytest.mark.parametrize("element", PLANE)
def test_l_profile(element: str) -> None:
    mesh = l_profile(elements=2, size=100.0, element=element)
    assert volume(mesh) == pytest.approx(0.75 * 100**2)
    assert sizes(mesh) == pytest.approx({"bottom": 50, "end": 50, "left": 100, "top": 100})


@pytest.mark.parametrize("element", SPACE)
def test_bracket(element: str) -> None:
    mesh = bracket(elements=1, size=40.0, element=element)
    assert volume(mesh) == pytest.approx(10 * (40 * 40 - 30 * 30))
    assert sizes(mesh) == pytest.approx({"bottom": 400, "end": 100, "wall": 100})


@pytest.mark.parametrize("make", [cooks_membrane, plate_with_hole, l_profile, bracket, rectangle, box])
def test_boundary_is_closed_and_no_node_is_unused(make) -> None:  # type: ignore[no-untyped-def]
    mesh = make()
    total = sum(np.einsum("nq,nqd->d", f.weights, f.normals) for f in facet_quadrature(mesh, mesh.boundary_facets()))
    np.testing.assert_allclose(total, 0, atol=1e-10)
    used = np.unique(np.concatenate([block.connectivity.ravel() for block in mesh.blocks]))
    assert len(used) == mesh.n_nodes


def test_structures_by_name() -> None:
    for name, make in BUILTIN_MESHES.items():
        assert builtin_structure(name).fingerprint == make().fingerprint
    assert builtin_structure("rectangle", elements=[2, 3]).n_cells == 6


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("rectagle", {}, r"'rectagle' is unknown; use one of rectangle, .*did you mean 'rectangle'\?"),
        ("box", {"length": 1}, "'box' has no option 'length'; it takes elements, size, element"),
        ("box", {"elements": (1, 2)}, "must have 3 values each"),
        ("rectangle", {"elements": (0, 1)}, "elements=0 must be a whole number"),
        ("rectangle", {"elements": 4}, "'rectangle' has an option of the wrong kind"),
        ("rectangle", {"size": (1.0, -1.0)}, "size=-1.0 must be a positive number"),
        ("rectangle", {"element": "hex8"}, "'hex8' does not fill a raster of dimension 2"),
        ("cooks-membrane", {"elements": (1, 2, 3)}, "must have 2 values"),
        ("cooks-membrane", {"elements": (1, 2.5)}, "elements=2.5 must be"),
        ("plate-with-hole", {"radius": 1.0}, "radius=1.0 must lie between 0 and 1"),
        ("plate-with-hole", {"size": float("nan")}, "size=nan must be"),
        ("l-profile", {"elements": 0}, "elements=0 must be"),
        ("bracket", {"elements": "two"}, "elements='two' must be"),
        ("bracket", {"size": 0}, "size=0 must be"),
    ],
)
def test_bad_names_and_options_are_named(name: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(MeshError, match=words):
        builtin_structure(name, **options)
