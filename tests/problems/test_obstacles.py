"""Obstacles in a box: every domain has the shape of its grid, in the plane and in space."""

from __future__ import annotations

import pytest

from equipoise.problems.obstacles import DOMAINS, domain


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 8), (8, 6, 10)])
@pytest.mark.parametrize("name", DOMAINS)
def test_a_domain_has_the_shape_of_its_grid_and_some_fluid(name: str, shape: tuple[int, ...]) -> None:
    fluid = domain(name, shape)
    assert fluid.shape == shape
    assert fluid.any()
    assert bool(fluid.all()) == (name == "empty")
