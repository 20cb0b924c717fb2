"""Reference elements: facts about shape functions, quadrature and facets that hold for each of them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from equipoise.errors import MeshError
from equipoise.spaces.elements import ELEMENT_NAMES, element_of_meshio, reference_element

SERENDIPITY = {"quad8", "hex20"}
SIMPLEX = {"tri3", "tri6", "tet4", "tet10"}
# Total degree that the shape functions hold whole, and degree that the default rule must integrate.
DEGREE = {name: 1 if name in {"line2", "tri3", "quad4", "tet4", "hex8"} else 2 for name in ELEMENT_NAMES}
CELLS = [name for name in ELEMENT_NAMES if not name.startswith("line")]


def monomials(dim: int, degree: int) -> list[tuple[int, ...]]:
    return [power for power in itertools.product(range(degree + 1), repeat=dim) if sum(power) <= degree]


def inner_points(name: str, count: int = 7) -> np.ndarray:
    reference = reference_element(name)
    weights = np.random.default_rng(0).dirichlet(np.ones(reference.n_corners), size=count)
    return weights @ reference.nodes[: reference.n_corners]


@pytest.mark.parametrize("name", ELEMENT_NAMES)
def test_each_shape_function_is_one_at_its_node_and_zero_at_the_others(name: str) -> None:
    reference = reference_element(name)
    assert reference.nodes.shape == (reference.n_nodes, reference.dim)
    np.testing.assert_allclose(reference.shape(reference.nodes), np.eye(reference.n_nodes), atol=1e-13)


@pytest.mark.parametrize("name", ELEMENT_NAMES)
def test_polynomials_of_the_element_s_degree_are_reproduced_with_their_gradients(name: str) -> None:
    reference = reference_element(name)
    points = inner_points(name)
    shape, gradient = reference.shape(points), reference.gradient(points)
    for power in monomials(reference.dim, DEGREE[name]):
        nodal = np.prod(reference.nodes**power, axis=1)
        np.testing.assert_allclose(shape @ nodal, np.prod(points**power, axis=1), atol=1e-13)
        for axis in range(reference.dim):
            lowered = [p - (i == axis) for i, p in enumerate(power)]
            exact = power[axis] * np.prod(points ** np.maximum(lowered, 0), axis=1)
            np.testing.assert_allclose(gradient[:, :, axis] @ nodal, exact, atol=1e-12)


@pytest.mark.parametrize("name", ELEMENT_NAMES)
def test_gradients_are_finite_differences_of_shape_functions(name: str) -> None:
    reference = reference_element(name)
    points, step = inner_points(name), 1e-6
    gradient = reference.gradient(points)
    for axis, shift in enumerate(step * np.eye(reference.dim)):
        difference = (reference.shape(points + shift) - reference.shape(points - shift)) / (2 * step)
        np.testing.assert_allclose(gradient[:, :, axis], difference, atol=1e-8)


@pytest.mark.parametrize("name", ELEMENT_NAMES)
def test_default_rule_integrates_its_order_with_positive_weights_inside(name: str) -> None:
    reference = reference_element(name)
    points, weights = reference.quadrature()
    assert (weights > 0).all()
    assert points.min() >= 0
    assert points.max() < 1
    for power in monomials(reference.dim, reference.order):
        if name in SIMPLEX:
            exact = math.prod(map(math.factorial, power)) / math.factorial(sum(power) + reference.dim)
        else:
            exact = math.prod(1 / (p + 1) for p in power)
        value = weights @ np.prod(points**power, axis=1)
        assert value == pytest.approx(exact, abs=1e-12), power


def test_rules_have_the_expected_numbers_of_points() -> None:
    counts = {name: len(reference_element(name).quadrature()[1]) for name in CELLS}
    assert {name: counts[name] for name in ("quad4", "quad8", "quad9", "hex8", "hex20", "hex27")} == {
        "quad4": 4, "quad8": 9, "quad9": 9, "hex8": 8, "hex20": 27, "hex27": 27,
    }  # fmt: skip
    assert counts["tri3"] == 3
    assert counts["tet4"] == 4
    assert counts["tet10"] == 14


@pytest.mark.parametrize("name", CELLS)
def test_facets_lie_on_the_surface_and_turn_outward(name: str) -> None:
    reference = reference_element(name)
    facet = reference_element(reference.facet_name)
    points, weights = facet.quadrature()
    total = np.zeros(reference.dim)
    divergence = 0.0
    for local in reference.facets:
        nodes = reference.nodes[list(local)]
        np.testing.assert_allclose(facet.shape(facet.nodes) @ nodes, nodes, atol=1e-13)
        tangents = np.einsum("qkr,kd->qrd", facet.gradient(points), nodes)
        if reference.dim == 2:
            normal = np.stack([tangents[:, 0, 1], -tangents[:, 0, 0]], axis=-1)
        else:
            normal = np.cross(tangents[:, 0], tangents[:, 1])
        total += weights @ normal
        divergence += float(weights @ np.einsum("qd,qd->q", normal, facet.shape(points) @ nodes))
    volume = reference.quadrature()[1].sum()
    np.testing.assert_allclose(total, 0, atol=1e-13)
    assert divergence == pytest.approx(reference.dim * volume)


@pytest.mark.parametrize("name", CELLS)
def test_nodes_of_a_facet_are_its_reference_nodes(name: str) -> None:
    reference = reference_element(name)
    facet = reference_element(reference.facet_name)
    corner_shape = reference_element({1: "line2", 2: {3: "tri3", 4: "quad4"}.get(facet.n_corners, "")}[facet.dim])
    for local in reference.facets:
        nodes = reference.nodes[list(local)]
        np.testing.assert_allclose(corner_shape.shape(facet.nodes) @ nodes[: facet.n_corners], nodes, atol=1e-13)


def test_meshio_names_lead_back_and_foreign_ones_to_nothing() -> None:
    for name in ELEMENT_NAMES:
        assert element_of_meshio(reference_element(name).meshio_name) == name
    assert element_of_meshio("wedge15") is None


def test_unknown_element_names_the_nearest() -> None:
    with pytest.raises(MeshError, match=r"'quad88' is unknown.*did you mean 'quad8'"):
        reference_element("quad88")
