"""The trainer: exact resume, honest failures, optimisers that optimise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import nn

from equipoise.errors import ConvergenceError, FormatError
from equipoise.nn.perceptron import MultilayerPerceptron
from equipoise.training.phases import Phase
from equipoise.training.trainer import Trainer
from equipoise.training.training_state import load_training_state, save_training_state


class Fit:
    """Fit a smooth function of two variables; fails on purpose at one call if asked to."""

    size = 64

    def __init__(self, stop_at: int | None = None, spoil_at: int | None = None) -> None:
        generator = torch.Generator().manual_seed(0)
        self.inputs = torch.rand(self.size, 2, generator=generator, dtype=torch.float64)
        self.targets = torch.sin(3 * self.inputs).prod(-1, keepdim=True)
        self.calls, self.stop_at, self.spoil_at = 0, stop_at, spoil_at

    def __call__(self, model: nn.Module, samples: torch.Tensor | None) -> Mapping[str, torch.Tensor]:
        self.calls += 1
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        chosen = slice(None) if samples is None else samples
        error = (model(self.inputs[chosen]) - self.targets[chosen]).square().mean()
        return {"error": error * (float("nan") if self.calls == self.spoil_at else 1.0)}


def network() -> MultilayerPerceptron:
    return MultilayerPerceptron((2, 12, 12, 1), generator=torch.Generator().manual_seed(1))


PHASES = (
    Phase("adam", steps=7, batch_size=16),
    Phase("soap", steps=9, batch_size=16),
    Phase("lbfgs", steps=6),
)


@pytest.mark.parametrize("stop_at", [4, 12, 19])
def test_a_training_that_was_stopped_and_resumed_gives_the_same_bits(tmp_path: Path, stop_at: int) -> None:
    whole = network()
    Trainer(whole, Fit(), seed=3).fit(PHASES)
    state = tmp_path / "state"
    with pytest.raises(KeyboardInterrupt):
        Trainer(network(), Fit(stop_at=stop_at), seed=3, checkpoint=state, checkpoint_every=1).fit(PHASES)
    resumed = network()
    Trainer(resumed, Fit(), seed=99, checkpoint=state, checkpoint_every=1).fit(PHASES, resume=True)
    for ours, theirs in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("sizes", [(2, 64, 64, 1), (2, 5, 64, 7, 1)])
def test_resuming_gives_the_same_bits_where_sizes_are_no_multiples_of_a_cache_line(
    tmp_path: Path, sizes: tuple[int, ...]
) -> None:
    # A state that is read to odd addresses takes other paths through matrix products, with other last bits.
    def fresh() -> MultilayerPerceptron:
        return MultilayerPerceptron(sizes, generator=torch.Generator().manual_seed(1))

    phases, state, whole, resumed = (Phase("soap", steps=60),), tmp_path / "state", fresh(), fresh()
    Trainer(whole, Fit()).fit(phases)
    with pytest.raises(KeyboardInterrupt):
        Trainer(fresh(), Fit(stop_at=26), checkpoint=state, checkpoint_every=25).fit(phases)
    Trainer(resumed, Fit(), checkpoint=state).fit(phases, resume=True)
    assert all(torch.equal(*pair) for pair in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_a_state_is_read_to_addresses_as_even_as_those_of_fresh_tensors(tmp_path: Path) -> None:
    weights = {f"part{size}": torch.rand(size, dtype=torch.float64) for size in range(1, 12)}
    save_training_state(tmp_path / "state", weights, {}, torch.zeros(3, dtype=torch.uint8), {})
    read = load_training_state(tmp_path / "state").weights
    assert all(tensor.data_ptr() % 64 == 0 for tensor in read.values())


def test_resuming_with_another_model_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state"
    Trainer(network(), Fit(), checkpoint=state, checkpoint_every=1).fit([Phase("adam", steps=2)])
    wider = MultilayerPerceptron((2, 13, 12, 1), generator=torch.Generator().manual_seed(1))
    with pytest.raises(ValueError, match="another model"):
        Trainer(wider, Fit(), checkpoint=state).fit([Phase("adam", steps=2)], resume=True)


@pytest.mark.parametrize("optimiser", ["adam", "soap", "lbfgs"])
def test_every_optimiser_lowers_the_loss(optimiser: str) -> None:
    model = network()
    history = Trainer(model, Fit()).fit([Phase(optimiser, steps=200, learning_rate=2e-2)])
    assert history.rows[-1]["loss"] < 0.2 * history.rows[0]["loss"]


def test_soap_beats_adam_on_a_small_regression() -> None:
    losses = {}
    for optimiser in ("adam", "soap"):
        phase = Phase(optimiser, steps=300, learning_rate=1e-2)
        losses[optimiser] = Trainer(network(), Fit()).fit([phase]).rows[-1]["loss"]
    assert losses["soap"] < losses["adam"]


def test_a_loss_that_is_not_finite_stops_with_the_step_and_the_terms() -> None:
    with pytest.raises(ConvergenceError, match=r"step 4 of phase 0 \(error=nan\)"):
        Trainer(network(), Fit(spoil_at=5)).fit([Phase("adam", steps=10)])


def test_resuming_with_other_phases_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state"
    Trainer(network(), Fit(), checkpoint=state, checkpoint_every=1).fit([Phase("adam", steps=2)])
    with pytest.raises(ValueError, match="other phases"):
        Trainer(network(), Fit(), checkpoint=state).fit([Phase("adam", steps=3)], resume=True)


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state"
    Trainer(network(), Fit(), checkpoint=state, checkpoint_every=1).fit([Phase("adam", steps=2)])
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(FormatError, match="damaged"):
        Trainer(network(), Fit(), checkpoint=state).fit([Phase("adam", steps=2)], resume=True)


def test_bad_phases_are_refused() -> None:
    with pytest.raises(ValueError, match="adam, adamw, soap, lbfgs"):
        Phase("sgd")
    with pytest.raises(ValueError, match="batch_size=0"):
        Phase(batch_size=0)
