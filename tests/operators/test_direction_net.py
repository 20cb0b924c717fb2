"""The network that proposes search directions: its published sizes, its scaling and its grids."""

from __future__ import annotations

import pytest
import torch

from equipoise.operators.direction_net import DirectionNet, deepened, network_direction


@pytest.mark.parametrize(
    ("dim", "layout", "count"),
    [(3, "k64", 97_457), (3, "k128", 152_881), (2, "k64", 32_657), (2, "k128", 51_217)],
)
def test_the_published_numbers_of_parameters_are_met(dim: int, layout: str, count: int) -> None:
    network = DirectionNet(dim=dim, layout=layout, bias=True)
    assert sum(weight.numel() for weight in network.parameters()) == count


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_without_biases_a_positive_factor_goes_through_exactly(dim: int) -> None:
    network = DirectionNet(dim=dim, width=4).double()
    residual = torch.randn(2, 1, *(8,) * dim, dtype=torch.float64)
    assert torch.equal(network(4 * residual), 4 * network(residual))
    torch.testing.assert_close(network(3 * residual), 3 * network(residual), rtol=1e-12, atol=1e-14)
    assert not network(torch.zeros_like(residual)).any()
    assert network(residual).abs().max() > 0


def test_biases_start_at_zero_and_weights_follow_glorot() -> None:
    network, bare = DirectionNet(bias=True, seed=5), DirectionNet(seed=5)
    assert not network.first.bias.any()
    bound = (6 / (9 * (16 + 16))) ** 0.5
    assert 0.95 * bound < float(bare.low[0].weight.detach().abs().max()) <= bound
    residual = torch.randn(1, 1, 8, 8)
    torch.testing.assert_close(network(residual), bare(residual))


def test_any_even_grid_is_served_and_an_odd_one_refused() -> None:
    network = DirectionNet(width=4)
    assert network(torch.randn(2, 1, 6, 10)).shape == (2, 1, 6, 10)
    with pytest.raises(ValueError, match="use even counts"):
        network(torch.randn(2, 1, 6, 9))
    with pytest.raises(ValueError, match="expected"):
        network(torch.randn(2, 2, 6, 8))
    with pytest.raises(ValueError, match="layout='k32' is unknown"):
        DirectionNet(layout="k32")


@pytest.mark.parametrize(("layout", "reach"), [("k64", 22), ("k128", 33)])
def test_the_answer_depends_on_the_published_surroundings_only(layout: str, reach: int) -> None:
    """All weights positive, so that nothing cancels and no unit is dead."""
    network = DirectionNet(dim=1, layout=layout, width=2)
    with torch.no_grad():
        for weight in network.parameters():
            weight.abs_()
    impulse = torch.zeros(1, 1, 128)
    impulse[..., 64] = 1
    touched = torch.nonzero(network(impulse)[0, 0]).flatten()
    assert abs((int(touched[-1]) - int(touched[0])) / 2 - reach) <= 1


def test_the_configuration_rebuilds_the_network() -> None:
    network = DirectionNet(dim=3, layout="k128", width=3, bias=True, seed=9)
    twin = DirectionNet(**network.config)
    residual = torch.randn(1, 1, 4, 4, 4)
    assert torch.equal(twin(residual), network(residual))


@pytest.mark.parametrize("bias", [False, True])
def test_a_network_is_deepened_without_or_with_little_change(bias: bool) -> None:
    network = DirectionNet(width=4, bias=bias).double()
    residual = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    before = network(residual)
    deeper = deepened(network)
    assert deeper.config == {**network.config, "layout": "k128"}
    torch.testing.assert_close(deepened(network, share=0.0)(residual), before)
    change = (deeper(residual) - before).norm() / before.norm()
    assert 1e-3 < float(change.detach()) < 1
    deeper(residual).square().sum().backward()
    assert all(weight.grad.abs().max() > 0 for weight in deeper.low.parameters() if weight.ndim > 1)
    with pytest.raises(ValueError, match="cannot be deepened to 'k64'"):
        deepened(deeper, "k64")


def test_directions_keep_the_dtype_and_have_no_derivatives() -> None:
    network = DirectionNet(width=4)
    field = torch.randn(2, 8, 8, dtype=torch.float64)
    full = network_direction(network)(field)
    assert full.dtype == torch.float64
    assert not full.requires_grad
    kept = network_direction(network, copy=True)
    rough = network_direction(network, precision="bfloat16")(field)
    assert torch.nn.functional.cosine_similarity(full.flatten(1), rough.flatten(1)).min() > 0.99
    with torch.no_grad():
        network.last.weight.mul_(0)
    assert not network_direction(network)(field).any()
    torch.testing.assert_close(kept(field), full)
    with pytest.raises(ValueError, match="precision='int8' is unknown"):
        network_direction(network, precision="int8")
