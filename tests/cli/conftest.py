"""Running the command line inside the test process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from equipoise.cli.main import main


@dataclass(frozen=True)
class Outcome:
    """Exit status and what was printed."""

    status: int
    output: str
    errors: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on standard output."""
        loaded: dict[str, Any] = json.loads(self.output)
        return loaded


@pytest.fixture
def equipoise(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs `equipoise` with the given words."""

    def run(*words: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        printed = capsys.readouterr()
        assert isinstance(stop.value.code, int)
        return Outcome(stop.value.code, printed.out, printed.err)

    return run
