"""The Fourier H1 loss: closed forms of trigonometric polynomials, and the published recipe written out."""

from __future__ import annotations

import math

import pytest
import torch

from equipoise.spaces.grid import Grid
from equipoise.training.spectral_h1_loss import SpectralH1Loss


@pytest.mark.parametrize("shape", [(24, 24), (25, 21), (16, 15)])
def test_without_cutoff_it_is_the_sum_of_squares_of_a_polynomial_and_its_derivatives(shape: tuple[int, int]) -> None:
    grid = Grid(shape, bounds=((0.0, 2 * math.pi),) * 2, periodic=True)
    x, y = grid.points().unbind(-1)
    value = 1.5 + torch.cos(3 * x) * torch.sin(5 * y) - 2 * torch.sin(2 * x)
    along_x = -3 * torch.sin(3 * x) * torch.sin(5 * y) - 4 * torch.cos(2 * x)
    along_y = 5 * torch.cos(3 * x) * torch.cos(5 * y)
    expected = sum(part.square().sum() for part in (value, along_x, along_y)).sqrt()
    norm = SpectralH1Loss(grid, cutoff=None).norm(value[None, None])
    torch.testing.assert_close(norm[0], expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("shape", [(64,), (64, 45), (12, 10, 9)])
@pytest.mark.parametrize("cutoff", [3, 20])
def test_it_is_the_published_recipe_over_the_whole_transform(shape: tuple[int, ...], cutoff: int) -> None:
    generator = torch.Generator().manual_seed(0)
    prediction, target = torch.randn(2, 3, 2, *shape, generator=generator, dtype=torch.float64)
    axes = [torch.fft.fftfreq(n, 1 / n, dtype=torch.float64) for n in shape]
    squared = 1 + sum(torch.where(k.abs() < cutoff, k, 0.0).square() for k in torch.meshgrid(*axes, indexing="ij"))
    dims = tuple(range(2, 2 + len(shape)))

    def norm(field: torch.Tensor) -> torch.Tensor:
        return (torch.fft.fftn(field, dim=dims, norm="ortho").abs() * squared.sqrt()).flatten(1).norm(dim=1)

    loss = SpectralH1Loss(Grid(shape), cutoff=cutoff)(prediction, target)
    torch.testing.assert_close(loss, norm(prediction - target) / norm(target), rtol=1e-12, atol=0)


def test_frequencies_above_the_cutoff_weigh_as_in_l2() -> None:
    grid = Grid((64,), periodic=True)
    wave = torch.cos(2 * torch.pi * 25 * grid.axis(0))[None, None]
    torch.testing.assert_close(SpectralH1Loss(grid, cutoff=20).norm(wave)[0], wave.norm(), rtol=1e-12, atol=0)
    assert float(SpectralH1Loss(grid, cutoff=26).norm(wave)) == pytest.approx(float(wave.norm()) * math.sqrt(1 + 625))


def test_its_gradient_is_that_of_finite_differences() -> None:
    loss = SpectralH1Loss(Grid((8, 9)))
    target = torch.randn(2, 1, 8, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    prediction = (target + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda field: loss(field, target), (prediction,))


def test_a_cutoff_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="cutoff=0"):
        SpectralH1Loss(Grid((8,)), cutoff=0)
