"""Pseudo-time and its steps: halved where Newton's method fails, grown again after easy steps.

The step control knows times only; what is solved at each time is in `macroscale.py`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

__all__ = ["StepControl", "Stepping"]


@dataclass(frozen=True)
class Stepping:
    """How pseudo-time is walked through.

    Attributes:
        end: last time.
        first_step: size of the first step.
        smallest_step: a step that fails at this size ends the simulation.
        largest_step: limit of growth; `None` means `first_step`, so that steps only grow back after a halving.
        start: first time, at which the structure is undeformed.
        max_iterations: Newton iterations allowed in one step.
        easy_iterations: a step of at most this many iterations is easy; three in a row let the step grow.
        rtol: bound on the residual relative to the scale of the reactions.

    Raises:
        ValueError: for sizes that are not ordered `0 < smallest_step <= first_step <= largest_step`.
    """

    end: float = 1.0
    first_step: float = 0.25
    smallest_step: float = 1e-3
    largest_step: float | None = None
    start: float = 0.0
    max_iterations: int = 25
    easy_iterations: int = 6
    rtol: float = 1e-8

    def __post_init__(self) -> None:
        sizes = (self.smallest_step, self.first_step, self.limit)
        if not np.isfinite((self.start, self.end, *sizes)).all() or not self.end > self.start:
            raise ValueError(f"pseudo-time must be finite and run forward, got {self.start} to {self.end}.")
        if not 0 < sizes[0] <= sizes[1] <= sizes[2]:
            raise ValueError(
                f"step sizes must satisfy 0 < smallest_step <= first_step <= largest_step, got {sizes[0]}, {sizes[1]}, "
                f"{sizes[2]}."
            )
        if self.max_iterations < 1 or not 1e-14 < self.rtol < 1:
            raise ValueError(
                f"max_iterations={self.max_iterations} must be positive and rtol={self.rtol} between 1e-14 and 1."
            )

    @property
    def limit(self) -> float:
        """Largest step allowed."""
        return self.first_step if self.largest_step is None else self.largest_step


@dataclass
class StepControl:
    """Where a simulation stands in pseudo-time, and the size of its next step.

    Attributes:
        time: last converged time.
        size: size that the next step aims at.
        easy: easy steps in a row.
        halvings: failed attempts so far.
    """

    stepping: Stepping
    breakpoints: tuple[float, ...] = ()
    time: float = 0.0
    size: float = 0.0
    easy: int = 0
    halvings: int = 0

    @classmethod
    def begin(cls, stepping: Stepping, breakpoints: tuple[float, ...] = ()) -> StepControl:
        """Control at the start of pseudo-time."""
        return cls(stepping, breakpoints, time=stepping.start, size=stepping.first_step)

    @property
    def is_finished(self) -> bool:
        """Whether the end has been reached."""
        return self.time >= self.stepping.end

    @property
    def target(self) -> float:
        """Time at the end of the next step: never past a corner of a history, nor so near one as to leave a sliver."""
        stops = [time for time in (*self.breakpoints, self.stepping.end) if time > self.time]
        goal = self.time + self.size
        return stops[0] if goal >= stops[0] - 1e-6 * self.size else goal

    def accept(self, iterations: int) -> None:
        """Move to the target; grow the step by half after three easy steps."""
        self.time = self.target
        self.easy = self.easy + 1 if iterations <= self.stepping.easy_iterations else 0
        if self.easy >= 3 and self.size < self.stepping.limit:
            self.size, self.easy = min(1.5 * self.size, self.stepping.limit), 0

    def reject(self) -> bool:
        """Halve the step; False if that would pass below the smallest one."""
        attempted = self.target - self.time
        self.easy = 0
        self.halvings += 1
        if attempted / 2 < self.stepping.smallest_step * (1 - 1e-9):
            return False
        self.size = attempted / 2
        return True

    def record(self) -> dict[str, float]:
        """The numbers that a checkpoint needs to go on from here."""
        kept = asdict(self)
        return {name: kept[name] for name in ("time", "size", "easy", "halvings")}

    def restore(self, record: dict[str, float]) -> None:
        """Go on from a checkpoint's numbers."""
        self.time, self.size = float(record["time"]), float(record["size"])
        self.easy, self.halvings = int(record["easy"]), int(record["halvings"])
