"""Adam with one counter of steps: the bits of PyTorch's fused Adam, whatever happens on the way."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from equipoise.training.adam import Adam


def network() -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model


def train(model: nn.Module, optimiser: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        inputs = torch.randn(7, 3, generator=torch.Generator().manual_seed(step))
        optimiser.param_groups[0]["lr"] = 1e-2 / (1 + step)
        optimiser.zero_grad()
        model(inputs).square().sum().backward()
        if step == 5:
            next(model.parameters()).grad = None
        optimiser.step()


def equal(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(*pair) for pair in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("decoupled", [False, True])
def test_steps_give_the_bits_of_the_fused_kernel(decoupled: bool, decay: float) -> None:
    ours, theirs = network(), network()
    kind = torch.optim.AdamW if decoupled else torch.optim.Adam
    train(ours, Adam(ours.parameters(), lr=1e-2, weight_decay=decay, decoupled=decoupled), range(5))
    train(theirs, kind(theirs.parameters(), lr=1e-2, weight_decay=decay, fused=True), range(5))
    assert equal(ours, theirs)


def test_a_parameter_without_gradient_keeps_a_counter_of_its_own() -> None:
    # Step 5 leaves one parameter out: from then on the counters differ, and no sharing is sound.
    ours, theirs = network(), network()
    train(ours, Adam(ours.parameters(), lr=1e-2), range(9))
    train(theirs, torch.optim.Adam(theirs.parameters(), lr=1e-2, fused=True), range(9))
    assert equal(ours, theirs)


def test_state_moves_between_both_classes() -> None:
    whole, ours = network(), network()
    train(whole, torch.optim.Adam(whole.parameters(), lr=1e-2, fused=True), range(5))
    first = Adam(ours.parameters(), lr=1e-2)
    train(ours, first, range(3))
    state = copy.deepcopy(first.state_dict())
    later, theirs = copy.deepcopy(ours), copy.deepcopy(ours)
    for model, kind in ((later, Adam), (theirs, torch.optim.Adam)):
        optimiser = kind(model.parameters(), lr=1e-2)
        optimiser.load_state_dict(copy.deepcopy(state))
        train(model, optimiser, range(3, 5))
        assert equal(model, whole)


def test_a_closure_and_several_groups_take_the_ordinary_step() -> None:
    ours, theirs = network(), network()
    mine = Adam([{"params": ours[0].parameters()}, {"params": ours[2].parameters(), "lr": 1e-1}], lr=1e-2)
    other = torch.optim.Adam(
        [{"params": theirs[0].parameters()}, {"params": theirs[2].parameters(), "lr": 1e-1}], lr=1e-2, fused=True
    )
    for model, optimiser in ((ours, mine), (theirs, other)):
        train(model, optimiser, range(3))
    assert equal(ours, theirs)
    model = network()
    optimiser = Adam(model.parameters())

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = model(torch.ones(1, 3)).square().sum()
        loss.backward()
        return loss

    first, second = (float(optimiser.step(closure).detach()) for _ in range(2))
    assert first > second
