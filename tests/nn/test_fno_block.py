"""The fused forms of the pointwise network and of the block, against the plain operations."""

import pytest
import torch

from equipoise.nn import fno_block, pointwise, pointwise_fused
from equipoise.nn.fno_block import FNOBlock
from equipoise.nn.initialisation import seeded
from equipoise.nn.pointwise import PointwiseMLP
from equipoise.nn.spectral_convolution import SpectralConvolution


@pytest.fixture(params=[1, 2])
def few_rows(request, monkeypatch):
    """Blocks of a few rows, so that a small field has several, the last of them smaller."""
    monkeypatch.setattr(pointwise_fused, "_BLOCK_VALUES", 160)
    threads = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(threads)


def _mlp(inputs=3, hidden=6, outputs=2):
    with seeded(0):
        return PointwiseMLP(in_channels=inputs, hidden_channels=hidden, out_channels=outputs).double()


def _block(grid_dim=2, width=4, **options):
    with seeded(0):
        n_modes = (4,) * grid_dim
        spectral = SpectralConvolution(in_channels=width, out_channels=width, n_modes=n_modes)
        return FNOBlock(spectral=spectral, channel_mlp=width // 2, **options).double()


def _answer_and_gradients(module, field):
    field = field.clone().requires_grad_()
    out = module(field)
    weight = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view(out.shape)
    return [out, *torch.autograd.grad((weight * out).sum(), [field, *module.parameters()])]


def _compare(module, field, monkeypatch):
    fused = _answer_and_gradients(module, field)
    with torch.no_grad():
        torch.testing.assert_close(module(field), fused[0])
    monkeypatch.setattr(pointwise, "fusion_applies", lambda _: False)
    monkeypatch.setattr(fno_block, "fusion_applies", lambda _: False)
    for found, expected in zip(fused, _answer_and_gradients(module, field), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("inputs", "hidden", "outputs"), [(3, 6, 2), (6, 3, 1), (1, 8, 5)])
def test_fused_network_agrees_with_the_plain_one(few_rows, monkeypatch, inputs, hidden, outputs):
    field = torch.randn(2, 7, 9, inputs, dtype=torch.float64)
    _compare(_mlp(inputs, hidden, outputs), field, monkeypatch)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_fused_block_agrees_with_the_plain_one(few_rows, monkeypatch, dim, last):
    shape = {1: (13,), 2: (7, 8), 3: (4, 5, 6)}[dim]
    _compare(_block(dim, last=last), torch.randn(3, *shape, 4, dtype=torch.float64), monkeypatch)


def test_the_usual_block_is_fused_and_others_are_not():
    field = torch.zeros(1, 8, 8, 4, dtype=torch.float64)
    assert _block()._is_fused(field)
    for options in ({"norm": "group"}, {"preactivation": True}, {"skip": "identity"}, {"mlp_skip": "none"}):
        assert not _block(**options)._is_fused(field)
    assert not _block()._is_fused(field.half())


@pytest.mark.parametrize("last", [False, True])
def test_first_and_second_derivatives_are_right(last):
    block = _block(1, 2, last=last)
    field = torch.randn(2, 5, 2, dtype=torch.float64, requires_grad=True)
    names, values = zip(*block.named_parameters(), strict=True)

    def call(inputs, *weights):
        return torch.func.functional_call(block, dict(zip(names, weights, strict=True)), (inputs,))

    inputs = (field, *(value.detach().requires_grad_() for value in values))
    assert torch.autograd.gradcheck(call, inputs)
    assert torch.autograd.gradgradcheck(call, inputs, atol=1e-4)


def test_network_has_first_and_second_derivatives():
    mlp, rows = _mlp(), torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(mlp, (rows,))
    assert torch.autograd.gradgradcheck(mlp, (rows,))


@pytest.mark.parametrize(
    "options",
    [{"norm": "group"}, {"norm": "instance", "preactivation": True}, {"skip": "none"}, {"mlp_skip": "linear"}],
)
def test_every_other_block_has_derivatives(options):
    field = torch.randn(1, 5, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(_block(1, 2, **options), (field,))


def test_functional_transforms_see_the_plain_operations():
    block, field = _block(1, 2), torch.randn(2, 6, 2, dtype=torch.float64)
    direction = torch.randn_like(field)
    _, forward = torch.func.jvp(block, (field,), (direction,))
    step = 1e-6
    difference = (block(field + step * direction) - block(field - step * direction)) / (2 * step)
    torch.testing.assert_close(forward, difference, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(torch.func.vmap(lambda row: block(row[None])[0])(field), block(field))


def test_autocast_sees_the_plain_operations():
    block, field = _block(2).float(), torch.randn(1, 8, 8, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert not block._is_fused(field)


def test_unknown_kinds_are_named():
    with pytest.raises(ValueError, match="norm='batch'"):
        _block(norm="batch")
    with pytest.raises(ValueError, match="skip='dense'"):
        _block(skip="dense")
    with pytest.raises(ValueError, match="hidden_channels=0"):
        PointwiseMLP(in_channels=1, hidden_channels=0, out_channels=1)


def test_empty_batch_passes():
    block = _block(2)
    assert block(torch.zeros(0, 8, 8, 4, dtype=torch.float64)).shape == (0, 8, 8, 4)
