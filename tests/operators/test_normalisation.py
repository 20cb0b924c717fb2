"""Normalisers: exact inverses, statistics of the training data, refusals."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from equipoise.operators.normalisation import KINDS, NormalisedOperator, Normaliser


def fields() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    scales = torch.tensor([1e-3, 50.0], dtype=torch.float64)[:, None, None]
    return scales * torch.randn(20, 2, 4, 5, generator=generator, dtype=torch.float64) + 7 * scales


@pytest.mark.parametrize("kind", KINDS)
def test_the_inverse_gives_fields_back(kind: str) -> None:
    normaliser = Normaliser.fit(fields(), kind=kind)
    assert torch.allclose(normaliser.inverse(normaliser(fields())), fields(), rtol=1e-12)


def test_channels_and_points_get_zero_mean_and_unit_spread() -> None:
    for kind, axes in (("channel", (0, 2, 3)), ("point", (0,))):
        normalised = Normaliser.fit(fields(), kind=kind)(fields())
        assert float(normalised.mean(axes).abs().max()) < 1e-12
        assert torch.allclose(normalised.std(axes, correction=0), torch.ones((), dtype=torch.float64))


def test_a_constant_channel_keeps_unit_spread() -> None:
    normaliser = Normaliser.fit(torch.full((3, 1, 4), 0.1), kind="channel")
    assert float(normaliser.std) == 1.0
    assert float(normaliser(torch.full((1, 1, 4), 0.1)).abs().max()) == 0.0


def test_statistics_travel_with_the_weights() -> None:
    model = NormalisedOperator(nn.Identity(), Normaliser.fit(fields()), Normaliser(kind="none", shape=(2, 4, 5)))
    empty = NormalisedOperator(
        nn.Identity(), Normaliser(kind="channel", shape=(2, 4, 5)), Normaliser(kind="none", shape=(2, 4, 5))
    ).double()
    empty.load_state_dict(model.state_dict())
    assert torch.equal(empty(fields()), model(fields()))


def test_other_channels_and_other_grids_are_refused() -> None:
    with pytest.raises(ValueError, match="2 channels"):
        Normaliser.fit(fields())(torch.zeros(1, 3, 4, 5))
    with pytest.raises(ValueError, match="point by point"):
        Normaliser.fit(fields(), kind="point")(torch.zeros(1, 2, 8, 5))
    with pytest.raises(ValueError, match="not finite"):
        Normaliser.fit(torch.full((1, 1, 2), float("nan")))
    with pytest.raises(ValueError, match="unknown"):
        Normaliser(kind="minmax", shape=(1, 2))


def test_mixed_devices_and_dtypes_are_refused() -> None:
    model = NormalisedOperator(nn.Identity(), Normaliser.fit(fields()), Normaliser(kind="none", shape=(2, 4, 5)))
    with pytest.raises(ValueError, match=r"on meta and the model is torch\.float64 on cpu"):
        model(torch.zeros(1, 2, 4, 5, dtype=torch.float64, device="meta"))
    with pytest.raises(ValueError, match=r"float32 on cpu and the model is torch\.float64"):
        model(fields().float())
