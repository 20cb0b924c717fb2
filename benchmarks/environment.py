"""The line that every benchmark prints above its table: machine, versions and threads."""

from __future__ import annotations

import platform
import resource
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

__all__ = ["describe_environment", "peak_memory"]


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def describe_environment(*packages: str) -> str:
    """Processor, Python, thread count and the versions of torch, numpy, scipy and the named packages."""
    versions = []
    for package in ("torch", "numpy", "scipy", *packages):
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            versions.append(f"{package} absent")
    return (
        f"{_processor()}; Python {platform.python_version()}; {torch.get_num_threads()} threads; {', '.join(versions)}"
    )


def peak_memory() -> float:
    """Largest resident memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
