"""The figures of a simulation: structure, curves, gaps, convergence and microscopic fields.

Each function returns a Matplotlib figure in the house style; nothing is shown or written here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from equipoise.spaces.mesh import Mesh
from equipoise.viz.element_values import element_means
from equipoise.viz.style import BASELINE_COLOUR, DIVERGING, SEQUENTIAL, new_figure, styled
from equipoise.viz.surfaces import draw_outline, draw_plane, draw_solid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "Curve",
    "convergence_figure",
    "curve_figure",
    "gap_figure",
    "micro_fields_figure",
    "structure_figure",
]


@dataclass(frozen=True, eq=False)
class Curve:
    """One line of a plot: what it is called, its points, and whether it is the baseline (drawn in grey)."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    is_baseline: bool = False


def deformation_scale(mesh: Mesh, displacement: NDArray[np.float64]) -> float:
    """A round factor by which displacements are drawn so that they can be seen: about 8 % of the structure's size."""
    size = float(np.linalg.norm(mesh.bounds[1] - mesh.bounds[0]))
    largest = float(np.linalg.norm(displacement, axis=1).max())
    if largest == 0.0 or largest > 0.05 * size:
        return 1.0
    factor = 0.08 * size / largest
    power = 10.0 ** np.floor(np.log10(factor))
    return float(max(step * power for step in (1, 2, 5) if step * power <= factor))


def structure_figure(
    mesh: Mesh,
    displacement: NDArray[np.float64],
    field: NDArray[np.float64],
    *,
    title: str,
    label: str,
    marks: Mapping[str, Sequence[float]] | None = None,
    scale: float | None = None,
) -> Figure:
    """Deformed structure coloured by a field, over the undeformed outline.

    Args:
        mesh: of the structure. displacement: nodal, mm, `(nodes, dim)`. field: at the integration points, `(n,)`.
        title: of the figure. label: of the colour bar, with its unit.
        marks: named points to show, in undeformed coordinates.
        scale: factor on the displacement drawn; chosen so that it can be seen by default, and always written out.
    """
    scale = deformation_scale(mesh, displacement) if scale is None else scale
    shown = f"{title}\ndeformation {'to scale' if scale == 1 else f'× {scale:g}'}"
    limits = (0.0, _cap(field)) if field.min() >= 0 else (-_cap(np.abs(field)), _cap(np.abs(field)))
    cmap = SEQUENTIAL if field.min() >= 0 else DIVERGING
    with styled():
        figure = new_figure(6.4, _height(mesh))
        if mesh.dim == 3:
            axes = figure.add_subplot(projection="3d")
            artist = draw_solid(axes, mesh, field, displacement=scale * displacement, limits=limits, cmap=cmap)
            axes.set(xlabel="x / mm", ylabel="y / mm", zlabel="z / mm")
            figure.suptitle(shown, x=0.01, ha="left", fontsize=10, fontweight="bold")
        else:
            axes = figure.add_subplot()
            draw_outline(axes, mesh)
            artist = draw_plane(axes, mesh, field, displacement=scale * displacement, limits=limits, cmap=cmap)
            axes.set(xlabel="x / mm", ylabel="y / mm", title=shown)
            axes.autoscale_view()
            _mark(axes, mesh, scale * displacement, marks or {})
        extend = "max" if float(np.abs(field).max()) > limits[1] * (1 + 1e-9) else "neither"
        figure.colorbar(artist, ax=axes, label=label, shrink=0.8, extend=extend, pad=0.12 if mesh.dim == 3 else 0.03)
    return figure


def _cap(field: NDArray[np.float64]) -> float:
    """Upper colour limit: the largest value, unless a singular corner alone reaches it."""
    high = float(np.percentile(field, 99.5))
    largest = float(field.max())
    return largest if high <= 0 or largest < 1.3 * high else high


