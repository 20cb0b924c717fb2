"""Initial weights come from the seed alone."""

import pytest
import torch

from equipoise.nn.initialisation import seeded


def test_one_seed_gives_one_set_of_weights_and_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    with seeded(3):
        first = torch.nn.Linear(4, 5).weight
    with seeded(3):
        second = torch.nn.Linear(4, 5).weight
    with seeded(4):
        third = torch.nn.Linear(4, 5).weight
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    assert torch.equal(before, torch.get_rng_state())


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="seed=-1"), seeded(-1):
        pass
