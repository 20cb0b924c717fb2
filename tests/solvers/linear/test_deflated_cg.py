"""Deflated conjugate gradients: CG where nothing is carried, CG on the rest of the spectrum where all is known."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import scipy.sparse.linalg as spla
from linear_families import darcy_matrix, solve_once

from equipoise.solvers.linear.deflated_cg import DeflatedCg, natural_stored
from equipoise.solvers.linear.operators import as_operator
from equipoise.solvers.linear.outcome import Task
from equipoise.solvers.linear.preconditioners import build
from equipoise.solvers.solution import Result


def _rhs(size: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=size)


@pytest.mark.parametrize("preconditioner", [None, "ssor"])
def test_without_a_space_the_iterates_are_those_of_scipys_cg(preconditioner: str | None) -> None:
    matrix = darcy_matrix(18)
    rhs = _rhs(324)
    operator = as_operator(matrix)
    applied = None
    if preconditioner is not None:
        built = build(preconditioner, operator)

        def product(vector: np.ndarray) -> np.ndarray:
            out = np.empty(324)
            built.apply(np.ascontiguousarray(vector), out)
            return out

        applied = spla.LinearOperator((324, 324), matvec=product, dtype=float)
    iterates: list[np.ndarray] = []
    spla.cg(matrix, rhs, rtol=1e-10, M=applied, callback=lambda x: iterates.append(x.copy()))
    for steps in (1, 7, len(iterates) - 1):
        ours = solve_once(
            DeflatedCg(324, float, recycle=0, stored=0),
            matrix,
            rhs,
            rtol=1e-14,
            maxiter=steps,
            preconditioner=preconditioner,
        )
        np.testing.assert_allclose(ours.x, iterates[steps - 1], rtol=1e-7, atol=1e-9)


def test_exact_eigenvectors_leave_cg_on_the_rest_of_the_spectrum() -> None:
    matrix = darcy_matrix(14, seed=2)
    values, vectors = np.linalg.eigh(matrix.toarray())
    rhs = _rhs(196)
    engine = DeflatedCg(196, float, recycle=6, stored=10)
    engine.set_vectors(vectors[:, :6])
    deflated = solve_once(engine, matrix, rhs)
    rest = vectors[:, 6:] * values[6:] @ vectors[:, 6:].T
    projected = vectors[:, 6:] @ (vectors[:, 6:].T @ rhs)
    norm = float(np.linalg.norm(rhs))
    plain = DeflatedCg(196, float, recycle=0, stored=0)
    task = Task(projected, np.zeros_like(rhs), 1e-10 * norm, norm, 2000)
    assert plain.solve(as_operator(rest), None, task).iterations == deflated.iterations
    assert solve_once(plain, matrix, rhs).iterations > deflated.iterations + 5


def test_error_falls_in_the_energy_norm_at_every_step() -> None:
    matrix = darcy_matrix(14, seed=2, contrast=2.0)
    rhs = _rhs(196)
    exact = spla.spsolve(sp.csc_array(matrix), rhs)
    space = np.random.default_rng(0).normal(size=(196, 5))
    errors = []
    for steps in range(1, 40):
        engine = DeflatedCg(196, float, recycle=5, stored=10)
        engine.set_vectors(space)
        error = solve_once(engine, matrix, rhs, rtol=1e-14, maxiter=steps).x - exact
        errors.append(float(error @ (matrix @ error)))
    assert (np.diff(errors) < 0).all()


def test_the_carried_space_holds_the_slowest_eigenvectors_of_the_preconditioned_matrix() -> None:
    matrix = darcy_matrix(16, seed=1)
    engine = DeflatedCg(256, float, recycle=10, stored=30)
    for seed in range(4):
        solve_once(engine, matrix, _rhs(256, seed), preconditioner="jacobi")
    root = np.sqrt(matrix.diagonal())
    vectors = np.linalg.eigh(matrix.toarray() / np.outer(root, root))[1][:, :6] / root[:, None]
    vectors /= np.linalg.norm(vectors, axis=0)
    basis = np.linalg.qr(engine.vectors)[0]
    assert np.linalg.norm(basis.T @ vectors, axis=0).min() > 0.999


def test_a_chain_of_near_matrices_ends_below_half_of_the_iterations_of_cg() -> None:
    carried, counts = DeflatedCg(40 * 40, float, recycle=20, stored=40), []
    rhs = np.ones(1600)
    for step in range(8):
        matrix = darcy_matrix(40, seed=4, step=0.02 * step)
        carried.invalidate()
        counts.append(solve_once(carried, matrix, rhs, preconditioner="ssor", rtol=1e-7).iterations)
    alone = solve_once(DeflatedCg(1600, float, recycle=0, stored=0), matrix, rhs, preconditioner="ssor", rtol=1e-7)
    assert counts[0] == pytest.approx(alone.iterations, abs=3)
    assert counts[-1] < 0.5 * alone.iterations


def test_hermitian_complex_matrices_are_solved() -> None:
    generator = np.random.default_rng(0)
    factor = generator.normal(size=(60, 60)) + 1j * generator.normal(size=(60, 60))
    matrix = sp.csr_array(factor @ factor.conj().T / 60 + np.eye(60))
    engine = DeflatedCg(60, complex, recycle=5, stored=10)
    for seed in range(3):
        rhs = _rhs(60, seed) + 1j * _rhs(60, seed + 10)
        outcome = solve_once(engine, matrix, rhs)
        assert outcome.result is Result.CONVERGED
        np.testing.assert_allclose(matrix @ outcome.x, rhs, atol=1e-8)


def test_a_direction_of_negative_energy_is_named() -> None:
    matrix = sp.csr_array(darcy_matrix(10) - 0.5 * sp.eye_array(100))
    outcome = solve_once(DeflatedCg(100, float, recycle=4, stored=8), matrix, _rhs(100))
    assert outcome.result is Result.BREAKDOWN
    assert outcome.note.startswith("p.A p = -")
    assert "matrix is not positive definite" in outcome.note


def test_an_indefinite_preconditioner_is_named() -> None:
    operator = as_operator(darcy_matrix(10))
    sign = np.where(np.arange(100) % 3 == 0, -1.0, 1.0)
    rhs = np.where(sign < 0, 1.0, 0.0)
    task = Task(rhs, np.zeros(100), 1e-8, 1.0, 100)
    engine = DeflatedCg(100, float, recycle=0, stored=0)
    outcome = engine.solve(operator, build(lambda v: sign * v, operator), task)
    assert outcome.result is Result.BREAKDOWN
    assert "preconditioner is not positive definite" in outcome.note


def test_a_space_that_is_useless_for_the_next_matrix_is_dropped() -> None:
    matrix = darcy_matrix(10)
    engine = DeflatedCg(100, float, recycle=4, stored=8)
    engine.set_vectors(np.zeros((100, 4)))
    outcome = solve_once(engine, matrix, _rhs(100))
    assert outcome.result is Result.CONVERGED


def test_the_same_matrix_needs_no_products_to_carry_its_space() -> None:
    matrix = darcy_matrix(24, seed=1)
    engine = DeflatedCg(576, float, recycle=10, stored=30)
    for seed in range(3):
        operator = as_operator(matrix)
        rhs = _rhs(576, seed)
        outcome = engine.solve(operator, None, Task(rhs, np.zeros(576), 1e-9, float(np.linalg.norm(rhs)), 2000))
        # One product an iteration, and one for the true residual.
        assert operator.products == outcome.iterations + 1
    engine._refresh(operator)
    np.testing.assert_allclose(engine._images[:, :10], matrix @ engine.vectors, atol=1e-9)


def test_the_small_matrices_from_scalars_are_those_of_the_long_vectors() -> None:
    matrix = darcy_matrix(20, seed=3)
    engine = DeflatedCg(400, float, recycle=6, stored=12)
    solve_once(engine, matrix, _rhs(400, 0), preconditioner="jacobi")
    engine.invalidate()
    kept = engine.vectors
    seen = {}

    def keep(preconditioner, steps) -> None:
        seen["curvature"] = steps.curvature(np.zeros((6, 6)))

    engine._renew = keep
    solve_once(engine, matrix, _rhs(400, 1), preconditioner="jacobi")
    images = engine._images[:, : 6 + 12]
    exact = images.T @ (images / matrix.diagonal()[:, None])
    exact[:6, :6] = 0
    np.testing.assert_allclose(seen["curvature"], exact, atol=1e-9 * np.abs(exact).max())
    directions = np.column_stack([kept, engine._space[:, 6:18]])
    energy = directions.T @ (matrix @ directions)
    np.testing.assert_allclose(energy[6:, 6:], np.eye(12), atol=1e-9)
    np.testing.assert_allclose(energy[:6, 6:], 0, atol=1e-9)


def test_a_space_that_no_longer_gets_better_is_kept_until_the_matrices_drift() -> None:
    engine = DeflatedCg(900, float, recycle=8, stored=30)

    def step(contrast: float) -> int:
        engine.invalidate()
        matrix = darcy_matrix(30, seed=4, contrast=contrast)
        return solve_once(engine, matrix, np.ones(900), preconditioner="ssor", rtol=1e-8).iterations

    counts = [step(1.0) for _ in range(8)]
    settled = engine.vectors
    assert step(1.0) == counts[-1]
    np.testing.assert_array_equal(engine.vectors, settled)
    # Another medium: dearer at once, learnt again thereafter.
    drifted = [step(-4.0) for _ in range(6)]
    assert drifted[0] > 1.1 * min(counts)
    assert drifted[-1] < 0.9 * drifted[0]
    assert not np.array_equal(engine.vectors, settled)


@pytest.mark.parametrize(("size", "stored"), [(100, 200), (41_000, 200), (42_000, 199), (100_000, 83), (10**7, 40)])
def test_as_many_directions_are_stored_as_128_mib_hold(size: int, stored: int) -> None:
    assert natural_stored(size, float) == stored
    assert natural_stored(size, complex) == max(40, min(200, 2**27 // (32 * size)))
