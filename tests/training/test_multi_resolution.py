"""Facts of training on several resolutions: how batches choose, and that all grids are learned."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from equipoise.data.field_dataset import FieldDataset
from equipoise.spaces.grid import Grid
from equipoise.training.multi_resolution import MultiResolutionObjective, train_on_resolutions


def _data(n: int, count: int = 24) -> FieldDataset:
    """Waves and twice the waves, the same functions on every grid."""
    grid = Grid((n,), (), True)
    phase = torch.linspace(0, 6, count, dtype=torch.float64)[:, None, None]
    inputs = torch.sin(2 * torch.pi * grid.points()[:, 0] + phase)
    return FieldDataset(inputs, 2 * inputs + 1, grid)


def test_choice_is_a_function_of_the_batch_and_even_over_batches() -> None:
    objective = MultiResolutionObjective([_data(8), _data(12), _data(16)])
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randperm(24, generator=generator)[:4] for _ in range(600)]
    chosen = [objective.choice(batch) for batch in batches]
    assert chosen == [objective.choice(batch) for batch in batches]
    assert all(140 < chosen.count(number) < 260 for number in range(3))


def test_loss_of_one_batch_is_that_of_its_data_set() -> None:
    datasets = [_data(8), _data(16)]
    objective = MultiResolutionObjective(datasets)
    samples = torch.tensor([3, 5, 7])
    seen: list[int] = []

    class Spy(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            seen.append(inputs.shape[2])
            return inputs

    value = objective(Spy(), samples)["data"]
    assert seen == [datasets[objective.choice(samples)].grid.shape[0]]
    error = (datasets[0].inputs - datasets[0].outputs)[samples].square().mean((1, 2)).sqrt()
    size = datasets[0].outputs[samples].square().mean((1, 2)).sqrt()
    torch.testing.assert_close(value, (error / size).mean())
    torch.testing.assert_close(objective(Spy(), None)["data"], objective(Spy(), torch.arange(24))["data"])


def test_training_learns_every_resolution() -> None:
    datasets = [_data(8), _data(16)]
    layer = nn.Conv1d(1, 1, 1)
    trained = train_on_resolutions(layer, datasets, epochs=60, batch_size=6, learning_rate=0.05)
    for data in datasets:
        assert float((trained.model(data.inputs) - data.outputs).abs().max()) < 0.05


def test_data_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match="different grids"):
        MultiResolutionObjective([_data(8), _data(8)])
    with pytest.raises(ValueError, match=r"\[24, 12\] samples"):
        MultiResolutionObjective([_data(8), _data(16, 12)])
    with pytest.raises(ValueError, match="point by point"):
        train_on_resolutions(nn.Identity(), [_data(8), _data(16)], input_normaliser="point")
