"""Figures of training and of learned operators: losses, fields beside predictions, error against resolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from equipoise.viz.style import DIVERGING, SEQUENTIAL, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["history_figure", "prediction_figure", "resolution_figure"]


def history_figure(runs: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Loss (full lines) and validation (dashed) of one or more trainings, by step."""
    with styled():
        figure = new_figure(6.0, 3.6)
        axes = figure.add_subplot()
        for number, (name, rows) in enumerate(runs.items()):
            for column, style in (("loss", "-"), ("validation", "--")):
                points = [(row["step"] + 1, row[column]) for row in rows if row.get(column) is not None]
                if points:
                    label = name if column == "loss" else f"{name}, validation"
                    axes.plot(*zip(*points, strict=True), style, color=f"C{number}", label=label)
        axes.set(xlabel="step", ylabel="loss", yscale="log")
        axes.legend()
    return figure


def prediction_figure(
    fields: Mapping[str, NDArray[Any]], bounds: Sequence[tuple[float, float]], *, title: str
) -> Figure:
    """Input, exact answer, prediction and error of one sample, of one channel each.

    Args:
        fields: by title; arrays of one or two axes (the middle plane of three). Those whose title begins with "error"
            are drawn around zero; "exact" and "predicted" share one scale.
        bounds: of the axes. title: of the figure.
    """
    planes = {name: _plane(values) for name, values in fields.items()}
    with styled():
        if all(plane.ndim == 1 for plane in planes.values()):
            return _curves(planes, bounds, title)
        figure = new_figure(3.2 * len(planes), 3.3)
        shared = [planes[name] for name in ("exact", "predicted") if name in planes]
        for number, (name, plane) in enumerate(planes.items()):
            axes = figure.add_subplot(1, len(planes), number + 1)
            if plane.ndim == 1:
                axes.plot(np.linspace(*bounds[-1], plane.size), plane)
            else:
                _image(figure, axes, plane, name, bounds, shared)
            axes.set_title(name)
        figure.suptitle(title)
    return figure


def _image(
    figure: Figure,
    axes: Any,
    plane: NDArray[Any],
    name: str,
    bounds: Sequence[tuple[float, float]],
    shared: Sequence[NDArray[Any]],
) -> None:
    colours: dict[str, Any] = {"cmap": SEQUENTIAL}
    if name.startswith("error"):
        top = float(np.abs(plane).max()) or 1.0
        colours = {"cmap": DIVERGING, "vmin": -top, "vmax": top}
    elif name in ("exact", "predicted") and shared:
        colours |= {"vmin": min(map(np.min, shared)), "vmax": max(map(np.max, shared))}
    extent = (*bounds[0], *bounds[1])
    image = axes.imshow(plane.T, origin="lower", extent=extent, aspect="equal", **colours)
    figure.colorbar(image, ax=axes, fraction=0.046)
    axes.set(xticks=[], yticks=[])


def _curves(planes: Mapping[str, NDArray[Any]], bounds: Sequence[tuple[float, float]], title: str) -> Figure:
    figure = new_figure(6.0, 3.6)
    axes = figure.add_subplot()
    for name, values in planes.items():
        axes.plot(np.linspace(*bounds[0], values.size), values, label=name)
    axes.set(xlabel="x", title=title)
    axes.legend()
    return figure


def _plane(values: NDArray[Any]) -> NDArray[Any]:
    return values[:, :, values.shape[2] // 2] if values.ndim == 3 else values


def resolution_figure(errors: Mapping[str, Mapping[int, float]], *, trained_at: int | None = None) -> Figure:
    """Relative error against the number of points along an axis, one line for each name."""
    with styled():
        figure = new_figure(5.0, 3.6)
        axes = figure.add_subplot()
        for name, values in errors.items():
            points = sorted(values)
            axes.plot(points, [values[count] for count in points], "o-", label=name)
        if trained_at is not None:
            axes.axvline(trained_at, color="0.7", linestyle=":", label="trained at")
        axes.set(xlabel="points along an axis", ylabel="relative error", xscale="log", yscale="log")
        axes.legend()
    return figure
