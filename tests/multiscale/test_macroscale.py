"""The macroscale solver against exact facts: patches, resultants, an independent assembly, quadratic convergence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sample_structures import (
    Brittle,
    Certified,
    Hardening,
    Linear,
    at,
    elastic_matrix,
    linear_field,
    strain_of_linear_field,
)

from equipoise.errors import ConvergenceError, MeshError, OutOfRangeError
from equipoise.multiscale.discretization import Discretization
from equipoise.multiscale.load_stepping import Stepping
from equipoise.multiscale.macroscale import simulate
from equipoise.multiscale.simulation import LoadStepError, OutsideBoxError
from equipoise.multiscale.structure import History, Load, Region, Structure, Support
from equipoise.spaces.elements import reference_element
from equipoise.spaces.mesh import CellBlock, FacetBlock, Mesh
from equipoise.spaces.structures import box, cooks_membrane, rectangle

ONE_STEP = Stepping(first_step=1.0)
PLANE_ELEMENTS = ("tri3", "tri6", "quad4", "quad8", "quad9")
SOLID_ELEMENTS = ("tet4", "tet10", "hex8", "hex20", "hex27")


def distorted(mesh: Mesh, *, seed: int = 0) -> Mesh:
    """The mesh mapped by a smooth affine-free distortion of its corners only: edges stay straight, cells unequal."""
    low, high = mesh.bounds
    moved = mesh.points.copy()
    rng = np.random.default_rng(seed)
    corners = np.unique(np.concatenate([b.connectivity[:, : _corners(b)].ravel() for b in mesh.blocks]))
    inside = ((mesh.points[corners] > low + 1e-9) & (mesh.points[corners] < high - 1e-9)).all(axis=1)
    shift = np.zeros_like(moved)
    shift[corners[inside]] = 0.08 * rng.uniform(-1, 1, (int(inside.sum()), mesh.dim))
    for block in mesh.blocks:
        moved[block.connectivity] = mesh.points[block.connectivity] + _interpolated(block, shift)
    return Mesh(moved, mesh.blocks, mesh.tag_names, mesh.facet_groups)


def _corners(block: CellBlock) -> int:
    return reference_element(block.element).n_corners


def _interpolated(block: CellBlock, shift: np.ndarray) -> np.ndarray:
    """Corner shifts interpolated to all nodes of each cell by the linear element on its corners."""
    linear = {3: "tri3", 4: "quad4", 8: "hex8"}[_corners(block)]
    element = reference_element(block.element)
    if element.dim == 3 and element.n_corners == 4:
        linear = "tet4"
    weights = reference_element(linear).shape(element.nodes)
    return np.einsum("kc,ncd->nkd", weights, shift[block.connectivity[:, : element.n_corners]])


def mixed_mesh() -> Mesh:
    """Two squares and two triangles side by side."""
    points = np.array([[0, 0], [1, 0], [2, 0], [0, 1], [1.1, 0.9], [2, 1], [0, 2], [1, 2], [2, 2.0]])
    squares = CellBlock("quad4", np.array([[0, 1, 4, 3], [1, 2, 5, 4]]), np.array([1, 1]))
    triangles = CellBlock("tri3", np.array([[3, 4, 6], [4, 7, 6], [4, 5, 7], [5, 8, 7]]), np.ones(4, dtype=np.int64))
    return Mesh(points, (squares, triangles))


def patch_error(mesh: Mesh) -> tuple[float, float]:
    """Errors of the displacement and the stress inside, where the boundary follows a linear field."""
    on_boundary = np.unique(np.concatenate([block.connectivity.ravel() for block in mesh.boundary_facets()]))
    exact = linear_field(mesh.points)
    supports = [
        Support(Region(nearest=tuple(mesh.points[node])), dict(zip("xyz", exact[node], strict=False)), name=f"n{node}")
        for node in on_boundary
    ]
    simulation = simulate(Structure(mesh, supports, stepping=ONE_STEP), Linear(mesh.dim))
    stress = strain_of_linear_field(mesh.dim) @ elastic_matrix(mesh.dim).numpy().T
    return (
        float(np.abs(simulation.displacement - exact).max() / np.abs(exact).max()),
        float((simulation.stress - torch.as_tensor(stress)).abs().max() / np.abs(stress).max()),
    )


@pytest.mark.parametrize("element", PLANE_ELEMENTS)
def test_patch_of_distorted_plane_elements_holds_a_constant_stress(element: str) -> None:
    mesh = distorted(rectangle(elements=(3, 3), size=(1.0, 1.0), element=element))
    assert max(patch_error(mesh)) < 1e-11


@pytest.mark.parametrize("element", SOLID_ELEMENTS)
def test_patch_of_distorted_solid_elements_holds_a_constant_stress(element: str) -> None:
    mesh = distorted(box(elements=(2, 2, 2), size=(1.0, 1.0, 1.0), element=element))
    assert max(patch_error(mesh)) < 1e-11


def test_patch_of_mixed_triangles_and_squares_holds_a_constant_stress() -> None:
    assert max(patch_error(mixed_mesh())) < 1e-11


def cook(
    element: str = "quad8", *, elements: tuple[int, int] = (6, 6), load: float = 1.0, **stepping: float
) -> Structure:
    mesh = cooks_membrane(elements=elements, element=element)
    return Structure(
        mesh,
        [Support(at(x=0.0), {"x": 0.0, "y": 0.0}, name="clamp")],
        [Load(at(x=48.0), traction=(0.0, load), name="shear")],
        stepping=Stepping(**stepping) if stepping else ONE_STEP,
        monitored={"corner": (48.0, 60.0)},
        name="Cook",
    )


@pytest.mark.parametrize(("ours", "theirs"), [("quad4", "ElementQuad1"), ("quad9", "ElementQuad2")])
def test_linear_cooks_membrane_equals_an_assembly_by_scikit_fem(ours: str, theirs: str) -> None:
    import skfem
    from skfem.helpers import ddot, sym_grad, trace

    structure = cook(ours)
    simulation = simulate(structure, Linear(2))
    young, poisson = 1000.0, 0.3
    shear, lame = young / 2 / (1 + poisson), young * poisson / (1 + poisson) / (1 - 2 * poisson)
    block = structure.mesh.blocks[0]
    corners, numbers = np.unique(block.connectivity[:, :4], return_inverse=True)
    mesh = skfem.MeshQuad(structure.mesh.points[corners].T, numbers.reshape(-1, 4).T)
    basis = skfem.Basis(mesh, skfem.ElementVector(getattr(skfem, theirs)()), intorder=reference_element(ours).order)

    @skfem.BilinearForm
    def stiffness(u, v, _):  # type: ignore[no-untyped-def]
        eps, test = sym_grad(u), sym_grad(v)
        return lame * trace(eps) * trace(test) + 2 * shear * ddot(eps, test)

    @skfem.LinearForm
    def traction(v, _):  # type: ignore[no-untyped-def]
        return 1.0 * v[1]

    right = skfem.FacetBasis(mesh, basis.elem, facets=mesh.facets_satisfying(lambda x: np.isclose(x[0], 48.0)))
    clamped = basis.get_dofs(lambda x: np.isclose(x[0], 0.0))
    solution = skfem.solve(*skfem.condense(stiffness.assemble(basis), traction.assemble(right), D=clamped))
    nodes = {tuple(np.round(place, 9)): number for number, place in enumerate(structure.mesh.points)}
    for component in (0, 1):
        places = basis.doflocs[:, component::2]
        reference = np.array([solution[component + 2 * i] for i in range(places.shape[1])])
        mine = np.array([simulation.displacement[nodes[tuple(np.round(p, 9))], component] for p in places.T])
        np.testing.assert_allclose(mine, reference, atol=1e-10 * np.abs(solution).max(), rtol=0)


def test_newton_converges_quadratically_with_the_consistent_tangent() -> None:
    simulation = simulate(cook(load=12.0), Hardening(2))
    residuals = [r for r in simulation.steps[0].residuals if r > 1e-15]
    assert len(residuals) >= 4
    orders = [np.log(residuals[k + 1] / residuals[k]) / np.log(residuals[k] / residuals[k - 1]) for k in (-3, -2)]
    assert max(orders) > 1.8, residuals


def test_the_stiffness_is_the_derivative_of_the_force() -> None:
    structure = cook("tri6", elements=(2, 2))
    system, micro = Discretization(structure), Hardening(2)
    rng = np.random.default_rng(3)
    place, direction = 0.3 * rng.standard_normal((2, system.n_unknowns))
    direction[system.held.unknowns] = 0.0
    response = micro.respond(system.strain(place))

    def force(step: float) -> np.ndarray:
        return system.force(micro.respond(system.strain(place + step * direction)).stress)[system.free]

    slope = (force(1e-6) - force(-1e-6)) / 2e-6
    np.testing.assert_allclose(system.stiffness(response.tangent) @ direction[system.free], slope, rtol=1e-6)


def test_an_unsymmetric_tangent_gives_an_unsymmetric_stiffness_that_is_solved_exactly() -> None:
    matrix = elastic_matrix(2)
    matrix[0, 1] *= 1.2
    simulation = simulate(cook(), Linear(2, matrix))
    assert simulation.steps[0].iterations <= 1


@pytest.mark.parametrize("element", ["quad8", "tri3"])
def test_reactions_balance_the_applied_loads(element: str) -> None:
    simulation = simulate(cook(element, load=0.7), Linear(2))
    np.testing.assert_allclose(simulation.steps[-1].reactions["clamp"], [0.0, -0.7 * 16.0], atol=1e-7)


def test_body_force_and_spread_force_have_their_exact_resultants() -> None:
    mesh = rectangle(elements=(3, 2), size=(3.0, 2.0), element="quad9")
    loads = [
        Load(body_force=(0.5, -2.0)),
        Load(at(x=3.0), force=(7.0, 3.0)),
        Load(Region(nearest=(3.0, 2.0)), force=(0.0, 0.4)),
        Load(at(x=3.0, y=0.0), force=(0.0, 0.6)),
    ]
    structure = Structure(mesh, [Support(at(x=0.0), {"x": 0.0, "y": 0.0}, name="wall")], loads, ONE_STEP, thickness=0.5)
    reaction = simulate(structure, Linear(2)).steps[-1].reactions["wall"]
    np.testing.assert_allclose(reaction, [-0.5 * 3.0 - 7.0, 2.0 * 3.0 - 3.0 - 1.0], atol=1e-7)


def test_pressure_around_a_closed_boundary_has_no_resultant_and_the_exact_force_on_each_side() -> None:
    mesh = cooks_membrane(elements=(5, 4), element="quad8")
    system = Discretization(
        Structure(
            mesh,
            [Support(at(x=0.0), {"x": 0.0, "y": 0.0})],
            [Load(Region(where={"x": (-1.0, 49.0)}), pressure=3.0), Load(at(x=48.0), pressure=3.0)],
        )
    )
    closed, right = system.loads.vectors.reshape(2, -1, 2).sum(axis=1)
    np.testing.assert_allclose(closed, 0.0, atol=1e-10)
    np.testing.assert_allclose(right, [-3.0 * 16.0, 0.0], atol=1e-10)


def test_pressure_on_a_solid_acts_along_the_inward_normal() -> None:
    mesh = box(elements=(2, 2, 2), size=(1.0, 2.0, 3.0), element="hex20")
    for axis, area in (("x", 6.0), ("y", 3.0), ("z", 2.0)):
        number = "xyz".index(axis)
        for place, sign in ((0.0, 1.0), (float(mesh.bounds[1, number]), -1.0)):
            load = Load(at(**{axis: place}), pressure=2.0)
            structure = Structure(mesh, [Support(at(z=0.0), {"x": 0.0, "y": 0.0, "z": 0.0})], [load])
            total = Discretization(structure).loads.vectors.reshape(-1, 3).sum(axis=0)
            expected = np.zeros(3)
            expected[number] = sign * 2.0 * area
            np.testing.assert_allclose(total, expected, atol=1e-12)


def test_a_bar_under_hydrostatic_pressure_has_its_closed_form_strain() -> None:
    mesh = box(elements=(1, 1, 1), size=(1.0, 1.0, 1.0), element="hex8")
    symmetric = [Support(at(**{axis: 0.0}), is_symmetric=True, name=f"plane {axis}") for axis in "xyz"]
    loads = [Load(at(**{axis: 1.0}), pressure=5.0, name=axis) for axis in "xyz"]
    simulation = simulate(Structure(mesh, symmetric, loads, ONE_STEP), Linear(3))
    expected = -5.0 * (1 - 2 * 0.3) / 1000.0
    np.testing.assert_allclose(simulation.strain[:, :3].numpy(), expected, rtol=1e-9)


def test_a_load_history_that_returns_to_zero_unloads_the_structure() -> None:
    structure = cook()
    back = History((0.0, 1.0, 2.0), (0.0, 1.0, 0.0))
    structure = Structure(
        structure.mesh,
        structure.supports,
        [Load(at(x=48.0), traction=(0.0, 8.0), history=back)],
        Stepping(end=2.0, first_step=0.4),
    )
    simulation = simulate(structure, Hardening(2))
    assert [step.time for step in simulation.steps] == pytest.approx([0.4, 0.8, 1.0, 1.4, 1.8, 2.0])
    assert np.abs(simulation.displacement).max() < 1e-6


def test_a_failing_step_is_halved_and_the_simulation_ends_at_the_same_place() -> None:
    plain = simulate(cook(first_step=1.0), Linear(2))
    largest = plain.steps[-1].largest_strain
    halved = simulate(cook(first_step=1.0), Brittle(2, jump=0.3 * largest))
    assert halved.halvings == 2
    assert len(halved.steps) == 4
    np.testing.assert_allclose(halved.displacement, plain.displacement, atol=1e-8 * np.abs(plain.displacement).max())


def test_a_step_that_fails_at_the_smallest_size_keeps_all_that_converged() -> None:
    largest = simulate(cook(first_step=1.0), Linear(2)).steps[-1].largest_strain
    with pytest.raises(
        LoadStepError, match=r"did not converge at the smallest size 0\.1.*steps up to time 0\."
    ) as caught:
        simulate(cook(first_step=0.4, smallest_step=0.1), Brittle(2, jump=1.0, largest=0.65 * largest))
    simulation = caught.value.simulation
    assert not simulation.is_complete
    assert simulation.steps[-1].time == pytest.approx(0.6)
    assert simulation.steps[-1].largest_strain == pytest.approx(0.6 * largest)
    assert isinstance(caught.value, ConvergenceError)


def test_strains_outside_the_trained_box_end_the_simulation_unless_extrapolation_is_allowed() -> None:
    structure = cook(load=12.0, first_step=0.25)
    free = simulate(structure, Hardening(2))
    box_size = 0.6 * free.steps[-1].largest_strain
    with pytest.raises(OutsideBoxError, match=r"load step to time .*outside the trained box") as caught:
        simulate(structure, Hardening(2, box=box_size))
    assert 1 <= len(caught.value.simulation.steps) < 4
    assert isinstance(caught.value, OutOfRangeError)
    extrapolated = simulate(structure, Hardening(2, box=box_size), extrapolate=True)
    assert extrapolated.summary()["outside_box"] > 0
    np.testing.assert_array_equal(extrapolated.displacement, free.displacement)


def test_a_certificate_that_replaces_answers_leads_to_equilibrium_of_the_replaced_ones() -> None:
    simulation = simulate(cook(load=3.0, first_step=0.5), Certified(2))
    step = simulation.steps[0]
    assert step.gap_kind == "mixed"
    assert step.counts["fallbacks"] > 0
    assert step.counts["bounds"] == 2 * step.counts["fallbacks"]
    assert step.figures == {"bound_to_estimate": 2.0}
    assert simulation.steps[1].counts.get("fallbacks", 0) == 0
    assert simulation.gaps is not None
    assert step.largest_gap is not None
    clamp = np.array(simulation.steps[-1].reactions["clamp"])
    np.testing.assert_allclose(clamp, [0.0, -3.0 * 16.0], atol=1e-5)


def test_chunks_of_points_do_not_change_the_answer() -> None:
    whole = simulate(cook(load=6.0), Hardening(2))
    cut = simulate(cook(load=6.0), Hardening(2), chunk=7)
    np.testing.assert_array_equal(whole.displacement, cut.displacement)
    assert whole.evaluations == cut.evaluations == (whole.steps[0].iterations + 1) * len(whole.weights) + 1


def test_superlu_and_pardiso_agree() -> None:
    pytest.importorskip("pypardiso")
    first = simulate(cook(load=6.0), Hardening(2), linear_solver="superlu")
    second = simulate(cook(load=6.0), Hardening(2), linear_solver="pardiso")
    np.testing.assert_allclose(first.displacement, second.displacement, atol=1e-9 * np.abs(first.displacement).max())


def test_a_structure_without_enough_supports_names_the_free_motion_before_work_starts() -> None:
    mesh = rectangle(elements=(2, 2), size=(1.0, 1.0))
    with pytest.raises(ValueError, match="translation in y"):
        simulate(Structure(mesh, [Support(at(x=0.0), {"x": 0.0})]), Linear(2))


def test_a_micro_model_of_another_dimension_is_refused() -> None:
    with pytest.raises(ValueError, match=r"dimension 3 .* has 2"):
        simulate(cook(), Linear(3))


def test_a_pressure_inside_the_structure_is_refused() -> None:
    mesh = rectangle(elements=(2, 1), size=(2.0, 1.0), element="quad4")
    middle = np.nonzero(mesh.points[:, 0] == 1.0)[0]
    inside = Mesh(mesh.points, mesh.blocks, {}, {"inner": (FacetBlock("line2", middle[None, :]),)})
    structure = Structure(
        inside, [Support(at(x=0.0), {"x": 0.0, "y": 0.0})], [Load(Region(group="inner"), pressure=1.0)]
    )
    with pytest.raises(MeshError, match="lies inside the structure"):
        simulate(structure, Linear(2))
