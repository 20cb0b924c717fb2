"""Batches of work: same answers everywhere, and a worker that dies costs time only."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from equipoise.data.executors import ProcessExecutor, SerialExecutor
from equipoise.errors import WorkerError


class Square:
    """Squares a number and says in which process."""

    def __call__(self, number: int) -> tuple[int, int]:
        return number * number, os.getpid()


class DieOnce:
    """Ends its process by a signal at one batch, the first time only; a file remembers that it did."""

    def __init__(self, marks: Path, number: int, signal_number: int | None) -> None:
        self.marks, self.number, self.signal_number = marks, number, signal_number

    def __call__(self, number: int) -> int:
        with open(self.marks / f"calls-{number}", "a") as file:
            file.write("x")
        if number == self.number and not (self.marks / "died").exists():
            (self.marks / "died").touch()
            if self.signal_number is None:
                os._exit(3)
            os.kill(os.getpid(), self.signal_number)
        return 10 * number


class DieAlways:
    def __call__(self, number: int) -> int:
        if number == 1:
            os._exit(7)
        return number


class Refuse:
    def __call__(self, number: int) -> int:
        if number == 2:
            raise ValueError("two is refused")
        return number


class RefuseFirst:
    """Refuses batch 0 while batch 1 is at work."""

    def __init__(self, marks: Path) -> None:
        self.marks = marks

    def __call__(self, number: int) -> int:
        begun = self.marks / "begun"
        if number == 0:
            while not begun.exists():
                time.sleep(0.01)
            raise ValueError("refused")
        begun.touch()
        time.sleep(0.3)
        return number


class Counting:
    """Counts its calls."""

    def __init__(self, calls: int = 0) -> None:
        self.calls = calls

    def __call__(self, batch: int) -> int:
        self.calls += 1
        return self.calls


class Unportable(Exception):
    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")


class RefuseStrangely:
    def __call__(self, number: int) -> int:
        raise Unportable(number, number)


def test_serial_execution_yields_batches_in_order() -> None:
    answers = list(SerialExecutor().map_batches(Square(), [3, 4]))
    assert answers == [(0, (9, os.getpid())), (1, (16, os.getpid()))]


def test_processes_answer_every_batch_once_from_other_processes() -> None:
    answers = dict(ProcessExecutor(2).map_batches(Square(), list(range(9))))
    assert {number: answer[0] for number, answer in answers.items()} == {n: n * n for n in range(9)}
    assert os.getpid() not in {answer[1] for answer in answers.values()}


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, None], ids=["killed", "exits"])
def test_batch_of_a_dead_worker_is_done_again(tmp_path: Path, signal_number: int | None) -> None:
    answers = list(ProcessExecutor(2).map_batches(DieOnce(tmp_path, 2, signal_number), list(range(5))))
    assert sorted(answers) == [(n, 10 * n) for n in range(5)]
    calls = {n: (tmp_path / f"calls-{n}").read_text() for n in range(5)}
    assert calls == {0: "x", 1: "x", 2: "xx", 3: "x", 4: "x"}


def test_batch_that_kills_every_worker_is_named() -> None:
    with pytest.raises(WorkerError, match=r"batch 1 of 2 ended its worker process 2 times \(last exit status 7\)"):
        list(ProcessExecutor(1, tries=2).map_batches(DieAlways(), [0, 1]))


def test_exception_of_a_worker_is_raised_here_and_names_its_batch() -> None:
    with pytest.raises(ValueError, match="two is refused") as caught:
        list(ProcessExecutor(1).map_batches(Refuse(), [0, 1, 2]))
    assert "in batch 2 of 3" in caught.value.__notes__[0]


def test_what_is_under_way_when_a_batch_fails_is_not_lost_and_nothing_else_is_begun(tmp_path: Path) -> None:
    answers: list[tuple[int, int]] = []
    with ProcessExecutor(2) as executor, pytest.raises(ValueError, match="refused"):
        answers.extend(executor.map_batches(RefuseFirst(tmp_path), list(range(6))))
    assert (1, 1) in answers
    assert len(answers) <= 3


def test_exception_that_cannot_travel_arrives_as_words() -> None:
    with pytest.raises(WorkerError, match="Unportable: 4 and 4"):
        list(ProcessExecutor(1).map_batches(RefuseStrangely(), [4]))


def test_no_batches_need_no_workers() -> None:
    assert list(ProcessExecutor(2).map_batches(Square(), [])) == []


def test_stopping_early_leaves_no_process_behind() -> None:
    import multiprocessing

    before = set(multiprocessing.active_children())
    with ProcessExecutor(2) as executor:
        answers = executor.map_batches(Square(), list(range(6)))
        next(answers)
        answers.close()
    assert set(multiprocessing.active_children()) <= before


def test_processes_and_their_function_stay_for_the_next_call() -> None:
    with ProcessExecutor(1) as executor:
        counter = Counting()
        assert list(executor.map_batches(counter, [0, 0])) == [(0, 1), (1, 2)]
        assert list(executor.map_batches(counter, [0])) == [(0, 3)]
        assert list(executor.map_batches(Counting(10), [0])) == [(0, 11)]


def test_processes_go_on_after_an_exception() -> None:
    with ProcessExecutor(1) as executor:
        with pytest.raises(ValueError, match="two is refused"):
            list(executor.map_batches(Refuse(), [2, 3]))
        assert list(executor.map_batches(Refuse(), [3])) == [(0, 3)]


@pytest.mark.parametrize(("workers", "tries"), [(0, 1), (1, 0)])
def test_numbers_below_one_are_refused(workers: int, tries: int) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        ProcessExecutor(workers, tries=tries)
