"""Data sets of a family of equations: drawn and solved sample by sample, streamed to disk, resumable, in parallel.

A sample is a function of the family, the seed and its number alone, whatever the workers and interruptions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from equipoise.data.executors import Executor, SerialExecutor
from equipoise.data.field_dataset import FieldDataset
from equipoise.data.field_store import read_fields, write_field_parts
from equipoise.data.parts import PartsFolder, is_finished, locked, open_parts, remove_parts
from equipoise.problems.problem import Problem
from equipoise.problems.registry import make_problem

__all__ = ["FieldGeneration", "draw_inputs", "generate_fields"]

_DTYPES = {"float32": np.float32, "float64": np.float64}


@dataclass(frozen=True)
class FieldGeneration:
    """What `generate_fields` did: the file, its samples, how many an earlier run had made, wall seconds of this run."""

    path: Path
    count: int
    resumed: int
    seconds: float


def draw_inputs(problem: Problem, numbers: range, *, seed: int) -> torch.Tensor:
    """Inputs of the samples with these numbers, each from a generator of its own."""
    drawn = []
    for number in numbers:
        state = int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> np.uint64(1))
        drawn.append(problem.sample(1, torch.Generator().manual_seed(state)))
    return torch.cat(drawn)


class _FieldSolver:
    """Draws and solves a range of samples; light on its way to a worker, where the family is built once."""

    def __init__(self, family: str, options: Mapping[str, Any], seed: int, dtype: str) -> None:
        self._family, self._options, self._seed, self._dtype = family, dict(options), seed, dtype
        self._problem: Problem | None = None

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__, _problem=None)

    def __call__(self, numbers: range) -> dict[str, np.ndarray]:
        if self._problem is None:
            self._problem = make_problem(self._family, **self._options)
        inputs = draw_inputs(self._problem, numbers, seed=self._seed)
        outputs = self._problem.solve(inputs)
        kind = _DTYPES[self._dtype]
        return {"inputs": inputs.numpy().astype(kind), "outputs": outputs.numpy().astype(kind)}


def generate_fields(
    family: str,
    count: int,
    path: str | Path,
    *,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    dtype: str = "float32",
    chunk_size: int = 16,
    executor: Executor | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> FieldGeneration:
    """Draw and solve a family of equations into one file in The Well's layout, which appears when it is whole.

    Finished chunks are kept in `<path>.parts/` until then. After a stop or a kill at any moment, `resume=True` goes on
    with nothing lost or done twice, and the file holds the same as without the interruption.

    Args:
        family: name in `PROBLEMS`. count: number of samples. path: file to write.
        options: of the family, such as `{"resolution": 65}`. seed: of all samples.
        dtype: of the file, `"float32"` or `"float64"`; solutions are computed in float64.
        chunk_size: samples solved at once. executor: where chunks run; in this process by default.
        resume, overwrite: go on with an unfinished run, or replace whatever is there.
        progress: called with samples finished and their total.

    Raises:
        ValueError: for an unknown family, option or dtype, or numbers out of range.
        FormatError: for an existing output in the way, or one made with other settings than `resume` is to go on with.
        ConvergenceError: where a sample cannot be solved; finished chunks are kept.
    """
    began, path = time.perf_counter(), Path(path)
    if count < 1 or chunk_size < 1 or seed < 0 or dtype not in _DTYPES:
        raise ValueError(
            f"count={count} and chunk_size={chunk_size} must be at least 1, seed={seed} at least 0, dtype={dtype!r} "
            "float32 or float64."
        )
    problem = make_problem(family, **dict(options or {}))
    settings = {"family": family, "options": dict(options or {}), "seed": seed, "count": count, "dtype": dtype}
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} into.")
    folder = path.with_name(path.name + ".parts")
    if is_finished(path, folder, settings, lambda file: read_fields(file).settings, resume=resume, overwrite=overwrite):
        remove_parts(folder)
        return FieldGeneration(path, count, count, time.perf_counter() - began)
    with locked(folder):
        # The chunks of the first run hold: a solution may depend on its batch in the last bit.
        parts = open_parts(folder, {**settings, "chunk_size": chunk_size}, resume=resume)
        size = int(parts.settings["chunk_size"])
        chunks = [range(first, min(first + size, count)) for first in range(0, count, size)]
        missing = [number for number in range(len(chunks)) if number not in parts.finished]
        resumed = done = count - sum(len(chunks[number]) for number in missing)
        solve = _FieldSolver(family, dict(options or {}), seed, dtype)
        for place, arrays in (executor or SerialExecutor()).map_batches(solve, [chunks[i] for i in missing]):
            parts.add(missing[place], arrays)
            done += len(chunks[missing[place]])
            if progress is not None:
                progress(done, count)
        _merge(path, parts, len(chunks), problem, settings, family)
        remove_parts(folder)
    return FieldGeneration(path, count, resumed, time.perf_counter() - began)


def _merge(
    path: Path, parts: PartsFolder, n_chunks: int, problem: Problem, settings: Mapping[str, Any], family: str
) -> None:
    def chunk(number: int) -> FieldDataset:
        held = parts.read(number)
        return FieldDataset(
            torch.as_tensor(held["inputs"]),
            torch.as_tensor(held["outputs"]),
            problem.grid,
            problem.input_grid,
            problem.input_names,
            problem.output_names,
            times=(0.0, *problem.times) if problem.times else (),
            settings=settings,
        )

    write_field_parts(path, map(chunk, range(n_chunks)), int(settings["count"]), name=family)
