"""Deflated MINRES: MINRES where nothing is carried, MINRES on the rest of the spectrum where all is known."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import scipy.sparse.linalg as spla
from linear_families import darcy_matrix, solve_once

from equipoise.solvers.linear import MINRES, DeflatedMINRES, prepare, solve
from equipoise.solvers.linear.deflated_minres import DeflatedMinres
from equipoise.solvers.linear.operators import as_operator
from equipoise.solvers.linear.outcome import Task
from equipoise.solvers.solution import Result


def _indefinite(side: int, shift: float = 0.35, **options: float) -> sp.csr_array:
    """Darcy's matrix moved to the left, with a few negative eigenvalues."""
    return sp.csr_array(darcy_matrix(side, **options) - shift * sp.eye_array(side * side))


def _rhs(size: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=size)


@pytest.mark.parametrize("preconditioner", [None, "jacobi", "ssor"])
def test_without_a_space_every_residual_is_that_of_scipys_minres(preconditioner: str | None) -> None:
    matrix = _indefinite(16)
    assert 3 < (np.linalg.eigvalsh(matrix.toarray()) < 0).sum() < 30
    rhs = _rhs(256)
    ours, theirs = (
        solve(prepare(matrix, preconditioner, method=method), rhs, rtol=1e-10)
        for method in (DeflatedMINRES(recycle=0), MINRES())
    )
    ours_history, theirs_history = (np.array([float(norm[0]) for norm in one.history]) for one in (ours, theirs))
    # Later ones differ by round-off, as Lanczos vectors lose their orthogonality.
    np.testing.assert_allclose(ours_history[:25], theirs_history[:25], rtol=1e-6)
    assert len(ours_history) == pytest.approx(len(theirs_history), rel=0.1)


def test_exact_eigenvectors_leave_minres_on_the_rest_of_the_spectrum() -> None:
    matrix = _indefinite(14, seed=2)
    values, vectors = np.linalg.eigh(matrix.toarray())
    order = np.argsort(np.abs(values))
    known, rest = vectors[:, order[:6]], vectors[:, order[6:]]
    rhs = _rhs(196)
    engine = DeflatedMinres(196, float, recycle=6, stored=10)
    engine.set_vectors(known)
    deflated = solve_once(engine, matrix, rhs)
    norm = float(np.linalg.norm(rhs))
    plain = DeflatedMinres(196, float, recycle=0, stored=0)
    task = Task(rest @ (rest.T @ rhs), np.zeros_like(rhs), 1e-10 * norm, norm, 2000)
    remaining = as_operator(rest * values[order[6:]] @ rest.T)
    assert plain.solve(remaining, None, task).iterations == deflated.iterations
    assert solve_once(plain, matrix, rhs).iterations > deflated.iterations + 5
    engine.set_vectors(known)
    assert solve_once(engine, matrix, known @ np.arange(1.0, 7.0)).iterations == 0


@pytest.mark.parametrize("preconditioner", [None, "jacobi"])
def test_residual_falls_in_the_norm_of_the_preconditioner_at_every_step(preconditioner: str | None) -> None:
    matrix = _indefinite(12, seed=2, contrast=2.0)
    rhs = _rhs(144)
    weight = 1 / matrix.diagonal() if preconditioner else np.ones(144)
    if preconditioner:
        assert (weight > 0).all()
    space = np.random.default_rng(0).normal(size=(144, 5))
    norms = []
    for steps in range(1, 40):
        engine = DeflatedMinres(144, float, recycle=5, stored=10)
        engine.set_vectors(space)
        residual = (
            rhs - matrix @ solve_once(engine, matrix, rhs, rtol=1e-14, maxiter=steps, preconditioner=preconditioner).x
        )
        norms.append(float(residual @ (weight * residual)))
    assert (np.diff(norms) <= 1e-12 * norms[0]).all()
    assert norms[-1] < 0.5 * norms[0]


@pytest.mark.parametrize("preconditioner", [None, "jacobi"])
@pytest.mark.parametrize("kind", [float, complex])
def test_space_keeps_its_images_orthonormal_in_the_preconditioner(preconditioner: str | None, kind: type) -> None:
    matrix = _indefinite(14, seed=1)
    if kind is complex:
        turned = sp.diags_array(np.exp(1j * np.arange(196.0)))
        matrix = sp.csr_array(turned @ matrix @ turned.conj())
    engine = DeflatedMinres(196, kind, recycle=6, stored=40)
    for seed in range(3):
        outcome = solve_once(engine, matrix, _rhs(196, seed).astype(kind), preconditioner=preconditioner, rtol=1e-9)
        assert outcome.result is Result.CONVERGED
        assert outcome.residual <= 1e-9
        np.testing.assert_allclose(engine.images, matrix @ engine.vectors, atol=1e-9)
        weight = 1 / matrix.diagonal().real if preconditioner else np.ones(196)
        gram = engine.images.conj().T @ (weight[:, None] * engine.images)
        np.testing.assert_allclose(gram, np.eye(gram.shape[0]), atol=1e-9)


