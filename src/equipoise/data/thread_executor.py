"""Running batches in threads of this process: nothing to start, and sparse solvers let threads run side by side."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Any, TypeVar

import torch

from equipoise.solvers.linear.pardiso import use_one_thread
from equipoise.solvers.threads import one_thread

__all__ = ["ThreadExecutor", "available_cores"]

Batch = TypeVar("Batch")
Answer = TypeVar("Answer")


def available_cores() -> int:
    """Cores that this process may use, and not more threads than torch was told (`OMP_NUM_THREADS`)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, torch.get_num_threads()))


class ThreadExecutor:
    """Runs batches in threads, each with a copy of the function and with one thread for its own sums.

    For work that spends its time in compiled code that lets go of the interpreter. A crash ends the whole process;
    `ProcessExecutor` survives one.

    Args:
        workers: number of threads, at least 1.

    Raises:
        ValueError: for a number below 1.
    """

    def __init__(self, workers: int) -> None:
        if workers < 1:
            raise ValueError(f"workers={workers} must be at least 1.")
        self.workers = workers

    def map_batches(
        self, function: Callable[[Batch], Answer], batches: Sequence[Batch]
    ) -> Iterator[tuple[int, Answer]]:
        """See `Executor.map_batches`."""
        payload, own = pickle.dumps(function), threading.local()

        def start() -> None:
            use_one_thread()
            own.function = pickle.loads(payload)

        def answer(number: int) -> Any:
            return own.function(batches[number])

        with one_thread():
            yield from self._run(ThreadPoolExecutor(self.workers, initializer=start), answer, len(batches))

    def _run(self, pool: ThreadPoolExecutor, answer: Callable[[int], Any], count: int) -> Iterator[tuple[int, Any]]:
        try:
            numbers = iter(range(count))
            # Few at a time, so that answers don't pile up while the caller stores them.
            flight: dict[Future[Any], int] = {
                pool.submit(answer, number): number for number in islice(numbers, 2 * self.workers)
            }
            failure: BaseException | None = None
            while flight:
                for future in wait(flight, return_when=FIRST_COMPLETED).done:
                    number = flight.pop(future)
                    if future.cancelled():
                        continue
                    if error := future.exception():
                        # What others have finished, or are about to, is not lost.
                        error.add_note(f"in batch {number} of {count}")
                        failure = failure or error
                        for other in flight:
                            other.cancel()
                        continue
                    following = next(numbers, None) if failure is None else None
                    if following is not None:
                        flight[pool.submit(answer, following)] = following
                    yield number, future.result()
            if failure is not None:
                raise failure
        finally:
            pool.shutdown(cancel_futures=True)
