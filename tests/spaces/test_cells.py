"""Built-in unit cells: volume, fraction, periodicity, sound elements, and options that are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.errors import MeshError
from equipoise.spaces.cells import (
    BUILTIN_CELLS,
    builtin_cell,
    builtin_cells,
    fibre_cell,
    homogeneous_cell,
    laminate_cell,
    random_fibre_cell,
    random_sphere_cell,
)
from equipoise.spaces.elements import reference_element
from equipoise.spaces.mesh import Mesh
from equipoise.spaces.periodicity import periodic_images
from equipoise.spaces.quadrature import quadrature

PLANE = ("tri3", "tri6", "quad4", "quad8", "quad9")
SPACE = ("tet4", "tet10", "hex8", "hex20", "hex27")


def fraction_of(mesh: Mesh, tag: int = 2) -> float:
    return float(sum(block.weights[block.tags == tag].sum() for block in quadrature(mesh)))


def smallest_angle_measure(mesh: Mesh) -> float:
    """Least Jacobian determinant at a node, divided by the lengths of its columns: 1 for a right angle."""
    values = []
    for block in mesh.blocks:
        reference = reference_element(block.element)
        gradient = reference.gradient(reference.nodes)
        jacobian = np.einsum("qkr,nkd->nqdr", gradient, mesh.points[block.connectivity])
        values.append((np.linalg.det(jacobian) / np.linalg.norm(jacobian, axis=2).prod(axis=-1)).min())
    return float(min(values))


def check_cell(mesh: Mesh) -> None:
    """Fills the unit box about the origin without gaps, and is periodic."""
    np.testing.assert_allclose(mesh.bounds, [[-0.5] * mesh.dim, [0.5] * mesh.dim], atol=1e-14)
    assert sum(block.weights.sum() for block in quadrature(mesh)) == pytest.approx(1, rel=1e-12)
    image = periodic_images(mesh)
    assert len(np.unique(image)) == mesh.n_nodes - (mesh.points > 0.5 - 1e-9).any(axis=1).sum()
    boundary = np.concatenate([facet.connectivity.ravel() for facet in mesh.boundary_facets()])
    assert (np.abs(np.abs(mesh.points[boundary]).max(axis=1) - 0.5) < 1e-12).all()


@pytest.mark.parametrize("element", PLANE)
@pytest.mark.parametrize("fraction", [0.02, 0.3, 0.6])
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_fibre_cell_has_the_fraction_exactly_and_sound_elements(element: str, fraction: float, n: int) -> None:
    mesh = fibre_cell(n=n, fraction=fraction, element=element)
    check_cell(mesh)
    assert fraction_of(mesh) == pytest.approx(fraction, rel=1e-12)
    if element.startswith("quad"):
        assert smallest_angle_measure(mesh) > 0.7
    else:
        assert smallest_angle_measure(mesh) > 0


def test_fibre_s_rim_is_a_circle_of_nodes() -> None:
    mesh = fibre_cell(n=3, element="quad8")
    (block,) = mesh.blocks
    both = np.intersect1d(block.connectivity[block.tags == 1], block.connectivity[block.tags == 2])
    radius = np.linalg.norm(mesh.points[both], axis=1)
    assert np.ptp(radius) < 1e-14
    assert len(both) == 2 * 8 * 3
    assert radius[0] == pytest.approx(np.sqrt(0.3 / np.pi), rel=1e-4)


def test_fibre_cell_has_about_a_hundred_elements_at_n_3() -> None:
    assert fibre_cell(n=3).n_cells == 36 + 24 * (1 + 2)


@pytest.mark.parametrize("element", PLANE)
def test_random_fibres_on_every_plane_element(element: str) -> None:
    mesh = random_fibre_cell(pixels=12, fraction=0.25, n_fibres=3, seed=1, element=element)
    check_cell(mesh)
    assert fraction_of(mesh) == pytest.approx(0.25, abs=0.5 / 144 + 1e-12)


@pytest.mark.parametrize("element", SPACE)
def test_random_spheres_on_every_element_in_space(element: str) -> None:
    mesh = random_sphere_cell(voxels=4, fraction=0.2, n_spheres=2, seed=1, element=element)
    check_cell(mesh)
    assert fraction_of(mesh) == pytest.approx(0.2, abs=0.5 / 64 + 1e-12)


@given(pixels=st.integers(4, 40), fraction=st.floats(0.05, 0.4), n_fibres=st.integers(1, 6), seed=st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_painted_fraction_is_within_half_a_pixel(pixels: int, fraction: float, n_fibres: int, seed: int) -> None:
    mesh = random_fibre_cell(pixels=pixels, fraction=fraction, n_fibres=n_fibres, seed=seed)
    share = np.mean(mesh.blocks[0].tags == 2)
    assert abs(share - fraction) <= 0.5 / pixels**2 + 1e-12


def test_painted_fibres_are_round_and_apart() -> None:
    mesh = random_fibre_cell(pixels=64, fraction=0.3, n_fibres=4, seed=3)
    inside = mesh.blocks[0].tags.reshape(64, 64) == 2
    groups = components(inside)
    assert len(groups) == 4
    for group in groups:
        assert len(group) == pytest.approx(0.3 * 64**2 / 4, rel=0.06)


def components(inside: np.ndarray) -> list[set[tuple[int, int]]]:
    """Sets of boxes connected through sides, periodically."""
    left = {(int(i), int(j)) for i, j in np.argwhere(inside)}
    found = []
    while left:
        group, front = set(), [left.pop()]
        while front:
            i, j = front.pop()
            group.add((i, j))
            sides = ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1))
            for near in ((a % inside.shape[0], b % inside.shape[1]) for a, b in sides):
                if near in left:
                    left.remove(near)
                    front.append(near)
        found.append(group)
    return found


def test_same_seed_gives_the_same_cell_and_another_seed_another() -> None:
    first, again, other = (random_fibre_cell(pixels=16, n_fibres=2, seed=seed) for seed in (5, 5, 6))
    assert first.fingerprint == again.fingerprint != other.fingerprint


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("normal", [0, 1, 2])
def test_laminate_layers_lie_across_their_normal(dim: int, normal: int) -> None:
    if normal >= dim:
        with pytest.raises(MeshError, match="must be an axis of a cell of dimension 2: 0 to 1"):
            laminate_cell(normal=normal, dim=dim)
        return
    mesh = laminate_cell(fractions=(0.2, 0.5, 0.3), normal=normal, dim=dim, n=2)
    check_cell(mesh)
    (block,) = quadrature(mesh)
    x = block.points[..., normal]
    expected = np.where((x > -0.3) & (x < 0.2), 2, 1)
    np.testing.assert_array_equal(np.broadcast_to(block.tags[:, None], x.shape), expected)
    assert fraction_of(mesh) == pytest.approx(0.5)


def test_laminate_takes_its_own_tags() -> None:
    mesh = laminate_cell(fractions=(0.25, 0.75), tags=(3, 1))
    assert fraction_of(mesh, 3) == pytest.approx(0.25)


@pytest.mark.parametrize("element", [*PLANE, *SPACE])
def test_homogeneous_cell_of_every_element(element: str) -> None:
    mesh = homogeneous_cell(n=2, dim=reference_element(element).dim, element=element)
    check_cell(mesh)
    assert fraction_of(mesh, 1) == pytest.approx(1)


def test_names_with_and_without_options() -> None:
    assert builtin_cell("fibre").fingerprint == fibre_cell().fingerprint
    expected = fibre_cell(n=2, fraction=0.4, element="tri6").fingerprint
    assert builtin_cell("fibre:fraction=0.4, n=2,element=tri6").fingerprint == expected
    assert builtin_cell("fibre:n=2", fraction=0.4, element="tri6").fingerprint == expected
    layers = laminate_cell(fractions=(0.25, 0.75), normal=1)
    assert builtin_cell("laminate:fractions=(0.25,0.75),normal=1").fingerprint == layers.fingerprint
    assert builtin_cell("laminate", fractions=[0.25, 0.75], normal=1).fingerprint == layers.fingerprint


def test_every_built_in_cell_is_listed_with_a_line() -> None:
    assert set(builtin_cells()) == set(BUILTIN_CELLS)
    assert {"fibre", "random-fibres", "gmsh-fibres", "random-spheres", "laminate", "homogeneous"} <= set(
        builtin_cells()
    )
    assert all(builtin_cells().values())


@pytest.mark.parametrize("name", sorted(BUILTIN_CELLS))
def test_every_built_in_cell_is_sound_by_default(name: str) -> None:
    if name == "gmsh-fibres":
        pytest.importorskip("gmsh")
    check_cell(builtin_cell(name))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fiber", r"'fiber' is neither a mesh file, a folder, nor a built-in cell .*did you mean 'fibre'\?"),
        ("fiber:n=2", r"did you mean 'fibre'\?"),
        ("nowhere/mesh.msh", "neither a mesh file"),
        ("", "neither a mesh file"),
        ("fibre:m=2", "'fibre' has no option 'm'; it takes n, fraction, element"),
        ("fibre:n", "'n' is not of the form option=value"),
        ("fibre:", "not of the form"),
        ("fibre:n=", "not of the form"),
        ("fibre:n=2,", "not of the form"),
        ("fibre:n=2,n=3", "gives option 'n' twice"),
        ("fibre:n=2.5", "n=2.5 must be a whole number of at least 1"),
        ("fibre:n=True", "n=True must be a whole number"),
        ("fibre:n=0", "n=0 must be"),
        ("fibre:fraction=0.7", "fraction=0.7 must lie between 0 and 0.6"),
        ("fibre:fraction=-0.1", "fraction=-0.1 must lie"),
        ("fibre:fraction=nan", "fraction='nan' must lie"),
        ("fibre:fraction=half", "fraction='half' must lie"),
        ("fibre:element=hex8", "element='hex8' is not a plane element"),
        ("fibre:element=5", "element=5 is not a plane element"),
        ("random-fibres:pixels=0", "pixels=0 must be"),
        ("random-fibres:n_fibres=0", "n_fibres=0 must be"),
        ("random-fibres:seed=-1", "seed=-1 must be a whole number of at least 0"),
        ("random-fibres:element=tet4", "'tet4' does not fill a raster of dimension 2"),
        ("random-fibres:pixels=4,fraction=0.01,n_fibres=1", "less than half a box; refine"),
        ("random-spheres:n_spheres=1,fraction=0.58", "touch their own images"),
        ("random-spheres:element=quad4", "does not fill a raster of dimension 3"),
        ("laminate:fractions=0.5", r"fractions=0.5 must be a list of numbers"),
        ("laminate:fractions=(0.5,0.6)", "sum to 1.1"),
        ("laminate:fractions=(1.5,-0.5)", "fractions=1.5 must lie"),
        ("laminate:tags=(1,2,3)", r"tags=\(1, 2, 3\) must be one whole number for each of the 2 layers"),
        ("laminate:tags=(1,0)", "tags=0 must be"),
        ("laminate:dim=4", "dim=4 must be 2 or 3"),
        ("homogeneous:dim=x", "dim='x' must be 2 or 3"),
        ("homogeneous:element=tri5", "element type 'tri5' is unknown"),
    ],
)
def test_bad_names_and_options_are_one_sentence(name: str, words: str) -> None:
    with pytest.raises(MeshError, match=words) as caught:
        builtin_cell(name)
    assert "\n" not in str(caught.value)


@given(text=st.text(max_size=30))
@settings(max_examples=200, deadline=None)
def test_any_text_after_a_name_gives_a_mesh_or_one_kind_of_error(text: str) -> None:
    try:
        mesh = builtin_cell("homogeneous:" + text)
    except MeshError:
        return
    assert mesh.n_cells > 0
