"""What trunks are made of: jets, features, factors at the boundary, groups of networks, tables of functions."""

from __future__ import annotations

import pytest
import torch

from equipoise.nn.convolutional_encoder import ConvolutionalEncoder
from equipoise.nn.feature_maps import BoundaryFactor, FeatureMap
from equipoise.nn.grouped_linear import GroupedPerceptron
from equipoise.nn.jets import ACTIVATION_JETS, Jet, coordinates, derivatives_of, perceptron_jet
from equipoise.nn.perceptron import ACTIVATIONS, MultilayerPerceptron
from equipoise.nn.sampled_functions import SampledFunctions


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_has_its_derivatives(name: str) -> None:
    x = drawn(20).requires_grad_()
    value, slope, curvature = ACTIVATION_JETS[name](x, 2)
    torch.testing.assert_close(value, ACTIVATIONS[name](x))
    (first,) = torch.autograd.grad(ACTIVATIONS[name](x).sum(), x, create_graph=True)
    torch.testing.assert_close(slope, first)
    if name != "relu":
        torch.testing.assert_close(curvature, torch.autograd.grad(first.sum(), x)[0])
    assert all(len(ACTIVATION_JETS[name](x, order)) == order + 1 for order in (0, 1, 2))


def test_product_of_jets_follows_leibniz() -> None:
    points = drawn(6, 2)
    x = coordinates(points, 2)
    _, gradient, hessian = derivatives_of(x.columns([0]).times(x.columns([1])).times(x.columns([0])))
    torch.testing.assert_close(gradient[:, 0, 0], 2 * points[:, 0] * points[:, 1])
    torch.testing.assert_close(hessian[:, 0, 0, 0], 2 * points[:, 1])
    torch.testing.assert_close(hessian[:, 0, 0, 1], 2 * points[:, 0])
    torch.testing.assert_close(hessian[:, 0, 1, 0], 2 * points[:, 0])
    assert float(hessian[:, 0, 1, 1].abs().max()) == 0
    with pytest.raises(ValueError, match="order=3"):
        coordinates(points, 3)


@pytest.mark.parametrize("groups", [None, 3])
def test_jet_of_a_network_has_its_derivatives(groups: int | None) -> None:
    generator = torch.Generator().manual_seed(0)
    sizes, points = (2, 5, 4), drawn(6, 2)
    if groups is None:
        network: torch.nn.Module = MultilayerPerceptron(sizes, generator=generator, activation="tanh")
    else:
        network = GroupedPerceptron(groups, sizes, generator=generator, activation="tanh")
    value, gradient, hessian = derivatives_of(perceptron_jet(network, coordinates(points, 2)))

    def one(point: torch.Tensor) -> torch.Tensor:
        return network(point[None])[0]

    first = torch.func.vmap(torch.func.jacrev(one), out_dims=0 if groups is None else 1)(points)
    second = torch.func.vmap(torch.func.jacrev(torch.func.jacrev(one)), out_dims=0 if groups is None else 1)(points)
    exact = network(points)
    torch.testing.assert_close(value, exact if groups is None else exact.transpose(0, 1))
    torch.testing.assert_close(gradient, first)
    torch.testing.assert_close(hessian, second)


def test_features_are_waves_of_periodic_coordinates_then_the_others() -> None:
    points = drawn(5, 2)
    waves = FeatureMap(2, periods=(0.0, 2.0))(points)
    angle = torch.pi * points[:, 1]
    exact = torch.stack([angle.cos(), angle.sin(), (2 * angle).cos(), (2 * angle).sin(), points[:, 0]], -1)
    torch.testing.assert_close(waves, exact)
    random = FeatureMap(2, n_random=8, generator=torch.Generator().manual_seed(0)).double()
    assert random(points).shape == (5, 8)
    torch.testing.assert_close(random(points)[:, :4] ** 2 + random(points)[:, 4:] ** 2, torch.ones(5, 4).double())


def test_boundary_factor_is_one_at_most_and_zero_where_asked() -> None:
    factor = BoundaryFactor(("both", "low", "none"), bounds=((0.0, 2.0), (-1.0, 1.0), (0.0, 1.0)))
    at = torch.tensor([[1.0, 1.0, 0.3], [0.0, 0.5, 0.5], [2.0, 0.5, 0.5], [1.0, -1.0, 0.5]], dtype=torch.float64)
    torch.testing.assert_close(factor(at)[:, 0], torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64))
    free = BoundaryFactor(("none",), bounds=((0.0, 1.0),))
    assert torch.equal(free(at[:, :1]), torch.ones(4, 1, dtype=torch.float64))


def test_groups_are_separate_networks() -> None:
    grouped = GroupedPerceptron(3, (4, 5, 2), generator=torch.Generator().manual_seed(0), activation="gelu")
    alone = MultilayerPerceptron((4, 5, 2), generator=torch.Generator(), activation="gelu")
    inputs = drawn(6, 4)
    for group in range(3):
        with torch.no_grad():
            for layer in range(2):
                alone.weights[layer].copy_(grouped.weights[layer][group])
        torch.testing.assert_close(grouped(inputs)[:, group], alone(inputs))
    assert torch.autograd.gradcheck(grouped, (inputs.requires_grad_(),))


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_encoder_reads_fields_in_any_dimension(dim: int) -> None:
    encoder = ConvolutionalEncoder((2, *[9] * dim), channels=(3, 4), dense=(5,), kernel=3).double()
    fields = drawn(2, 2, *[9] * dim)
    assert encoder(fields).shape == (2, 5)
    again = ConvolutionalEncoder((2, *[9] * dim), channels=(3, 4), dense=(5,), kernel=3).double()
    torch.testing.assert_close(again(fields), encoder(fields))


def test_functions_between_grid_points_are_exact_for_cubics() -> None:
    functions = SampledFunctions(2, shape=(9, 8), bounds=((0.0, 2.0), (-1.0, 1.0))).double()

    def exact(points: torch.Tensor) -> torch.Tensor:
        x, y = points.unbind(-1)
        return torch.stack([x**3 - x * y**2, y**3 + x], -1)

    functions.table.copy_(exact(functions.grid.points()).flatten(0, 1))
    points = torch.rand(40, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2
    points[:, 1] -= 1
    torch.testing.assert_close(functions(points), exact(points), rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="2 dimensions"):
        functions(points[:, :1])


def test_jets_of_order_zero_are_values_alone() -> None:
    jet = FeatureMap(1, periods=(1.0,)).jet(drawn(4, 1), 0)
    assert isinstance(jet, Jet)
    assert len(derivatives_of(jet)) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FeatureMap(1, n_random=3), "even"),
        (lambda: FeatureMap(1, periods=(-1.0,)), "none negative"),
        (lambda: GroupedPerceptron(0, (1, 1), generator=torch.Generator()), "all positive"),
        (lambda: ConvolutionalEncoder((1, 5, 5), channels=(2, 2), dense=(3,)), "need 13 points"),
    ],
)
def test_bad_options_are_refused(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=message):
        make()
