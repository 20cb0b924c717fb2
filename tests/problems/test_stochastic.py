"""Random growth and random media against closed forms, drawn paths, and an independent solver."""

from __future__ import annotations

import math

import pytest
import torch

from equipoise.problems.stochastic import RandomGrowth, RandomMedium
from equipoise.spaces.random_functions import GaussianProcess


def test_mean_of_random_growth_is_that_of_many_paths() -> None:
    mean, path = RandomGrowth(resolution=41), RandomGrowth(resolution=41, statistic="path")
    functions = mean.sample(1, torch.Generator().manual_seed(0))
    draw = torch.randn(100_000, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    paths = path.solve((draw @ functions[0])[:, None])
    error = paths.std(0) / 100_000**0.5
    assert bool(((paths.mean(0) - mean.solve(functions)[0]).abs() <= 5 * error + 1e-12).all())


def test_mean_for_all_terms_of_the_exponential_kernel_is_the_closed_form() -> None:
    problem = RandomGrowth(resolution=201, n_terms=60, lowest_length=1.5, highest_length=1.5, kernel="exponential")
    found = problem.solve(problem.sample(1, torch.Generator().manual_seed(0)))[0, 0]
    t, scale = problem.grid.axis(0), 1.5
    variance = 2 * scale * t + 2 * scale**2 * (torch.exp(-t / scale) - 1)
    torch.testing.assert_close(found, torch.exp(variance / 2), rtol=2e-4, atol=0)


def test_growth_at_a_known_rate_is_second_order() -> None:
    errors = []
    for n in (21, 41):
        problem = RandomGrowth(statistic="path", resolution=n)
        t = problem.grid.axis(0)
        found = problem.solve(torch.cos(3 * t)[None, None])[0, 0]
        errors.append(float((found - torch.exp(torch.sin(3 * t) / 3)).abs().max()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.2)


def test_random_medium_is_second_order_against_a_manufactured_solution() -> None:
    # b = log(1 + x): s = 10 (log(1 + x) / log 2 - x) vanishes at both ends, and its flux is 10 / log 2 - 10 (1 + x).
    errors = []
    for n in (21, 41):
        problem = RandomMedium(resolution=n)
        x = problem.grid.axis(0)
        found = problem.solve(torch.log1p(x)[None, None])[0, 0]
        errors.append(float((found - 10 * (torch.log1p(x) / math.log(2) - x)).abs().max()))
    assert errors[1] < 1e-2
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.2)


def test_constant_medium_gives_a_parabola() -> None:
    problem = RandomMedium(resolution=11)
    x = problem.grid.axis(0)
    found = problem.solve(torch.full((1, 1, 11), math.log(2.0), dtype=torch.float64))[0, 0]
    torch.testing.assert_close(found, 2.5 * x * (1 - x))


def test_length_scales_are_drawn_sample_by_sample() -> None:
    problem = RandomGrowth(resolution=31)
    first, second = problem.sample(2, torch.Generator().manual_seed(0))
    assert not torch.allclose(first, second, atol=1e-3)
    x = problem.grid.axis(0)
    # Karhunen-Loeve functions of one sample rebuild the covariance of one length scale in the range.
    rebuilt = (first.T @ first)[0, -1]
    scale = math.sqrt(-0.5 / math.log(float(rebuilt)))
    assert 1 <= scale <= 2
    torch.testing.assert_close(
        first.T @ first, GaussianProcess(length_scale=scale).covariance(x, x), rtol=1e-4, atol=1e-4
    )


def test_bad_options_are_named() -> None:
    with pytest.raises(ValueError, match="statistic='median'"):
        RandomGrowth(statistic="median")
    with pytest.raises(ValueError, match="kernel='cubic' is unknown"):
        RandomMedium(kernel="cubic")
    with pytest.raises(ValueError, match="length scales from 2"):
        RandomGrowth(lowest_length=2.0, highest_length=1.0)
