"""Splits: no sample twice, none lost, the same again from the same seed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.data.split import Split


@given(count=st.integers(3, 200), seed=st.integers(0, 5), share=st.floats(0, 0.3))
def test_a_random_split_holds_every_sample_once(count: int, seed: int, share: float) -> None:
    split = Split.random(count, validation=share, test=share, seed=seed)
    assert sorted([*split.train, *split.validation, *split.test]) == list(range(count))
    assert split == Split.random(count, validation=share, test=share, seed=seed)
    assert Split.from_lists(split.as_lists()) == split


def test_bad_splits_are_refused() -> None:
    with pytest.raises(ValueError, match="training part of the split is empty"):
        Split(())
    with pytest.raises(ValueError, match="sample 3 is in the split twice"):
        Split((1, 3), (3,))
    with pytest.raises(ValueError, match="2 samples leave none"):
        Split.random(2)
    with pytest.raises(ValueError, match=r"validation share 1\.5"):
        Split.random(10, validation=1.5)
    with pytest.raises(ValueError, match="names sample 9"):
        Split((9,)).check_count(9)
