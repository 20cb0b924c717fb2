"""A training watched while it runs: a bar with the metrics on a terminal, and TensorBoard events where asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["training_progress"]

Row = Mapping[str, float]


@contextmanager
def training_progress(steps: int, tensorboard: Path | None = None) -> Iterator[Callable[[Row], None]]:
    """What to call with each row of the history.

    Args:
        steps: of the whole training. tensorboard: folder for event files.

    Raises:
        ImportError: where TensorBoard is asked for and not installed.
    """
    writer = None if tensorboard is None else _writer(tensorboard)
    bar = _Bar(steps) if sys.stderr.isatty() else None

    def on_row(row: Row) -> None:
        if bar is not None:
            bar(row)
        if writer is not None:
            for name, value in row.items():
                if name not in ("phase", "step"):
                    writer.add_scalar(name, value, int(row["step"]))

    try:
        yield on_row
    finally:
        if bar is not None:
            bar.close()
        if writer is not None:
            writer.close()


def _writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError(
            "--tensorboard needs the package tensorboard: pip install 'equipoise[tensorboard]'."
        ) from error
    return SummaryWriter(str(folder))


class _Bar:
    """Progress on standard error, with the last loss and validation."""

    def __init__(self, steps: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("training"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} steps"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[metrics]}"),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task("training", total=steps, metrics="")
        self._metrics: dict[str, float] = {}
        self._progress.start()

    def __call__(self, row: Row) -> None:
        self._metrics |= {name: row[name] for name in ("loss", "validation") if name in row}
        shown = ", ".join(f"{name} {value:.3e}" for name, value in self._metrics.items())
        self._progress.update(self._task, completed=int(row["step"]) + 1, metrics=shown)

    def close(self) -> None:
        self._progress.stop()
