import pytest
import torch
from torch import nn

from equipoise.nn import pointwise_affine
from equipoise.nn.pointwise_affine import affine, tall_product


@pytest.mark.parametrize(("rows", "left", "right"), [(4096, 3, 5), (6144, 7, 2), (5000, 2, 4), (10, 4, 4)])
def test_a_tall_product_is_the_product(rows, left, right):
    one, other = torch.randn(rows, left, dtype=torch.float64), torch.randn(rows, right, dtype=torch.float64)
    torch.testing.assert_close(tall_product(one, other), one.T @ other)


@pytest.mark.parametrize(("inputs", "outputs", "bias"), [(3, 5, True), (4, 1, True), (4, 3, False)])
def test_the_form_for_compilers_is_the_layer_with_both_derivatives(monkeypatch, inputs, outputs, bias):
    layer = nn.Linear(inputs, outputs, bias=bias).double()
    field = torch.randn(2, 3, inputs, dtype=torch.float64, requires_grad=True)
    expected = layer(field)
    torch.testing.assert_close(affine(field, layer), expected)
    monkeypatch.setattr(pointwise_affine, "is_compiled_for_processor", lambda _: True)
    torch.testing.assert_close(affine(field, layer), expected)
    names, values = zip(*layer.named_parameters(), strict=True)

    def call(inputs, *weights):
        changed = nn.Linear(inputs.shape[-1], weights[0].shape[0], bias=bias).double()
        for name, value in zip(names, weights, strict=True):
            delattr(changed, name)
            setattr(changed, name, value)
        return affine(inputs, changed)

    given = (field, *(value.detach().requires_grad_() for value in values))
    assert torch.autograd.gradcheck(call, given)
    assert torch.autograd.gradgradcheck(call, given)
