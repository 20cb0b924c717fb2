"""Running batches on a Dask cluster; needs the extra `equipoise[distributed]`, imported when first used.

Dask does a lost worker's batches again. The connection stays for later calls until `close`. Each worker builds the
function once per thread.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from equipoise.errors import WorkerError

__all__ = ["DaskExecutor"]

Batch = TypeVar("Batch")
Answer = TypeVar("Answer")


class DaskExecutor:
    """Runs batches on the workers of a Dask scheduler.

    Args:
        address: address of the scheduler, such as `tcp://host:8786`.
        timeout: seconds to wait for the scheduler to answer, 10 by default.

    Raises:
        ValueError: for an empty address.
        WorkerError: from `map_batches`, when `distributed` is not installed, the scheduler does not answer, has no
            workers, or a batch keeps killing its workers.
    """

    def __init__(self, address: str, *, timeout: float = 10.0) -> None:
        if not address.strip():
            raise ValueError("the cluster address is empty; expected one such as tcp://host:8786.")
        self.address, self.timeout = address, timeout
        self._client: Any = None

    def __enter__(self) -> DaskExecutor:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the cluster; a later call connects again."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def map_batches(
        self, function: Callable[[Batch], Answer], batches: Sequence[Batch]
    ) -> Iterator[tuple[int, Answer]]:
        """See `Executor.map_batches`."""
        if self._client is None or self._client.status != "running":
            self._client = self._connect()
        threads = sum(self._client.nthreads().values())
        if threads == 0:
            raise WorkerError(f"the Dask scheduler at {self.address} has no workers; start some and try again.")
        yield from self._run(self._client, function, batches, window=4 * threads)

    def _connect(self) -> Any:
        try:
            from distributed import Client
        except ImportError as error:
            raise WorkerError(
                "running on a Dask cluster needs the package `distributed`; install `equipoise[distributed]`."
            ) from error
        try:
            return Client(self.address, timeout=self.timeout, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise WorkerError(f"no Dask scheduler answers at {self.address} within {self.timeout:g} s.") from error

    def _run(
        self, client: Any, function: Callable[[Batch], Answer], batches: Sequence[Batch], *, window: int
    ) -> Iterator[tuple[int, Answer]]:
        """Keep at most `window` batches in flight, so that results don't pile up in the workers' memory."""
        from distributed import as_completed

        # A task, not scattered data: should the worker that holds it be lost, the scheduler makes it again.
        payload = client.submit(_same, pickle.dumps(function), pure=False)
        numbers = iter(range(len(batches)))

        def submit(number: int) -> Any:
            return client.submit(_answer, payload, batches[number], pure=False)

        flight = {submit(number): number for number in islice(numbers, window)}
        finished = as_completed(list(flight), loop=client.loop)
        failure: Exception | None = None
        for future in finished:
            number = flight.pop(future)
            try:
                answer = self._result(future, number, len(batches))
            except Exception as error:
                # What is in flight is not lost; nothing else is begun.
                failure = failure or error
                continue
            finally:
                future.release()
            following = next(numbers, None) if failure is None else None
            if following is not None:
                fresh = submit(following)
                flight[fresh] = following
                finished.add(fresh)
            yield number, answer
        if failure is not None:
            raise failure

    def _result(self, future: Any, number: int, total: int) -> Any:
        from distributed import CancelledError, KilledWorker

        try:
            return future.result()
        except KilledWorker as error:
            raise WorkerError(
                f"batch {number} of {total} ended its Dask workers too often; it may need more memory than they have."
            ) from error
        except CancelledError as error:
            raise WorkerError(f"the Dask cluster at {self.address} was lost while batch {number} ran.") from error
        except Exception as error:
            error.add_note(f"in batch {number} of {total}")
            raise


def _same(payload: bytes) -> bytes:
    return payload


_built = threading.local()


def _answer(payload: bytes, batch: Any) -> Any:
    """Runs on a worker; keeps the last function built in each thread, because building it is dear."""
    if getattr(_built, "payload", None) != payload:
        _built.function, _built.payload = pickle.loads(payload), payload
    return _built.function(batch)
