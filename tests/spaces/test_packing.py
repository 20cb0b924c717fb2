"""Random periodic positions: distances that are kept, and what cannot be placed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.errors import MeshError
from equipoise.spaces.packing import inclusion_radius, scattered_centres


@given(dim=st.sampled_from([2, 3]), count=st.integers(1, 8), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_periodic_distances_are_kept(dim: int, count: int, seed: int) -> None:
    distance = 2.05 * inclusion_radius(dim, 0.2, count)
    centres = scattered_centres(np.random.default_rng(seed), dim, count, distance)
    assert centres.shape == (count, dim)
    assert (np.abs(centres) <= 0.5).all()
    offset = centres[:, None] - centres
    offset -= np.round(offset)
    gaps = np.linalg.norm(offset, axis=-1)[~np.eye(count, dtype=bool)]
    assert (gaps >= distance).all()


def test_radius_gives_the_fraction() -> None:
    assert 3 * np.pi * inclusion_radius(2, 0.4, 3) ** 2 == pytest.approx(0.4)
    assert 5 * 4 / 3 * np.pi * inclusion_radius(3, 0.3, 5) ** 3 == pytest.approx(0.3)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(MeshError, match="touch their own images"):
        scattered_centres(np.random.default_rng(0), 2, 1, 1.01)
    with pytest.raises(MeshError, match=r"3 inclusions at distance 0\.9 could not be placed"):
        scattered_centres(np.random.default_rng(0), 2, 3, 0.9)
