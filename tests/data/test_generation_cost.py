"""Plans of generations: what they say beside what then happens."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from equipoise.data.cost_model import _busiest, plan_generation
from equipoise.data.field_plan import plan_fields
from equipoise.data.generate_fields import generate_fields

MIB = 1 << 20


class Machine:
    """Generation on a clock of its own: set-up, a cost for each chunk and each sample, several workers."""

    def __init__(self, workers: int, *, setup: float, chunk: float, sample: float, start: float) -> None:
        self.now, self.workers, self.is_cold = 0.0, workers, True
        self.setup, self.chunk, self.sample, self.start = setup, chunk, sample, start

    def __call__(self, count: int, path: Path, chunk_size: int) -> None:
        free = [0.0] * self.workers
        for first in range(0, count, chunk_size):
            worker = free.index(min(free))
            free[worker] += self.chunk + self.sample * min(chunk_size, count - first)
        self.now += self.setup + max(free) + (self.start if self.is_cold else 0.0)
        self.is_cold = False
        path.write_bytes(bytes(1000 + 64 * count))


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("sample", [1e-4, 3e-2, 4.0])
@pytest.mark.parametrize(("count", "chunk_size"), [(1000, 16), (37, 8), (3, 16)])
def test_plan_is_within_30_percent_on_a_machine_without_noise(
    workers: int, sample: float, count: int, chunk_size: int
) -> None:
    costs = {"setup": 0.2, "chunk": 0.01, "sample": sample, "start": 1.5}
    planning = Machine(workers, **costs)
    plan = plan_generation(
        planning, count, chunk_size=chunk_size, workers=workers, clock=lambda: planning.now, extra_seconds=0.25
    )
    actual = Machine(workers, **costs)
    actual(count, Path("/dev/null"), chunk_size)
    assert plan.seconds == pytest.approx(actual.now + 0.25, rel=0.3)
    assert plan.bytes_on_disk == 1000 + 64 * count
    assert plan.peak_bytes_on_disk == 2 * plan.bytes_on_disk


@pytest.mark.parametrize(
    ("count", "chunk", "workers", "expected"),
    [(10, 4, 1, 10), (12, 4, 3, 4), (13, 4, 3, 5), (16, 4, 3, 8), (3, 16, 2, 3), (7, 4, 2, 4)],
)
def test_busiest_worker_has_the_rounds_and_the_rest(count: int, chunk: int, workers: int, expected: int) -> None:
    assert _busiest(count, chunk, workers) == expected


@pytest.mark.parametrize(("family", "solver"), [("darcy", "direct"), ("darcy", "skr"), ("burgers", None)])
def test_bytes_of_a_family_are_what_its_file_has(tmp_path: Path, family: str, solver: str | None) -> None:
    options: dict[str, Any] = {"options": {"resolution": 16}, "solver": solver}
    plan = plan_fields(family, 90, **options)
    generate_fields(family, 90, tmp_path / "d.h5", **options)
    # The settings in the file hold timings, whose digits vary, and HDF5 allots space in pieces: how many a small file
    # has depends on the samples that the plan had time for.
    assert plan.bytes_on_disk == pytest.approx((tmp_path / "d.h5").stat().st_size, rel=0.02, abs=2048)
    assert plan.measured > 0
    assert (plan.seconds > 0, plan.notes != ()) == (True, solver is not None)


def command(*words: object) -> dict[str, Any]:
    run = [sys.executable, "-c", "from equipoise.cli.main import main; main()", "generate", *map(str, words), "--json"]
    answer: dict[str, Any] = json.loads(subprocess.run(run, check=True, capture_output=True, text=True).stdout)
    return answer


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("darcy", "--resolution", 65, "--solver", "direct", "-n", 600),
        ("darcy", "--resolution", 65, "--solver", "skr", "-n", 200),
        ("burgers", "--resolution", 128, "-n", 150),
        ("rve", "--mesh", "fibre:n=4", "-n", 150),
    ],
    ids=lambda words: f"{words[0]}-{words[4] if '--solver' in words else 'default'}",
)
def test_plan_is_within_30_percent_of_what_then_happens(tmp_path: Path, words: tuple[object, ...]) -> None:
    # A machine that does other things at the same time disturbs single runs; several chances, and the ratio of the
    # best of either.
    planned, taken = math.inf, math.inf
    for attempt in range(4):
        plan = command(*words, "--plan")
        assert list(tmp_path.iterdir()) == []
        made = command(*words, "-o", tmp_path / "d.h5")
        size = (tmp_path / "d.h5").stat().st_size
        (tmp_path / "d.h5").unlink()
        assert plan["bytes_on_disk"] == pytest.approx(size, rel=0.02)
        if "peak_memory_bytes" in made:
            assert plan["peak_memory_bytes"] == pytest.approx(made["peak_memory_bytes"], rel=0.3)
        planned, taken = min(planned, plan["seconds"]), min(taken, made["seconds"])
        if any(plan["seconds"] == pytest.approx(one, rel=0.3) for one in (made["seconds"], taken)):
            return
        time.sleep(attempt)
    assert planned == pytest.approx(taken, rel=0.3)
