"""Pseudo-time: halving, growing back, corners of histories, and bad settings."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.multiscale.load_stepping import StepControl, Stepping


def walk(control: StepControl, iterations: int = 4) -> list[float]:
    times = []
    while not control.is_finished:
        control.accept(iterations)
        times.append(control.time)
    return times


def test_equal_steps_reach_the_end_exactly() -> None:
    assert walk(StepControl.begin(Stepping(first_step=0.25))) == [0.25, 0.5, 0.75, 1.0]


def test_a_step_ends_at_each_corner_of_a_history() -> None:
    times = walk(StepControl.begin(Stepping(first_step=0.4), breakpoints=(0.5,)))
    assert times == [0.4, 0.5, 0.9, 1.0]


def test_a_failed_step_is_halved_until_the_smallest_size() -> None:
    control = StepControl.begin(Stepping(first_step=0.4, smallest_step=0.1))
    assert control.reject()
    assert control.target == pytest.approx(0.2)
    assert control.reject()
    assert control.target == pytest.approx(0.1)
    assert not control.reject()


def test_three_easy_steps_grow_a_halved_step_by_half_but_not_past_the_first() -> None:
    control = StepControl.begin(Stepping(first_step=0.2, smallest_step=0.01))
    control.reject()
    assert control.size == pytest.approx(0.1)
    for _ in range(3):
        control.accept(4)
    assert control.size == pytest.approx(0.15)
    for _ in range(3):
        control.accept(4)
    assert control.size == pytest.approx(0.2)


def test_a_hard_step_starts_the_count_of_easy_ones_anew() -> None:
    control = StepControl.begin(Stepping(end=10, first_step=0.2, smallest_step=0.01, largest_step=5))
    for iterations in (4, 4, 20, 4, 4):
        control.accept(iterations)
    assert control.size == pytest.approx(0.2)
    control.accept(4)
    assert control.size == pytest.approx(0.3)


def test_a_restored_control_walks_on_as_the_original() -> None:
    first = StepControl.begin(Stepping(first_step=0.07, smallest_step=0.01), breakpoints=(0.3,))
    first.accept(4)
    first.reject()
    second = StepControl.begin(first.stepping, first.breakpoints)
    second.restore(first.record())
    assert walk(second) == walk(first)


@given(st.floats(1e-3, 1.0), st.floats(0.01, 0.99), st.lists(st.booleans(), max_size=6))
def test_times_increase_and_end_at_the_end(first: float, corner: float, failures: list[bool]) -> None:
    control = StepControl.begin(Stepping(first_step=first, smallest_step=first / 64), breakpoints=(corner,))
    times = [control.time]
    for fails in failures:
        if fails and not control.is_finished:
            control.reject()
    while not control.is_finished:
        control.accept(4)
        times.append(control.time)
    assert all(later > earlier for earlier, later in pairwise(times))
    assert times[-1] == 1.0
    assert corner in times


@pytest.mark.parametrize(
    "settings",
    [
        {"first_step": 0.0},
        {"first_step": 0.1, "smallest_step": 0.2},
        {"first_step": 0.1, "largest_step": 0.05},
        {"end": 0.0},
        {"end": float("nan")},
        {"rtol": 2.0},
        {"max_iterations": 0},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"step|time|rtol"):
        Stepping(**settings)
