"""Waves between reflecting walls: second order against plane and standing waves, residual and matrix alike."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from equipoise.problems.reflecting_box import ReflectingBox


def test_plane_wave_at_a_constant_speed_is_met_at_second_order() -> None:
    errors = []
    for n in (33, 65):
        problem = ReflectingBox(resolution=n, frequency=100.0)
        k, y = 5.0, problem.grid.points()[..., 1]
        exact = -torch.cos(k * y) / (k * math.sin(k))
        found = problem.solve(torch.full((1, 1, n, n), 20.0, dtype=torch.float64))[0, 0]
        errors.append(float((found - exact).abs().max()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.1)


def test_residual_of_a_wave_along_both_axes_vanishes_at_second_order_at_the_walls_too() -> None:
    errors = []
    for n in (33, 65):
        problem = ReflectingBox(resolution=n, frequency=1.0)
        x, y = problem.grid.points().unbind(-1)
        wave = torch.cos(2 * torch.pi * x) * torch.cos(torch.pi * y)
        speed = torch.full((1, 1, n, n), 1 / (math.pi * math.sqrt(5)), dtype=torch.float64)
        driven = problem.residual(speed, torch.zeros(1, 1, n, n, dtype=torch.float64))
        errors.append(float((problem.residual(speed, wave[None, None]) - driven).abs().max()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.1)


def test_residual_of_the_solution_vanishes_and_matches_a_symmetric_matrix() -> None:
    problem = ReflectingBox(resolution=15, frequency=300.0)
    inputs = problem.sample(2, torch.Generator().manual_seed(0))
    found = problem.solve(inputs)
    scale = float(found.abs().max()) / problem.grid.spacings[0] ** 2
    assert float(problem.residual(inputs, found).abs().max()) < 1e-11 * scale
    matrix, rhs = problem.assemble(inputs[0])
    np.testing.assert_allclose((matrix - matrix.T).toarray(), 0, atol=1e-12)
    trial = torch.randn(1, 1, 15, 15, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    volumes = problem.grid.weights().numpy().ravel()
    expected = (matrix @ trial.numpy().ravel() - rhs) / volumes
    np.testing.assert_allclose(problem.residual(inputs[:1], trial).numpy().ravel(), expected, rtol=1e-9, atol=1e-8)


def test_seed_decides_and_batch_equals_loop() -> None:
    problem = ReflectingBox(resolution=17, frequency=300.0)
    first, second = (problem.sample(3, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert bool(((first > 19) & (first < 21)).all())
    alone = torch.cat([ReflectingBox(resolution=17, frequency=300.0).solve(row[None]) for row in first])
    torch.testing.assert_close(problem.solve(first), alone, rtol=1e-8, atol=1e-9)


def test_residual_is_differentiable_and_bad_speeds_are_named() -> None:
    problem = ReflectingBox(resolution=5, frequency=30.0)
    inputs = problem.sample(1, torch.Generator().manual_seed(0)).requires_grad_()
    outputs = torch.randn(1, 1, 5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(problem.residual, (inputs, outputs))
    with pytest.raises(ValueError, match="wave speed of sample 0 is not positive"):
        problem.solve(-inputs.detach())
    with pytest.raises(ValueError, match="resolution=2"):
        ReflectingBox(resolution=2)
