"""Fixtures shared by the whole suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from jaxtyping import config, install_import_hook

# Not in spaces and cli: they are the border, where values of a wrong type are expected and get a sentence of their own.
_CHECKED_ROOMS = ("data", "multiscale", "nn", "operators", "papers", "problems", "solvers", "training", "viz")
install_import_hook([f"equipoise.{room}" for room in _CHECKED_ROOMS], "runtime_types.checked")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of meshes made by others, beside the checkout; tests that need it skip where it is missing."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"{folder.name} of other projects is not beside this checkout")
    return folder


@pytest.fixture
def unchecked_types() -> Iterator[None]:
    """For tests that pass a wrong type on purpose, to see the library's own sentence."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)
