"""Facts of attention with quadrature: points that are doubled, and clouds that are refined."""

from __future__ import annotations

import pytest
import torch

from equipoise.nn.quadrature_attention import LinearAttention, QuadratureAttention, quadrature_attention
from equipoise.spaces.grid import Grid


@pytest.mark.parametrize("kind", [QuadratureAttention, LinearAttention])
def test_doubling_every_point_at_half_its_weight_changes_nothing(kind: type) -> None:
    layer = kind(width=8, n_heads=2).double()
    tokens = torch.randn(2, 12, 8, dtype=torch.float64)
    weights = torch.rand(12, dtype=torch.float64) + 0.1
    once = layer(tokens, weights)
    twice = layer(tokens.repeat(1, 2, 1), weights.repeat(2) / 2)
    torch.testing.assert_close(twice, once.repeat(1, 2, 1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", [QuadratureAttention, LinearAttention])
def test_equal_weights_are_the_default(kind: type) -> None:
    layer = kind(width=4).double()
    tokens = torch.randn(1, 9, 4, dtype=torch.float64)
    torch.testing.assert_close(layer(tokens), layer(tokens, torch.full((9,), 0.3, dtype=torch.float64)))


def _features(x: torch.Tensor) -> torch.Tensor:
    return torch.stack([torch.sin(2 * x), torch.cos(3 * x)], -1)


def test_weighted_attention_converges_on_uneven_points_and_unweighted_does_not() -> None:
    """Points of Beta(0.5, 2), by quantiles: most lie near 0. The limit is the integral over [0, 1]."""
    from scipy.stats import beta

    query = _features(torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64))

    def answer(points: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
        return quadrature_attention(query, 2 * _features(points), points[:, None], weights)

    fine = (torch.arange(20000, dtype=torch.float64) + 0.5) / 20000
    limit = answer(fine, None)
    errors: dict[str, list[float]] = {"weighted": [], "plain": []}
    for n in (64, 256, 1024):
        ends = torch.as_tensor(beta.ppf([i / n for i in range(n + 1)], 0.5, 2.0))
        points = (ends[1:] + ends[:-1]) / 2
        errors["weighted"].append(float((answer(points, ends.diff()) - limit).abs().max()))
        errors["plain"].append(float((answer(points, None) - limit).abs().max()))
    assert errors["weighted"][2] < 1e-4
    assert errors["weighted"][0] / errors["weighted"][1] > 3
    assert min(errors["plain"]) > 0.1


@pytest.mark.parametrize("kind", [QuadratureAttention, LinearAttention])
def test_attention_agrees_between_grids(kind: type) -> None:
    layer = kind(width=4).double()
    answers = []
    for n in (32, 64):
        x = Grid((n,), ((0.0, 2 * torch.pi),), True).points()[:, 0]
        tokens = torch.stack([x.sin(), x.cos(), (2 * x).sin(), (2 * x).cos()], -1)[None]
        answers.append(layer(tokens))
    torch.testing.assert_close(answers[1][:, ::2], answers[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", [QuadratureAttention, LinearAttention])
def test_gradients_are_exact(kind: type) -> None:
    layer = kind(width=2).double()
    weights = torch.rand(3, dtype=torch.float64) + 0.1
    tokens = torch.randn(1, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda u: layer(u, weights), tokens)


def test_negative_weights_and_other_widths_are_refused() -> None:
    layer = QuadratureAttention(width=4)
    with pytest.raises(ValueError, match="negative"):
        layer(torch.zeros(1, 2, 4), torch.tensor([1.0, -1.0]))
    with pytest.raises(ValueError, match="3 channels"):
        layer(torch.zeros(1, 2, 3))
    with pytest.raises(ValueError, match="multiple of n_heads=3"):
        LinearAttention(width=4, n_heads=3)
