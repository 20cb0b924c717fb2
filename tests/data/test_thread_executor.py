"""Batches in threads: every one answered once, errors named, each thread with a function of its own."""

from __future__ import annotations

import threading
import time

import pytest

from equipoise.data.executors import Executor
from equipoise.data.thread_executor import ThreadExecutor, available_cores


class Counting:
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, batch: int) -> tuple[int, int, int]:
        self.asked.append(batch)
        if batch < 0:
            raise ValueError(f"{batch} is refused")
        return 2 * batch, threading.get_ident(), len(self.asked)


def test_every_batch_is_answered_once_by_copies_of_the_function() -> None:
    function = Counting()
    executor = ThreadExecutor(3)
    assert isinstance(executor, Executor)
    answers = dict(executor.map_batches(function, list(range(40))))
    assert {number: answer[0] for number, answer in answers.items()} == {n: 2 * n for n in range(40)}
    assert function.asked == [], "the function given is left alone"
    threads = {answer[1] for answer in answers.values()}
    assert threading.get_ident() not in threads
    assert sum(max(a[2] for a in answers.values() if a[1] == thread) for thread in threads) == 40


def test_error_names_its_batch_and_stops_the_rest() -> None:
    with pytest.raises(ValueError, match="-1 is refused") as caught:
        list(ThreadExecutor(2).map_batches(Counting(), [0, 1, -1, 3]))
    assert "in batch 2 of 4" in caught.value.__notes__


class Late:
    """Refuses the second batch at once, and takes its time for the first."""

    def __call__(self, batch: int) -> int:
        if batch == 1:
            raise ValueError("refused")
        time.sleep(0.2)
        return batch


def test_what_is_under_way_when_a_batch_fails_is_not_lost_and_nothing_else_is_begun() -> None:
    answers: list[tuple[int, int]] = []
    with pytest.raises(ValueError, match="refused"):
        answers.extend(ThreadExecutor(2).map_batches(Late(), list(range(9))))
    assert (0, 0) in answers
    assert len(answers) <= 3


def test_numbers_of_threads() -> None:
    assert available_cores() >= 1
    with pytest.raises(ValueError, match="workers=0 must be at least 1"):
        ThreadExecutor(0)
