"""Reduced bases: equilibrium, periodicity, orthogonality, exact reproduction and refusals."""

from __future__ import annotations

import pytest
import torch

from equipoise.errors import FormatError, MeshError
from equipoise.problems.mechanics.bases import ReducedBases, equilibrium_residual
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.materials import LinearIsotropic, paper_fibre, paper_materials
from equipoise.problems.mechanics.reduced import ReducedProblem
from equipoise.spaces.cells import homogeneous_cell
from reduced_samples import complete_bases, sample, strains


@pytest.mark.parametrize("kind", ["plane", "space"])
def test_each_stress_mode_is_in_equilibrium(kind: str) -> None:
    held = sample(kind)
    assert float(complete_bases(kind).equilibrium_residual(held.cell).max()) < 1e-9


def test_random_stress_is_not_in_equilibrium() -> None:
    cell = sample().cell
    stress = torch.randn(2, cell.n_points, cell.n_strain, dtype=torch.float64)
    assert float(equilibrium_residual(cell, stress).min()) > 1e-2


def test_loosely_converged_snapshots_still_give_modes_in_equilibrium() -> None:
    held = sample()
    generator = torch.Generator().manual_seed(0)
    disturbance = torch.randn(held.solution.fluctuation.shape, dtype=torch.float64, generator=generator)
    noise = held.solution.fluctuation * (1 + 1e-7 * disturbance)
    stress = held.cell.law.stress(held.cell.strain(held.solution.strain, noise))
    assert float(equilibrium_residual(held.cell, stress).max()) > 1e-9
    bases = ReducedBases.from_snapshots(held.cell, noise, stress, n_modes=12)
    assert float(bases.equilibrium_residual(held.cell).max()) < 1e-9


@pytest.mark.parametrize("kind", ["plane", "space"])
def test_as_many_modes_as_snapshots_reproduce_them(kind: str) -> None:
    held, bases = sample(kind), complete_bases(kind)
    fluctuation = bases.fluctuation(bases.displacement_coefficients)
    stress = bases.stress(bases.stress_coefficients)
    assert float((fluctuation - held.solution.fluctuation).abs().max()) < 1e-11 * float(
        held.solution.fluctuation.abs().max()
    )
    assert float((stress - held.stress).abs().max()) < 1e-9 * float(held.stress.abs().max())


def test_scaled_modes_are_orthogonal_in_the_volume_average() -> None:
    cell, bases = sample().cell, sample().bases
    gramian = torch.einsum("qvr,qvs,q->rs", bases.stress_modes, bases.stress_modes, cell.weights) / cell.volume
    expected = (bases.stress_singular_values[: bases.n_stress_modes].square() / len(bases.strain)).diag()
    scale = gramian.diagonal().sqrt()
    assert float(((gramian - expected) / scale / scale[:, None]).abs().max()) < 1e-6
    tangent = cell.law.tangent(cell.weights.new_zeros(cell.n_points, cell.n_strain))
    energy = torch.einsum("qvr,qvw,qws,q->rs", bases.strain_modes, tangent, bases.strain_modes, cell.weights)
    scale = energy.diagonal().sqrt()
    off = energy / scale / scale[:, None] - torch.eye(bases.n_displacement_modes, dtype=torch.float64)
    assert float(off.abs().max()) < 1e-6


def test_coefficients_of_scaled_modes_have_unit_mean_square() -> None:
    bases = sample().bases
    for coefficients in (bases.displacement_coefficients, bases.stress_coefficients):
        assert torch.allclose(coefficients.square().mean(0), torch.ones(6, dtype=torch.float64), atol=1e-10)


def test_paper_modes_are_orthonormal_without_weights() -> None:
    held = sample()
    bases = ReducedBases.from_snapshots(held.cell, held.solution.fluctuation, held.stress, n_modes=4, variant="paper")
    flat = bases.stress_modes.flatten(0, 1)
    assert torch.allclose(flat.T @ flat, torch.eye(4, dtype=torch.float64), atol=1e-8)
    nodal = held.cell.expand(bases.displacement_modes).flatten(1)
    assert torch.allclose(nodal @ nodal.T, torch.eye(4, dtype=torch.float64), atol=1e-8)


def test_homogenised_modes_are_volume_averages() -> None:
    cell, bases = sample().cell, sample().bases
    average = cell.average(bases.stress_modes.permute(2, 0, 1))
    assert torch.equal(average.T, bases.homogenised_modes)


