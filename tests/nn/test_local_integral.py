"""Facts of the local integral convolution: constants, convergence to its integral, and independence of the grid."""

from __future__ import annotations

import pytest
import torch

from equipoise.nn.local_integral import LocalIntegralConvolution, ball_basis
from equipoise.spaces.grid import Grid


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("n", [6, 8, 11, 16])
def test_constants_map_to_the_sum_of_weights_on_every_grid(dim: int, n: int) -> None:
    layer = LocalIntegralConvolution(in_channels=1, out_channels=2, dim=dim, radius=0.3).double()
    grid = Grid((n,) * dim, (), True)
    out = layer(torch.full((1, 1, *grid.shape), 2.0, dtype=torch.float64), grid)
    expected = 2 * layer.weight.sum((1, 2)).view(1, 2, *[1] * dim).expand_as(out)
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n_radial", [1, 2, 3])
def test_basis_has_as_many_functions_as_weights_and_integral_one(n_radial: int) -> None:
    points, basis = ball_basis(2, n_radial, 4)
    assert len(basis) == 1 + 4 * (n_radial - 1)
    assert points.norm(dim=1).max() <= 1
    torch.testing.assert_close(basis.sum(1), torch.ones(len(basis), dtype=torch.float64))
    layer = LocalIntegralConvolution(in_channels=1, out_channels=1, radius=1.0, n_radial=n_radial)
    assert layer.weight.shape[2] == len(basis)


def test_values_converge_to_the_integral_at_high_order() -> None:
    layer = LocalIntegralConvolution(in_channels=1, out_channels=1, radius=0.8).double()
    errors = []
    for n in (16, 32, 64):
        grid = Grid((n, n), ((0.0, 2 * torch.pi),) * 2, True)
        points = grid.points()
        field = torch.sin(points[..., 0] + 2 * points[..., 1])
        # On a plane wave the sum over fixed offsets is known.
        offsets = layer.points * 0.8
        phase = offsets[:, 0] + 2 * offsets[:, 1]
        kernel = layer.weight[0, 0] @ layer.basis
        cosine = torch.cos(points[..., 0] + 2 * points[..., 1])
        exact = (kernel * phase.cos()).sum() * field + (kernel * phase.sin()).sum() * cosine
        errors.append(float((layer(field[None, None], grid)[0, 0] - exact).detach().abs().max()))
    assert errors[0] / errors[1] > 10
    assert errors[1] / errors[2] > 10
    assert errors[2] < 1e-4


def test_isotropic_kernel_is_the_mean_over_a_ball() -> None:
    """One hat in the radius, on `cos x`: the integral over the disc by an independent quadrature."""
    from scipy.integrate import quad
    from scipy.special import j0

    radius = 0.7
    numerator = quad(lambda r: r * (1 - r / radius) * j0(r), 0, radius)[0]
    expected = numerator / (radius**2 / 6)
    layer = LocalIntegralConvolution(in_channels=1, out_channels=1, radius=radius, n_radial=1).double()
    torch.nn.init.ones_(layer.weight)
    grid = Grid((64, 64), ((0.0, 2 * torch.pi),) * 2, True)
    out = layer(torch.cos(grid.points()[..., 0])[None, None], grid)
    assert float(out[0, 0, 0, 0]) == pytest.approx(expected, rel=2e-3)


def test_gradients_are_exact() -> None:
    layer = LocalIntegralConvolution(in_channels=1, out_channels=1, radius=0.3).double()
    grid = Grid((5, 6), (), (True, False))
    field = torch.randn(1, 1, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda u: layer(u, grid), field)


def test_bad_radius_or_dimension_is_refused() -> None:
    with pytest.raises(ValueError, match="radius=0"):
        LocalIntegralConvolution(in_channels=1, out_channels=1, radius=0.0)
    layer = LocalIntegralConvolution(in_channels=1, out_channels=1, radius=0.1)
    with pytest.raises(ValueError, match="3 axes"):
        layer(torch.zeros(1, 1, 4, 4, 4), Grid((4, 4, 4)))
