"""Grids: points, weights and wavenumbers, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.spaces.grid import Grid


@given(
    st.lists(st.tuples(st.integers(2, 6), st.booleans(), st.floats(-3, 3), st.floats(0.1, 4)), min_size=1, max_size=3)
)
@settings(max_examples=40, deadline=None)
def test_weights_sum_to_the_volume_and_points_stay_in_the_box(axes: list[tuple[int, bool, float, float]]) -> None:
    grid = Grid(
        tuple(n for n, _, _, _ in axes),
        tuple((low, low + length) for _, _, low, length in axes),
        tuple(wraps for _, wraps, _, _ in axes),
    )
    assert float(grid.weights().sum()) == pytest.approx(grid.volume)
    points = grid.points()
    assert points.shape == (*grid.shape, grid.dim)
    for axis, (low, high) in enumerate(grid.bounds):
        assert points[..., axis].min() == pytest.approx(low)
        assert points[..., axis].max() == pytest.approx(high - (grid.spacings[axis] if grid.wraps[axis] else 0))


def test_trapezoidal_rule_is_second_order_and_exact_for_resolved_waves() -> None:
    errors = []
    for n in (9, 17, 33):
        grid = Grid((n,))
        errors.append(abs(float((grid.axis(0).exp() * grid.weights()).sum()) - (math.e - 1)))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.02)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.02)
    wave = Grid((8,), ((0.0, 2.0),), True)
    assert float((torch.cos(3 * torch.pi * wave.axis(0)).square() * wave.weights()).sum()) == pytest.approx(1.0)


def test_wavenumbers_are_angular() -> None:
    grid = Grid((6, 5), ((0.0, 2.0), (0.0, 0.5)), (True, False))
    assert grid.wavenumbers(0).tolist() == pytest.approx([math.pi * m for m in (0, 1, 2, -3, -2, -1)])
    assert grid.wavenumbers(0, half=True).tolist() == pytest.approx([math.pi * m for m in (0, 1, 2, 3)])
    assert grid.wavenumbers(1).tolist() == pytest.approx([2 * math.pi * m for m in range(5)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_honoured(dtype: torch.dtype) -> None:
    grid = Grid((4, 4), periodic=True)
    assert {
        grid.points(dtype=dtype).dtype,
        grid.weights(dtype=dtype).dtype,
        grid.wavenumbers(0, dtype=dtype).dtype,
    } == {dtype}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"shape": ()}, "one to three axes"),
        ({"shape": (4, 4, 4, 4)}, "one to three axes"),
        ({"shape": (1,)}, "at least 2"),
        ({"shape": (4,), "bounds": ((1.0, 0.0),)}, "finite and increasing"),
        ({"shape": (4,), "bounds": ((0.0, math.nan),)}, "finite and increasing"),
        ({"shape": (4, 4), "bounds": ((0.0, 1.0),)}, "bounds have 1"),
        ({"shape": (4, 4), "periodic": (True,)}, "periodic has 1"),
    ],
)
def test_bad_grids_are_refused(options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Grid(**options)


def test_field_of_another_shape_is_named() -> None:
    with pytest.raises(ValueError, match=r"has shape \(1, 2, 5\); expected \(batch, channel, 4\)"):
        Grid((4,)).check_field(torch.zeros(1, 2, 5))