def test_carried_space_holds_the_eigenvectors_nearest_to_zero() -> None:
    matrix = _indefinite(16, seed=1)
    engine = DeflatedMinres(256, float, recycle=10, stored=60)
    for seed in range(4):
        solve_once(engine, matrix, _rhs(256, seed))
    values, vectors = np.linalg.eigh(matrix.toarray())
    nearest = vectors[:, np.argsort(np.abs(values))[:5]]
    basis = np.linalg.qr(engine.vectors)[0]
    assert np.linalg.norm(basis.T @ nearest, axis=0).min() > 0.99


def _near_singular(step: int) -> sp.csr_array:
    """A saddle: few eigenvalues next to zero, of both signs, whose vectors hardly move from one to the next."""
    generator = np.random.default_rng(0)
    basis = np.linalg.qr(generator.normal(size=(300, 300)))[0]
    values = np.concatenate([np.linspace(1, 3, 190), np.linspace(-2, -1, 100), np.geomspace(1e-4, 1e-2, 10)])
    values[-10::2] *= -1
    turn = np.random.default_rng(step + 1).normal(size=(300, 300))
    basis = np.linalg.qr(basis + 1e-8 * turn)[0]
    matrix = basis * values @ basis.T
    return sp.csr_array((matrix + matrix.T) / 2)


def test_carrying_pays_where_few_eigenvalues_stand_next_to_zero() -> None:
    carried, counts = DeflatedMinres(300, float, recycle=12, stored=60), []
    for step in range(6):
        carried.invalidate()
        counts.append(solve_once(carried, _near_singular(step), _rhs(300, step), rtol=1e-8).iterations)
    alone = solve_once(DeflatedMinres(300, float, recycle=0, stored=0), _near_singular(5), _rhs(300, 5), rtol=1e-8)
    assert counts[0] > 50
    assert counts[-1] < 0.5 * alone.iterations


def test_carrying_rests_where_it_does_not_pay() -> None:
    """A flat spectrum has nothing worth keeping."""
    engine, products = DeflatedMinres(100, float, recycle=10, stored=30), []
    for step in range(5):
        matrix = sp.csr_array(
            sp.diags_array(np.where(np.arange(100) % 2, 1.0, -1.0) * (2 + 0.5 * np.sin(step + np.arange(100))))
        )
        operator = as_operator(matrix)
        rhs = _rhs(100, step)
        engine.invalidate()
        outcome = engine.solve(operator, None, Task(rhs, np.zeros(100), 1e-8, float(np.linalg.norm(rhs)), 500))
        products.append(operator.products - outcome.iterations)
        assert outcome.result is Result.CONVERGED
    # The second and third system took over ten vectors; the later ones only check their residual.
    assert products == [1, 11, 11, 1, 1]
    assert engine.vectors.shape[1] == 0


@pytest.mark.parametrize("is_same", [False, True])
def test_a_space_is_tried_again_after_a_rest(is_same: bool) -> None:
    matrix = _indefinite(12)
    engine, sizes = DeflatedMinres(144, float, recycle=4, stored=20), []
    engine._alone = 1.0  # as if nothing could be better than no space
    solve_once(engine, matrix, _rhs(144))
    engine._alone = 1.0
    for seed in range(14):
        if not is_same:
            engine.invalidate()
        solve_once(engine, matrix, _rhs(144, seed))
        sizes.append(engine.vectors.shape[1])
    # Two losses, nine systems without, then a space again.
    assert sizes == [4, *[0] * 10, 4, 4, *sizes[13:]]


def test_an_indefinite_preconditioner_and_values_that_are_not_finite_are_named() -> None:
    matrix = _indefinite(10)
    sign = np.where(np.arange(100) % 3 == 0, -1.0, 1.0)
    engine = DeflatedMinres(100, float, recycle=4, stored=8)
    outcome = solve_once(engine, matrix, np.where(sign < 0, 1.0, 0.0), preconditioner=lambda v: sign * v)
    assert outcome.result is Result.BREAKDOWN
    assert "preconditioner is not positive definite" in outcome.note
    engine.set_vectors(np.eye(100)[:, :4])
    outcome = solve_once(engine, matrix, np.where(sign < 0, 1.0, 0.0), preconditioner=lambda v: -np.abs(sign) * v)
    assert outcome.result is Result.BREAKDOWN
    outcome = solve_once(engine, matrix, _rhs(100), preconditioner=lambda v: np.nan * v)
    assert outcome.result is Result.NON_FINITE_OUTPUT
    assert solve_once(engine, matrix, _rhs(100)).result is Result.CONVERGED


def test_dependent_and_vanished_vectors_of_a_space_are_dropped() -> None:
    matrix = _indefinite(10)
    engine = DeflatedMinres(100, float, recycle=4, stored=8)
    engine.set_vectors(np.zeros((100, 4)))
    assert solve_once(engine, matrix, _rhs(100)).result is Result.CONVERGED
    engine.set_vectors(np.ones((100, 4)))
    assert solve_once(engine, matrix, _rhs(100)).result is Result.CONVERGED


def test_solutions_agree_with_a_factorisation() -> None:
    matrix = _indefinite(20, seed=1)
    state = prepare(matrix, "jacobi", method="deflated_minres")
    for seed in range(3):
        rhs = _rhs(400, seed)
        exact = spla.spsolve(sp.csc_array(matrix), rhs)
        np.testing.assert_allclose(solve(state, rhs, rtol=1e-12).value.numpy(), exact, rtol=1e-7, atol=1e-8)
    space = state.recycle_space
    assert space is not None
    assert space.vectors.shape[0] == 400
