"""DeepONet: published sizes, every calling form and strategy, exact conditions, and derivatives in space."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from equipoise.nn.perceptron import MultilayerPerceptron
from equipoise.operators.deeponet import DeepONet
from equipoise.operators.mionet import MIONet
from equipoise.operators.modified_deeponet import ModifiedDeepONet

STRATEGIES = ("independent", "split_both", "split_branch", "split_trunk")


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rough(model: nn.Module) -> nn.Module:
    """The model in float64, with biases and weights that are all different from their initial values."""
    model = model.double()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return model


def test_default_network_has_the_published_number_of_parameters() -> None:
    assert DeepONet(sensors=100, dim=1).n_parameters == 7401
    assert DeepONet(sensors=100, dim=1, bias=False).n_parameters == 7400


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_pointwise_answers_are_those_of_the_product(dtype: torch.dtype, close: float) -> None:
    model = rough(DeepONet(sensors=7, dim=2, out_channels=2, activation="tanh")).to(dtype)
    inputs, points = drawn(5, 7).to(dtype), drawn(4, 2, seed=1).to(dtype)
    product = model(inputs, points)
    own = model(inputs, points[None].expand(5, -1, -1))
    triples = torch.stack([model(inputs, points[i].expand(5, 1, 2))[:, 0] for i in range(4)], 1)
    largest = float(product.detach().abs().max())
    assert float((own - product).detach().abs().max()) < close * largest
    assert float((triples - product).detach().abs().max()) < close * largest


def test_a_stacked_network_of_one_term_is_the_unstacked_one() -> None:
    unstacked, stacked = (DeepONet(sensors=6, dim=1, n_modes=1, form=form, seed=3) for form in ("unstacked", "stacked"))
    inputs, points = drawn(4, 6).float(), torch.linspace(0, 1, 5)[:, None]
    torch.testing.assert_close(stacked(inputs, points), unstacked(inputs, points))


def test_a_stacked_branch_is_a_list_of_networks() -> None:
    model = rough(DeepONet(sensors=6, dim=1, n_modes=3, branch=(5,), form="stacked"))
    inputs, generator = drawn(4, 6), torch.Generator()
    for term in range(3):
        alone = MultilayerPerceptron((6, 5, 1), generator=generator, activation="relu")
        with torch.no_grad():
            for mine, theirs in zip(alone.weights, model.branch_net.weights, strict=True):
                mine.copy_(theirs[term])
            for mine, theirs in zip(alone.biases, model.branch_net.biases, strict=True):
                mine.copy_(theirs[term, 0])
        torch.testing.assert_close(model.branch(inputs)[:, 0, term], alone(inputs)[:, 0])


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("form", ["unstacked", "stacked"])
def test_every_strategy_answers_each_component_at_each_point(strategy: str, form: str) -> None:
    model = DeepONet(sensors=6, dim=2, out_channels=3, n_modes=4, strategy=strategy, form=form)
    assert model(drawn(5, 6).float(), drawn(7, 2).float()).shape == (5, 7, 3)
    assert model(drawn(5, 6).float(), drawn(5, 7, 2).float()).shape == (5, 7, 3)
    counts = {"independent": (12, 12), "split_both": (12, 12), "split_branch": (12, 4), "split_trunk": (4, 12)}
    branch, trunk = model.branch(drawn(1, 6).float()), model.trunk(drawn(1, 2).float())
    assert (branch.numel(), trunk.numel()) == counts[strategy]


def test_independent_components_are_separate_networks() -> None:
    model = rough(DeepONet(sensors=6, dim=1, out_channels=2, n_modes=4, strategy="independent", activation="tanh"))
    inputs, points = drawn(3, 6), drawn(5, 1, seed=1)
    together = model(inputs, points)
    for component in range(2):
        alone = DeepONet(sensors=6, dim=1, n_modes=4, activation="tanh").double()
        with torch.no_grad():
            for part in ("branch_net", "trunk_net"):
                ours, theirs = getattr(alone, part), getattr(model, part)
                for layer in range(2):
                    ours.weights[layer].copy_(theirs.weights[layer][component])
                    ours.biases[layer].copy_(theirs.biases[layer][component, 0])
            alone.bias.copy_(model.bias[component])
        torch.testing.assert_close(alone(inputs, points)[..., 0], together[..., component], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("vanishing", [("low", "none"), ("both", "high")])
def test_conditions_at_the_boundary_are_exact_for_any_weights(vanishing: tuple[str, ...]) -> None:
    model = rough(
        DeepONet(
            sensors=6,
            dim=2,
            vanishing=vanishing,
            bounds=((0.0, 2.0), (-1.0, 1.0)),
            boundary_value=0.7,
            activation="tanh",
        )
    )
    points = drawn(9, 2, seed=1)
    ends = {"low": (0.0, -1.0), "high": (2.0, 1.0)}
    for axis, side in enumerate(vanishing):
        for end in ("low", "high"):
            if side in (end, "both"):
                held = points.clone()
                held[:, axis] = ends[end][axis]
                assert float((model(drawn(3, 6), held) - 0.7).detach().abs().max()) < 1e-15
    assert float((model(drawn(3, 6), points) - 0.7).detach().abs().min()) > 1e-6


@pytest.mark.parametrize("strategy", ["independent", "split_both", "split_branch", "split_trunk"])
@pytest.mark.parametrize("activation", ["tanh", "gelu", "swish"])
def test_derivatives_are_those_of_automatic_differentiation(strategy: str, activation: str) -> None:
    model = rough(
        DeepONet(
            sensors=4,
            dim=2,
            out_channels=2,
            n_modes=3,
            branch=(5,),
            trunk=(6,),
            activation=activation,
            strategy=strategy,
            periods=(2.0,),
            n_random=6,
            vanishing=("none", "both"),
            bounds=((0.0, 2.0), (0.0, 1.0)),
        )
    )
    inputs, points = drawn(3, 4), drawn(5, 2, seed=1)
    value, gradient, hessian = model.derivatives(inputs, points, 2)
    torch.testing.assert_close(value, model(inputs, points), rtol=1e-12, atol=1e-12)

    def one(point: torch.Tensor) -> torch.Tensor:
        return model(inputs, point[None])[:, 0]

    slope = torch.func.vmap(torch.func.jacrev(one), out_dims=1)(points)
    curvature = torch.func.vmap(torch.func.jacrev(torch.func.jacrev(one)), out_dims=1)(points)
    torch.testing.assert_close(gradient, slope, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(hessian, curvature, rtol=1e-10, atol=1e-10)
    assert len(model.derivatives(inputs, points, 1)) == 2
    torch.testing.assert_close(model.derivatives(inputs, points, 1)[1], gradient)


def test_derivatives_match_finite_differences() -> None:
    model = rough(DeepONet(sensors=4, dim=2, activation="tanh", n_modes=5))
    inputs, points, step = drawn(3, 4), drawn(5, 2, seed=1), 1e-4
    _, gradient, hessian = model.derivatives(inputs, points, 2)
    for axis in range(2):
        move = step * torch.eye(2, dtype=torch.float64)[axis]
        above, here, below = (model(inputs, points + sign * move) for sign in (1, 0, -1))
        torch.testing.assert_close(gradient[..., axis], (above - below) / (2 * step), rtol=1e-6, atol=1e-6)
        second = (above - 2 * here + below) / step**2
        torch.testing.assert_close(hessian[..., axis, axis], second, rtol=1e-5, atol=1e-5)


def test_derivatives_can_be_trained_on() -> None:
    model = rough(DeepONet(sensors=3, dim=1, activation="tanh", n_modes=2, branch=(3,), trunk=(3,)))
    inputs, points = drawn(2, 3), drawn(3, 1, seed=1)
    weight = model.trunk_net.weights[0]
    loss = sum(part.square().sum() for part in model.derivatives(inputs, points, 2))
    (slope,) = torch.autograd.grad(loss, weight)
    step, numeric = 1e-6, torch.zeros_like(weight)
    for column in range(3):
        sums = []
        for sign in (1, -1):
            with torch.no_grad():
                weight[0, column] += sign * step
                sums.append(float(sum(part.square().sum() for part in model.derivatives(inputs, points, 2))))
                weight[0, column] -= sign * step
        numeric[0, column] = (sums[0] - sums[1]) / (2 * step)
    torch.testing.assert_close(slope, numeric, rtol=1e-6, atol=1e-6)


def test_periodic_features_make_answers_periodic_with_their_derivatives() -> None:
    model = rough(DeepONet(sensors=4, dim=2, activation="tanh", periods=(2.0,)))
    inputs, points = drawn(3, 4), drawn(5, 2, seed=1)
    moved = points + torch.tensor([2.0, 0.0], dtype=torch.float64)
    for here, there in zip(model.derivatives(inputs, points, 2), model.derivatives(inputs, moved, 2), strict=True):
        torch.testing.assert_close(here, there, rtol=1e-9, atol=1e-9)
    apart = model(inputs, points + torch.tensor([0.0, 2.0], dtype=torch.float64))
    assert not torch.allclose(apart, model(inputs, points))


def test_order_of_points_is_order_of_answers() -> None:
    model = rough(DeepONet(sensors=4, dim=2))
    inputs, points, order = drawn(3, 4), drawn(6, 2, seed=1), torch.tensor([3, 1, 5, 0, 4, 2])
    torch.testing.assert_close(model(inputs, points[order]), model(inputs, points)[:, order])


def test_polynomials_are_integrated_exactly_by_their_coefficients() -> None:
    # With trunk functions 1, y, y^2, ... the antiderivative is a linear branch: sum c_k y^(k+1) / (k+1).
    class Powers(nn.Module):
        size, last_activation = 5, True

        def forward(self, points: torch.Tensor) -> torch.Tensor:
            return points ** torch.arange(5)

    model = DeepONet(sensors=20, dim=1, n_modes=5, branch=(), bias=False).double()
    model.feature_map, model.trunk_net = Powers(), nn.Identity()
    x = torch.linspace(0, 1, 20, dtype=torch.float64)
    vandermonde = x[:, None] ** torch.arange(4)
    integrate = torch.diag_embed(1 / torch.arange(1.0, 5.0, dtype=torch.float64), offset=1)[:4]
    with torch.no_grad():
        model.branch_net.weights[0].copy_(torch.linalg.pinv(vandermonde).T @ integrate)
    coefficients, points = drawn(3, 4), torch.rand(9, 1, dtype=torch.float64)
    exact = (coefficients @ integrate) @ (points[:, 0] ** torch.arange(5)[:, None])
    torch.testing.assert_close(model(coefficients @ vandermonde.T, points)[..., 0], exact, rtol=1e-11, atol=1e-11)


def test_fields_are_read_flat_or_by_convolutions() -> None:
    fields = drawn(3, 2, 29, 29).float()
    flat = DeepONet(sensors=(2, 29, 29), dim=2)
    assert flat(fields, drawn(4, 2).float()).shape == (3, 4, 1)
    torch.testing.assert_close(flat(fields, drawn(4, 2).float()), flat(fields.flatten(1), drawn(4, 2).float()))
    seeing = DeepONet(sensors=(2, 29, 29), dim=2, branch_channels=(8, 16), branch=(32,))
    assert seeing(fields, drawn(4, 2).float()).shape == (3, 4, 1)
    with pytest.raises(ValueError, match="need 13 points"):
        DeepONet(sensors=(1, 12, 12), dim=2, branch_channels=(8, 16))


def test_sensors_are_normalised_by_saved_statistics() -> None:
    model = DeepONet(sensors=4, dim=1, normalise=True)
    inputs = 5 + 3 * drawn(50, 4).float()
    model.fit_inputs(inputs)
    again = DeepONet(**model.config)
    again.load_state_dict(model.state_dict())
    plain = DeepONet(sensors=4, dim=1)
    standard = (inputs - inputs.mean(0)) / inputs.std(0, correction=0)
    points = torch.linspace(0, 1, 3)[:, None]
    torch.testing.assert_close(again(inputs, points), plain(standard, points), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="normalise=False"):
        plain.fit_inputs(inputs)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_gradients_match_differences(strategy: str) -> None:
    model = rough(DeepONet(sensors=3, dim=1, out_channels=2, n_modes=2, strategy=strategy, activation="tanh"))
    inputs, points = drawn(2, 3).requires_grad_(), drawn(3, 1, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(model, (inputs, points))
    assert torch.autograd.gradcheck(model, (inputs, drawn(2, 3, 1).requires_grad_()))


def test_same_seed_gives_the_same_network_and_leaves_the_global_generator_alone() -> None:
    state = torch.random.get_rng_state()
    first, second, other = (DeepONet(sensors=5, dim=1, n_random=4, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(state, torch.random.get_rng_state())
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])
    assert not torch.equal(first.branch_net.weights[0], other.branch_net.weights[0])


@pytest.mark.parametrize(
    ("inputs", "points", "message"),
    [
        ((2, 5), (3, 1), r"hold 5 values.*reads 4 sensors: give \(batch, 4\)"),
        ((2, 4), (3, 2), r"give \(point, 1\)"),
        ((2, 4), (3, 3, 1), "3 functions came with 2 inputs"),
    ],
)
def test_wrong_shapes_are_named(inputs: tuple[int, ...], points: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DeepONet(sensors=4, dim=1)(torch.zeros(inputs), torch.zeros(points))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "piled"}, "unstacked, stacked"),
        ({"strategy": "none"}, "independent, split_both"),
        ({"activation": "sin"}, "swish, tanh"),
        ({"n_modes": 0}, "must be positive"),
        ({"periods": (1.0, 1.0)}, "at most one"),
        ({"vanishing": ("both", "both")}, "a side for each of 1"),
        ({"vanishing": ("top",)}, "none, low, high, both"),
    ],
)
def test_bad_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DeepONet(sensors=4, dim=1, **options)


def test_mionet_multiplies_its_branches() -> None:
    model = rough(MIONet(sensors=(3, 5), dim=1, out_channels=2, n_modes=4, activation="tanh", bias=False))
    first, second, points = drawn(4, 3), drawn(4, 5, seed=1), drawn(6, 1, seed=2)
    answer = model(model.join((first, second)), points)
    assert answer.shape == (4, 6, 2)
    product = model.branch_nets[0](first) * model.branch_nets[1](second)
    exact = (product.view(4, 1, 2, 4) * model.trunk(points)[None]).sum(-1)
    torch.testing.assert_close(answer, exact)
    with torch.no_grad():
        model.branch_nets[0].weights[-1] *= 2
        model.branch_nets[0].biases[-1] *= 2
    torch.testing.assert_close(model(torch.cat([first, second], 1), points), 2 * answer)
    fields = drawn(2, 2, 4)
    assert rough(MIONet(sensors=(4, 4), dim=1))(fields, points).shape == (2, 6, 1)
    with pytest.raises(ValueError, match="has 2 branches"):
        model.join((first,))


def test_modified_network_answers_pairs_and_differentiates_each() -> None:
    model = rough(ModifiedDeepONet(sensors=4, dim=2, out_channels=2, width=6, n_layers=2, n_modes=3))
    inputs, points = drawn(3, 4), drawn(5, 2, seed=1)
    product = model(inputs, points)
    assert product.shape == (3, 5, 2)
    torch.testing.assert_close(model(inputs, points[None].expand(3, -1, -1)), product)
    value, gradient, hessian = model.derivatives(inputs, points, 2)
    torch.testing.assert_close(value, product)
    moved = points.clone().requires_grad_()
    (slope,) = torch.autograd.grad(model(inputs, moved)[1, :, 0].sum(), moved, create_graph=True)
    torch.testing.assert_close(gradient[1, :, 0], slope, rtol=1e-10, atol=1e-10)
    (curvature,) = torch.autograd.grad(slope[:, 1].sum(), moved)
    torch.testing.assert_close(hessian[1, :, 0, 1], curvature, rtol=1e-10, atol=1e-10)


def test_modified_network_of_closed_gates_reads_the_input_alone() -> None:
    # Z = tanh(0) = 0 in every layer leaves H = U, the encoded input.
    model = ModifiedDeepONet(sensors=4, dim=1, width=6, n_layers=2, n_modes=3).double()
    with torch.no_grad():
        for network in (model.branch_net, model.trunk_net):
            for layer in range(2):
                network.weights[layer].zero_()
    inputs, points = drawn(3, 4), drawn(5, 1, seed=1)
    u = torch.tanh(model.encoders[0](inputs))
    ends = [net.weights[-1] for net in (model.branch_net, model.trunk_net)]
    exact = ((u @ ends[0]) * (u @ ends[1])).sum(-1)
    torch.testing.assert_close(model(inputs, points)[..., 0], exact[:, None].expand(-1, 5))
