"""Figures say what they show: units, limits, kinds of gaps; the caller's Matplotlib settings are left alone."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from equipoise.spaces.structures import box, cooks_membrane, rectangle
from equipoise.viz.figures import (
    Curve,
    convergence_figure,
    curve_figure,
    deformation_scale,
    gap_figure,
    micro_fields_figure,
    structure_figure,
)
from equipoise.viz.report import Report
from equipoise.viz.style import BASELINE_COLOUR, save_figure

PLANE = cooks_membrane(elements=(2, 2), element="quad8")
SOLID = box(elements=(1, 1, 1), element="hex20")


def field(mesh, seed: int = 0) -> np.ndarray:  # type: ignore[no-untyped-def]
    from equipoise.spaces.quadrature import quadrature

    return np.random.default_rng(seed).uniform(1.0, 2.0, sum(block.weights.size for block in quadrature(mesh)))


def drawn(figure: Figure, tmp_path: Path) -> int:
    return save_figure(figure, tmp_path / "figure.png").stat().st_size


@pytest.mark.parametrize("mesh", [PLANE, SOLID], ids=["plane", "solid"])
def test_a_structure_is_drawn_with_units_and_the_scale_of_its_deformation(mesh, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    displacement = np.full((mesh.n_nodes, mesh.dim), 1e-3)
    figure = structure_figure(mesh, displacement, field(mesh), title="part", label="stress / MPa")
    words = " ".join(text.get_text() for text in figure.findobj(mpl.text.Text))
    assert "x / mm" in words
    assert "stress / MPa" in words
    assert "deformation ×" in words
    assert drawn(figure, tmp_path) > 10_000


@pytest.mark.parametrize("element", ["tri3", "tri6", "quad4", "quad8", "quad9"])
def test_every_plane_element_is_filled_by_its_triangles(element: str) -> None:
    mesh = rectangle(elements=(2, 2), element=element)
    figure = structure_figure(mesh, np.zeros((mesh.n_nodes, 2)), field(mesh), title="", label="")
    (artist,) = [c for c in figure.axes[0].collections if hasattr(c, "_triangulation")]
    x, y = artist._triangulation.x, artist._triangulation.y
    a, b, c = (np.stack([x, y], -1)[artist._triangulation.triangles[:, i]] for i in range(3))
    u, v = b - a, c - a
    areas = (u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]) / 2
    assert (areas > 0).all()
    assert areas.sum() == pytest.approx(1.0)


def test_the_gap_map_says_bound_or_estimate_and_counts_points_without_bound() -> None:
    gap = field(PLANE) * 1e-4
    gap[3] = np.inf
    figure = gap_figure(PLANE, gap, title="certificate", kind="estimate")
    words = " ".join(text.get_text() for text in figure.findobj(mpl.text.Text))
    assert "relative energy gap (estimate)" in words
    assert "1 points without a finite bound" in words


def test_the_baseline_is_grey_and_behind() -> None:
    curves = [Curve("ours", [0, 1], [0, 1]), Curve("FE²", [0, 1], [0, 1.1], is_baseline=True)]
    lines = curve_figure(curves, title="", x_label="x / mm", y_label="F / N").axes[0].lines
    assert [line.get_label() for line in lines] == ["FE²", "ours"]
    assert lines[0].get_color() == BASELINE_COLOUR


def test_models_share_limits_and_their_difference_has_its_own() -> None:
    first, second = np.tile(field(PLANE)[:, None], (1, 3)), np.tile(field(PLANE)[:, None] + 1e-3, (1, 3))
    figure = micro_fields_figure(
        PLANE, {"learned": first, "full field": second}, components=["xx", "yy", "xy"], title="p", label="MPa"
    )
    meshes = [c for axes in figure.axes for c in axes.collections if hasattr(c, "_triangulation")]
    limits = [mesh.get_clim() for mesh in meshes]
    assert limits[0] == limits[3]
    assert limits[6] == pytest.approx((-1e-3, 1e-3), rel=1e-6)


def test_solid_cells_and_residual_curves_are_drawn(tmp_path: Path) -> None:
    values = np.tile(field(SOLID)[:, None], (1, 6))
    names = ["xx", "yy", "zz", "yz", "xz", "xy"]
    assert (
        drawn(micro_fields_figure(SOLID, {"cell": values}, components=names, title="p", label="MPa"), tmp_path) > 10_000
    )
    assert drawn(convergence_figure({1: [1e-1, 1e-4, 1e-9, 1e-2, 1e-10], 2: [0.0]}, tolerance=1e-8), tmp_path) > 5_000


@pytest.mark.parametrize(("largest", "scale"), [(0.0, 1.0), (10.0, 1.0), (1e-3, 5000.0), (0.2, 20.0)])
def test_the_deformation_scale_is_round_and_makes_small_displacements_visible(largest: float, scale: float) -> None:
    displacement = np.zeros((PLANE.n_nodes, 2))
    displacement[0, 0] = largest
    assert deformation_scale(PLANE, displacement) == scale


def test_drawing_leaves_the_callers_settings_alone() -> None:
    before = dict(mpl.rcParams)
    curve_figure([Curve("a", [0], [0])], title="", x_label="", y_label="")
    assert dict(mpl.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_a_report_escapes_text_and_refuses_a_missing_figure(tmp_path: Path) -> None:
    report = Report("a < b", subtitle="&")
    report.table(["name", "value"], [["<script>", "1"]])
    with pytest.raises(FileNotFoundError):
        report.figures({tmp_path / "missing.png": "caption"})
    page = report.write(tmp_path / "report.html").read_text()
    assert "a &lt; b" in page
    assert "<script>" not in page
