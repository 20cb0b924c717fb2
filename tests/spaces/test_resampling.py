"""Resampling: exact where the method promises it, at its order elsewhere, one field per seed at any resolution."""

from __future__ import annotations

import math

import pytest
import torch

from equipoise.spaces.grid import Grid
from equipoise.spaces.random_fields import GaussianRandomField, matern_spectrum, squared_exponential_spectrum, threshold
from equipoise.spaces.resampling import resample
from equipoise.spaces.transforms import cosine_transform, inverse_cosine_transform


def band_limited(grid: Grid, seed: int = 0) -> torch.Tensor:
    field = GaussianRandomField(lambda k: torch.ones_like(k), n_modes=3, has_mean=True)
    return field.sample(2, grid, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("periodic", [(True, True), (False, False), (True, False)])
@pytest.mark.parametrize("shape", [(12, 9), (7, 16), (8, 8), (31, 20)])
def test_spectral_resampling_is_exact_for_resolved_fields(periodic: tuple[bool, bool], shape: tuple[int, int]) -> None:
    grid = Grid((10, 11), ((0.0, 2.0), (-1.0, 0.0)), periodic)
    torch.testing.assert_close(resample(band_limited(grid), grid, shape), band_limited(grid.resized(shape)))


def test_highest_cosine_survives_refinement_and_coarsening() -> None:
    grid = Grid((8,), periodic=True)
    field = torch.cos(8 * torch.pi * grid.axis(0))[None, None]
    fine = resample(field, grid, (16,))
    torch.testing.assert_close(fine[0, 0], torch.cos(8 * torch.pi * grid.resized((16,)).axis(0)))
    torch.testing.assert_close(resample(fine, grid.resized((16,)), (8,)), field)


@pytest.mark.parametrize(("method", "order"), [("linear", 2), ("cubic", 4)])
@pytest.mark.parametrize("periodic", [True, False])
def test_interpolation_converges_at_its_order(method: str, order: int, periodic: bool) -> None:
    errors = []
    for n in (32, 64):
        grid = Grid((n,), ((0.0, 1.0),), periodic)
        fine = grid.resized((501,))
        field, exact = (torch.sin(2 * torch.pi * g.axis(0))[None, None] for g in (grid, fine))
        errors.append(float((resample(field, grid, (501,), method=method) - exact).abs().max()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.25)


def test_cubic_interpolation_is_exact_for_cubics() -> None:
    grid = Grid((6,))
    fine = grid.resized((40,))
    field = resample((grid.axis(0) ** 3)[None, None], grid, (40,), method="cubic")
    torch.testing.assert_close(field[0, 0], fine.axis(0) ** 3)


@pytest.mark.parametrize("count", [2, 3, 8])
def test_cosine_transform_inverts(count: int) -> None:
    values = torch.randn(3, count, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(inverse_cosine_transform(cosine_transform(values, 1), 1), values)


@pytest.mark.parametrize("periodic", [True, False])
def test_one_seed_gives_one_random_field_at_two_resolutions(periodic: bool) -> None:
    field = GaussianRandomField(matern_spectrum(tau=3.0, alpha=2.0), n_modes=40)
    count = 16 if periodic else 17
    fine_count = 64 if periodic else 65
    grids = [Grid((n, n), periodic=periodic) for n in (count, fine_count)]
    coarse, fine = (field.sample(2, grid, torch.Generator().manual_seed(7)) for grid in grids)
    torch.testing.assert_close(coarse, fine[:, :, ::4, ::4])


@pytest.mark.parametrize("periodic", [True, False])
def test_modes_have_the_variance_of_the_spectrum(periodic: bool) -> None:
    grid = Grid((32,), ((0.0, 2.0),), periodic)
    spectrum = matern_spectrum(tau=2.0, alpha=1.5)
    draws = GaussianRandomField(spectrum, n_modes=8).sample(20_000, grid, torch.Generator().manual_seed(0))[:, 0]
    wavenumber = 2 * torch.pi * 3 / 2.0 if periodic else torch.pi * 3 / 2.0
    mode = torch.cos(wavenumber * grid.axis(0))  # norm 1 on a box of length 2
    projection = (draws * mode * grid.weights()).sum(-1)
    expected = float(spectrum(torch.tensor(wavenumber**2)))
    assert float(projection.var()) == pytest.approx(expected, rel=0.05)


def test_squared_exponential_field_has_its_covariance() -> None:
    grid = Grid((64,), ((0.0, 4.0),), True)
    field = GaussianRandomField(squared_exponential_spectrum(length_scale=0.3, dim=1, variance=2.0), has_mean=True)
    draws = field.sample(20_000, grid, torch.Generator().manual_seed(0))[:, 0]
    covariance = (draws[:, :1] * draws).mean(0)
    distance = torch.minimum(grid.axis(0), 4.0 - grid.axis(0))
    exact = 2.0 * torch.exp(-distance.square() / (2 * 0.3**2))
    assert float((covariance - exact).abs().max()) < 0.08


def test_threshold_gives_two_values() -> None:
    field = torch.tensor([-1.0, 0.0, 2.0])
    assert threshold(field, low=3.0, high=12.0).tolist() == [3.0, 12.0, 12.0]


def test_unknown_methods_and_other_dimensions_are_refused() -> None:
    grid = Grid((4,))
    with pytest.raises(ValueError, match="use one of spectral, linear, cubic"):
        resample(torch.zeros(1, 1, 4), grid, (8,), method="nearest")
    with pytest.raises(ValueError, match="axes"):
        resample(torch.zeros(1, 1, 4), grid, (8, 8))
    with pytest.raises(ValueError, match="n_modes=0"):
        GaussianRandomField(lambda k: k, n_modes=0)
