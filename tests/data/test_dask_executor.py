"""Batches of work on a Dask cluster."""

from __future__ import annotations

import builtins
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from equipoise.data.dask_executor import DaskExecutor
from equipoise.errors import WorkerError


def double(number: int) -> int:
    return 2 * number


class DieOnce:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __call__(self, number: int) -> int:
        if number == 3 and not self.mark.exists():
            self.mark.touch()
            os._exit(1)
        return 2 * number


def refuse(number: int) -> int:
    raise ValueError(f"{number} is refused")


def refuse_three(number: int) -> int:
    return refuse(number) if number == 3 else number


@pytest.fixture(scope="module")
def threads_cluster() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed", reason="the extra `distributed` is not installed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0", protocol="tcp"
    ) as cluster:
        yield cluster


def test_cluster_answers_every_batch_once(threads_cluster: Any) -> None:
    with DaskExecutor(threads_cluster.scheduler_address) as executor:
        for count in (20, 3):
            answers = list(executor.map_batches(double, list(range(count))))
            assert sorted(answers) == [(n, 2 * n) for n in range(count)]


def test_exception_on_the_cluster_is_raised_here_and_names_its_batch(threads_cluster: Any) -> None:
    with (
        DaskExecutor(threads_cluster.scheduler_address) as executor,
        pytest.raises(ValueError, match="0 is refused") as caught,
    ):
        list(executor.map_batches(refuse, [0]))
    assert "in batch 0 of 1" in caught.value.__notes__[-1]


def test_what_is_in_flight_when_a_batch_fails_is_not_lost(threads_cluster: Any) -> None:
    answers: list[tuple[int, int]] = []
    with DaskExecutor(threads_cluster.scheduler_address) as executor, pytest.raises(ValueError, match="3 is refused"):
        answers.extend(executor.map_batches(refuse_three, list(range(8))))
    assert sorted(answers) == [(n, n) for n in range(8) if n != 3]


def test_batch_of_a_lost_cluster_worker_is_done_again(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="the extra `distributed` is not installed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        DaskExecutor(cluster.scheduler_address) as executor,
    ):
        answers = list(executor.map_batches(DieOnce(tmp_path / "died"), list(range(8))))
    assert sorted(answers) == [(n, 2 * n) for n in range(8)]
    assert (tmp_path / "died").exists()


def test_unreachable_scheduler_is_named() -> None:
    pytest.importorskip("distributed", reason="the extra `distributed` is not installed")
    with pytest.raises(WorkerError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9 within 0\.5 s"):
        list(DaskExecutor("tcp://127.0.0.1:9", timeout=0.5).map_batches(double, [1]))


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse_distributed(name: str, *args: Any, **options: Any) -> Any:
        if name == "distributed":
            raise ImportError("no module named distributed")
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", refuse_distributed)
    with pytest.raises(WorkerError, match=r"equipoise\[distributed\]"):
        list(DaskExecutor("tcp://127.0.0.1:9").map_batches(double, [1]))


def test_empty_address_is_refused() -> None:
    with pytest.raises(ValueError, match="address is empty"):
        DaskExecutor(" ")
