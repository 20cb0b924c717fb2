"""Making snapshot files: whatever interrupts it, each sample is there once and the file is the same."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stand_in_solver import StandIn

from equipoise.data.executors import ProcessExecutor
from equipoise.data.generate import generate_snapshots
from equipoise.data.parts import locked
from equipoise.data.sampling import latin_hypercube, symmetric_box
from equipoise.data.snapshot_solver import SnapshotSolver
from equipoise.data.snapshots import CellRecord
from equipoise.data.store import read_snapshots
from equipoise.errors import ConvergenceError, FormatError
from equipoise.problems.mechanics.materials import paper_materials
from equipoise.spaces.cells import fibre_cell

STRAINS = latin_hypercube(30, symmetric_box(0.04, 3), seed=1)


@dataclass
class Slow:
    """The stand-in, with a pause, and a line in a file for each call."""

    solve: StandIn
    log: Path
    pause: float = 0.0

    def __call__(self, strain: torch.Tensor) -> dict[str, np.ndarray]:
        with open(self.log, "a") as file:
            file.write(f"{float(strain[0, 0])!r}\n")
        time.sleep(self.pause)
        return self.solve(strain)


@dataclass
class Interrupted:
    """The stand-in, raising at the n-th call."""

    solve: StandIn
    calls: int

    def __call__(self, strain: torch.Tensor) -> dict[str, np.ndarray]:
        self.calls -= 1
        if self.calls < 0:
            raise KeyboardInterrupt
        return self.solve(strain)


@pytest.fixture
def uninterrupted(tmp_path: Path, plane_record: CellRecord) -> bytes:
    """Bytes of the file that an uninterrupted run makes."""
    (tmp_path / "whole").mkdir()
    path = tmp_path / "whole" / "snapshots.h5"
    generate_snapshots(StandIn(plane_record.mesh), STRAINS, path, cell=plane_record, chunk_size=2)
    return path.read_bytes()


def test_file_holds_every_strain_once_with_its_own_solution(tmp_path: Path, record: CellRecord) -> None:
    components = {2: 3, 3: 6}[record.mesh.dim]
    strains = latin_hypercube(11, symmetric_box(0.04, components), seed=0)
    done = []
    summary = generate_snapshots(
        StandIn(record.mesh),
        strains,
        tmp_path / "s.h5",
        cell=record,
        chunk_size=4,
        settings={"sampling": "lhs", "seed": 0},
        progress=lambda count, total: done.append((count, total)),
    )
    snapshots = read_snapshots(tmp_path / "s.h5", cell=record)
    assert torch.equal(snapshots.strain, strains)
    assert torch.equal(snapshots.stress, torch.from_numpy(StandIn(record.mesh)(strains)["stress"]))
    assert snapshots.settings["seed"] == 0
    assert done == [(0, 11), (4, 11), (8, 11), (11, 11)]
    assert (summary.count, summary.resumed, summary.iterations_max) == (11, 0, 3)
    assert [file.name for file in tmp_path.iterdir()] == ["s.h5"]


def test_killed_at_random_moments_and_resumed_the_file_is_the_same(
    tmp_path: Path, plane_record: CellRecord, uninterrupted: bytes
) -> None:
    path, log = tmp_path / "snapshots.h5", tmp_path / "log"
    solve = Slow(StandIn(plane_record.mesh), log, pause=0.004)
    context = multiprocessing.get_context("fork")
    generator = np.random.default_rng(0)
    kills = 0
    for attempt in range(200):
        process = context.Process(
            target=generate_snapshots,
            args=(solve, STRAINS, path),
            kwargs={"cell": plane_record, "chunk_size": 2, "resume": True},
        )
        process.start()
        # Later and later kills, so that the last stretch, which must run in one go, is hit and then passed.
        process.join(generator.uniform(0.0, 0.02 + 0.02 * attempt))
        if not process.is_alive():
            break
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        kills += 1
    assert process.exitcode == 0
    assert kills >= 3
    assert path.read_bytes() == uninterrupted
    assert {file.name for file in tmp_path.iterdir()} == {"snapshots.h5", "log", "whole"}
    # A chunk is solved again only where a kill fell between its beginning and its rename.
    assert len(log.read_text().splitlines()) <= 15 + kills


@pytest.mark.parametrize("calls", [0, 1, 14])
def test_interrupted_run_goes_on_where_it_stopped(
    tmp_path: Path, plane_record: CellRecord, uninterrupted: bytes, calls: int
) -> None:
    path = tmp_path / "snapshots.h5"
    with pytest.raises(KeyboardInterrupt):
        generate_snapshots(
            Interrupted(StandIn(plane_record.mesh), calls), STRAINS, path, cell=plane_record, chunk_size=2
        )
    assert not path.exists()
    log = tmp_path / "log"
    # The chunk size of the first run holds, whatever is asked for now.
    summary = generate_snapshots(
        Slow(StandIn(plane_record.mesh), log), STRAINS, path, cell=plane_record, chunk_size=7, resume=True
    )
    assert summary.resumed == 2 * calls
    assert len(log.read_text().splitlines()) == 15 - calls
    assert path.read_bytes() == uninterrupted


def test_damaged_part_is_made_anew(tmp_path: Path, plane_record: CellRecord, uninterrupted: bytes) -> None:
    path = tmp_path / "snapshots.h5"
    with pytest.raises(KeyboardInterrupt):
        generate_snapshots(Interrupted(StandIn(plane_record.mesh), 5), STRAINS, path, cell=plane_record, chunk_size=2)
    part = sorted((tmp_path / "snapshots.h5.parts").glob("*.safetensors"))[3]
    contents = bytearray(part.read_bytes())
    contents[-3] ^= 1
    part.write_bytes(contents)
    summary = generate_snapshots(
        StandIn(plane_record.mesh), STRAINS, path, cell=plane_record, chunk_size=2, resume=True
    )
    assert summary.resumed == 8
    assert path.read_bytes() == uninterrupted


@pytest.mark.parametrize("is_whole", [False, True], ids=["unfinished", "finished"])
def test_resuming_with_other_settings_names_the_difference(
    tmp_path: Path, plane_record: CellRecord, is_whole: bool
) -> None:
    path, solve = tmp_path / "s.h5", Interrupted(StandIn(plane_record.mesh), 99 if is_whole else 2)
    if is_whole:
        generate_snapshots(solve, STRAINS, path, cell=plane_record, settings={"seed": 1})
    else:
        with pytest.raises(KeyboardInterrupt):
            generate_snapshots(solve, STRAINS, path, cell=plane_record, settings={"seed": 1})
    with pytest.raises(FormatError, match="seed was 1 and is now 2"):
        generate_snapshots(solve, STRAINS, path, cell=plane_record, settings={"seed": 2}, resume=True)
    with pytest.raises(FormatError, match="count was 30 and is now 29"):
        generate_snapshots(solve, STRAINS[1:], path, cell=plane_record, settings={"seed": 1}, resume=True)
    with pytest.raises(FormatError, match="strains_sha256 was"):
        generate_snapshots(solve, STRAINS.flip(0), path, cell=plane_record, settings={"seed": 1}, resume=True)
    other = CellRecord(plane_record.mesh, plane_record.materials, "e" * 64)
    with pytest.raises(FormatError, match=r"material_fingerprint was ffff.* and is now eeee"):
        generate_snapshots(solve, STRAINS, path, cell=other, settings={"seed": 1}, resume=True)


def test_resuming_a_finished_run_solves_nothing(tmp_path: Path, plane_record: CellRecord) -> None:
    path = tmp_path / "s.h5"
    generate_snapshots(StandIn(plane_record.mesh), STRAINS, path, cell=plane_record)
    before = path.stat()
    summary = generate_snapshots(
        Interrupted(StandIn(plane_record.mesh), 0), STRAINS, path, cell=plane_record, resume=True
    )
    assert (summary.count, summary.resumed) == (30, 30)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_existing_output_is_replaced_only_when_asked(tmp_path: Path, plane_record: CellRecord) -> None:
    path, solve = tmp_path / "s.h5", StandIn(plane_record.mesh)
    generate_snapshots(solve, STRAINS, path, cell=plane_record)
    with pytest.raises(FormatError, match=r"s\.h5 exists already"):
        generate_snapshots(solve, STRAINS[:3], path, cell=plane_record)
    generate_snapshots(solve, STRAINS[:3], path, cell=plane_record, overwrite=True)
    assert len(read_snapshots(path)) == 3
    with pytest.raises(KeyboardInterrupt):
        generate_snapshots(Interrupted(solve, 1), STRAINS, path, cell=plane_record, overwrite=True)
    assert len(read_snapshots(path)) == 3, "the older file stays until the new one is whole"
    assert generate_snapshots(solve, STRAINS, path, cell=plane_record, resume=True).resumed == 8
    assert len(read_snapshots(path)) == 30


def test_unfinished_run_is_not_mixed_with_a_new_one(tmp_path: Path, plane_record: CellRecord) -> None:
    path, solve = tmp_path / "s.h5", StandIn(plane_record.mesh)
    with pytest.raises(KeyboardInterrupt):
        generate_snapshots(Interrupted(solve, 1), STRAINS, path, cell=plane_record)
    with pytest.raises(FormatError, match="holds an unfinished generation"):
        generate_snapshots(solve, STRAINS, path, cell=plane_record)
    assert generate_snapshots(solve, STRAINS, path, cell=plane_record, overwrite=True).resumed == 0


def test_two_processes_cannot_fill_the_same_file(tmp_path: Path, plane_record: CellRecord) -> None:
    with (
        locked(tmp_path / "s.h5.parts"),
        pytest.raises(FormatError, match="another process is at work"),
    ):
        generate_snapshots(StandIn(plane_record.mesh), STRAINS, tmp_path / "s.h5", cell=plane_record, resume=True)


@dataclass
class Faulty:
    """The stand-in, with one answer spoilt."""

    solve: StandIn
    name: str
    value: float

    def __call__(self, strain: torch.Tensor) -> dict[str, np.ndarray]:
        answer = self.solve(strain)
        row = np.nonzero((strain == STRAINS[12]).all(dim=1).numpy())[0]
        answer[self.name][row] = self.value
        return answer


def test_sample_that_did_not_converge_is_named_and_the_others_are_kept(
    tmp_path: Path, plane_record: CellRecord
) -> None:
    solve, path = StandIn(plane_record.mesh), tmp_path / "s.h5"
    with pytest.raises(ConvergenceError, match="1 of 30 samples did not converge, first sample 12 at strain"):
        generate_snapshots(Faulty(solve, "converged", 0), STRAINS, path, cell=plane_record, chunk_size=2)
    assert not path.exists()
    made = generate_snapshots(solve, STRAINS, path, cell=plane_record, resume=True)
    assert (made.resumed, made.count, made.left_out) == (28, 30, ())


def test_samples_that_did_not_converge_are_left_out_where_that_is_allowed(
    tmp_path: Path, plane_record: CellRecord
) -> None:
    faulty, path = Faulty(StandIn(plane_record.mesh), "converged", 0), tmp_path / "s.h5"
    with pytest.raises(ConvergenceError, match=r": 12\. Finished chunks are kept .* --resume --skip-failed"):
        generate_snapshots(faulty, STRAINS, path, cell=plane_record, chunk_size=4)
    options: dict[str, Any] = {"cell": plane_record, "resume": True, "skip_failed": True}
    made = generate_snapshots(faulty, STRAINS, path, **options)
    assert (made.count, made.left_out) == (29, (12,))
    data = read_snapshots(path)
    assert torch.equal(data.strain, torch.cat([STRAINS[:12], STRAINS[13:]]))
    assert data.settings["left_out"] == [12]
    assert generate_snapshots(faulty, STRAINS, path, **options).left_out == (12,)


def test_answer_that_is_not_finite_names_its_sample(tmp_path: Path, plane_record: CellRecord) -> None:
    solve = Faulty(StandIn(plane_record.mesh), "stress", np.nan)
    with pytest.raises(ValueError, match="stress of sample 12 is not finite"):
        generate_snapshots(solve, STRAINS, tmp_path / "s.h5", cell=plane_record, chunk_size=5)


@pytest.mark.parametrize(
    ("strains", "options", "words"),
    [
        (STRAINS[:, :2], {}, r"expected \(m, 3\)"),
        (STRAINS[:0], {}, "with m at least 1"),
        (torch.tensor([[0.0, 0.0, 0.0], [0.0, torch.nan, 0.0]]), {}, "strain 1 is"),
        (STRAINS, {"chunk_size": 0}, "chunk_size=0"),
        (STRAINS, {"compression": 11}, "compression=11"),
    ],
)
def test_bad_requests_are_refused_before_work_starts(
    tmp_path: Path, plane_record: CellRecord, strains: torch.Tensor, options: dict[str, int], words: str
) -> None:
    solve = Interrupted(StandIn(plane_record.mesh), 0)
    with pytest.raises(ValueError, match=words):
        generate_snapshots(solve, strains, tmp_path / "s.h5", cell=plane_record, **options)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_output_without_a_folder_is_refused(tmp_path: Path, plane_record: CellRecord) -> None:
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        generate_snapshots(StandIn(plane_record.mesh), STRAINS, tmp_path / "no/s.h5", cell=plane_record)
    with pytest.raises(ValueError, match="is a folder"):
        generate_snapshots(StandIn(plane_record.mesh), STRAINS, tmp_path, cell=plane_record)


@dataclass
class Dying:
    """The stand-in, killing its process at the first sight of sample 12."""

    solve: StandIn
    mark: Path

    def __call__(self, strain: torch.Tensor) -> dict[str, np.ndarray]:
        if bool((strain == STRAINS[12]).all(dim=1).any()) and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.solve(strain)


def test_two_processes_of_which_one_is_killed_make_the_same_file(
    tmp_path: Path, plane_record: CellRecord, uninterrupted: bytes
) -> None:
    path = tmp_path / "snapshots.h5"
    solve = Dying(StandIn(plane_record.mesh), tmp_path / "killed")
    with ProcessExecutor(2) as executor:
        generate_snapshots(solve, STRAINS, path, cell=plane_record, chunk_size=2, executor=executor)
    assert (tmp_path / "killed").exists()
    assert path.read_bytes() == uninterrupted


def test_unit_cell_solved_in_processes_gives_the_same_bits_as_here(tmp_path: Path) -> None:
    solve = SnapshotSolver(fibre_cell(n=2), paper_materials())
    record, threads = CellRecord.of(solve.cell), torch.get_num_threads()
    (tmp_path / "here").mkdir()
    torch.set_num_threads(1)
    try:
        generate_snapshots(solve, STRAINS[:6], tmp_path / "here/s.h5", cell=record, chunk_size=3)
    finally:
        torch.set_num_threads(threads)
    with ProcessExecutor(2) as executor:
        generate_snapshots(solve, STRAINS[:6], tmp_path / "s.h5", cell=record, chunk_size=3, executor=executor)
    assert (tmp_path / "s.h5").read_bytes() == (tmp_path / "here/s.h5").read_bytes()


def test_stored_stress_of_a_unit_cell_is_in_equilibrium_and_averages_to_the_homogenised_one(tmp_path: Path) -> None:
    solve = SnapshotSolver(fibre_cell(n=2), paper_materials())
    cell = solve.cell
    generate_snapshots(solve, STRAINS[:3], tmp_path / "s.h5", cell=CellRecord.of(cell))
    snapshots = read_snapshots(tmp_path / "s.h5", cell=cell)
    scale = cell.force_magnitude(snapshots.stress).norm(dim=1)
    assert float((cell.force(snapshots.stress).norm(dim=1) / scale).max()) < 1e-10
    assert torch.allclose(cell.average(snapshots.stress), snapshots.homogenised_stress, rtol=1e-12)
    strain = cell.strain(snapshots.strain, cell.restrict(snapshots.fluctuation))
    assert torch.allclose(cell.law.stress(strain), snapshots.stress, rtol=1e-10, atol=1e-12)
