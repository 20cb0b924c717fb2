import pytest
import torch

from equipoise.operators.fno import FNO

SMALL = {"in_channels": 1, "out_channels": 2, "n_modes": (4, 4), "width": 6, "n_layers": 2}


def _field(points, channels=1):
    x, y = torch.meshgrid(*[torch.arange(points, dtype=torch.float64) / points] * 2, indexing="ij")
    wave = torch.sin(2 * torch.pi * (x + 2 * y)) + 0.5 * torch.cos(2 * torch.pi * (2 * x - y))
    return wave.expand(1, channels, -1, -1).contiguous()


def _copy_pointwise(ours, theirs):
    for layer, source in zip((ours.inner, ours.outer), theirs.fcs, strict=True):
        layer.weight.copy_(source.weight[..., 0])
        layer.bias.copy_(source.bias)


@torch.no_grad()
def copy_weights(ours, theirs):
    """Give our FNO the weights of neuraloperator's."""
    _copy_pointwise(ours.lifting, theirs.lifting)
    _copy_pointwise(ours.projection, theirs.projection)
    source = theirs.fno_blocks
    for number, block in enumerate(ours.blocks):
        weight = source.convs[number].weight.tensor.movedim((0, 1), (-2, -1))
        block.spectral.weight.weight.copy_(torch.stack([weight.real, weight.imag], -2))
        block.spectral.bias.copy_(source.convs[number].bias.flatten())
        block.skip.weight.copy_(source.fno_skips[number].conv.weight[..., 0])
        if block.channel_mlp is not None:
            _copy_pointwise(block.channel_mlp, source.channel_mlp[number])
            block.mlp_skip.weight.copy_(source.channel_mlp_skips[number].weight.flatten())


@pytest.mark.parametrize(
    ("ours", "theirs", "shape"),
    [
        ({}, {}, (2, 1, 64, 64)),
        ({}, {}, (2, 1, 16, 16)),
        ({"n_modes": (16,)}, {}, (2, 1, 64)),
        ({"n_modes": (6, 4, 8)}, {}, (2, 1, 8, 8, 10)),
        ({"norm": "instance"}, {"norm": "instance_norm"}, (2, 1, 32, 32)),
        ({"norm": "group", "preactivation": True}, {"norm": "group_norm", "preactivation": True}, (2, 1, 32, 32)),
        ({"padding": 0.1}, {"domain_padding": 0.1}, (2, 1, 32, 32)),
        ({"channel_mlp": False}, {"use_channel_mlp": False}, (2, 1, 32, 32)),
        ({"grid_embedding": False}, {"positional_embedding": None}, (2, 1, 32, 32)),
    ],
)
def test_weights_of_neuraloperator_give_its_answer(ours, theirs, shape):
    models = pytest.importorskip("neuralop.models", reason="neuraloperator is not installed")
    n_modes = ours.get("n_modes", (16, 16))
    torch.manual_seed(0)
    peer = models.FNO(n_modes=n_modes, in_channels=1, out_channels=1, hidden_channels=32, n_layers=4, **theirs)
    operator = FNO(**{"in_channels": 1, "out_channels": 1, "n_modes": n_modes, **ours})
    reals = sum(value.numel() * (2 if value.is_complex() else 1) for value in peer.parameters())
    assert operator.n_parameters == reals
    copy_weights(operator, peer)
    inputs = torch.randn(*shape)
    expected = peer(inputs)
    torch.testing.assert_close(operator(inputs), expected, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(operator(inputs), expected, rtol=1e-5, atol=1e-5)


def test_the_usual_size_has_the_published_number_of_parameters():
    assert FNO(in_channels=1, out_channels=1, n_modes=(16, 16)).n_parameters == 1_192_801


def test_it_is_rebuilt_from_its_configuration():
    first = FNO(**SMALL, seed=3)
    second = FNO(**first.config)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(first.lifting.inner.weight, FNO(**SMALL, seed=4).lifting.inner.weight)


def test_the_global_generator_is_left_alone():
    torch.manual_seed(5)
    FNO(**SMALL)
    after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1))


@pytest.mark.parametrize(("grid_embedding", "tolerance"), [(False, 1e-6), (True, 1e-3)])
@torch.no_grad()
def test_a_field_of_few_waves_gets_the_same_answer_on_finer_grids(grid_embedding, tolerance):
    operator = FNO(**SMALL, grid_embedding=grid_embedding).double()
    finest = operator(_field(256))
    differences = []
    for points in (16, 32, 64):
        step = 256 // points
        differences.append(float((operator(_field(points)) - finest[..., ::step, ::step]).abs().max()))
    # What is left are the waves beyond the grid: those that the activation makes, and the jump of the coordinates.
    assert differences[2] < tolerance * float(finest.abs().max())
    assert differences[0] > differences[1] > differences[2]


