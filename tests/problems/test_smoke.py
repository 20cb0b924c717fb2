"""The smoke solver: its projection, its walls, and the pressure equations that it hands over."""

from __future__ import annotations

import pytest
import torch

from equipoise.problems.obstacles import domain
from equipoise.problems.smoke import SmokePlume
from equipoise.solvers.learned_directions import conjugate_directions


@pytest.mark.parametrize("shape", [(20, 16), (12, 8, 8)])
def test_each_frame_ends_without_divergence_and_without_flow_through_walls(shape: tuple[int, ...]) -> None:
    plume = SmokePlume(domain("disc", shape))
    for _ in range(6):
        plume.step()
        assert plume.divergence().abs().max() < 1e-8
    solid = ~plume.fluid
    for axis, part in enumerate(plume.velocity):
        low, high = part.narrow(axis, 0, shape[axis]), part.narrow(axis, 1, shape[axis])
        assert not low[solid].any()
        assert not high[solid].any()
        assert not part.narrow(axis, 0, 1).any()
        assert axis == 0 or not part.narrow(axis, shape[axis], 1).any()
    assert plume.velocity[0].abs().max() > 0.1
    outflow, inflow = plume.velocity[0][-1].sum(), plume.velocity[0][0].sum()
    assert abs(float(outflow - inflow)) < 1e-7


def test_smoke_rises_and_stays_between_zero_and_one() -> None:
    plume = SmokePlume(domain("two boxes", (24, 16)))
    heights = []
    for _ in range(16):
        plume.step()
        weight = plume.density.sum(1)
        heights.append(float((weight * torch.arange(24)).sum() / weight.sum()))
    assert heights[-1] > heights[4] + 2
    assert 0 <= float(plume.density.min()) <= float(plume.density.max()) <= 1


def test_frames_are_right_hand_sides_of_the_pressure_equation() -> None:
    first, second = (SmokePlume(domain("wall with gap", (16, 16))) for _ in range(2))
    frames = first.frames((1, 3, 8))
    assert frames.shape == (3, 16, 16)
    for number in range(1, 4):
        rhs = second.step()
        if number in (1, 3):
            torch.testing.assert_close(rhs[0], frames[(1, 3).index(number)])
    solution = conjugate_directions(first.system.apply, frames, lambda unit: unit, project=first.system.project)
    assert solution.converged.all()
    with pytest.raises(ValueError, match="must ascend"):
        first.frames((3, 1))


def test_any_pressure_solver_gives_the_same_flow() -> None:
    exact = SmokePlume(domain("disc", (16, 16)))
    other = SmokePlume(
        domain("disc", (16, 16)),
        solve_pressure=lambda rhs: (
            (
                conjugate_directions(
                    exact.system.apply, rhs, lambda unit: unit, project=exact.system.project, rtol=1e-12
                )
            ).value
        ),
    )
    frames = [plume.frames((1, 5)) for plume in (exact, other)]
    torch.testing.assert_close(*frames, rtol=0, atol=1e-9)
    with pytest.raises(ValueError, match="two or three dimensions"):
        SmokePlume(torch.ones(4, dtype=torch.bool))
