"""The one Matplotlib style of all figures, and how a figure becomes a file. Matplotlib is imported late, with Agg."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["BASELINE_COLOUR", "DIVERGING", "SEQUENTIAL", "new_figure", "save_figure", "styled"]

BASELINE_COLOUR = "0.55"
"""Grey in which baselines and references are drawn."""

SEQUENTIAL = "cividis"
"""Colour map of magnitudes; perceptually uniform and colour-blind safe."""

DIVERGING = "RdBu_r"
"""Colour map of signed fields, centred on zero."""

_RESOLUTION = 200
_STYLE = Path(__file__).with_name("equipoise.mplstyle")


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the house style; the caller's own Matplotlib settings come back afterwards."""
    import matplotlib.style

    with matplotlib.rc_context():
        matplotlib.style.use(_STYLE)
        yield


def new_figure(width: float = 6.0, height: float = 4.0) -> Figure:
    """A figure on the Agg canvas that no window system and no global state know of; size in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure under a temporary name, then rename it; the kind of file follows from the suffix."""
    temporary = path.with_name(f".{path.stem}.part{path.suffix}")
    figure.savefig(temporary, dpi=_RESOLUTION)
    os.replace(temporary, path)
    return path