def _mark(axes: Any, mesh: Mesh, displacement: NDArray[np.float64], marks: Mapping[str, Sequence[float]]) -> None:
    for name, place in marks.items():
        node = int(np.argmin(np.linalg.norm(mesh.points - np.asarray(place), axis=1)))
        x, y = mesh.points[node] + displacement[node]
        axes.plot(x, y, "o", mfc="w", mec="k", ms=5, zorder=5)
        axes.annotate(
            name, (x, y), xytext=(5, 5), textcoords="offset points", fontsize=8, zorder=6,
            bbox={"boxstyle": "round,pad=0.15", "fc": "w", "ec": "none", "alpha": 0.75},
        )  # fmt: skip


def _height(mesh: Mesh) -> float:
    span = mesh.bounds[1] - mesh.bounds[0]
    return 5.2 if mesh.dim == 3 else float(np.clip(5.0 * span[1] / span[0] + 0.9, 2.6, 6.5))


def gap_figure(
    mesh: Mesh,
    relative_gap: NDArray[np.float64],
    *,
    title: str,
    kind: str,
    displacement: NDArray[np.float64] | None = None,
) -> Figure:
    """Map of the largest relative energy gap of each element, on a logarithmic scale.

    Args:
        mesh: of the structure. relative_gap: at the integration points, `(n,)`; `inf` is drawn at the top of the scale.
        title: of the figure. kind: `"bound"`, `"estimate"` or `"mixed"`, written on the colour bar.
        displacement: nodal displacement to draw, already scaled.
    """
    from matplotlib.colors import LogNorm

    shown = element_means(mesh, np.where(np.isfinite(relative_gap), relative_gap, 0.0), largest=True)
    shown = shown[shown > 0]
    low, high = (float(shown.min()), float(shown.max())) if len(shown) else (1e-16, 1e-15)
    low = max(low, 1e-6 * high)
    high = max(high, 1.01 * low)
    values = np.clip(np.where(np.isfinite(relative_gap), relative_gap, high), low, high)
    words = {"bound": "guaranteed bound", "estimate": "estimate", "mixed": "bound at some points, estimate elsewhere"}
    with styled():
        figure = new_figure(6.4, _height(mesh))
        norm = LogNorm(low, high)
        if mesh.dim == 3:
            axes = figure.add_subplot(projection="3d")
            artist = draw_solid(axes, mesh, values, displacement=displacement, norm=norm)
            axes.set(xlabel="x / mm", ylabel="y / mm", zlabel="z / mm")
        else:
            axes = figure.add_subplot()
            artist = draw_plane(axes, mesh, values, displacement=displacement, norm=norm, constant=True)
            axes.set(xlabel="x / mm", ylabel="y / mm")
            axes.autoscale_view()
        unbounded = int((~np.isfinite(relative_gap)).sum())
        axes.set_title(title + (f"\n{unbounded} points without a finite bound" if unbounded else ""))
        figure.colorbar(artist, ax=axes, label=f"relative energy gap ({words.get(kind, kind)})", shrink=0.8)
    return figure


def curve_figure(curves: Sequence[Curve], *, title: str, x_label: str, y_label: str) -> Figure:
    """Curves over one another, the baseline in grey and behind."""
    with styled():
        figure = new_figure(5.2, 3.6)
        axes = figure.add_subplot()
        for curve in sorted(curves, key=lambda c: not c.is_baseline):
            style = (
                {"color": BASELINE_COLOUR, "lw": 3.2, "marker": "s", "ms": 6} if curve.is_baseline else {"marker": "o"}
            )
            axes.plot(curve.x, curve.y, label=curve.label, **style)
        axes.set(title=title, xlabel=x_label, ylabel=y_label)
        axes.grid(True)
        if len(curves) > 1:
            axes.legend()
    return figure


