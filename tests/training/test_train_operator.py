"""The recipe for grid operators: what it normalises by, keeps, and refuses."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from equipoise.data.field_dataset import FieldDataset
from equipoise.data.split import Split
from equipoise.errors import ConvergenceError, FormatError
from equipoise.nn.initialisation import seeded
from equipoise.problems import make_problem
from equipoise.spaces import Grid
from equipoise.training.operators import train_operator

GRID = Grid((16,), periodic=True)


def network() -> nn.Module:
    with seeded(0):
        return nn.Sequential(nn.Conv1d(1, 8, 5, padding=2, padding_mode="circular"), nn.GELU(), nn.Conv1d(8, 1, 1))


def smoothing(count: int = 40, offset: float = 5.0) -> FieldDataset:
    """Noise and its running mean, both far from zero mean."""
    noise = torch.randn(count, 1, 16, generator=torch.Generator().manual_seed(1))
    mean = (noise.roll(1, -1) + noise + noise.roll(-1, -1)) / 3
    return FieldDataset(noise + offset, 10 * mean - offset, GRID)


def test_an_operator_learns_a_linear_map_in_physical_units() -> None:
    data = smoothing(80)
    split = Split(tuple(range(64)), (), tuple(range(64, 80)))
    trained = train_operator(network(), data, split=split, epochs=150, batch_size=16, learning_rate=1e-2)
    test = data.subset(torch.tensor(split.test))
    error = (trained.model(test.inputs).detach() - test.outputs).norm() / test.outputs.norm()
    assert float(error) < 0.02


def test_normalisers_see_the_training_samples_alone() -> None:
    data = smoothing()
    outputs = data.outputs.clone()
    outputs[30:] += 1000.0
    trained = train_operator(
        network(), FieldDataset(data.inputs, outputs, GRID), split=Split(tuple(range(30))), epochs=1
    )
    assert float(trained.model.outputs.mean) == pytest.approx(float(outputs[:30].mean()), rel=1e-5)


def test_the_best_weights_are_kept_and_the_last_ones_beside_them() -> None:
    split = Split(tuple(range(30)), tuple(range(30, 40)))
    trained = train_operator(
        network(), smoothing(), split=split, epochs=30, learning_rate=0.3, schedule="constant", batch_size=10
    )
    seen = [row["validation"] for row in trained.history.rows if "validation" in row]
    assert len(seen) == 30
    assert trained.history.best_metric == min(seen)
    assert trained.last is not None
    best = dict(trained.model.state_dict())
    assert seen[-1] == min(seen) or any(not torch.equal(best[name], value) for name, value in trained.last.items())


def test_training_stops_when_validation_no_longer_improves() -> None:
    split = Split(tuple(range(30)), tuple(range(30, 40)))
    trained = train_operator(
        network(), smoothing(), split=split, epochs=500, learning_rate=1.0, schedule="constant", patience=3
    )
    assert trained.history.stopped_early
    assert sum("validation" in row for row in trained.history.rows) < 100


def test_accumulated_gradients_are_those_of_the_whole_batch() -> None:
    whole = train_operator(network(), smoothing(), epochs=3, batch_size=20)
    parts = train_operator(network(), smoothing(), epochs=3, batch_size=20, accumulate=3)
    for one, other in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert torch.allclose(one, other, atol=2e-5)


def test_the_residual_of_the_equations_trains_without_data() -> None:
    problem = make_problem("poisson", resolution=9)
    inputs = problem.sample(6, torch.Generator().manual_seed(0))
    wrong = FieldDataset(inputs, torch.full_like(problem.solve(inputs), 3.0), problem.grid)
    with seeded(0):
        operator = nn.Conv2d(inputs.shape[1], 1, 3, padding=1)
    trained = train_operator(
        operator, wrong, residual=problem, residual_scale=100.0, epochs=40, output_normaliser="none", learning_rate=1e-2
    )
    rows = [row["residual"] for row in trained.history.rows]
    assert rows[-1] < 0.9 * rows[0]
    assert trained.model(inputs).dtype == torch.float64


def test_mixed_precision_trains_to_nearly_the_same_loss() -> None:
    pytest.importorskip("accelerate")
    full = train_operator(network(), smoothing(), epochs=20, learning_rate=1e-2)
    mixed = train_operator(network(), smoothing(), epochs=20, learning_rate=1e-2, precision="bf16")
    assert mixed.history.rows[-1]["loss"] == pytest.approx(full.history.rows[-1]["loss"], rel=0.2)


def test_bad_data_and_options_are_refused() -> None:
    data = smoothing()
    spoilt = data.inputs.clone()
    spoilt[7, 0, 3] = float("nan")
    with pytest.raises(FormatError, match="first sample 7"):
        train_operator(network(), FieldDataset(spoilt, data.outputs, GRID), epochs=1)
    with pytest.raises(ValueError, match="sample 40"):
        train_operator(network(), data, split=Split((0, 40)), epochs=1)
    with pytest.raises(ValueError, match="loss 'huber' is unknown"):
        train_operator(network(), data, loss="huber", epochs=1)
    with pytest.raises(ValueError, match="precision 'half' is unknown"):
        train_operator(network(), data, precision="half", epochs=1)
    with pytest.raises(ValueError, match="needs a GPU"):
        train_operator(network(), data, precision="fp16", epochs=1)


def test_a_diverging_training_names_the_step() -> None:
    operator = network()
    with torch.no_grad():
        next(operator.parameters()).mul_(float("inf"))
    with pytest.raises(ConvergenceError, match=r"step 0 of phase 0 \(data=nan\); no checkpoint was kept"):
        train_operator(operator, smoothing(), epochs=1)
