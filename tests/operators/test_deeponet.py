"""DeepONet: every input at every point, periodic where asked."""

from __future__ import annotations

import torch

from equipoise.operators.deeponet import DeepONet


def test_answers_do_not_depend_on_the_other_inputs_and_points() -> None:
    model = DeepONet(n_inputs=4, dim=2, n_outputs=3, modes=5)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    points = torch.randn(6, 2, generator=generator, dtype=torch.float64)
    together = model(inputs, points)
    order = torch.tensor([5, 2, 0])
    torch.testing.assert_close(model(inputs[1:2], points[order])[0], together[1, order], rtol=1e-12, atol=1e-13)


def test_periodic_coordinates_repeat_after_their_period() -> None:
    model = DeepONet(n_inputs=2, dim=2, periods=(2.0,))
    inputs = torch.ones(1, 2, dtype=torch.float64)
    points = torch.tensor([[0.3, 0.7], [2.3, 0.7]], dtype=torch.float64)
    first, second = model(inputs, points)[0]
    torch.testing.assert_close(first, second, rtol=1e-10, atol=1e-12)


def test_gradients_match_differences() -> None:
    model = DeepONet(n_inputs=2, dim=1, modes=3, width=8, depth=1)
    inputs = torch.randn(2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    points = torch.randn(3, 1, generator=torch.Generator().manual_seed(2), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(model, (inputs, points))
