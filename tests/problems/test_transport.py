"""Transport by the box scheme: exact at constant speed, second order at a varying one, case by case."""

from __future__ import annotations

import math

import pytest
import torch

from equipoise.problems.transport import Transport


def case_of_one_speed(case: str, u: float, n: int) -> float:
    """Largest error at the speed 1 + u / 10, for which all cases have a solution in closed form."""
    problem = Transport(case=case, resolution=n, n_times=n)
    t, x = problem.grid.points().unbind(-1)
    speed = 1 + u / 10
    arrived = t - x / speed
    if case == "III":
        exact = torch.where(arrived > 0, torch.sin(torch.pi * arrived), (x - speed * t).square())
    else:
        exact = torch.sin(2 * torch.pi * (x - speed * t))
    found = problem.solve(torch.full((1, 1, n), u, dtype=torch.float64))[0, 0]
    return float((found - exact).abs().max())


def test_waves_at_a_constant_speed_converge_at_second_order() -> None:
    errors = [case_of_one_speed("IV", 3.0, n) for n in (32, 64)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.2)


def test_inflow_behind_a_kink_converges() -> None:
    # The slopes of x^2 and of the inflow differ where they meet, so that the order is lost there and nowhere else.
    errors = [case_of_one_speed("III", 2.0, n) for n in (41, 81, 161)]
    assert errors[0] > 1.5 * errors[1] > 2 * errors[2]


def test_varying_speed_converges_at_second_order_to_characteristics() -> None:
    # With a = 1 / (1 + cos(2 pi x) / 20), time to travel is x + sin(2 pi x) / (40 pi); s is constant along it.
    errors = []
    for n in (32, 64):
        problem = Transport(case="IV", resolution=n, n_times=n // 2 + 1)
        t, x = problem.grid.points().unbind(-1)

        def travelled(x: torch.Tensor) -> torch.Tensor:
            return x + torch.sin(2 * torch.pi * x) / (40 * torch.pi)

        start, target = x - t, travelled(x) - t
        for _ in range(50):
            start = start - (travelled(start) - target)
        along = problem.grid.axis(1)
        speed = 1 / (1 + torch.cos(2 * torch.pi * along) / 20)
        found = problem.solve(10 * (speed - 1)[None, None])[0, 0]
        errors.append(float((found - torch.sin(2 * torch.pi * start)).abs().max()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.2)


@pytest.mark.parametrize("case", ["I", "II"])
def test_constant_speed_is_exact_with_one_interval_in_time_to_one_in_space(case: str) -> None:
    problem = Transport(case=case, resolution=40 if case == "I" else 41, n_times=41)
    inputs = problem.sample(3, torch.Generator().manual_seed(0))
    found = problem.solve(inputs)[:, 0]
    x = problem.grid.axis(1)
    if case == "I":
        exact = torch.stack([inputs[:, 0].roll(step, -1) for step in range(41)], 1)
    else:
        start = x * inputs[:, 0]
        exact = torch.stack([torch.nn.functional.pad(start[:, : 41 - step], (step, 0)) for step in range(41)], 1)
    torch.testing.assert_close(found, exact, rtol=1e-11, atol=1e-11)


def test_inputs_are_drawn_as_the_cases_say() -> None:
    first, fourth = (Transport(case=case, resolution=20) for case in ("I", "IV"))
    drawn = first.sample(2, torch.Generator().manual_seed(1))
    # V(sin^2 pi x) is even about the middle.
    torch.testing.assert_close(drawn[..., 1:], drawn[..., 1:].flip(-1))
    drawn = fourth.sample(2, torch.Generator().manual_seed(1))
    torch.testing.assert_close(drawn[..., 1:], drawn[..., 1:].flip(-1))
    coarse, fine = (Transport(case="III", resolution=n) for n in (11, 41))
    few, many = (problem.sample(4, torch.Generator().manual_seed(1)) for problem in (coarse, fine))
    torch.testing.assert_close(many[..., ::4], few, rtol=1e-10, atol=1e-10)


def test_bad_cases_and_speeds_are_named() -> None:
    with pytest.raises(ValueError, match="case='V' must be one of I, II, III, IV"):
        Transport(case="V")
    problem = Transport(case="III", resolution=5)
    inputs = torch.zeros(2, 1, 5, dtype=torch.float64)
    inputs[1] = -20
    with pytest.raises(ValueError, match="speed of sample 1 falls to -1"):
        problem.solve(inputs)
