"""Errors by sample, channel and wavenumber, against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from equipoise.spaces import Grid
from equipoise.training.metrics import FieldErrors, error_summary, sample_errors

GRID = Grid((64,), ((0.0, 2 * math.pi),), True)
X = GRID.axis(0)


def summed(wrong: torch.Tensor, exact: torch.Tensor, grid: Grid = GRID) -> FieldErrors:
    errors = FieldErrors(grid)
    for part in range(len(exact)):
        errors.add(wrong[part : part + 1], exact[part : part + 1])
    return errors


def test_a_summary_names_the_worst_sample_and_counts_lost_ones() -> None:
    errors = torch.tensor([0.1, float("nan"), 0.3, 0.2], dtype=torch.float64)
    found = error_summary(errors)
    assert found["non_finite"] == 1
    assert found["worst_sample"] == 1
    assert found["worst"] == pytest.approx(0.3)
    assert found["mean"] == pytest.approx(0.2)
    assert error_summary(torch.tensor([0.1, 0.4, 0.2]))["worst_sample"] == 1


def test_bands_find_the_frequency_of_an_error() -> None:
    exact = (torch.sin(X) + 0.1 * torch.sin(20 * X))[None, None]
    wrong = exact + 0.05 * torch.cos(20 * X)
    bands = summed(wrong, exact).by_wavenumber()
    assert [band["from"] for band in bands] == [0.0, 4.0, 8.0, 16.0]
    assert bands[3]["share_of_error"] == pytest.approx(1.0)
    assert bands[3]["relative_error"] == pytest.approx(0.5)
    assert bands[0]["relative_error"] == pytest.approx(0.0, abs=1e-12)


def test_shares_of_bands_add_up_on_any_box() -> None:
    for wraps in (True, False):
        grid = Grid((16, 24), ((0.0, 1.0), (0.0, 3.0)), wraps)
        generator = torch.Generator().manual_seed(0)
        exact, wrong = (torch.randn(3, 2, 16, 24, generator=generator) for _ in range(2))
        assert sum(band["share_of_error"] for band in summed(wrong, exact, grid).by_wavenumber()) == pytest.approx(1.0)


def test_channels_are_compared_each_with_its_own_size() -> None:
    exact = torch.stack([torch.sin(X), 100 * torch.cos(X)])[None]
    wrong = exact + torch.stack([0.1 * torch.sin(X), 1.0 * torch.cos(X)])[None]
    found = summed(wrong, exact).by_channel(("small", "large"))
    assert found == {"small": pytest.approx(0.1), "large": pytest.approx(0.01)}


def test_errors_of_samples_agree_at_two_resolutions() -> None:
    values = []
    for count in (32, 128):
        grid = Grid((count,), periodic=True)
        x = 2 * math.pi * grid.axis(0)
        values.append(sample_errors((1.1 * torch.sin(x))[None, None], torch.sin(x)[None, None], grid, order=1.0))
    assert float(values[0]) == pytest.approx(float(values[1]), rel=1e-12)


def test_parts_add_up_to_the_whole_and_a_channel_of_zeros_is_compared_as_it_is() -> None:
    generator = torch.Generator().manual_seed(0)
    exact, wrong = (torch.randn(5, 2, 64, generator=generator, dtype=torch.float64) for _ in range(2))
    exact[:, 1] = 0
    whole = FieldErrors(GRID)
    whole.add(wrong, exact)
    assert summed(wrong, exact).by_channel("ab") == pytest.approx(whole.by_channel("ab"))
    assert whole.by_channel("ab")["b"] == pytest.approx(float((wrong[:, 1].square().mean() * 2 * math.pi).sqrt()))
    for first, second in zip(summed(wrong, exact).by_wavenumber(), whole.by_wavenumber(), strict=True):
        assert first == pytest.approx(second)
