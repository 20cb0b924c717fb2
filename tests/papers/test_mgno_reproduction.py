"""The smoke scale of the MgNO reproduction, and the data it is made of."""

from __future__ import annotations

import pytest
import torch

from equipoise.papers import Settings, load
from equipoise.papers.mgno_data import Sampling, multiscale_darcy
from equipoise.papers.mgno_helmholtz import HelmholtzSizes, helmholtz_data, run_helmholtz
from equipoise.problems.elliptic import Darcy


def test_smoke_scale_holds_with_a_small_part_of_the_parameters() -> None:
    outcome = load("mgno").run(Settings(scale="smoke"))
    assert outcome.held
    assert outcome.figures["loss_fall"] <= 0.6
    assert outcome.figures["parameter_ratio"] <= 0.25
    for row in (outcome.figures, outcome.baseline):
        assert row["h1"] < outcome.baseline["mean_of_training_solutions"]["h1"]


def test_the_points_kept_are_those_of_the_fine_solution() -> None:
    sampling = Sampling(33, 2, 2, 15)
    data = multiscale_darcy(3, sampling, seed=0)
    problem = Darcy(resolution=33, coefficient="trigonometric")
    conductivity = problem.sample(3, torch.Generator().manual_seed(0))
    fine = torch.cat([conductivity.log(), problem.solve(conductivity)], 1)
    points = problem.grid.points()[2:31:2, 2:31:2]
    torch.testing.assert_close(data.grid.points(), points, rtol=0, atol=1e-15)
    torch.testing.assert_close(torch.cat([data.inputs, data.outputs], 1).double(), fine[..., 2:31:2, 2:31:2])


@pytest.mark.parametrize(("resolution", "first", "stride", "count"), [(129, 2, 2, 63), (1025, 1, 4, 256)])
def test_the_grids_lie_inside_the_square(resolution: int, first: int, stride: int, count: int) -> None:
    low, high = Sampling(resolution, first, stride, count).grid.bounds[0]
    assert low == first / (resolution - 1)
    assert high == (first + stride * (count - 1)) / (resolution - 1) < 1


def test_the_helmholtz_experiment_learns_at_a_small_size() -> None:
    sizes = HelmholtzSizes(31, 24, 8, 8, 6, 6, width=6, layers=2, levels=3, rate=3e-3, frequency=200.0)
    found = run_helmholtz(sizes, seed=0, device="cpu")
    assert found["loss_fall"] < 0.8
    data = helmholtz_data(sizes, seed=1000)
    assert data.inputs.shape == data.outputs.shape == (40, 1, 31, 31)
