"""How many threads the BLAS of NumPy and SciPy, MKL's PARDISO and torch use in this process.

Where several solves run side by side, each must keep to one thread: threads that wait for one another spin.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import torch

__all__ = ["blas_threads", "one_thread", "set_blas_threads"]

_NAMES = ("scipy_openblas_{}_num_threads64_", "scipy_openblas_{}_num_threads", "openblas_{}_num_threads")


@functools.cache
def _libraries() -> tuple[tuple[Any, Any], ...]:
    """Functions that set and get the threads of each OpenBLAS that NumPy and SciPy bring."""
    found = []
    for package in (np, scipy):
        home = Path(str(package.__file__)).parent
        for folder in (home.parent / f"{package.__name__}.libs", home / ".dylibs"):
            for file in sorted(folder.glob("*openblas*")) if folder.is_dir() else ():
                try:
                    library = ctypes.CDLL(str(file))
                except OSError:
                    continue
                for name in _NAMES:
                    if hasattr(library, name.format("set")) and hasattr(library, name.format("get")):
                        found.append((getattr(library, name.format("set")), getattr(library, name.format("get"))))
                        break
    return tuple(found)


def blas_threads() -> int | None:
    """Threads that NumPy's and SciPy's BLAS use at most, or `None` where it cannot be asked."""
    return max((int(get()) for _, get in _libraries()), default=None)


def set_blas_threads(count: int) -> None:
    """Limit NumPy's and SciPy's BLAS, for the whole process; without effect where it is another than OpenBLAS."""
    for change, _ in _libraries():
        change(ctypes.c_int(count))


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep BLAS and torch to one thread in this process, for where several solves run side by side."""
    torch_before, blas_before = torch.get_num_threads(), blas_threads()
    torch.set_num_threads(1)
    set_blas_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(torch_before)
        if blas_before is not None:
            set_blas_threads(blas_before)
