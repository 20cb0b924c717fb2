"""Mesh files: round trips, groups, foreign orders of nodes, and files that cannot be read."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import meshio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.errors import EquipoiseError, FormatError, MeshError
from equipoise.spaces.cells import fibre_cell
from equipoise.spaces.elements import ELEMENT_NAMES, reference_element
from equipoise.spaces.mesh import Mesh
from equipoise.spaces.mesh_files import read_mesh, write_mesh
from equipoise.spaces.quadrature import facet_quadrature, quadrature
from equipoise.spaces.structures import box, cooks_membrane, rectangle

CELLS = [name for name in ELEMENT_NAMES if not name.startswith("line")]


def brick(element: str) -> Mesh:
    return rectangle(elements=(2, 3), element=element) if reference_element(element).dim == 2 else (
        box(elements=(1, 2, 1), element=element)
    )  # fmt: skip


@pytest.mark.parametrize("element", CELLS)
@pytest.mark.parametrize("suffix", [".vtu", ".vtk", ".xdmf", ".msh"])
def test_cells_survive_writing_and_reading(tmp_path: Path, element: str, suffix: str) -> None:
    mesh = brick(element)
    write_mesh(tmp_path / f"mesh{suffix}", mesh)
    again = read_mesh(tmp_path / f"mesh{suffix}")
    assert again.fingerprint == mesh.fingerprint
    assert os.listdir(tmp_path) == [f"mesh{suffix}"]


@pytest.mark.parametrize("element", ["quad8", "tri6", "hex20", "hex27", "tet10"])
def test_gmsh_files_keep_groups_and_names(tmp_path: Path, element: str) -> None:
    mesh = brick(element)
    named = Mesh(mesh.points, mesh.blocks, {1: "steel"}, mesh.facet_groups)
    write_mesh(tmp_path / "mesh.msh", named)
    again = read_mesh(tmp_path / "mesh.msh")
    assert again.tag_names == {1: "steel"}
    assert set(again.facet_groups) == set(mesh.facet_groups)
    for name in mesh.facet_groups:
        (before,), (after,) = facet_quadrature(mesh, name), facet_quadrature(again, name)
        np.testing.assert_array_equal(before.connectivity, after.connectivity)


def test_fields_are_written_by_node_and_by_cell(tmp_path: Path) -> None:
    mesh = fibre_cell(n=1)
    field, value = np.arange(2.0 * mesh.n_nodes).reshape(-1, 2), np.arange(float(mesh.n_cells))
    write_mesh(tmp_path / "a.vtu", mesh, point_data={"u": field}, cell_data={"s": value})
    data = meshio.read(tmp_path / "a.vtu")
    np.testing.assert_array_equal(data.point_data["u"], field)
    np.testing.assert_array_equal(data.cell_data["s"][0], value)
    np.testing.assert_array_equal(data.cell_data["tag"][0], mesh.blocks[0].tags)


@pytest.mark.parametrize(
    ("suffix", "options", "error", "words"),
    [
        (".stl", {}, FormatError, "written as .vtu, .vtk, .xdmf, .msh, not '.stl'"),
        ("", {}, FormatError, "not ''"),
        (".vtu", {"cell_data": {"s": np.zeros(3)}}, ValueError, r"'s' has shape \(3,\)"),
        (".vtu", {"point_data": {"u": np.zeros((3, 2))}}, ValueError, r"'u' has shape \(3, 2\)"),
        (".vtu", {"cell_data": {"tag": np.zeros(20)}}, ValueError, "'tag'"),
        (".msh", {"cell_data": {"s": np.zeros(20)}}, FormatError, "no fields of cells"),
    ],
)
def test_bad_requests_leave_no_file(
    tmp_path: Path, suffix: str, options: dict[str, dict[str, np.ndarray]], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        write_mesh(tmp_path / f"a{suffix}", fibre_cell(n=1), **options)  # type: ignore[arg-type]
    assert not os.listdir(tmp_path)


def test_failed_writing_keeps_the_former_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.vtu"
    write_mesh(path, fibre_cell(n=1))
    before = path.read_bytes()

    def stop(self: meshio.Mesh, file: Path, **options: object) -> None:
        Path(file).write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(meshio.Mesh, "write", stop)
    with pytest.raises(OSError, match="disk full"):
        write_mesh(path, fibre_cell(n=2))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.vtu"]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX systems")
def test_written_file_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_mesh(tmp_path / "a.vtu", fibre_cell(n=1))
    assert (tmp_path / "a.vtu").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_missing_and_unknown_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no mesh at"):
        read_mesh(tmp_path / "none.msh")
    (tmp_path / "a.docx").write_text("x")
    with pytest.raises(FormatError, match=r"suffix '.docx' is of no mesh format; use one of .*\.msh"):
        read_mesh(tmp_path / "a.docx")


@pytest.mark.parametrize("suffix", [".vtu", ".msh", ".inp", ".vtk", ".xdmf", ".mesh", ".bdf", ".med"])
@pytest.mark.parametrize(
    "content", [b"", b"<VTKFile><a>", b"$MeshFormat\n4.1 0 8\n$EndMeshFormat\n$Nodes\n1 2", b"\xff\x00"]
)
def test_foreign_content_is_one_sentence(
    tmp_path: Path, suffix: str, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(EquipoiseError) as caught:
        read_mesh(path)
    assert str(path) in str(caught.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("suffix", [".vtu", ".msh", ".vtk"])
@given(share=st.floats(0, 0.98))
@settings(max_examples=25, deadline=None)
def test_truncated_file_never_gives_a_wrong_mesh(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, share: float
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    whole = folder / f"whole{suffix}"
    mesh = cooks_membrane(elements=(3, 2))
    write_mesh(whole, mesh)
    cut = folder / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[: int(share * whole.stat().st_size)])
    try:
        again = read_mesh(cut)
    except (EquipoiseError, FileNotFoundError):
        return
    # What lies behind the cells (fields, the closing line) may be lacking; the cells may not.
    np.testing.assert_array_equal(again.points, mesh.points)
    np.testing.assert_array_equal(again.blocks[0].connectivity, mesh.blocks[0].connectivity)


def gmsh_41(
    tmp_path: Path, *, groups: str, save_all: bool = False, order: int = 1, kind: str = "tri", binary: bool = False
) -> Path:
    """A square, or a cube, of two halves meshed by gmsh itself and saved in its current format."""
    gmsh = pytest.importorskip("gmsh")
    gmsh.initialize(interruptible=False)
    try:
        gmsh.option.setNumber("General.Terminal", 0)
        gmsh.option.setNumber("Mesh.SaveAll", int(save_all))
        gmsh.option.setNumber("Mesh.Binary", int(binary))
        gmsh.option.setNumber("Mesh.MeshSizeMax", 0.5)
        if kind == "tri":
            halves = [gmsh.model.occ.addRectangle(x, 0, 0, 0.5, 1) for x in (0.0, 0.5)]
            gmsh.model.occ.fragment([(2, halves[0])], [(2, halves[1])])
        elif kind == "tet":
            gmsh.model.occ.addBox(0, 0, 0, 1, 1, 1)
        gmsh.model.occ.synchronize()
        if kind.startswith("hex"):
            gmsh.option.setNumber("Mesh.SecondOrderIncomplete", int(kind == "hex20"))
            square = gmsh.model.occ.addRectangle(0, 0, 0, 1, 1)
            gmsh.model.occ.extrude([(2, square)], 0, 0, 1, numElements=[2], recombine=True)
            gmsh.model.occ.synchronize()
            gmsh.model.mesh.setTransfiniteAutomatic()
        dim = gmsh.model.getDimension()
        cells = [tag for _, tag in gmsh.model.getEntities(dim)]
        if "cells" in groups:
            gmsh.model.addPhysicalGroup(dim, cells[:1], 7, "first")
            if len(cells) > 1:
                gmsh.model.addPhysicalGroup(dim, cells[1:], 9)
        if "half" in groups:
            gmsh.model.addPhysicalGroup(dim, cells[:1], 7, "first")
        if "sides" in groups:
            box = (-0.1, -0.1, -0.1, 0.1, 1.1, 1.1)
            left = [tag for _, tag in gmsh.model.getEntitiesInBoundingBox(*box, dim=dim - 1)]
            everywhere = [tag for _, tag in gmsh.model.getBoundary([(dim, c) for c in cells], oriented=False)]
            gmsh.model.addPhysicalGroup(dim - 1, left, 3, "left")
            gmsh.model.addPhysicalGroup(dim - 1, everywhere, 4, "outside")
            gmsh.model.addPhysicalGroup(dim - 1, left, 5)
        gmsh.model.mesh.generate(dim)
        gmsh.model.mesh.setOrder(order)
        path = tmp_path / "gmsh.msh"
        gmsh.write(str(path))
        return path
    finally:
        gmsh.finalize()


def test_gmsh_groups_become_tags_names_and_facets_even_where_they_overlap(tmp_path: Path) -> None:
    mesh = read_mesh(gmsh_41(tmp_path, groups="cells sides"))
    (block,) = quadrature(mesh)
    assert {tag: block.weights[block.tags == tag].sum() for tag in (7, 9)} == pytest.approx({7: 0.5, 9: 0.5})
    assert mesh.tag_names == {7: "first"}
    lengths = {name: sum(f.weights.sum() for f in facet_quadrature(mesh, name)) for name in mesh.facet_groups}
    assert lengths["left"] == pytest.approx(1)
    assert lengths["outside"] == pytest.approx(4)


def test_gmsh_file_without_groups_has_tag_one(tmp_path: Path) -> None:
    mesh = read_mesh(gmsh_41(tmp_path, groups=""))
    assert np.unique(mesh.blocks[0].tags).tolist() == [1]
    assert not mesh.facet_groups
    assert not mesh.tag_names


@pytest.mark.parametrize("binary", [False, True])
def test_gmsh_cells_in_no_group_have_tag_zero_beside_others(tmp_path: Path, binary: bool) -> None:
    mesh = read_mesh(gmsh_41(tmp_path, groups="half sides", save_all=True, binary=binary))
    (block,) = quadrature(mesh)
    assert {tag: block.weights[block.tags == tag].sum() for tag in (0, 7)} == pytest.approx({0: 0.5, 7: 0.5})
    assert mesh.tag_names == {7: "first"}
    assert {"left", "outside"} <= set(mesh.facet_groups)
    assert sum(f.weights.sum() for f in facet_quadrature(mesh, "outside")) == pytest.approx(4)


def test_gmsh_cells_in_no_group_beside_facets_in_groups_have_tag_one(tmp_path: Path) -> None:
    mesh = read_mesh(gmsh_41(tmp_path, groups="sides", save_all=True))
    assert np.unique(mesh.blocks[0].tags).tolist() == [1]
    assert sum(f.weights.sum() for f in facet_quadrature(mesh, "left")) == pytest.approx(1)


def test_gmsh_file_of_facets_alone_says_why_cells_lack(tmp_path: Path) -> None:
    with pytest.raises(MeshError, match="gmsh saves only elements of physical groups"):
        read_mesh(gmsh_41(tmp_path, groups="sides"))


@pytest.mark.parametrize(
    ("kind", "order", "element"),
    [
        ("tri", 2, "tri6"), ("quad9", 2, "quad9"), ("quad8", 2, "quad8"), ("tet", 1, "tet4"), ("tet", 2, "tet10"),
        ("hex8", 1, "hex8"), ("hex20", 2, "hex20"), ("hex27", 2, "hex27"),
    ],
)  # fmt: skip
def test_nodes_in_gmsh_s_own_order_reproduce_quadratics(tmp_path: Path, kind: str, order: int, element: str) -> None:
    if kind.startswith("quad"):
        pytest.importorskip("gmsh")
        mesh = recombined(tmp_path, kind)
    else:
        mesh = read_mesh(gmsh_41(tmp_path, groups="", order=order, kind=kind))
    assert [block.element for block in mesh.blocks] == [element]
    (block,) = quadrature(mesh)
    assert block.weights.sum() == pytest.approx(1)
    degree = reference_element(element).n_nodes > reference_element(element).n_corners
    nodal = mesh.points[:, 0] * mesh.points[:, 1] + mesh.points[:, -1] ** 2 if degree else mesh.points[:, -1]
    gradient = np.einsum("nqkd,nk->nqd", block.gradients, nodal[block.connectivity])
    exact = np.zeros_like(gradient)
    if degree:
        exact[..., :2] = block.points[..., 1::-1]
        exact[..., -1] += 2 * block.points[..., -1]
    else:
        exact[..., -1] = 1
    np.testing.assert_allclose(gradient, exact, atol=1e-10)
    assert len(mesh.boundary_facets()) == 1


def recombined(tmp_path: Path, kind: str) -> Mesh:
    """Quadrilaterals of second order made by gmsh."""
    import gmsh

    gmsh.initialize(interruptible=False)
    try:
        gmsh.option.setNumber("General.Terminal", 0)
        gmsh.option.setNumber("Mesh.SecondOrderIncomplete", int(kind == "quad8"))
        square = gmsh.model.occ.addRectangle(0, 0, 0, 1, 1)
        gmsh.model.occ.synchronize()
        gmsh.model.mesh.setTransfiniteAutomatic()
        gmsh.model.mesh.setRecombine(2, square)
        gmsh.model.mesh.generate(2)
        gmsh.model.mesh.setOrder(2)
        gmsh.write(str(tmp_path / "quads.msh"))
    finally:
        gmsh.finalize()
    return read_mesh(tmp_path / "quads.msh")


def written(tmp_path: Path, data: meshio.Mesh, suffix: str = ".vtu") -> Path:
    path = tmp_path / f"written{suffix}"
    data.write(path)
    return path


FLAT = np.array([(0, 0, 2), (1, 0, 2), (1, 1, 2), (0, 1, 2), (5, 5, 2)], dtype=float)
QUAD, TRIANGLES = np.array([[0, 1, 2, 3]]), np.array([[0, 1, 2], [0, 2, 3]])


def test_constant_z_is_dropped_with_nodes_that_no_cell_uses(tmp_path: Path) -> None:
    mesh = read_mesh(written(tmp_path, meshio.Mesh(FLAT, [("quad", QUAD)])))
    assert mesh.points.tolist() == FLAT[:4, :2].tolist()


def test_surface_in_space_is_refused(tmp_path: Path) -> None:
    points = FLAT.copy()
    points[2, 2] = 2.1
    with pytest.raises(MeshError, match=r"written\.vtu: the mesh is a surface in space"):
        read_mesh(written(tmp_path, meshio.Mesh(points, [("quad", QUAD)])))


def test_unknown_element_type_is_named(tmp_path: Path) -> None:
    points = np.random.default_rng(0).uniform(size=(6, 3))
    with pytest.raises(MeshError, match="element type 'wedge' is not supported; use one of"):
        read_mesh(written(tmp_path, meshio.Mesh(points, [("wedge", np.arange(6)[None])])))


def test_mesh_of_lines_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MeshError, match="no cells of dimension 2 or 3"):
        read_mesh(written(tmp_path, meshio.Mesh(FLAT, [("line", np.array([[0, 1]]))])))


def test_blocks_of_one_type_are_joined_and_keep_their_tags(tmp_path: Path) -> None:
    data = meshio.Mesh(
        FLAT[:4],
        [("triangle", TRIANGLES[:1]), ("quad", QUAD), ("triangle", TRIANGLES[1:])],
        cell_data={"material": [np.array([4]), np.array([5]), np.array([6])]},
    )
    mesh = read_mesh(written(tmp_path, data))
    assert [(block.element, block.tags.tolist()) for block in mesh.blocks] == [("tri3", [4, 6]), ("quad4", [5])]


def test_materials_that_are_not_whole_numbers_are_refused(tmp_path: Path) -> None:
    data = meshio.Mesh(FLAT[:4], [("quad", QUAD)], cell_data={"material": [np.array([1.5])]})
    with pytest.raises(MeshError, match="'material' names materials, but holds values that are not whole"):
        read_mesh(written(tmp_path, data))


def test_facets_that_lie_on_no_cell_are_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = np.array([[0, 1], [3, 4]])
    data = meshio.Mesh(
        FLAT, [("quad", QUAD), ("line", lines)], cell_data={"gmsh:physical": [np.array([1]), np.array([2, 2])]},
        field_data={"side": np.array([2, 1])},
    )  # fmt: skip
    data.cell_data["gmsh:geometrical"] = data.cell_data["gmsh:physical"]
    path = tmp_path / "a.msh"
    data.write(path, file_format="gmsh22", binary=False)
    with caplog.at_level(logging.WARNING, logger="equipoise.spaces"):
        mesh = read_mesh(path)
    assert mesh.facet_groups["side"][0].connectivity.tolist() == [[0, 1]]
    assert "group 'side': 1 facets lie on no cell" in caplog.text


@pytest.mark.parametrize(
    ("name", "cells", "groups", "area"),
    [
        ("box", {"tet4": 1105}, {"front": 104, "back": 104, "top": 104}, 1.0),
        ("internal", {"tri3": 274}, {"top": 10, "bottom": 10, "left": 10, "right": 10, "internal": 5}, 1.0),
        ("mixedtriquad", {"tri3": 16, "quad4": 36}, {"boundary": 22}, None),
        ("quadratic_tri", {"tri6": 119}, {}, np.pi / 4),
    ],
)
def test_meshes_of_another_project(
    shared_data: Path, name: str, cells: dict[str, int], groups: dict[str, int], area: float | None
) -> None:
    mesh = read_mesh(shared_data / "meshes" / f"{name}.msh")
    assert {block.element: len(block.connectivity) for block in mesh.blocks} == cells
    assert {key: sum(len(f.connectivity) for f in facets) for key, facets in mesh.facet_groups.items()} == groups
    total = sum(block.weights.sum() for block in quadrature(mesh))
    flux = sum(
        np.einsum("nq,nqd,nqd->", f.weights, f.normals, f.points)
        for f in facet_quadrature(mesh, mesh.boundary_facets())
    )
    assert flux == pytest.approx(mesh.dim * total)
    if area is not None:
        assert total == pytest.approx(area, rel=2e-5)


def test_published_cell_is_the_same_after_meshio(shared_data: Path, tmp_path: Path) -> None:
    mesh = read_mesh(shared_data / "rve" / "RVE3")
    write_mesh(tmp_path / "rve.vtu", mesh)
    assert read_mesh(tmp_path / "rve.vtu").fingerprint == mesh.fingerprint