@pytest.mark.parametrize(("n_modes", "grid"), [((4,), (9,)), ((4, 3), (6, 7)), ((2, 4, 3), (4, 5, 6))])
def test_it_takes_one_to_three_dimensions_in_double_precision(n_modes, grid):
    operator = FNO(**{**SMALL, "n_modes": n_modes}).double()
    out = operator(torch.randn(3, 1, *grid, dtype=torch.float64))
    assert out.shape == (3, 2, *grid)
    assert out.dtype == torch.float64
    assert torch.isfinite(out).all()


def test_more_modes_than_the_grid_resolves_name_the_smallest_grid(unchecked_types):
    operator = FNO(in_channels=1, out_channels=1, n_modes=(16, 12), width=4)
    assert operator.smallest_grid == (16, 12)
    with pytest.raises(ValueError, match=r"15 x 12 points does not resolve.*16 x 12"):
        operator(torch.zeros(1, 1, 15, 12))
    assert operator(torch.zeros(1, 1, 16, 12)).shape == (1, 1, 16, 12)
    padded = FNO(in_channels=1, out_channels=1, n_modes=(16, 12), width=4, padding=0.25)
    assert padded(torch.zeros(1, 1, *padded.smallest_grid)).shape[2:] == padded.smallest_grid
    with pytest.raises(ValueError, match="does not resolve"):
        padded(torch.zeros(1, 1, padded.smallest_grid[0] - 1, 12))


def test_another_rank_or_channel_count_is_refused(unchecked_types):
    operator = FNO(**SMALL)
    with pytest.raises(ValueError, match=r"shape \(1, 1, 8\); expected \(batch, 1, n1, n2\)"):
        operator(torch.zeros(1, 1, 8))
    with pytest.raises(ValueError, match=r"shape \(1, 3, 8, 8\)"):
        operator(torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ({"n_modes": (4, 0)}, "n_modes"),
        ({"width": 0}, "width=0"),
        ({"padding": 1.5}, "padding=1.5"),
        ({"mlp_ratio": 0.01}, "mlp_ratio=0.01"),
        ({"norm": "batch"}, "norm='batch'"),
    ],
)
def test_options_that_make_no_sense_are_named(option, sentence):
    with pytest.raises(ValueError, match=sentence):
        FNO(**{**SMALL, **option})


def test_a_loss_of_derivatives_by_the_input_can_be_trained():
    operator = FNO(**{**SMALL, "out_channels": 1, "width": 4}).double()
    inputs = torch.randn(1, 1, 5, 5, dtype=torch.float64, requires_grad=True)
    weight = operator.lifting.inner.weight

    def loss():
        slope = torch.autograd.grad(operator(inputs).square().sum(), inputs, create_graph=True)[0]
        return slope.square().sum()

    (gradient,) = torch.autograd.grad(loss(), weight)
    step = 1e-6
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weight[0, 0] += sign * step
        values.append(float(loss()))
        with torch.no_grad():
            weight[0, 0] -= sign * step
    assert float(gradient[0, 0]) == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5)


def test_second_derivatives_by_the_input_are_right():
    operator = FNO(**{**SMALL, "n_modes": (2,), "width": 3}).double()
    inputs = torch.randn(1, 1, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(operator, (inputs,))
    assert torch.autograd.gradgradcheck(operator, (inputs,))


def test_an_exported_operator_gives_the_same_answer():
    operator, inputs = FNO(**SMALL), torch.randn(2, 1, 8, 8)
    expected = operator(inputs)
    exported = torch.export.export(operator.eval(), (inputs,)).module()
    torch.testing.assert_close(exported(inputs), expected)
    torch.testing.assert_close(operator(inputs), expected)


@pytest.mark.slow
def test_a_compiled_training_step_has_the_same_gradients(unchecked_types):
    operator, inputs = FNO(**SMALL), torch.randn(2, 1, 8, 8)
    compiled = torch.compile(operator)
    parameters = list(operator.parameters())
    expected = torch.autograd.grad(operator(inputs).square().sum(), parameters)
    for found, value in zip(torch.autograd.grad(compiled(inputs).square().sum(), parameters), expected, strict=True):
        torch.testing.assert_close(found, value, rtol=1e-4, atol=1e-5)
