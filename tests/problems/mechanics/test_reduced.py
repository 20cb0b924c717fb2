"""Reduced problems: derivatives, optima, tangents and energies against exact facts and finite differences."""

from __future__ import annotations

import pytest
import torch

from equipoise.errors import ConvergenceError
from equipoise.problems.mechanics.lockstep_newton import EnergyForms, lockstep_newton
from equipoise.problems.mechanics.reduced import ReducedProblem
from equipoise.problems.mechanics.symmetric_forms import SymmetricForms, inverse_symmetric
from equipoise.solvers.solution import Result
from reduced_samples import complete_bases, sample, strains

KINDS = ["plane", "space"]


def problem(kind: str = "plane") -> ReducedProblem:
    return ReducedProblem.on_all_points(sample(kind).cell, sample(kind).bases)


def random_coefficients(kind: str, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    bases = sample(kind).bases
    generator = torch.Generator().manual_seed(seed)
    shapes = ((count, bases.n_displacement_modes), (count, bases.n_stress_modes))
    a, b = (torch.randn(shape, dtype=torch.float64, generator=generator) for shape in shapes)
    return 0.5 * a, 0.3 * b


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", ["primal", "dual"])
def test_gradient_and_hessian_are_derivatives_of_the_energy(kind: str, side: str) -> None:
    reduced, strain = problem(kind), strains(sample(kind).cell, 2, seed=3)
    start = random_coefficients(kind, 2, seed=4)[0 if side == "primal" else 1]
    forms, step = getattr(reduced, side)(strain, start), 1e-5
    assert bool(torch.isfinite(forms.energy).all())
    for mode in range(start.shape[1]):
        shift = torch.zeros_like(start)
        shift[:, mode] = step
        ahead, behind = getattr(reduced, side)(strain, start + shift), getattr(reduced, side)(strain, start - shift)
        slope = (ahead.energy - behind.energy) / (2 * step)
        curvature = (ahead.gradient - behind.gradient) / (2 * step)
        assert torch.allclose(forms.gradient[:, mode], slope, atol=1e-7 * float(forms.gradient.abs().max()))
        assert torch.allclose(forms.hessian[:, mode], curvature, atol=1e-7 * float(forms.hessian.abs().max()))


@pytest.mark.parametrize("kind", KINDS)
def test_newton_at_a_snapshot_strain_returns_the_snapshot(kind: str) -> None:
    held, bases = sample(kind), complete_bases(kind)
    reduced = ReducedProblem.on_all_points(held.cell, bases)
    displacement, stress = reduced.solve(held.solution.strain)
    fluctuation = bases.fluctuation(displacement)
    assert torch.allclose(
        fluctuation, held.solution.fluctuation, atol=1e-9 * float(held.solution.fluctuation.abs().max())
    )
    assert torch.allclose(bases.stress(stress), held.stress, atol=1e-7 * float(held.stress.abs().max()))


@pytest.mark.parametrize("kind", KINDS)
def test_both_gradients_vanish_at_the_optima(kind: str) -> None:
    reduced, strain = problem(kind), strains(sample(kind).cell, 5, seed=5)
    displacement, stress = reduced.solve(strain)
    for forms in (reduced.primal(strain, displacement), reduced.dual(strain, stress)):
        assert float(forms.gradient.abs().max()) < 1e-9 * float(forms.energy.abs().max())


def test_zero_strain_gives_exact_zeros_from_any_start() -> None:
    reduced, zero = problem(), torch.zeros(1, 3, dtype=torch.float64)
    a, b = random_coefficients("plane", 1, seed=0)
    for displacement in (reduced.solve_primal(zero), reduced.solve_primal(zero, a)):
        assert torch.equal(displacement, torch.zeros_like(displacement))
    for stress in (reduced.solve_dual(zero), reduced.solve_dual(zero, b)):
        assert torch.equal(stress, torch.zeros_like(stress))
    gap, energy = reduced.gap_and_energy(zero, torch.zeros_like(a), torch.zeros_like(b))
    assert gap.tolist() == energy.tolist() == [0.0]


def test_batch_equals_loop() -> None:
    reduced, strain = problem(), strains(sample().cell, 7, seed=6)
    displacement, stress = reduced.solve(strain)
    for row in range(7):
        single = strain[row : row + 1]
        assert torch.allclose(reduced.solve_primal(single)[0], displacement[row], atol=1e-9)
        assert torch.allclose(reduced.solve_dual(single)[0], stress[row], atol=1e-9)


def test_chunks_of_strains_equal_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    reduced, strain = problem(), strains(sample().cell, 7, seed=6)
    whole = (*reduced.solve(strain), *reduced.kinematic_response(strain, reduced.solve_primal(strain)))
    monkeypatch.setattr("equipoise.problems.mechanics.reduced._CHUNK_BYTES", 1)
    cut = (*reduced.solve(strain), *reduced.kinematic_response(strain, reduced.solve_primal(strain)))
    assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-9) for a, b in zip(whole, cut, strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stress_kind", ["kinematic", "modal"])
def test_tangent_equals_central_differences_of_the_stress(kind: str, stress_kind: str) -> None:
    reduced, strain = problem(kind), strains(sample(kind).cell, 2, seed=7)

    def respond(strain: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        displacement, stress = reduced.solve(strain)
        if stress_kind == "kinematic":
            return reduced.kinematic_response(strain, displacement)
        return reduced.modal_response(strain, stress)

    _, tangent = respond(strain)
    step = 1e-6
    for component in range(strain.shape[1]):
        shift = torch.zeros_like(strain)
        shift[:, component] = step
        slope = (respond(strain + shift)[0] - respond(strain - shift)[0]) / (2 * step)
        assert torch.allclose(tangent[:, :, component], slope, atol=1e-6 * float(tangent.abs().max()))
    assert torch.allclose(tangent, tangent.mT, atol=1e-9 * float(tangent.abs().max()))


def test_kinematic_stress_is_the_slope_of_the_least_energy() -> None:
    reduced, strain = problem(), strains(sample().cell, 1, seed=8)
    stress, _ = reduced.kinematic_response(strain, reduced.solve_primal(strain))
    step = 1e-5
    for component in range(3):
        shift = torch.zeros_like(strain)
        shift[:, component] = step
        energies = [reduced.primal(s, reduced.solve_primal(s)).energy for s in (strain + shift, strain - shift)]
        assert float((energies[0] - energies[1]) / (2 * step)) == pytest.approx(float(stress[0, component]), rel=1e-6)


def test_linear_phases_as_forms_equal_all_points_visited() -> None:
    held = sample()
    reduced, (a, b) = problem(), random_coefficients("plane", 3, seed=9)
    strain = strains(held.cell, 3, seed=9)
    point_strain = strain[:, None] + torch.einsum("qvr,nr->nqv", held.bases.strain_modes, a)
    conjugate = held.cell.law.conjugate(held.bases.stress(b))
    upper = held.cell.average(held.cell.law.energy(point_strain))
    lower = (strain * (b @ held.bases.homogenised_modes.T)).sum(-1) - held.cell.average(conjugate.energy)
    sides = reduced.energies(strain, a, b)
    assert reduced.n_nonlinear < held.cell.n_points
    assert torch.allclose(sides.upper, upper, rtol=1e-12)
    assert torch.allclose(sides.lower, lower, rtol=1e-12)


def test_stress_outside_the_range_of_the_law_has_no_finite_energy() -> None:
    reduced, strain = problem(), strains(sample().cell, 2, seed=1)
    a, b = random_coefficients("plane", 2, seed=2)
    b[1] *= 1e4
    sides = reduced.energies(strain, a, b)
    assert sides.is_finite.tolist() == [True, False]
    assert sides.lower[1] == -torch.inf
    assert reduced.gap_and_energy(strain, a, b)[0][1] == torch.inf
    assert reduced.dual(strain, b).energy[1] == torch.inf


def test_dual_recovers_from_a_start_outside_the_range_of_the_law() -> None:
    reduced, strain = problem(), strains(sample().cell, 2, seed=1)
    far = 1e4 * random_coefficients("plane", 2, seed=2)[1]
    assert torch.allclose(reduced.solve_dual(strain, far), reduced.solve_dual(strain), atol=1e-8)


def test_unconverged_samples_are_named() -> None:
    reduced, strain = problem(), strains(sample().cell, 3, seed=1)
    far = torch.full((3, 6), 5.0, dtype=torch.float64)
    with pytest.raises(ConvergenceError, match=r"reduced displacement: \d of 3 samples failed"):
        reduced.solve_primal(strain, far, max_iterations=1)
    assert reduced.solve_primal(strain, far, max_iterations=1, throw=False).shape == (3, 6)


def test_linear_cell_is_answered_exactly() -> None:
    held = sample("linear")
    reduced, strain = problem("linear"), strains(held.cell, 3, seed=2)
    displacement, stress = reduced.solve(strain)
    exact = held.solver.solve(strain)
    assert reduced.n_nonlinear == 0
    assert torch.allclose(reduced.kinematic_response(strain, displacement)[0], exact.stress, rtol=1e-8)
    assert torch.allclose(reduced.modal_response(strain, stress)[0], exact.stress, rtol=1e-8)


def test_shapes_that_disagree_are_refused() -> None:
    held = sample()
    with pytest.raises(ValueError, match="do not belong together"):
        ReducedProblem(held.cell.law, held.cell.weights[:-1], 1.0, held.bases.strain_modes, held.bases.stress_modes)


@pytest.mark.parametrize("size", [3, 6])
def test_written_out_inverse_is_the_inverse(size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    factor = torch.randn(5, 4, size, size, dtype=torch.float64, generator=generator)
    matrices = factor @ factor.mT + torch.eye(size, dtype=torch.float64)
    assert torch.allclose(inverse_symmetric(matrices), torch.linalg.inv(matrices), atol=1e-10)
    with pytest.raises(ValueError, match="4 wide"):
        inverse_symmetric(torch.eye(4, dtype=torch.float64))


def test_packed_and_plain_forms_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(1)
    operator = torch.randn(9, 3, 5, dtype=torch.float64, generator=generator)
    weights = torch.rand(9, dtype=torch.float64, generator=generator)
    matrices = torch.randn(2, 9, 3, 3, dtype=torch.float64, generator=generator)
    matrices = matrices + matrices.mT
    expected = torch.einsum("p,pik,npij,pjl->nkl", weights, operator, matrices, operator)
    assert torch.allclose(SymmetricForms(operator, weights).sum(matrices), expected)
    monkeypatch.setattr("equipoise.problems.mechanics.symmetric_forms._PACKED_BYTES", 0)
    assert torch.allclose(SymmetricForms(operator, weights).sum(matrices), expected)


def test_line_search_saves_newton_where_full_steps_diverge() -> None:
    def evaluate(rows: torch.Tensor, x: torch.Tensor) -> EnergyForms:
        energy = torch.where(x.abs() < 1e3, torch.log(torch.cosh(x)), torch.inf)[:, 0]
        return EnergyForms(energy, torch.tanh(x), (1 - torch.tanh(x).square())[..., None])

    start = torch.tensor([[0.5], [1.5], [3.0]], dtype=torch.float64)
    found = lockstep_newton(evaluate, start, rtol=1e-7, max_iterations=50)
    assert bool(found.converged.all())
    assert float(found.value.abs().max()) < 1e-6


def test_start_outside_the_domain_is_flagged() -> None:
    def evaluate(rows: torch.Tensor, x: torch.Tensor) -> EnergyForms:
        return EnergyForms(torch.full((len(x),), torch.inf, dtype=torch.float64), x, x[..., None])

    found = lockstep_newton(evaluate, torch.ones(2, 1, dtype=torch.float64), rtol=1e-7, max_iterations=5)
    assert found.result.tolist() == [Result.NON_FINITE_INPUT] * 2
