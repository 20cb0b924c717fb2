"""Networks over space: energies stay above the exact one and fall below that of the affine field."""

from __future__ import annotations

import pytest
import torch

from equipoise.data.sampling import latin_hypercube, symmetric_box
from equipoise.multiscale.baselines import DisplacementNetworkModel
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.cell_solver import CellSolver
from equipoise.problems.mechanics.materials import paper_materials
from equipoise.spaces.cells import builtin_cell
from equipoise.training.field_networks import node_marks, train_pinn, train_stress_deeponet, train_vpionet

BOX = symmetric_box(0.04, 3)


@pytest.fixture(scope="module")
def cell() -> PeriodicCell:
    return PeriodicCell(builtin_cell("fibre:n=2,fraction=0.4"), paper_materials())


def test_pinn_lowers_the_energy_towards_the_exact_one_from_above(cell: PeriodicCell) -> None:
    strain = torch.tensor([0.02, -0.01, 0.03], dtype=torch.float64)
    fitted = train_pinn(cell, strain, steps=60)
    exact = CellSolver(cell).solve(strain[None]).energy
    model = DisplacementNetworkModel(cell, lambda strain: fitted.network(strain, fitted.points))
    fields = model.localize(strain[None])
    energy = cell.average(cell.law.energy(fields.strain)[..., None])[:, 0]
    affine = cell.average(cell.law.energy(strain.expand(1, cell.n_points, 3))[..., None])[:, 0]
    assert exact < energy < exact + 0.5 * (affine - exact)


def test_vpionet_answers_unseen_strains_better_than_the_affine_field(cell: PeriodicCell) -> None:
    fitted = train_vpionet(cell, box=BOX, n_collocation=8, steps=60)
    strain = latin_hypercube(4, BOX / 2, seed=1)
    exact = CellSolver(cell).solve(strain).energy
    model = DisplacementNetworkModel(cell, lambda strain: fitted.network(strain, fitted.points))
    with torch.no_grad():
        energy = cell.average(cell.law.energy(model.localize(strain).strain)[..., None])[:, 0]
    affine = cell.average(cell.law.energy(strain[:, None].expand(-1, cell.n_points, -1))[..., None])[:, 0]
    assert (energy > exact * (1 - 1e-12)).all()
    assert (energy < affine).all()


def test_deeponet_learns_the_stress_of_the_snapshots(cell: PeriodicCell) -> None:
    strain = latin_hypercube(12, BOX, seed=0)
    stress = cell.law.stress(cell.strain(strain, CellSolver(cell).solve(strain).fluctuation))
    fitted = train_stress_deeponet(cell, strain, stress, box=BOX, steps=80)
    with torch.no_grad():
        error = fitted.network(strain, fitted.points) - stress
    assert float(error.norm() / stress.norm()) < 0.1


def test_marks_tell_matrix_fibre_and_interface(cell: PeriodicCell) -> None:
    marks = node_marks(cell)
    assert sorted(set(marks.tolist())) == [-1.0, 0.0, 1.0]
    radius = (0.4 / torch.pi) ** 0.5
    distance = torch.linalg.vector_norm(cell.points - cell.points.mean(0), dim=-1)
    assert (marks[distance < 0.9 * radius] == 1).all()
    assert (marks[distance > 1.1 * radius] == -1).all()


def test_cells_that_are_not_unit_squares_are_refused() -> None:
    solid = PeriodicCell(builtin_cell("laminate:dim=3"), paper_materials())
    with pytest.raises(ValueError, match="unit square"):
        train_pinn(solid, torch.zeros(6, dtype=torch.float64))
    with pytest.raises(ValueError, match="a PINN answers one"):
        train_pinn(solid, torch.zeros(2, 6, dtype=torch.float64))
