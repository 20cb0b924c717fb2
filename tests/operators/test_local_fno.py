"""Facts of the FNO with local layers: one operator on all grids, exact gradients, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from equipoise.operators.local_fno import LocalFNO
from equipoise.spaces.grid import Grid
from equipoise.spaces.random_fields import GaussianRandomField, squared_exponential_spectrum


def _field(n: int) -> torch.Tensor:
    field = GaussianRandomField(squared_exponential_spectrum(length_scale=0.2, dim=2), n_modes=3)
    return field.sample(1, Grid((n, n), (), True), torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("local", "bound"), [({}, 2e-3), ({"radius": 0.1}, 2e-2), ({"differences": True}, 0.1)])
@torch.no_grad()
def test_answers_agree_between_grids(local: dict[str, object], bound: float) -> None:
    network = LocalFNO(
        in_channels=1, out_channels=1, width=6, n_modes=(8, 8), shape=(32, 32), n_radial=3, **local
    ).double()
    coarse, fine = network(_field(32)), network(_field(64))[..., ::2, ::2]
    assert float((fine - coarse).norm() / coarse.norm()) < bound


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_it_works_in_every_dimension_and_is_rebuilt_by_its_configuration(dim: int) -> None:
    network = LocalFNO(
        in_channels=2,
        out_channels=3,
        width=4,
        n_modes=(4,) * dim,
        n_layers=2,
        shape=(8,) * dim,
        differences=True,
        radius=0.3,
        seed=5,
    )
    again = LocalFNO(**network.config)
    inputs = torch.randn(2, 2, *[8] * dim)
    assert torch.equal(network(inputs), again(inputs))
    assert network(inputs).shape == (2, 3, *[8] * dim)


@torch.no_grad()
def test_without_layers_between_it_keeps_the_lowest_modes_alone() -> None:
    network = LocalFNO(in_channels=1, out_channels=1, width=3, n_modes=(4, 4), n_layers=1, shape=(8, 8)).double()
    layer = network.layers[0]
    x = Grid((16, 16), ((0.0, 2 * torch.pi),) * 2, True).points()[..., 0]
    high = torch.cos(5 * x).expand(1, 3, 16, 16)
    assert float((layer.spectral(high) - layer.spectral(0 * high)).abs().max()) < 1e-12
    low = torch.cos(x).expand(1, 3, 16, 16)
    assert float((layer.spectral(low) - layer.spectral(0 * low)).abs().max()) > 1e-2


def test_gradients_are_exact() -> None:
    network = LocalFNO(
        in_channels=1, out_channels=1, width=2, n_modes=(2, 2), n_layers=2, shape=(4, 4), differences=True, radius=0.4
    ).double()
    inputs = torch.randn(1, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(network, inputs)


def test_grids_that_do_not_resolve_the_modes_are_refused() -> None:
    network = LocalFNO(in_channels=1, out_channels=1, n_modes=(8, 8), shape=(16, 16))
    with pytest.raises(ValueError, match="does not resolve"):
        network(torch.zeros(1, 1, 6, 16))
    with pytest.raises(ValueError, match="expected 1 channels"):
        network(torch.zeros(1, 2, 16, 16))
