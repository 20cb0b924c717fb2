"""Exact facts about the homogenised unit cell: limit cases, symmetries and derivatives."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from equipoise.errors import ConvergenceError, MeshError
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.cell_solver import CellSolver
from equipoise.problems.mechanics.materials import LinearIsotropic, Material, paper_materials
from equipoise.solvers.linear import pardiso_is_available
from equipoise.spaces.cells import fibre_cell, homogeneous_cell, laminate_cell, random_sphere_cell
from equipoise.spaces.mesh_files import read_mesh

BACKENDS = [
    "superlu",
    pytest.param("pardiso", marks=pytest.mark.skipif(not pardiso_is_available(), reason="pypardiso is not installed")),
]
STRAINS = torch.tensor([[0.02, 0.01, -0.03], [-0.04, 0.03, 0.04], [0.0, 0.0, 0.02]], dtype=torch.float64)


@pytest.fixture(scope="module")
def fibre() -> PeriodicCell:
    return PeriodicCell(fibre_cell(n=4), paper_materials())


@pytest.mark.parametrize("backend", BACKENDS)
def test_residual_falls_below_the_stress_scale_by_ten_digits(fibre: PeriodicCell, backend: str) -> None:
    solution = CellSolver(fibre, linear_solver=backend).solve(STRAINS)
    stress = fibre.law.stress(fibre.strain(STRAINS, solution.fluctuation))
    residual = torch.linalg.vector_norm(fibre.force(stress), dim=-1)
    scale = torch.linalg.vector_norm(fibre.force_magnitude(stress), dim=-1)
    assert float((residual / scale).max()) < 1e-10


@pytest.mark.parametrize("backend", BACKENDS)
def test_tangent_is_the_derivative_of_the_stress(fibre: PeriodicCell, backend: str) -> None:
    solver = CellSolver(fibre, linear_solver=backend, rtol=1e-12)
    strain, step = STRAINS[:1], 1e-5
    shifts = step * torch.eye(3, dtype=torch.float64)
    forward, backward = solver.solve(strain + shifts).stress, solver.solve(strain - shifts).stress
    difference = ((forward - backward) / (2 * step)).T
    tangent = solver.solve(strain).tangent
    assert tangent is not None
    error = (tangent[0] - difference).abs().max() / difference.abs().max()
    assert float(error) < 1e-6


def test_stress_is_the_derivative_of_the_effective_energy(fibre: PeriodicCell) -> None:
    solver = CellSolver(fibre, rtol=1e-12)
    strain, step = STRAINS[:1], 1e-5
    shifts = step * torch.eye(3, dtype=torch.float64)
    difference = (solver.solve(strain + shifts).energy - solver.solve(strain - shifts).energy) / (2 * step)
    torch.testing.assert_close(solver.solve(strain).stress[0], difference, rtol=1e-7, atol=1e-6)


def test_hill_the_microscopic_work_equals_the_macroscopic_work(fibre: PeriodicCell) -> None:
    solution = CellSolver(fibre, rtol=1e-12).solve(STRAINS)
    strain = fibre.strain(STRAINS, solution.fluctuation)
    work = fibre.average((fibre.law.stress(strain) * strain).sum(-1, keepdim=True))[:, 0]
    torch.testing.assert_close(work, (solution.stress * STRAINS).sum(-1), rtol=1e-10, atol=1e-10)


def test_sensitivity_is_the_derivative_of_the_fluctuation(fibre: PeriodicCell) -> None:
    solver = CellSolver(fibre, rtol=1e-12)
    step = torch.tensor([[1e-5, 0.0, 0.0]], dtype=torch.float64)
    forward, backward = solver.solve(STRAINS[:1] + step), solver.solve(STRAINS[:1] - step)
    difference = (forward.fluctuation - backward.fluctuation)[0] / 2e-5
    sensitivity = solver.solve(STRAINS[:1]).sensitivity
    assert sensitivity is not None
    error = (sensitivity[0, :, 0] - difference).norm() / difference.norm()
    assert float(error) < 5e-4


@pytest.mark.parametrize("dim", [2, 3])
def test_homogeneous_cell_answers_as_its_material(dim: int) -> None:
    matrix = paper_materials()[1]
    cell = PeriodicCell(homogeneous_cell(dim=dim), {1: matrix})
    strain = torch.linspace(-0.03, 0.04, cell.n_strain, dtype=torch.float64)[None]
    solution = CellSolver(cell).solve(strain)
    assert float(solution.fluctuation.abs().max()) < 1e-14
    torch.testing.assert_close(solution.stress, matrix.stress(strain), rtol=1e-11, atol=1e-10)
    torch.testing.assert_close(solution.tangent, matrix.tangent(strain), rtol=1e-11, atol=1e-8)


def _laminate_stiffness(first: Material, second: Material, fraction: float, normal: int) -> torch.Tensor:
    """Exact stiffness of a two-layer laminate in plane strain: stress continuous across, strain along the layers."""
    across = [normal, 2]
    along = [1 - normal]
    zero = torch.zeros(1, 3, dtype=torch.float64)
    phases = [(fraction, first.tangent(zero)[0]), (1 - fraction, second.tangent(zero)[0])]
    pick = torch.tensor(across)
    keep = torch.tensor(along)
    aa = sum(c * torch.linalg.inv(t[pick][:, pick]) for c, t in phases)
    ab = sum(c * torch.linalg.inv(t[pick][:, pick]) @ t[pick][:, keep] for c, t in phases)
    bb = sum(
        c * (t[keep][:, keep] - t[keep][:, pick] @ torch.linalg.inv(t[pick][:, pick]) @ t[pick][:, keep])
        for c, t in phases
    )
    stiffness = torch.zeros(3, 3, dtype=torch.float64)
    inverse = torch.linalg.inv(aa)
    stiffness[pick[:, None], pick] = inverse
    stiffness[pick[:, None], keep] = inverse @ ab
    stiffness[keep[:, None], pick] = (inverse @ ab).T
    stiffness[keep[:, None], keep] = bb + ab.T @ inverse @ ab
    return stiffness


@pytest.mark.parametrize("normal", [0, 1])
def test_laminate_of_linear_layers_has_the_closed_form_stiffness(normal: int) -> None:
    soft = LinearIsotropic(bulk=2000.0, shear=700.0, name="soft")
    stiff = LinearIsotropic(bulk=40000.0, shear=30000.0, name="stiff")
    cell = PeriodicCell(laminate_cell(fractions=(0.5, 0.5), normal=normal, dim=2), {1: soft, 2: stiff})
    tangent = CellSolver(cell).solve(torch.zeros(1, 3, dtype=torch.float64)).tangent
    assert tangent is not None
    expected = _laminate_stiffness(soft, stiff, 0.5, normal)
    torch.testing.assert_close(tangent[0], expected, rtol=1e-10, atol=1e-7)


def test_zero_strain_gives_exactly_zero_stress(fibre: PeriodicCell) -> None:
    solution = CellSolver(fibre).solve(torch.zeros(1, 3, dtype=torch.float64))
    assert solution.stress.tolist() == [[0.0, 0.0, 0.0]]
    assert solution.iterations.tolist() == [0]


def test_small_strains_answer_as_the_linear_matrix_does(fibre: PeriodicCell) -> None:
    linear = {1: LinearIsotropic(bulk=4780.0, shear=50.0 / 0.12), 2: paper_materials()[2]}
    strain = 1e-7 * STRAINS[:1]
    nonlinear = CellSolver(fibre).solve(strain).stress
    reference = CellSolver(PeriodicCell(fibre.mesh, linear)).solve(strain).stress
    torch.testing.assert_close(nonlinear, reference, rtol=1e-5, atol=1e-12)


def test_linear_stiffness_lies_between_reuss_and_voigt(fibre: PeriodicCell) -> None:
    tangent = CellSolver(fibre).solve(torch.zeros(1, 3, dtype=torch.float64)).tangent
    local = fibre.law.tangent(torch.zeros(fibre.n_points, 3, dtype=torch.float64))[None]
    voigt = fibre.average(local)[0]
    reuss = torch.linalg.inv(fibre.average(torch.linalg.inv(local))[0])
    assert tangent is not None
    assert float(torch.linalg.eigvalsh(voigt - tangent[0]).min()) > -1e-8
    assert float(torch.linalg.eigvalsh(tangent[0] - reuss).min()) > -1e-8


def test_swapping_the_axes_of_a_symmetric_cell_swaps_the_answer(fibre: PeriodicCell) -> None:
    solver = CellSolver(fibre)
    swap = torch.tensor([1, 0, 2])
    torch.testing.assert_close(
        solver.solve(STRAINS[:, swap]).stress[:, swap], solver.solve(STRAINS).stress, rtol=1e-8, atol=1e-8
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_batch_answers_as_single_strains_do(fibre: PeriodicCell, backend: str) -> None:
    solver = CellSolver(fibre, linear_solver=backend)
    together = solver.solve(STRAINS)
    for row in range(len(STRAINS)):
        alone = solver.solve(STRAINS[row : row + 1])
        torch.testing.assert_close(together.stress[row], alone.stress[0], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(together.tangent[row], alone.tangent[0], rtol=1e-7, atol=1e-5)


def test_a_warm_start_at_the_solution_needs_no_iteration(fibre: PeriodicCell) -> None:
    solver = CellSolver(fibre)
    first = solver.solve(STRAINS)
    second = solver.solve(STRAINS, start=first.fluctuation)
    assert second.iterations.tolist() == [0, 0, 0]
    torch.testing.assert_close(second.tangent, first.tangent, rtol=1e-7, atol=1e-4)


def test_three_dimensional_cell_has_a_symmetric_tangent_that_matches_differences() -> None:
    cell = PeriodicCell(
        random_sphere_cell(voxels=4, fraction=0.2, n_spheres=1, seed=0, element="hex8"), paper_materials()
    )
    solver = CellSolver(cell, rtol=1e-12)
    strain = torch.tensor([[0.02, -0.01, 0.01, 0.02, -0.02, 0.01]], dtype=torch.float64)
    step = 1e-5 * torch.eye(6, dtype=torch.float64)
    tangent = solver.solve(strain).tangent
    assert tangent is not None
    difference = ((solver.solve(strain + step).stress - solver.solve(strain - step).stress) / 2e-5).T
    assert float((tangent[0] - difference).abs().max() / difference.abs().max()) < 1e-6


def test_published_cells_read_as_csv_have_the_published_fibre_fractions(shared_data: Path) -> None:
    for name, fraction in {"RVE1": 0.5500, "RVE2": 0.1929, "RVE3": 0.1335}.items():
        cell = PeriodicCell(read_mesh(shared_data / "rve" / name), paper_materials())
        assert math.isclose(cell.volume_fractions["fibre"], fraction, abs_tol=5e-5)


def test_expanding_and_restricting_a_periodic_field_are_inverse(fibre: PeriodicCell) -> None:
    values = torch.randn(2, fibre.n_unknowns, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(fibre.restrict(fibre.expand(values) + 3.0), values)


def test_a_tag_without_a_material_is_named() -> None:
    with pytest.raises(MeshError, match="tag 2"):
        PeriodicCell(fibre_cell(n=2), {1: paper_materials()[1]})


@pytest.mark.parametrize(
    ("strain", "message"),
    [([[0.1, 0.2]], r"expected \(n, 3\)"), ([[0.1, math.nan, 0.0]], "finite"), ([], r"expected \(n, 3\)")],
)
def test_bad_strains_are_refused_before_work_starts(fibre: PeriodicCell, strain: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CellSolver(fibre).solve(torch.tensor(strain, dtype=torch.float64))


def test_a_strain_that_cannot_be_solved_is_named_and_the_others_kept(fibre: PeriodicCell) -> None:
    solver = CellSolver(fibre, max_iterations=1)
    with pytest.raises(ConvergenceError, match="unit cell: 1 of 2 samples failed: 1"):
        solver.solve(torch.tensor([[0.0, 0.0, 0.0], [0.04, -0.04, 0.04]], dtype=torch.float64))
    flagged = solver.solve(torch.tensor([[0.0, 0.0, 0.0], [0.04, -0.04, 0.04]], dtype=torch.float64), throw=False)
    assert flagged.converged.tolist() == [True, False]
