"""Where batches of independent work run: here, in processes of this machine, or on a Dask cluster.

Every executor has one method, `map_batches(function, batches)`, which yields `(number of the batch, result)` as batches
finish, in any order. What the work is, is the function's business; it must give the same result wherever it runs.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol, TypeVar, runtime_checkable

from equipoise.errors import WorkerError

__all__ = ["Executor", "ProcessExecutor", "SerialExecutor"]

Batch = TypeVar("Batch")
Answer = TypeVar("Answer")

_GRACE = 10.0

_logger = logging.getLogger("equipoise.data.executors")


@runtime_checkable
class Executor(Protocol):
    """What runs batches of work."""

    def map_batches(
        self, function: Callable[[Batch], Answer], batches: Sequence[Batch]
    ) -> Iterator[tuple[int, Answer]]:
        """Yield `(number, function(batches[number]))` for every batch, each once, as they finish.

        Raises:
            WorkerError: for a batch that keeps killing its workers, or a cluster that cannot be used.
            Exception: what the function first raised, with a note that names the batch, after the answers of the
                batches that were under way.
        """
        ...


class SerialExecutor:
    """Runs one batch after another in this process, on all of its threads."""

    def map_batches(
        self, function: Callable[[Batch], Answer], batches: Sequence[Batch]
    ) -> Iterator[tuple[int, Answer]]:
        """See `Executor.map_batches`; batches finish in order."""
        for number, batch in enumerate(batches):
            try:
                answer = function(batch)
            except Exception as error:
                error.add_note(f"in batch {number} of {len(batches)}")
                raise
            yield number, answer


@dataclass
class _Worker:
    """A process, our end of its pipe, the function it has, and the batch it is at."""

    process: Any
    connection: Connection
    payload: bytes | None = None
    batch: int | None = None


@dataclass
class _Work:
    """A function, its batches, which of them wait, and how often each was given back."""

    payload: bytes
    batches: Sequence[Any]
    waiting: deque[int]
    deaths: dict[int, int] = field(default_factory=dict)


class ProcessExecutor:
    """Runs batches in processes of this machine, one thread each, so that results don't depend on their number.

    A process that dies gives its batch back, to be done again by a fresh one. Processes stay for later calls, with the
    function they have built, until `close`; the executor is a context manager. Functions and batches are pickled on
    their way; a script that uses this needs the usual `if __name__ == "__main__":`.

    Args:
        workers: number of processes, at least 1.
        tries: how often a batch may be begun before its deaths are an error; 3 by default.

    Raises:
        ValueError: for numbers below 1.
        WorkerError: from `map_batches`, when a batch has killed its process `tries` times.
    """

    def __init__(self, workers: int, *, tries: int = 3) -> None:
        if workers < 1 or tries < 1:
            raise ValueError(f"workers={workers} and tries={tries} must be at least 1.")
        self.workers, self.tries = workers, tries
        self._idle: list[_Worker] = []

    def __enter__(self) -> ProcessExecutor:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes; a later call starts new ones."""
        while self._idle:
            _stop(self._idle.pop())

    def map_batches(
        self, function: Callable[[Batch], Answer], batches: Sequence[Batch]
    ) -> Iterator[tuple[int, Answer]]:
        """See `Executor.map_batches`."""
        work = _Work(pickle.dumps(function), batches, deque(range(len(batches))))
        pool, self._idle = self._idle, []
        failure: Exception | None = None
        try:
            while len(pool) < min(self.workers, len(batches)):
                pool.append(_start())
            for worker in pool:
                _assign(worker, work)
            while any(worker.batch is not None for worker in pool):
                ready = wait([worker.connection for worker in pool if worker.batch is not None])
                for place, worker in enumerate(pool):
                    if worker.connection not in ready:
                        continue
                    message = _receive(worker)
                    if message is None:
                        pool[place] = self._replaced(worker, work)
                        continue
                    number, worker.batch = worker.batch, None
                    if not message[0]:
                        # What others are at is not lost; nothing else is begun.
                        failure = failure or _with_note(message[1], message[2], number, len(batches))
                        work.waiting.clear()
                        continue
                    _assign(worker, work)
                    assert number is not None
                    yield number, message[1]
                for worker in pool:
                    if worker.batch is None:
                        _assign(worker, work)
            if failure is not None:
                raise failure
        finally:
            for worker in pool:
                if worker.batch is None:
                    self._idle.append(worker)
                else:
                    _stop(worker)

    def _replaced(self, worker: _Worker, work: _Work) -> _Worker:
        """A fresh process in place of a dead one, whose batch is given back."""
        number = worker.batch
        assert number is not None
        worker.process.join(_GRACE)
        code = worker.process.exitcode
        work.deaths[number] = work.deaths.get(number, 0) + 1
        if work.deaths[number] >= self.tries:
            raise WorkerError(
                f"batch {number} of {len(work.batches)} ended its worker process {self.tries} times (last exit status "
                f"{code}); it may need more memory than there is: use fewer workers or smaller batches."
            )
        _logger.warning("a worker process ended with status %s; batch %d is done again", code, number)
        _stop(worker)
        work.waiting.appendleft(number)
        return _start()


def _start() -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _assign(worker: _Worker, work: _Work) -> None:
    """Send a worker its next batch, after the function if it has another one."""
    if not work.waiting:
        return
    worker.batch = work.waiting.popleft()
    fresh = None if worker.payload == work.payload else work.payload
    worker.payload = work.payload
    try:
        worker.connection.send((fresh, work.batches[worker.batch]))
    except OSError:
        # The process is gone; reading from it says so, and its batch is then given back.
        _logger.debug("batch %d could not be sent", worker.batch)


def _receive(worker: _Worker) -> tuple[bool, Any, str] | None:
    """Message of a worker, or `None` if it has died."""
    try:
        message: tuple[bool, Any, str] = worker.connection.recv()
    except (EOFError, OSError, pickle.UnpicklingError):
        return None
    return message


def _stop(worker: _Worker) -> None:
    worker.connection.close()
    if worker.process.is_alive():
        worker.process.terminate()
    worker.process.join()
    worker.process.close()


def _with_note(error: Any, trace: str, number: int | None, total: int) -> Exception:
    raised = error if isinstance(error, Exception) else WorkerError(str(error))
    raised.add_note(f"in batch {number} of {total}; in the worker process:\n{trace}")
    return raised


def _serve(connection: Connection) -> None:
    """What a worker process does: answer batches with the last function it was sent, until the other side is gone."""
    use_one_thread()
    function: Any = None
    while True:
        try:
            payload, batch = connection.recv()
        except (EOFError, OSError):
            return
        try:
            if payload is not None:
                function = pickle.loads(payload)
            message = (True, function(batch), "")
        except Exception as error:
            message = (False, _portable(error), traceback.format_exc())
        try:
            connection.send(message)
        except OSError:
            return


def use_one_thread() -> None:
    """Keep this process on one thread, so that its sums come in the same order everywhere."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    import torch

    from equipoise.solvers.threads import set_blas_threads

    # Libraries that were loaded before don't look at their variables again.
    set_blas_threads(1)
    torch.set_num_threads(1)


def _portable(error: Exception) -> Exception | str:
    """The exception itself where it survives the way to another process, otherwise its words."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return f"{type(error).__name__}: {error}"
    return error
