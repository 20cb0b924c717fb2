import torch

from equipoise.nn import pointwise_gelu
from equipoise.nn.pointwise_gelu import FormulaGELU, gelu


def test_the_formula_is_exact_to_single_precision():
    values = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    exact = torch.nn.functional.gelu(values)
    assert float((FormulaGELU.apply(values) - exact).abs().max()) < 3e-7
    assert float((FormulaGELU.apply(values.float()) - exact).abs().max()) < 1e-6


def test_its_gradient_is_that_of_gelu():
    values = torch.linspace(-8, 8, 20_001, dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(FormulaGELU.apply(values).sum(), values)
    (exact,) = torch.autograd.grad(torch.nn.functional.gelu(values).sum(), values)
    assert float((found - exact).abs().max()) < 5e-7


def test_only_compilers_of_single_precision_get_the_formula(monkeypatch):
    called = []
    monkeypatch.setattr(FormulaGELU, "apply", lambda values: called.append(values.dtype) or values)
    gelu(torch.zeros(1))
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    gelu(torch.zeros(1, dtype=torch.float64))
    assert not called
    gelu(torch.zeros(1))
    assert called == [torch.float32]
    monkeypatch.setattr(pointwise_gelu, "_is_exporting", lambda: True)
    gelu(torch.zeros(1))
    assert len(called) == 1


def test_the_gradient_of_the_formula_can_be_differentiated():
    values = torch.linspace(-3, 3, 25, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(FormulaGELU.apply(values).sum(), values, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), values)
    density = torch.exp(-0.5 * values.detach() ** 2) / (2 * torch.pi) ** 0.5
    torch.testing.assert_close(second, density * (2 - values.detach() ** 2), rtol=1e-10, atol=1e-12)
