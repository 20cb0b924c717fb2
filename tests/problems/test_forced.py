"""Driven systems: order against exact solutions, residual zero at the solution, seed and batch."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from equipoise.errors import ConvergenceError
from equipoise.problems.forced import Antiderivative, DiffusionReaction, NonlinearODE, Pendulum
from equipoise.problems.problem import Problem
from equipoise.problems.registry import make_problem
from equipoise.problems.stochastic import RandomGrowth, RandomMedium
from equipoise.problems.transport import Transport

Array = NDArray[np.float64]
CASES = ("I", "II", "III", "IV")
SMALL: dict[str, Callable[[], Problem]] = {
    "antiderivative": lambda: Antiderivative(resolution=21),
    "pendulum": lambda: Pendulum(resolution=21, final_time=3.0),
    "nonlinear-ode": lambda: NonlinearODE(resolution=21),
    "diffusion-reaction": lambda: DiffusionReaction(resolution=12, n_times=9, reaction=0.1),
    "random growth, mean": lambda: RandomGrowth(resolution=21),
    "random growth, path": lambda: RandomGrowth(resolution=21, statistic="path"),
    "random-medium": lambda: RandomMedium(resolution=21),
    **{f"transport, {case}": lambda case=case: Transport(case=case, resolution=9, n_times=7) for case in CASES},
}


def antiderivative_error(n: int) -> float:
    problem = Antiderivative(resolution=n)
    x = problem.grid.axis(0)
    return float((problem.solve(torch.cos(5 * x)[None, None])[0, 0] - torch.sin(5 * x) / 5).abs().max())


def pendulum_error(n: int) -> float:
    problem = Pendulum(resolution=n, final_time=2.0)
    t = problem.grid.axis(0)

    def torque(t: torch.Tensor) -> torch.Tensor:
        return -torch.sin(t) + torch.sin(torch.sin(t) - t)

    # s1 = sin(t) - t starts at rest: its velocity cos(t) - 1 vanishes at first.
    found = problem.solve(torque(t)[None, None])[0]
    return float((found - torch.stack([torch.sin(t) - t, torch.cos(t) - 1])).abs().max())


def nonlinear_error(n: int) -> float:
    problem = NonlinearODE(resolution=n)
    t = problem.grid.axis(0)
    # u = 1 gives s = tanh t; a drive that moves gives s = sin 3t.
    moving = 3 * torch.cos(3 * t) + torch.sin(3 * t).square()
    found = problem.solve(torch.stack([torch.ones_like(t), moving])[:, None])[:, 0]
    return float((found - torch.stack([torch.tanh(t), torch.sin(3 * t)])).abs().max())


def diffusion_error(n: int) -> float:
    problem = DiffusionReaction(resolution=n, n_times=n, diffusion=0.1, reaction=0.0)
    t, x = problem.grid.points().unbind(-1)
    rate = 0.1 * math.pi**2
    exact = torch.sin(torch.pi * x) * (1 - torch.exp(-rate * t)) / rate
    return float((problem.solve(torch.sin(torch.pi * x[0])[None, None])[0, 0] - exact).abs().max())


@pytest.mark.parametrize(
    ("error", "order", "counts"),
    [
        (antiderivative_error, 2, (21, 41)),
        (pendulum_error, 4, (21, 41)),
        (nonlinear_error, 4, (21, 41)),
        (diffusion_error, 2, (17, 33)),
    ],
)
def test_error_falls_at_the_order_of_the_scheme(error: Callable[[int], float], order: int, counts: tuple) -> None:
    coarse, fine = (error(n) for n in counts)
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.3)


def test_reaction_is_second_order_in_time_against_an_independent_integrator() -> None:
    errors = []
    for n_times in (9, 17):
        problem = DiffusionReaction(resolution=9, n_times=n_times, diffusion=0.05, reaction=1.0)
        x, h = problem.input_grid.axis(0), problem.grid.spacings[1]
        source = (0.5 + x).numpy()

        def rate(t: float, s: Array, source: Array = source, h: float = h) -> Array:
            full = torch.nn.functional.pad(torch.as_tensor(s), (1, 1)).numpy()
            return 0.05 * (full[2:] - 2 * full[1:-1] + full[:-2]) / h**2 + s**2 + source[1:-1]

        exact = solve_ivp(rate, (0.0, 1.0), [0.0] * 7, method="DOP853", rtol=1e-11, atol=1e-12).y[:, -1]
        found = problem.solve(torch.as_tensor(source)[None, None])[0, 0, -1, 1:-1].numpy()
        errors.append(abs(found - exact).max())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.3)


@pytest.mark.parametrize("name", SMALL)
def test_residual_of_the_solution_vanishes_and_of_another_field_does_not(name: str) -> None:
    problem = SMALL[name]()
    inputs = problem.sample(2, torch.Generator().manual_seed(0))
    found = problem.solve(inputs)
    assert found.shape == (2, len(problem.output_names), *problem.grid.shape)
    assert float(problem.residual(inputs, found).abs().max()) < 1e-11
    assert float(problem.residual(inputs, 1.1 * found).abs().max()) > 1e-2


@pytest.mark.parametrize("name", SMALL)
def test_seed_decides_and_batch_equals_loop(name: str) -> None:
    problem = SMALL[name]()
    first, second = (problem.sample(3, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
    torch.testing.assert_close(problem.solve(first), torch.cat([problem.solve(row[None]) for row in first]))


@pytest.mark.parametrize("name", SMALL)
def test_residual_is_differentiable(name: str) -> None:
    problem = SMALL[name]()
    inputs = problem.sample(1, torch.Generator().manual_seed(0))
    outputs = problem.solve(inputs)
    assert torch.autograd.gradcheck(problem.residual, (inputs.requires_grad_(), outputs.detach().requires_grad_()))


def test_driving_functions_have_the_stated_covariance() -> None:
    problem = Pendulum(resolution=7, final_time=0.9)
    drawn = problem.sample(100_000, torch.Generator().manual_seed(0))[:, 0]
    t = problem.grid.axis(0)
    exact = torch.exp(-((t[:, None] - t) ** 2) / (2 * 0.2**2))
    assert float((torch.cov(drawn.T) - exact).abs().max()) < 1e-2
    assert float(drawn.mean(0).abs().max()) < 1e-2


@pytest.mark.parametrize("length_scale", [0.1, 0.2, 0.5])
def test_variance_of_driving_functions_lies_in_the_eigenvalues_of_the_kernel(length_scale: float) -> None:
    problem = Antiderivative(resolution=101, length_scale=length_scale)
    drawn = problem.sample(20_000, torch.Generator().manual_seed(0))[:, 0]
    t = problem.grid.axis(0)
    kernel = torch.exp(-((t[:, None] - t) ** 2) / (2 * length_scale**2))
    exact = torch.linalg.eigvalsh(kernel).flip(0)[:6]
    found = torch.linalg.eigvalsh(torch.cov(drawn.T)).flip(0)[:6]
    torch.testing.assert_close(found, exact, rtol=0.05, atol=0)


@pytest.mark.parametrize("name", ["antiderivative", "pendulum", "nonlinear-ode"])
def test_one_seed_gives_the_same_function_at_every_resolution(name: str) -> None:
    coarse, fine = (make_problem(name, resolution=n) for n in (11, 41))
    few, many = (problem.sample(40, torch.Generator().manual_seed(1)) for problem in (coarse, fine))
    torch.testing.assert_close(many[..., ::4], few, rtol=1e-10, atol=1e-10)


def test_runaway_solutions_are_not_drawn_and_are_named_when_asked_for() -> None:
    bounded, free = NonlinearODE(), NonlinearODE(limit=math.inf)
    inputs = bounded.sample(1000, torch.Generator().manual_seed(0))
    assert float(bounded.solve(inputs).abs().max()) < 5.01
    everything = free.sample(1000, torch.Generator().manual_seed(0))
    # The functions that stay are the same, in the same order; new ones stand at the end.
    assert not torch.equal(everything, inputs)
    assert torch.equal(everything[:10], inputs[:10])
    with pytest.raises(ConvergenceError, match="sample 1 blows up before time 1"):
        bounded.solve(torch.tensor([0.0, -100.0], dtype=torch.float64)[:, None, None].expand(2, 1, 101))
    with pytest.raises(ValueError, match="limit=0"):
        NonlinearODE(limit=0.0)


def test_blow_up_and_bad_input_are_named() -> None:
    problem = DiffusionReaction(resolution=9, n_times=101, reaction=50.0)
    with pytest.raises(ConvergenceError, match="sample 1 blows up"):
        problem.solve(torch.tensor([0.0, 1e200], dtype=torch.float64)[:, None, None].expand(2, 1, 9))
    with pytest.raises(ValueError, match=r"expected \(batch, channel, 9\)"):
        problem.solve(torch.zeros(1, 1, 8, dtype=torch.float64))
    with pytest.raises(ValueError, match="at least 4"):
        Pendulum(resolution=3)