def test_strain_modes_average_to_zero_because_modes_are_periodic() -> None:
    cell, bases = sample().cell, sample().bases
    mean = cell.average(bases.strain_modes.permute(2, 0, 1)).abs().max()
    assert float(mean) < 1e-12 * float(bases.strain_modes.abs().max())


def test_energy_chooses_the_fewest_modes_that_hold_it() -> None:
    held = sample()
    chosen = ReducedBases.from_snapshots(held.cell, held.solution.fluctuation, held.stress, energy=0.999)
    assert chosen.stress_energy >= 0.999
    assert chosen.displacement_energy >= 0.999
    fewer = chosen.truncated((chosen.n_displacement_modes, max(1, chosen.n_stress_modes - 1)))
    assert chosen.n_stress_modes == 1 or fewer.stress_energy < 0.999


def test_truncated_bases_are_those_of_fewer_modes() -> None:
    held, few = sample(), complete_bases().truncated(4)
    again = ReducedBases.from_snapshots(
        held.cell, held.solution.fluctuation, held.stress, strain=held.solution.strain, n_modes=4
    )
    assert torch.allclose(few.stress_modes, again.stress_modes, atol=1e-10 * float(again.stress_modes.abs().max()))
    assert few.stress_energy == pytest.approx(again.stress_energy, abs=1e-14)


def test_tensors_rebuild_the_bases() -> None:
    bases = sample().bases
    again = ReducedBases.from_tensors(bases.tensors())
    assert again.cell_fingerprint == bases.cell_fingerprint
    assert again.variant == bases.variant
    assert all(torch.equal(a, again.tensors()[name]) for name, a in bases.tensors().items())
    incomplete = bases.tensors()
    del incomplete["stress_modes"]
    with pytest.raises(FormatError, match="stress_modes"):
        ReducedBases.from_tensors(incomplete)


def test_cell_without_fluctuation_has_no_displacement_modes() -> None:
    cell = PeriodicCell(homogeneous_cell(n=2), paper_materials())
    strain = strains(cell, 4, seed=0)
    fluctuation = cell.weights.new_zeros(4, cell.n_unknowns)
    stress = cell.law.stress(cell.strain(strain, fluctuation))
    bases = ReducedBases.from_snapshots(cell, fluctuation, stress, strain=strain, n_modes=4)
    assert (bases.n_displacement_modes, bases.n_stress_modes) == (0, 3)
    reduced = ReducedProblem.on_all_points(cell, bases)
    displacement, coefficients = reduced.solve(strain)
    assert torch.allclose(reduced.kinematic_response(strain, displacement)[0], stress[:, 0], rtol=1e-12)
    assert torch.allclose(reduced.modal_response(strain, coefficients)[0], stress[:, 0], rtol=1e-8)


def test_bases_of_another_cell_are_refused() -> None:
    held = sample()
    other = PeriodicCell(held.cell.mesh, {1: LinearIsotropic(bulk=1.0, shear=1.0), 2: paper_fibre()})
    with pytest.raises(MeshError, match="mesh or materials differ"):
        held.bases.check_cell(other)


def test_bad_snapshots_are_refused() -> None:
    held = sample()
    good = {"fluctuation": held.solution.fluctuation, "stress": held.stress}
    with pytest.raises(ValueError, match="fluctuation snapshots have shape"):
        ReducedBases.from_snapshots(held.cell, good["fluctuation"][:, :-1], good["stress"])
    with pytest.raises(ValueError, match="not finite"):
        ReducedBases.from_snapshots(held.cell, good["fluctuation"] * torch.nan, good["stress"])
    with pytest.raises(ValueError, match=r"snapshot \d+ is not in equilibrium"):
        ReducedBases.from_snapshots(held.cell, good["fluctuation"], good["stress"].flip(1), n_modes=2)
    with pytest.raises(ValueError, match="n_modes=40"):
        ReducedBases.from_snapshots(held.cell, good["fluctuation"], good["stress"], n_modes=40)
    with pytest.raises(ValueError, match="not both"):
        ReducedBases.from_snapshots(held.cell, good["fluctuation"], good["stress"], n_modes=2, energy=0.9)
    with pytest.raises(ValueError, match="energy=2"):
        ReducedBases.from_snapshots(held.cell, good["fluctuation"], good["stress"], energy=2.0)
    with pytest.raises(ValueError, match="strain snapshots"):
        ReducedBases.from_snapshots(
            held.cell, good["fluctuation"], good["stress"], strain=strains(held.cell, 3, 0), n_modes=2
        )
