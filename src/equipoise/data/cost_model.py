"""What a generation will cost, from a few samples made the same way and thrown away: `fixed + rate x samples`.

The generation itself is an argument; fields and snapshots of cells are planned alike.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from equipoise.data.executors import Executor

__all__ = ["GenerationPlan", "peak_memory", "plan_generation"]

_ROUND_SECONDS = 0.75

Generate = Callable[[int, Path, int], object]
"""Makes a file of so many samples at a path, in chunks of a size."""


@dataclass(frozen=True)
class GenerationPlan:
    """What making `count` samples is expected to take; `str` is a few lines for the user.

    Attributes:
        count, workers: of the run. measured: samples made to find out, in `planning_seconds`.
        seconds: wall time; `setup_seconds` of it once, and `seconds_per_sample` with all workers at work.
        peak_memory_bytes: of all processes. bytes_on_disk: of the file. peak_bytes_on_disk: with the parts beside it.
        notes: decisions on the way, such as the solver.
    """

    count: int
    workers: int
    seconds: float
    setup_seconds: float
    seconds_per_sample: float
    peak_memory_bytes: int
    bytes_on_disk: int
    peak_bytes_on_disk: int
    measured: int
    planning_seconds: float
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [
            f"{self.count} samples, {self.workers} worker{'s' if self.workers > 1 else ''}: {_duration(self.seconds)}",
            f"  time    {self.setup_seconds:.2g} s to set up, {1e3 * self.seconds_per_sample:.3g} ms a sample",
            f"  memory  {self.peak_memory_bytes / 1e6:.0f} MB at the peak",
            f"  disk    {self.bytes_on_disk / 1e6:.3g} MB, {self.peak_bytes_on_disk / 1e6:.3g} MB on the way",
            f"  from {self.measured} samples made and thrown away in {self.planning_seconds:.1f} s",
        ]
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])


def plan_generation(
    generate: Generate,
    count: int,
    *,
    chunk_size: int,
    workers: int = 1,
    executor: Executor | None = None,
    extra_seconds: float = 0.0,
    extra_bytes: int = 0,
    sample_bytes: int | None = None,
    notes: tuple[str, ...] = (),
    clock: Callable[[], float] = time.perf_counter,
) -> GenerationPlan:
    """Make a few samples twice over in a temporary folder and draw the line to `count`.

    Args:
        generate: makes files, on the executor of the real run. count: samples planned.
        chunk_size: of the real run. workers: that share the chunks. executor: asked for its workers' memory.
        extra_seconds, extra_bytes: time and memory known otherwise, such as for sorting.
        sample_bytes: of a sample in the file, where that is known; measured otherwise.
        notes: handed on. clock: seconds.
    """
    made, began = 0, clock()
    with tempfile.TemporaryDirectory(prefix="equipoise-plan-") as folder:

        def measure(samples: int, chunk: int) -> tuple[float, int]:
            nonlocal made
            path = Path(folder) / f"{made}.h5"
            start = clock()
            generate(samples, path, chunk)
            seconds, size = clock() - start, path.stat().st_size
            path.unlink()
            made += samples
            return seconds, size

        first = min(workers, count)
        cold, warm = measure(first, 1)[0], measure(first, 1)[0]
        # Chunks as long as the real ones where those are affordable: they cost less a sample than short ones.
        chunk, longest, spent = 1, min(chunk_size, count), warm
        while chunk < longest and spent < _ROUND_SECONDS:
            chunk = min(4 * chunk, longest)
            spent = measure(workers * chunk, chunk)[0]
        few, many = workers * chunk, 3 * workers * chunk
        # The less disturbed of two runs each, taken in turn.
        runs = [(measure(few, chunk), measure(many, chunk)) for _ in range(2)]
        short, long = (min(run[i][0] for run in runs) for i in range(2))
        sizes = runs[0][0][1], runs[0][1][1]
    rate = max(long - short, 0.0) / (many - few)
    setup = max(short - rate * few, 0.0) + max(cold - warm, 0.0) + extra_seconds
    slope = (sizes[1] - sizes[0]) / (many - few) if sample_bytes is None else sample_bytes
    size = round(sizes[1] + slope * (count - many))
    return GenerationPlan(
        count=count,
        workers=workers,
        seconds=setup + rate * workers * _busiest(count, chunk_size, workers),
        setup_seconds=setup,
        seconds_per_sample=rate,
        peak_memory_bytes=peak_memory(executor, workers) + extra_bytes,
        bytes_on_disk=size,
        peak_bytes_on_disk=2 * size,
        measured=made,
        planning_seconds=clock() - began,
        notes=notes,
    )


def peak_memory(executor: Executor | None = None, workers: int = 1) -> int:
    """Largest resident memory so far, in bytes, of this process and of those of an executor; 0 where none is known."""
    memory = dict([_own_peak(0)])
    if executor is not None:
        memory.update(answer for _, answer in executor.map_batches(_own_peak, list(range(workers))))
    return sum(memory.values())


def _own_peak(batch: int) -> tuple[Any, int]:
    """Name of this process and its largest resident memory; runs on workers."""
    try:
        import resource
    except ImportError:
        return (os.getpid(), 0)
    # Linux counts kilobytes, macOS bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return (os.getpid(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def _busiest(count: int, chunk: int, workers: int) -> int:
    """Samples of the worker with the most to do, when chunks are handed out as workers become free."""
    chunks = -(-count // chunk)
    rounds, rest = divmod(chunks, workers)
    last = count - (chunks - 1) * chunk
    if rest == 0:
        return rounds * chunk if workers > 1 else count
    return rounds * chunk + (last if rest == 1 else chunk)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    if seconds < 7200:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:.3g} h"
