"""Strains drawn in a box: where they lie, and that the seed alone decides."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from equipoise.data.sampling import laplace, latin_hypercube, sobol, symmetric_box, uniform

DRAWS = [latin_hypercube, sobol, uniform, laplace]
Draw = Callable[..., torch.Tensor]


@pytest.mark.parametrize("draw", DRAWS, ids=lambda d: d.__name__)
@given(
    count=st.integers(1, 60),
    low=st.floats(-0.1, -1e-4),
    high=st.floats(1e-4, 0.1),
    components=st.sampled_from([3, 6]),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=25, deadline=None)
def test_points_lie_in_the_box_and_depend_on_the_seed_alone(
    draw: Draw, count: int, low: float, high: float, components: int, seed: int
) -> None:
    box = torch.tensor([[low] * components, [high] * components], dtype=torch.float64)
    points = draw(count, box, seed=seed)
    assert points.dtype == torch.float64
    assert points.shape == (count, components)
    assert bool(((points >= low) & (points <= high)).all())
    assert torch.equal(points, draw(count, box, seed=seed))
    assert not torch.equal(points, draw(count, box, seed=seed + 1))


def test_every_slice_of_a_latin_hypercube_holds_one_point() -> None:
    box = torch.tensor([[-0.04, -0.01, 0.0], [0.04, 0.03, 1.0]], dtype=torch.float64)
    points = latin_hypercube(50, box, seed=3)
    slices = torch.floor((points - box[0]) / (box[1] - box[0]) * 50).to(torch.int64)
    assert torch.equal(slices.sort(dim=0).values, torch.arange(50)[:, None].expand(50, 3))


@pytest.mark.parametrize("draw", [sobol, uniform], ids=lambda d: d.__name__)
def test_a_shorter_draw_is_the_beginning_of_a_longer_one(draw: Draw) -> None:
    box = symmetric_box(0.04, 6)
    assert torch.equal(draw(7, box, seed=5), draw(40, box, seed=5)[:7])


def test_sobol_points_fill_the_box_more_evenly_than_random_ones() -> None:
    unit = torch.tensor([[0.0] * 3, [1.0] * 3], dtype=torch.float64)
    even, random = (stats.qmc.discrepancy(draw(256, unit, seed=0).numpy()) for draw in (sobol, uniform))
    assert even < random / 5


def test_laplace_strains_follow_the_laplace_law_inside_a_wide_box() -> None:
    points = laplace(2000, symmetric_box(10.0, 3), seed=1, scale=0.01)
    for component in range(3):
        assert stats.kstest(points[:, component].numpy(), stats.laplace(scale=0.01).cdf).statistic < 0.002
    assert points.abs().mean().item() == pytest.approx(0.01, rel=0.01)


def test_laplace_values_beyond_either_end_are_mirrored_at_that_end() -> None:
    wide = laplace(500, symmetric_box(10.0, 3), seed=2, scale=0.03)
    narrow = laplace(500, symmetric_box(0.04, 3), seed=2, scale=0.03)
    above, below = (wide > 0.04) & (wide < 0.12), (wide < -0.04) & (wide > -0.12)
    assert int(above.sum()) > 100
    assert int(below.sum()) > 100
    assert torch.allclose(narrow[above], 0.08 - wide[above], rtol=0, atol=1e-15)
    assert torch.allclose(narrow[below], -0.08 - wide[below], rtol=0, atol=1e-15)
    kept = wide.abs() <= 0.04
    assert torch.equal(narrow[kept], wide[kept])


def test_laplace_strains_have_no_preferred_sign_in_a_narrow_box() -> None:
    points = laplace(4000, symmetric_box(0.02, 3), seed=4, scale=0.03)
    assert points.mean().abs().item() < 1e-5
    assert np.abs(stats.skew(points.numpy(), axis=0)).max() < 1e-3


@pytest.mark.parametrize("draw", DRAWS, ids=lambda d: d.__name__)
@pytest.mark.parametrize(
    ("count", "box", "seed", "words"),
    [
        (0, [[-1.0, -1.0], [1.0, 1.0]], 0, "count=0 must be at least 1"),
        (3, [[-1.0, -1.0], [1.0, 1.0]], -1, "seed=-1 must not be negative"),
        (3, [-1.0, 1.0], 0, r"expected \(2, v\)"),
        (3, [[-1.0, 1.0], [1.0, 1.0]], 0, "below its highest"),
        (3, [[-1.0, float("nan")], [1.0, 1.0]], 0, "must be finite"),
    ],
)
def test_bad_requests_are_refused(draw: Draw, count: int, box: list[object], seed: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        draw(count, torch.tensor(box, dtype=torch.float64), seed=seed)


@pytest.mark.usefixtures("unchecked_types")
def test_count_that_is_no_integer_is_refused() -> None:
    with pytest.raises(TypeError, match="count is float"):
        uniform(2.0, symmetric_box(1.0, 3), seed=0)  # type: ignore[arg-type]


@pytest.mark.parametrize(("low", "scale", "words"), [(0.01, 0.01, "contain zero"), (-1.0, 0.0, "scale=0.0")])
def test_laplace_refuses_a_box_without_zero_and_a_scale_of_zero(low: float, scale: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        laplace(3, torch.tensor([[low], [1.0]], dtype=torch.float64), seed=0, scale=scale)


def test_symmetric_box_takes_one_width_or_one_for_each_component() -> None:
    assert symmetric_box(0.04, 3).tolist() == [[-0.04] * 3, [0.04] * 3]
    assert symmetric_box([0.01, 0.02, 0.03], 3)[1].tolist() == [0.01, 0.02, 0.03]
    with pytest.raises(ValueError, match="2 half widths; give 1 or 3"):
        symmetric_box([0.01, 0.02], 3)
    with pytest.raises(ValueError, match="half width -1"):
        symmetric_box(-1, 3)
