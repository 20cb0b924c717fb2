"""Making a file of snapshots: spread the strains, keep each finished part, merge all of them into one file.

The solver is an argument; what it solves is not known here.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from equipoise.data.cost_model import GenerationPlan, plan_generation
from equipoise.data.executors import Executor, SerialExecutor
from equipoise.data.parts import PartsFolder, is_finished, locked, open_parts, remove_parts
from equipoise.data.snapshots import CellRecord
from equipoise.data.store import FORMAT_VERSION, SnapshotWriter, check_arrays, inspect
from equipoise.errors import ConvergenceError

__all__ = ["GenerationSummary", "Solve", "generate_snapshots", "plan_snapshots"]

Solve = Callable[[torch.Tensor], Mapping[str, np.ndarray]]
"""From strains `(n, v)` to the arrays of `Snapshots` by name, and `converged` `(n,)` where solves can fail."""

_FAILED = "failed"
_NOT_KEPT = ("converged", "residual", "seconds")


@dataclass(frozen=True)
class GenerationSummary:
    """What `generate_snapshots` did.

    Attributes:
        path: the file. count: its snapshots. resumed: how many of them an earlier run had made.
        seconds: wall time of this run.
        iterations_mean, iterations_max: Newton iterations per snapshot.
        mesh_fingerprint, material_fingerprint: of the cell.
        left_out: numbers of the strains that could not be solved.
    """

    path: Path
    count: int
    resumed: int
    seconds: float
    iterations_mean: float
    iterations_max: int
    mesh_fingerprint: str
    material_fingerprint: str
    left_out: tuple[int, ...] = ()


def generate_snapshots(
    solve: Solve,
    strains: torch.Tensor,
    path: str | Path,
    *,
    cell: CellRecord,
    settings: Mapping[str, Any] | None = None,
    chunk_size: int = 8,
    executor: Executor | None = None,
    resume: bool = False,
    overwrite: bool = False,
    compression: int = 0,
    skip_failed: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> GenerationSummary:
    """Solve for every strain and write one snapshot file, which appears when it is whole.

    Finished chunks are kept in `<path>.parts/` until then. After a stop or a kill at any moment, `resume=True` goes on
    with nothing lost or done twice, and the file comes out the same as without the interruption.

    Args:
        solve: from a batch of strains to arrays; must be picklable for executors that use other processes.
        strains: macroscopic strains, `(m, v)`, engineering shear.
        path: file to write. cell: the cell that `solve` solves.
        settings: how the strains were drawn, plain JSON values; kept in the file and compared when resuming.
        chunk_size: strains in a batch of work; when resuming, that of the first run holds.
        executor: where batches run; in this process by default.
        resume: go on with an interrupted run; starts one if there is none, and does nothing if the file is whole.
        overwrite: replace an existing file or unfinished run.
        compression: gzip level, 0 (none) to 9.
        skip_failed: whether to leave out strains that cannot be solved; their numbers are in the file's settings.
        progress: called with snapshots finished and their total.

    Raises:
        ValueError: for bad strains or options.
        FormatError: for an existing output in the way, or one made with other settings than `resume` is to go on with.
        ConvergenceError: naming the samples that could not be solved; all finished chunks are kept.
        WorkerError: from the executor.
    """
    began = time.perf_counter()
    path = Path(path)
    strains = _checked(strains, cell, path, chunk_size, compression)
    shared = {
        **dict(settings or {}),
        "format_version": FORMAT_VERSION,
        "count": len(strains),
        "strains_sha256": hashlib.sha256(np.ascontiguousarray(strains.numpy()).tobytes()).hexdigest(),
        "mesh_fingerprint": cell.mesh.fingerprint,
        "material_fingerprint": cell.material_fingerprint,
    }
    folder = path.with_name(path.name + ".parts")
    if is_finished(path, folder, shared, _settings_of, resume=resume, overwrite=overwrite):
        remove_parts(folder)
        return _summary(path, len(strains), time.perf_counter() - began)
    with locked(folder):
        parts = open_parts(folder, {**shared, "chunk_size": chunk_size}, resume=resume)
        run = _solve_missing(solve, strains, parts, cell, executor or SerialExecutor(), progress, retry=not skip_failed)
        resumed, failed = run
        if failed and (not skip_failed or len(failed) == len(strains)):
            raise ConvergenceError(_failures(failed, strains, parts))
        described = {**shared, "left_out": sorted(failed)} if failed else shared
        count, scratch = len(strains) - len(failed), folder / "merged.unfinished"
        with SnapshotWriter(path, cell, count, settings=described, compression=compression, scratch=scratch) as writer:
            for number in sorted(parts.finished):
                arrays = parts.read(number)
                if len(arrays["strain"]):
                    writer.append({name: values for name, values in arrays.items() if name != _FAILED})
        remove_parts(folder)
    return _summary(path, resumed, time.perf_counter() - began)


def plan_snapshots(
    solve: Solve,
    strains: torch.Tensor,
    *,
    cell: CellRecord,
    settings: Mapping[str, Any] | None = None,
    chunk_size: int = 8,
    executor: Executor | None = None,
    compression: int = 0,
) -> GenerationPlan:
    """Expected time, memory and bytes of `generate_snapshots` with the same arguments; nothing is written.

    Raises:
        As `generate_snapshots`.
    """
    strains = torch.as_tensor(strains)
    executor = executor or SerialExecutor()

    def generate(samples: int, path: Path, chunk: int) -> object:
        # Spread over all strains, as those may be in some order; where there are too few, they come again.
        rows = torch.linspace(0, len(strains) - 1, samples).round().long()
        options: dict[str, Any] = {"settings": settings, "chunk_size": chunk, "executor": executor}
        return generate_snapshots(solve, strains[rows], path, cell=cell, compression=compression, **options)

    workers = int(getattr(executor, "workers", 1))
    return plan_generation(generate, len(strains), chunk_size=chunk_size, workers=workers, executor=executor)


def _checked(strains: torch.Tensor, cell: CellRecord, path: Path, chunk_size: int, compression: int) -> torch.Tensor:
    strains = torch.as_tensor(strains, dtype=torch.float64).cpu()
    components = {2: 3, 3: 6}[cell.mesh.dim]
    if strains.ndim != 2 or strains.shape[1] != components or len(strains) == 0:
        raise ValueError(f"strains have shape {tuple(strains.shape)}; expected (m, {components}) with m at least 1.")
    finite = torch.isfinite(strains).all(dim=1)
    if not bool(finite.all()):
        row = int(torch.argmin(finite.to(torch.int8)))
        raise ValueError(f"strain {row} is {strains[row].tolist()}; every component must be finite.")
    if chunk_size < 1:
        raise ValueError(f"chunk_size={chunk_size} must be at least 1.")
    if not 0 <= compression <= 9:
        raise ValueError(f"compression={compression} must lie between 0 (none) and 9.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} into.")
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give the name of a file to write.")
    return strains


def _settings_of(path: Path) -> Mapping[str, Any]:
    return {name: value for name, value in inspect(path)["settings"].items() if name != "left_out"}


def _solve_missing(
    solve: Solve,
    strains: torch.Tensor,
    parts: PartsFolder,
    cell: CellRecord,
    executor: Executor,
    progress: Callable[[int, int], None] | None,
    *,
    retry: bool,
) -> tuple[int, dict[int, float]]:
    """Solve the chunks that are not finished, and with `retry` those of which a sample failed.

    Returns:
        How many samples were finished before, and the residuals of those that failed.
    """
    chunks = list(torch.split(strains, int(parts.settings["chunk_size"])))
    first = np.cumsum([0] + [len(chunk) for chunk in chunks])
    failed: dict[int, float] = {}
    faulty = set()
    for number in sorted(parts.finished):
        if len(rows := parts.read(number).get(_FAILED, ())):
            faulty.add(number)
            failed.update({} if retry else {int(row): math.nan for row in rows})
    missing = [n for n in range(len(chunks)) if n not in parts.finished or (retry and n in faulty)]
    done = resumed = len(strains) - sum(len(chunks[number]) for number in missing)
    if progress is not None:
        progress(done, len(strains))
    for place, answer in executor.map_batches(solve, [chunks[number] for number in missing]):
        number = missing[place]
        arrays = {name: np.asarray(values) for name, values in answer.items()}
        converged = arrays.get("converged", np.ones(len(chunks[number]), dtype=bool))
        residual = arrays.get("residual", np.full(len(converged), np.nan))
        bad = np.nonzero(~converged)[0]
        failed.update({int(first[number] + row): float(residual[row]) for row in bad})
        kept = {name: values[converged] for name, values in arrays.items() if name not in _NOT_KEPT}
        kept["strain"] = chunks[number].numpy()[converged]
        check_arrays(kept, cell, first=int(first[number]))
        parts.add(number, {**kept, _FAILED: first[number] + bad})
        done += len(chunks[number])
        if progress is not None:
            progress(done, len(strains))
    return resumed, failed


def _failures(failed: Mapping[int, float], strains: torch.Tensor, parts: PartsFolder) -> str:
    numbers = sorted(failed)
    shown = ", ".join(map(str, numbers[:20])) + (f" and {len(numbers) - 20} more" if len(numbers) > 20 else "")
    return (
        f"{len(failed)} of {len(strains)} samples did not converge, first sample {numbers[0]} at strain "
        f"{strains[numbers[0]].tolist()} (relative residual {failed[numbers[0]]:.1e}): {shown}. Finished chunks are "
        f"kept in {parts.path}; go on with --resume --skip-failed to leave these out, or use a smaller box."
    )


def _summary(path: Path, resumed: int, seconds: float) -> GenerationSummary:
    described = inspect(path)
    return GenerationSummary(
        path=path,
        count=described["count"],
        resumed=resumed,
        seconds=seconds,
        iterations_mean=described["iterations_mean"],
        iterations_max=described["iterations_max"],
        mesh_fingerprint=described["mesh_fingerprint"],
        material_fingerprint=described["material_fingerprint"],
        left_out=tuple(described["settings"].get("left_out", ())),
    )
