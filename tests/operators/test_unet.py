"""Facts of the two ordinary networks: shapes, translation, rebuilding, and what they refuse."""

from __future__ import annotations

import pytest
import torch

from equipoise.operators.attention import PatchTransformer
from equipoise.operators.unet import UNet


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("padding", ["zeros", "circular"])
def test_u_net_keeps_the_grid_in_all_dimensions(dim: int, padding: str) -> None:
    network = UNet(in_channels=2, out_channels=3, dim=dim, width=3, kernel_size=3, padding=padding)
    assert network(torch.randn(2, 2, *[8] * dim)).shape == (2, 3, *[8] * dim)


def test_circular_u_net_commutes_with_shifts_by_its_coarsest_spacing() -> None:
    network = UNet(in_channels=1, out_channels=1, width=4, coordinates=False).double()
    field = torch.randn(1, 1, 16, 16, dtype=torch.float64)
    shifted = network(torch.roll(field, (4, 8), (2, 3)))
    torch.testing.assert_close(shifted, torch.roll(network(field), (4, 8), (2, 3)), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "network",
    [
        UNet(in_channels=1, out_channels=1, width=3, seed=3),
        PatchTransformer(in_channels=1, out_channels=1, shape=(8, 8), width=8, n_layers=1, local_taps=3, seed=3),
    ],
)
def test_configuration_rebuilds_the_network(network: UNet | PatchTransformer) -> None:
    again = type(network)(**network.config)
    field = torch.randn(1, 1, 8, 8)
    assert torch.equal(again(field), network(field))


@pytest.mark.parametrize(
    "network",
    [
        UNet(in_channels=1, out_channels=1, width=1, multipliers=(1, 1), kernel_size=3, n_blocks=1),
        PatchTransformer(in_channels=1, out_channels=1, shape=(8, 8), width=4, n_layers=1, n_heads=2),
    ],
)
def test_gradients_are_exact(network: UNet | PatchTransformer) -> None:
    field = torch.randn(1, 1, 4, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(network.double(), field)


def test_patches_of_a_grid_twice_as_fine_take_the_table_in_between() -> None:
    network = PatchTransformer(in_channels=1, out_channels=2, shape=(16, 8), width=8, n_layers=1)
    assert network(torch.randn(1, 1, 32, 16)).shape == (1, 2, 32, 16)


def test_wrong_input_is_named() -> None:
    network = UNet(in_channels=2, out_channels=1, width=3)
    with pytest.raises(ValueError, match="multiples of 4"):
        network(torch.zeros(1, 2, 6, 8))
    with pytest.raises(ValueError, match="expected 2 channels on 2 axes"):
        network(torch.zeros(1, 1, 8, 8))
    with pytest.raises(ValueError, match="kernel_size=4"):
        UNet(in_channels=1, out_channels=1, kernel_size=4)
    transformer = PatchTransformer(in_channels=1, out_channels=1, shape=(8, 8))
    with pytest.raises(ValueError, match="multiples of 4"):
        transformer(torch.zeros(1, 1, 6, 8))
    with pytest.raises(ValueError, match="local_taps=2"):
        PatchTransformer(in_channels=1, out_channels=1, shape=(8, 8), local_taps=2)
