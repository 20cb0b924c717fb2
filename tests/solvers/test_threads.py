"""Keeping BLAS to one thread, and giving it back."""

from __future__ import annotations

import pytest
import torch

from equipoise.data.thread_executor import ThreadExecutor
from equipoise.solvers.threads import blas_threads, one_thread, set_blas_threads


def used(batch: int) -> tuple[int | None, int]:
    return blas_threads(), torch.get_num_threads()


def test_threads_are_kept_to_one_and_given_back() -> None:
    before = blas_threads()
    if before is None:
        pytest.skip("NumPy and SciPy bring another BLAS than OpenBLAS")
    torch_before = torch.get_num_threads()
    set_blas_threads(2)
    try:
        with one_thread():
            assert used(0) == (1, 1)
        answers = dict(ThreadExecutor(2).map_batches(used, list(range(4))))
        assert answers == dict.fromkeys(range(4), (1, 1))
        assert blas_threads() == 2
        assert torch.get_num_threads() == torch_before
    finally:
        set_blas_threads(before)