def convergence_figure(residuals: Mapping[int, Sequence[float]], *, tolerance: float) -> Figure:
    """Relative residual over Newton iterations, one line per load step, light to dark."""
    import matplotlib as mpl
    from matplotlib.ticker import MaxNLocator

    with styled():
        figure = new_figure(5.2, 3.6)
        axes = figure.add_subplot()
        colours = mpl.colormaps[SEQUENTIAL](np.linspace(0.85, 0.05, max(len(residuals), 2)))
        shown = set(np.linspace(0, len(residuals) - 1, min(len(residuals), 6)).round().astype(int).tolist())
        for number, (step, values) in enumerate(residuals.items()):
            label = f"step {step}" if number in shown else None
            axes.semilogy(*_rounds(values, tolerance), "o-", color=colours[number], label=label)
        axes.axhline(tolerance, color=BASELINE_COLOUR, lw=1, ls="--")
        axes.annotate("tolerance", (0, tolerance), xytext=(0, 3), textcoords="offset points", fontsize=8, color="0.4")
        axes.set(title="Newton convergence", xlabel="iteration", ylabel="residual / reaction scale")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(True)
        axes.legend(ncols=2)
    return figure


def _rounds(values: Sequence[float], tolerance: float) -> tuple[list[float], list[float]]:
    """Residuals over iterations; the line is broken where a converged answer was replaced and iteration began anew."""
    x, y = [], []
    for number, value in enumerate(values):
        x.append(float(number))
        y.append(max(value, 1e-17))
        if value <= tolerance and number < len(values) - 1:
            x.append(float(number))
            y.append(float("nan"))
    return x, y


def micro_fields_figure(
    mesh: Mesh,
    rows: Mapping[str, NDArray[np.float64]],
    *,
    components: Sequence[str],
    title: str,
    label: str,
    difference: bool = True,
) -> Figure:
    """Microscopic field of one point: a row per model, a column per component, and their difference below.

    Args:
        mesh: of the cell, in the plane or in space (then its boundary is shown).
        rows: field of each model at the quadrature points, `(Q, c)`; the second row is the reference of the difference.
        components: names of the `c` columns. title: of the figure. label: of the colour bars, with the unit.
        difference: with two rows, add a third that shows first minus second on a scale of its own.
    """
    fields = {name: np.asarray(field) for name, field in rows.items()}
    limits = [(min(f[:, j].min() for f in fields.values()), max(f[:, j].max() for f in fields.values()))
              for j in range(len(components))]  # fmt: skip
    panels: dict[str, tuple[NDArray[np.float64], list[tuple[float, float]], str]] = {
        name: (field, limits, SEQUENTIAL) for name, field in fields.items()
    }
    if difference and len(fields) == 2:
        first, second = fields.values()
        error = first - second
        spread = [max(float(np.abs(error[:, j]).max()), 1e-300) for j in range(len(components))]
        panels["difference"] = (error, [(-s, s) for s in spread], DIVERGING)
    with styled():
        figure = new_figure(2.45 * len(components) + 0.5, 2.25 * len(panels) + 0.5)
        figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
        projection = {"projection": "3d"} if mesh.dim == 3 else None
        grid = figure.subplots(len(panels), len(components), squeeze=False, subplot_kw=projection)
        for row, (name, (field, bounds, cmap)) in enumerate(panels.items()):
            for column, component in enumerate(components):
                axes = grid[row, column]
                if mesh.dim == 3:
                    artist = draw_solid(axes, mesh, field[:, column], limits=bounds[column], cmap=cmap)
                    axes.set_axis_off()
                else:
                    artist = draw_plane(
                        axes, mesh, field[:, column], limits=bounds[column], cmap=cmap, outline="boundary"
                    )
                    axes.set(xticks=[], yticks=[])
                    axes.spines[:].set_visible(False)
                if row == 0:
                    axes.set_title(component)
                if column == 0 and mesh.dim == 2:
                    axes.set_ylabel(name)
                elif column == 0:
                    axes.text2D(-0.05, 0.5, name, transform=axes.transAxes, rotation=90, va="center")
                bar = figure.colorbar(artist, ax=axes, shrink=0.85, pad=0.02)
                bar.ax.tick_params(labelsize=7)
                if column == len(components) - 1:
                    bar.set_label(label)
    return figure
