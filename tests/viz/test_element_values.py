"""Values carried from quadrature points to nodes: exact for linear fields, averaged between elements."""

from __future__ import annotations

import numpy as np
import pytest

from equipoise.spaces.quadrature import quadrature
from equipoise.spaces.structures import box, rectangle
from equipoise.viz.element_values import element_means, element_values, nodal_averages

ELEMENTS = ("tri6", "quad4", "quad8", "quad9", "tet10", "hex8", "hex20", "hex27")


def sample(element: str):  # type: ignore[no-untyped-def]
    plane = element.startswith(("tri", "quad"))
    mesh = rectangle(elements=(2, 2), element=element) if plane else box(elements=(2, 1, 1), element=element)
    points = np.concatenate([block.points.reshape(-1, mesh.dim) for block in quadrature(mesh)])
    slope = np.array([2.0, -3.0, 0.5])[: mesh.dim]
    return mesh, points @ slope + 1.0, mesh.points @ slope + 1.0


@pytest.mark.parametrize("element", ELEMENTS)
def test_a_linear_field_is_carried_to_the_nodes_exactly(element: str) -> None:
    mesh, field, nodal = sample(element)
    np.testing.assert_allclose(nodal_averages(mesh, field), nodal, atol=1e-12)
    for block, values in zip(mesh.blocks, element_values(mesh, field), strict=True):
        np.testing.assert_allclose(values, nodal[block.connectivity], atol=1e-12)


@pytest.mark.parametrize("element", ["tri3", "tet4", *ELEMENTS])
def test_a_constant_field_of_several_components_stays_constant(element: str) -> None:
    mesh, field, _ = sample(element)
    values = np.tile([1.0, -2.0, 3.0], (len(field), 1))
    np.testing.assert_allclose(nodal_averages(mesh, values), np.tile([1.0, -2.0, 3.0], (mesh.n_nodes, 1)), atol=1e-12)


def test_means_and_largest_values_are_by_element() -> None:
    mesh, field, _ = sample("quad4")
    centre = mesh.points[mesh.blocks[0].connectivity].mean(axis=1)
    np.testing.assert_allclose(element_means(mesh, field), centre @ [2.0, -3.0] + 1.0, atol=1e-12)
    assert (element_means(mesh, field, largest=True) > element_means(mesh, field)).all()


def test_a_field_of_the_wrong_length_is_refused() -> None:
    mesh, field, _ = sample("quad8")
    with pytest.raises(ValueError, match=r"the field has 35 points; the mesh has 36"):
        nodal_averages(mesh, field[1:])
