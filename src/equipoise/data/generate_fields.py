"""Data sets of a family of equations: drawn and solved chunk by chunk, streamed to disk, resumable, in parallel.

A sample is a function of the family, the seed and its number alone: for linear families to the solver's tolerance, for
others exactly, whatever the order, the workers and the interruptions. Which solver a linear family gets is decided in
`solver_choice.py`; what a worker does is in `field_chunks.py`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from equipoise.data.executors import Executor, SerialExecutor
from equipoise.data.field_chunks import DTYPES, FieldSolver, draw_inputs
from equipoise.data.field_dataset import FieldDataset
from equipoise.data.field_store import read_fields, write_placed_fields
from equipoise.data.linear_chains import check_tolerance, make_recipe
from equipoise.data.parts import PartsFolder, is_finished, locked, remove_parts
from equipoise.data.solver_choice import TRIAL, SolverChoice, choose_solver
from equipoise.data.sorting import consecutive_chunks, low_modes, sort_inputs
from equipoise.data.thread_executor import ThreadExecutor, available_cores
from equipoise.errors import ConvergenceError
from equipoise.problems.linear_problem import LinearProblem
from equipoise.problems.problem import Problem
from equipoise.problems.registry import PROBLEMS, make_problem
from equipoise.solvers.threads import one_thread

__all__ = [
    "FieldGeneration",
    "chosen_solver",
    "default_executor",
    "draw_inputs",
    "generate_fields",
    "natural_chunk",
    "sample_numbers",
    "sorted_order",
]

_BATCH, _LONGEST_CHAIN = 16, 64
_CHUNK_BYTES = 1 << 21
_WHOLE_FEATURES = 1 << 29
_PROVENANCE = ("solved_by", "sorted_by", "left_out")
_PARTS_VERSION = 2

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class FieldGeneration:
    """What `generate_fields` did.

    Attributes:
        path: the file. count: its samples. resumed: how many of them an earlier run had made.
        seconds: wall time of this run.
        left_out: numbers of the samples that could not be solved.
        solver: how a linear family was solved, see `SolverChoice`. sorting: what sorting did, where it was of use.
    """

    path: Path
    count: int
    resumed: int
    seconds: float
    left_out: tuple[int, ...] = ()
    solver: Mapping[str, Any] | None = None
    sorting: Mapping[str, Any] | None = None


def generate_fields(
    family: str,
    count: int,
    path: str | Path,
    *,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    dtype: str = "float32",
    solver: str | None = None,
    tolerance: float | None = None,
    chunk_size: int | None = None,
    executor: Executor | None = None,
    resume: bool = False,
    overwrite: bool = False,
    skip_failed: bool = False,
    progress: Callable[[int, int], None] | None = None,
    report: Callable[[str], None] | None = None,
) -> FieldGeneration:
    """Draw and solve a family of equations into one file in The Well's layout, which appears when it is whole.

    Finished chunks are kept in `<path>.parts/` until then. After a stop or a kill at any moment, `resume=True` goes on
    with nothing lost or done twice, and the file holds the same as without the interruption.

    Args:
        family: name in `PROBLEMS`. count: number of samples. path: file to write.
        options: of the family, such as `{"resolution": 65}`. seed: of all samples.
        dtype: of the file, `"float32"` or `"float64"`; solutions are computed in float64.
        solver: for linear families, `"auto"` (the default: the fastest on a first batch) or a name in
            `linear_chains.SOLVERS`; when resuming, the first run's choice holds.
        tolerance: relative residual of each system; by default round-off for `direct` and 1e-8 otherwise.
        chunk_size: samples in one batch of work and one part on disk; 16 by default, up to 64 for linear families of
            small fields or with a solver that learns.
            Solvers that learn from one sample for the next begin anew with every chunk.
        executor: where chunks run. By default linear families run in as many threads as there are cores, all others
            one chunk after another.
        resume, overwrite: go on with an unfinished run, or replace whatever is there.
        skip_failed: whether to leave out samples that cannot be solved; their numbers are in the file's settings.
        progress: called with samples finished and their total. report: called with a line about each decision.

    Raises:
        ValueError: for an unknown family, option, solver or dtype, a solver for a family that is not linear, or
            numbers out of range.
        FormatError: for an existing output in the way, or one made with other settings than `resume` is to go on with.
        ConvergenceError: where samples cannot be solved, naming them; all others are kept in the parts folder.
    """
    began, path = time.perf_counter(), Path(path)
    _check(count, chunk_size, seed, dtype, tolerance)
    problem = make_problem(family, **dict(options or {}))
    settings: dict[str, Any] = {
        "family": family,
        "options": dict(options or {}),
        "seed": seed,
        "count": count,
        "dtype": dtype,
    }
    asked = _asked(problem, family, solver, tolerance)
    if asked is not None:
        settings.update(solver=asked, tolerance=tolerance)
        if asked != "auto" and isinstance(problem, LinearProblem):
            make_recipe(asked, problem)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} into.")
    folder = path.with_name(path.name + ".parts")
    if is_finished(path, folder, settings, _settings_of, resume=resume, overwrite=overwrite):
        remove_parts(folder)
        return _summary(path, read_fields(path).settings, count, began)
    with locked(folder):
        executor = executor or default_executor(problem)
        workers = int(getattr(executor, "workers", 1))
        told = report or (lambda line: None)
        try:
            run = _Run(problem, settings, folder, chunk_size, told, workers=workers, resume=resume)
        except Exception:
            # Nothing is worth going on with where not even a solver was found.
            if not (folder / "manifest.json").exists():
                remove_parts(folder)
            raise
        resumed = run.n_done
        run.solve(executor, progress, retry=not skip_failed)
        described = run.merge(path, skip_failed=skip_failed)
        remove_parts(folder)
    return _summary(path, described, resumed, began)


def default_executor(problem: Problem) -> Executor:
    """Threads for linear families, whose solvers run side by side; this thread for others, which use all cores.

    Even one thread is of use: it solves while this one waits for the disk.
    """
    return ThreadExecutor(available_cores()) if isinstance(problem, LinearProblem) else SerialExecutor()


def chosen_solver(
    problem: Problem,
    family: str,
    count: int,
    *,
    seed: int,
    solver: str | None,
    tolerance: float | None,
    workers: int = 1,
) -> SolverChoice | None:
    """The solver that `generate_fields` would take; `None` for a family that is not linear."""
    asked = _asked(problem, family, solver, tolerance)
    if asked is None or not isinstance(problem, LinearProblem):
        return None
    first = draw_inputs(problem, range(min(TRIAL, count)), seed=seed)
    with one_thread():
        return choose_solver(problem, first, asked=asked, tolerance=tolerance, count=count, workers=workers)


def natural_chunk(problem: Problem, choice: SolverChoice | None, count: int, workers: int) -> int:
    """Samples in a chunk: long chunks for fast systems, so that the disk is not waited for, but a few per worker.

    Where neighbours hand nothing over, no longer than the memory of one chunk can serve the next: above that, each
    chunk gets fresh pages from the system, which took a tenth of the time of fast solvers.
    """
    if choice is None:
        return _BATCH
    longest = _LONGEST_CHAIN
    if not choice.learns:
        bytes_each = 8 * math.prod(problem.grid.shape) * max(len(problem.input_names), len(problem.output_names))
        longest = max(_BATCH, min(longest, _CHUNK_BYTES // bytes_each))
    return max(min(-(-count // (4 * workers)), longest), min(_BATCH, count))


def sample_numbers(settings: Mapping[str, Any], held: int) -> list[int]:
    """Numbers of the samples that a generated file holds, in its order, from its settings."""
    left_out = set(settings.get("left_out", ()))
    return [number for number in range(held + len(left_out)) if number not in left_out]


def sorted_order(problem: LinearProblem, count: int, seed: int) -> tuple[Numbers, dict[str, Any]]:
    """All samples in an order in which neighbours resemble one another, and what that took.

    Inputs are drawn for it in blocks; of large sets of large fields only the low cosine modes are kept.
    """
    began, blocks = time.perf_counter(), []
    for first in range(0, count, 256):
        block = problem.features(draw_inputs(problem, range(first, min(first + 256, count)), seed=seed)).numpy()
        if 8 * count * block[0].size > _WHOLE_FEATURES:
            block = low_modes(block)
        blocks.append(block)
    drawn = time.perf_counter()
    sorting = sort_inputs(np.concatenate(blocks))
    figures = {
        "method": sorting.method,
        "seconds": sorting.seconds,
        "drawing_seconds": drawn - began,
        "mean_step_before": sorting.step_before,
        "mean_step": sorting.step_after,
    }
    return sorting.order, figures


def _check(count: int, chunk_size: int | None, seed: int, dtype: str, tolerance: float | None) -> None:
    if count < 1 or (chunk_size is not None and chunk_size < 1) or seed < 0 or dtype not in DTYPES:
        raise ValueError(
            f"count={count} and chunk_size={chunk_size} must be at least 1, seed={seed} at least 0, dtype={dtype!r} "
            "float32 or float64."
        )
    check_tolerance(tolerance)


def _asked(problem: Problem, family: str, solver: str | None, tolerance: float | None) -> str | None:
    """The solver asked for; `None` for a family that has no choice."""
    if isinstance(problem, LinearProblem):
        return solver or "auto"
    if solver is not None or tolerance is not None:
        what = f"solver {solver!r}" if solver is not None else f"tolerance {tolerance:g}"
        makers = {name: known.make for name, known in PROBLEMS.items()}
        linear = [name for name, made in makers.items() if isinstance(made, type) and issubclass(made, LinearProblem)]
        raise ValueError(f"{family} takes no {what}: families of linear systems do, {', '.join(linear)}.")
    return None


def _settings_of(path: Path) -> dict[str, Any]:
    """Settings that a second run must repeat."""
    return {key: value for key, value in read_fields(path).settings.items() if key not in _PROVENANCE}


def _summary(path: Path, described: Mapping[str, Any], resumed: int, began: float) -> FieldGeneration:
    left_out = tuple(described.get("left_out", ()))
    count = int(described["count"]) - len(left_out)
    seconds = time.perf_counter() - began
    solver, sorting = described.get("solved_by"), described.get("sorted_by")
    return FieldGeneration(path, count, min(resumed, count), seconds, left_out, solver, sorting)


@dataclass
class _Failures:
    """Numbers of samples that could not be solved, with the reasons that this run was given."""

    notes: dict[int, str] = field(default_factory=dict)

    def sentence(self, count: int, folder: Path) -> str:
        numbers = sorted(self.notes)
        shown = ", ".join(map(str, numbers[:20])) + (f" and {len(numbers) - 20} more" if len(numbers) > 20 else "")
        reason = self.notes[numbers[0]].rstrip(".")
        return (
            f"{len(numbers)} of {count} samples could not be solved: {shown} (sample {numbers[0]}: {reason}). "
            f"The others are kept in {folder}; go on with --resume --skip-failed to leave these out, or with --resume "
            "to try again."
        )


class _Run:
    """One generation at work on its folder of parts."""

    def __init__(
        self,
        problem: Problem,
        settings: dict[str, Any],
        folder: Path,
        chunk_size: int | None,
        report: Callable[[str], None],
        *,
        workers: int,
        resume: bool,
    ) -> None:
        self._problem, self._settings, self._count = problem, settings, int(settings["count"])
        self._choice: SolverChoice | None = None
        self._sorting: dict[str, Any] | None = None
        self._order: Numbers = np.arange(self._count)
        self._failures = _Failures()
        shared = {**settings, "parts_version": _PARTS_VERSION}
        if resume and (folder / "manifest.json").exists():
            # The first run's choices hold: a solution may depend on its solver, and on its batch in the last bit.
            self._parts = PartsFolder.resume(folder, shared, free=frozenset({"chunk_size", "solved_by"}))
            if self._parts.settings.get("solved_by"):
                self._choice = SolverChoice.from_document(self._parts.settings["solved_by"])
        else:
            seed, solver, tolerance = settings["seed"], settings.get("solver"), settings.get("tolerance")
            family = str(settings["family"])
            self._choice = chosen_solver(
                problem, family, self._count, seed=seed, solver=solver, tolerance=tolerance, workers=workers
            )
            size = chunk_size or natural_chunk(problem, self._choice, self._count, workers)
            solved_by = self._choice.document() if self._choice is not None else None
            self._parts = PartsFolder.start(folder, {**shared, "chunk_size": size, "solved_by": solved_by})
        if self._choice is not None:
            report(str(self._choice))
        self._state = np.zeros(self._count, dtype=bool)
        for part in self._parts.finished:
            held = self._parts.read(part)
            self._state[held["numbers"]] = True
            self._failures.notes.update({int(number): "as in an earlier run" for number in held["failed"]})
        for number in np.nonzero(self._state)[0]:
            self._failures.notes.pop(int(number), None)
        self._report = report

    @property
    def n_done(self) -> int:
        return int(self._state.sum())

    def _chunks(self, wanted: NDArray[np.bool_]) -> list[tuple[int, Numbers]]:
        """Part numbers and samples of what is to be solved."""
        size = int(self._parts.settings["chunk_size"])
        if self._choice is not None and self._choice.learns and isinstance(self._problem, LinearProblem):
            self._order, self._sorting = sorted_order(self._problem, self._count, int(self._settings["seed"]))
            change = self._sorting["mean_step"] / max(self._sorting["mean_step_before"], 1e-300)
            self._report(
                f"sorted {self._count} inputs ({self._sorting['method']}) in {self._sorting['seconds']:.2f} s, "
                f"drawn in {self._sorting['drawing_seconds']:.2f} s; mean step {change:.2f} of the unsorted"
            )
            chunks = consecutive_chunks(self._order, -(-self._count // size))
        else:
            chunks = [self._order[first : first + size] for first in range(0, self._count, size)]
        chosen, free = [], max([len(chunks), *(part + 1 for part in self._parts.finished)])
        for number, chunk in enumerate(chunks):
            missing = chunk[wanted[chunk]]
            if len(missing):
                if number in self._parts.finished:
                    number, free = free, free + 1
                chosen.append((number, missing))
        return chosen

    def solve(self, executor: Executor, progress: Callable[[int, int], None] | None, *, retry: bool) -> None:
        """Solve what is missing, part by part; `retry` what failed in an earlier run."""
        wanted = ~self._state
        if not retry:
            wanted[list(self._failures.notes)] = False
        chunks = self._chunks(wanted) if wanted.any() else []
        if progress is not None:
            progress(self.n_done, self._count)
        solver = FieldSolver(
            str(self._settings["family"]),
            self._settings["options"],
            int(self._settings["seed"]),
            str(self._settings["dtype"]),
            self._choice.solver if self._choice is not None else None,
            self._choice.tolerance if self._choice is not None else None,
        )
        for place, arrays in executor.map_batches(solver, [chunk for _, chunk in chunks]):
            notes = arrays.pop("notes")
            for number in arrays["numbers"]:
                self._failures.notes.pop(int(number), None)
            self._failures.notes.update(zip(arrays["failed"].tolist(), notes, strict=True))
            self._parts.add(chunks[place][0], arrays)
            self._state[arrays["numbers"]] = True
            if progress is not None:
                progress(self.n_done, self._count)

    def merge(self, path: Path, *, skip_failed: bool) -> dict[str, Any]:
        """Write the file from the parts; the settings that it got."""
        failed = sorted(self._failures.notes)
        if failed and (not skip_failed or len(failed) == self._count):
            raise ConvergenceError(self._failures.sentence(self._count, self._parts.path))
        described = dict(self._settings)
        if self._choice is not None:
            described["solved_by"] = self._choice.document()
        if self._sorting is not None:
            described["sorted_by"] = self._sorting
        if failed:
            described["left_out"] = failed
            self._report(f"left out what could not be solved, samples {', '.join(map(str, failed))}")
        kept = np.setdiff1d(np.arange(self._count), failed)

        def places() -> Iterator[tuple[FieldDataset, Numbers]]:
            for held in self._parts.read_all():
                if len(held["numbers"]):
                    yield self._dataset(held, described), np.searchsorted(kept, held["numbers"])

        write_placed_fields(path, places(), len(kept), name=str(self._settings["family"]))
        return described

    def _dataset(self, held: Mapping[str, np.ndarray], described: Mapping[str, Any]) -> FieldDataset:
        problem = self._problem
        return FieldDataset(
            torch.as_tensor(held["inputs"]),
            torch.as_tensor(held["outputs"]),
            problem.grid,
            problem.input_grid,
            problem.input_names,
            problem.output_names,
            times=(0.0, *problem.times) if problem.times else (),
            settings=described,
        )
