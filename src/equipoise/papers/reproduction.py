"""What a reproduction is: a claim, a criterion, and a run that says what happened.

The experiments themselves stand in one module per method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["SCALES", "Outcome", "Reproduction", "Settings", "Table"]

SCALES = ("smoke", "cpu", "gpu")


@dataclass(frozen=True)
class Settings:
    """How to run a reproduction.

    Attributes:
        scale: `"smoke"` (under 20 s), `"cpu"` (minutes on two cores) or `"gpu"` (the paper's own sizes).
        seed: of everything random. data: folder of published inputs, where the method can use one.
        report: called with a line of text now and then.
    """

    scale: str = "smoke"
    seed: int = 0
    data: Path | None = None
    report: Callable[[str], None] = lambda line: None


@dataclass(frozen=True)
class Table:
    """Figures side by side, for a person; every row is as long as the header."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Outcome:
    """What a run measured, in plain JSON values.

    Attributes:
        figures: of the method. baseline: of what it is compared with. held: whether the criterion held.
        tables: the chief figures beside those of the paper, for a person.
    """

    figures: Mapping[str, Any]
    baseline: Mapping[str, Any]
    held: bool
    tables: Sequence[Table] = ()


@dataclass(frozen=True)
class Reproduction:
    """A published method's central claim, ready to be tested.

    Attributes:
        slug, title, source: which method. claim: what the paper says. criterion: when it counts as reproduced here.
        run: the experiment. paper: published figures to compare with.
    """

    slug: str
    title: str
    source: str
    claim: str
    criterion: str
    run: Callable[[Settings], Outcome]
    paper: Mapping[str, Any] = field(default_factory=dict)
