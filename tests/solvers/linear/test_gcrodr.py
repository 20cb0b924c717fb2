"""GCRO-DR is GMRES(m) where it carries nothing, keeps its invariants, and carries what theory says it should."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg as sl
import scipy.sparse as sp
import scipy.sparse.linalg as spla
from linear_families import convection_matrix, darcy_matrix

from equipoise.solvers.linear.gcrodr import GcroDr
from equipoise.solvers.linear.operators import Operator, as_operator
from equipoise.solvers.linear.outcome import Outcome, Task
from equipoise.solvers.linear.preconditioners import build
from equipoise.solvers.solution import Result


def _solve(engine: GcroDr, operator: Operator, rhs: np.ndarray, rtol: float = 1e-10, preconditioner=None) -> Outcome:
    norm = float(np.linalg.norm(rhs))
    return engine.solve(operator, preconditioner, Task(rhs, np.zeros_like(rhs), rtol * norm, norm, 5000))


def _engine(matrix: sp.csr_array, restart: int, recycle: int) -> GcroDr:
    return GcroDr(matrix.shape[0], matrix.dtype, restart=restart, recycle=recycle)


def _rhs(matrix: sp.csr_array, seed: int = 1) -> np.ndarray:
    generator = np.random.default_rng(seed)
    rhs = generator.normal(size=matrix.shape[0]).astype(matrix.dtype)
    return rhs + 1j * generator.normal(size=matrix.shape[0]) if matrix.dtype.kind == "c" else rhs


@pytest.mark.parametrize("preconditioned", [False, True])
def test_without_recycling_every_residual_is_that_of_scipys_restarted_gmres(preconditioned: bool) -> None:
    matrix = convection_matrix(24)
    rhs = _rhs(matrix)
    operator = as_operator(matrix)
    preconditioner = build("jacobi", operator) if preconditioned else None
    ours = _solve(_engine(matrix, 20, 0), operator, rhs, preconditioner=preconditioner)
    # SciPy preconditions from the left; the right-preconditioned operator is handed over whole.
    composed = matrix @ sp.diags_array(1 / matrix.diagonal()) if preconditioned else matrix
    theirs: list[float] = []
    spla.gmres(composed, rhs, restart=20, rtol=1e-10, maxiter=500, callback=theirs.append, callback_type="pr_norm")
    shared = min(len(theirs), ours.iterations) - 1
    assert shared > 60
    assert abs(len(theirs) - ours.iterations) <= 1
    np.testing.assert_allclose(ours.history[1 : 1 + shared], theirs[:shared], rtol=1e-6)


def test_first_cycle_and_every_refresh_leave_exact_images() -> None:
    matrix = convection_matrix(20)
    operator = as_operator(matrix)
    engine = _engine(matrix, 30, 10)
    scale = spla.norm(matrix)
    norm = float(np.linalg.norm(_rhs(matrix)))
    rhs = _rhs(matrix)
    engine.solve(operator, None, Task(rhs, np.zeros_like(rhs), 1e-12 * norm, norm, 30))
    assert np.abs(matrix @ engine.vectors - engine.images).max() < 1e-12 * scale
    engine.refresh(operator, None)
    assert np.abs(matrix @ engine.vectors - engine.images).max() < 1e-12 * scale
    np.testing.assert_allclose(engine.images.T @ engine.images, np.eye(10), atol=1e-10)


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_images_stay_orthonormal_and_the_true_residual_is_met_at_exit(kind: str) -> None:
    matrix = convection_matrix(22)
    if kind == "complex":
        matrix = sp.csr_array(matrix + 0.3j * sp.eye_array(matrix.shape[0]))
    engine = _engine(matrix, 30, 10)
    for step in range(3):
        near = sp.csr_array(matrix + 0.02 * step * sp.eye_array(matrix.shape[0]))
        engine.invalidate()
        rhs = _rhs(matrix, step)
        outcome = _solve(engine, as_operator(near), rhs)
        true = np.linalg.norm(near @ outcome.x - rhs) / np.linalg.norm(rhs)
        assert outcome.result is Result.CONVERGED
        assert true <= 1.01e-10
        assert outcome.history[-1] == pytest.approx(true, rel=1e-3)
        images = engine.images
        np.testing.assert_allclose(images.conj().T @ images, np.eye(10), atol=1e-10)


def test_small_products_of_the_spaces_are_those_of_the_long_vectors() -> None:
    matrix = convection_matrix(18)
    engine = _engine(matrix, 20, 8)
    _solve(engine, as_operator(matrix), _rhs(matrix))
    space, images = engine.vectors, engine.images
    np.testing.assert_allclose(engine._small_uu, space.T @ space, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(engine._small_cu, images.T @ space, rtol=1e-8, atol=1e-10)


def test_drift_of_the_images_is_noticed_and_mended() -> None:
    matrix = convection_matrix(18)
    operator = as_operator(matrix)
    engine = _engine(matrix, 20, 8)
    _solve(engine, operator, _rhs(matrix))
    engine._space[:, :8] += 1e-3 * np.random.default_rng(0).normal(size=(matrix.shape[0], 8))
    assert np.abs(matrix @ engine.vectors - engine.images).max() > 1e-4
    engine._probe(operator, None)
    assert np.abs(matrix @ engine.vectors - engine.images).max() < 1e-11


def test_lost_orthogonality_of_the_images_is_noticed_and_mended() -> None:
    matrix = convection_matrix(18)
    engine = _engine(matrix, 20, 8)
    _solve(engine, as_operator(matrix), _rhs(matrix))
    engine._block[:, :8] += 1e-6 * np.random.default_rng(0).normal(size=(matrix.shape[0], 8))
    engine._check_images()
    np.testing.assert_allclose(engine.images.T @ engine.images, np.eye(8), atol=1e-13)
    np.testing.assert_allclose(engine._small_cu, engine.images.T @ engine.vectors, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_recycle_space_holds_the_eigenvectors_of_the_eight_smallest_eigenvalues(seed: int) -> None:
    matrix = darcy_matrix(22, seed=seed)
    engine = _engine(matrix, 30, 10)
    for rhs in range(2):
        _solve(engine, as_operator(matrix), _rhs(matrix, rhs))
    vectors = np.linalg.eigh(matrix.toarray())[1]
    basis = np.linalg.qr(engine.vectors)[0]
    assert np.linalg.norm(basis.T @ vectors[:, :8], axis=0).min() > 0.98


def test_one_cycle_leaves_the_harmonic_ritz_vectors_of_its_krylov_space() -> None:
    matrix = convection_matrix(14)
    rhs = _rhs(matrix)
    engine = _engine(matrix, 20, 6)
    norm = float(np.linalg.norm(rhs))
    engine.solve(as_operator(matrix), None, Task(rhs, np.zeros_like(rhs), 1e-14 * norm, norm, 20))
    krylov = [rhs / norm]
    for _ in range(19):
        new = matrix @ krylov[-1]
        for known in krylov + krylov:
            new = new - (known @ new) * known
        krylov.append(new / np.linalg.norm(new))
    basis = np.column_stack(krylov)
    images = matrix @ basis
    values, vectors = sl.eig(images.T @ images, images.T @ basis)
    order = np.argsort(np.abs(values))[:6]
    wanted = basis @ vectors[:, order]
    found = np.linalg.qr(engine.vectors)[0]
    left, singular, _ = np.linalg.svd(np.column_stack([wanted.real, wanted.imag]), full_matrices=False)
    assert int((singular > 1e-8 * singular[0]).sum()) == 6  # no conjugate pair is cut in two
    left = left[:, :6]
    np.testing.assert_allclose(left @ (left.T @ found), found, atol=1e-8)


def test_right_hand_side_in_the_carried_eigenspace_needs_no_iteration() -> None:
    matrix = darcy_matrix(16)
    vectors = np.linalg.eigh(matrix.toarray())[1][:, :6]
    engine = _engine(matrix, 20, 10)
    engine.set_vectors(vectors)
    operator = as_operator(matrix)
    outcome = _solve(engine, operator, vectors @ np.arange(1.0, 7.0))
    assert outcome.result is Result.CONVERGED
    assert outcome.iterations == 0
    assert operator.products == 7  # six to carry the space over, one to check the residual


def test_exact_invariant_space_leaves_gmres_on_the_deflated_operator() -> None:
    matrix = darcy_matrix(16, seed=2)
    vectors = np.linalg.eigh(matrix.toarray())[1][:, :6]
    engine = _engine(matrix, 30, 6)
    engine.set_vectors(vectors)
    rhs = _rhs(matrix)
    ours = _solve(engine, as_operator(matrix), rhs)
    projector = np.eye(matrix.shape[0]) - vectors @ vectors.T
    plain = _engine(matrix, 24, 0)
    deflated = projector @ matrix.toarray()
    # The deflated operator is singular; its right-hand side lies in its range.
    theirs = _solve(plain, as_operator(deflated), projector @ rhs)
    first = np.array(ours.history[1:25]) * np.linalg.norm(rhs)
    second = np.array(theirs.history[1:25]) * np.linalg.norm(projector @ rhs)
    np.testing.assert_allclose(first[:-1], second[:-1], rtol=1e-8)


def test_the_same_matrix_needs_no_new_images_and_gives_the_same_answer() -> None:
    matrix = convection_matrix(18)
    first, second = _rhs(matrix, 1), _rhs(matrix, 2)
    told, untold = _engine(matrix, 20, 8), _engine(matrix, 20, 8)
    for engine in (told, untold):
        _solve(engine, as_operator(matrix), first)
    untold.invalidate()
    one, two = as_operator(matrix), as_operator(matrix)
    kept, renewed = _solve(told, one, second), _solve(untold, two, second)
    assert abs(kept.iterations - renewed.iterations) <= 1
    assert two.products - one.products in (7, 8, 9)
    np.testing.assert_allclose(kept.history[:20], renewed.history[:20], rtol=1e-6)
    np.testing.assert_allclose(kept.x, renewed.x, rtol=1e-6, atol=1e-8)


def test_carrying_saves_work_on_a_chain_of_near_matrices() -> None:
    carried = GcroDr(900, np.float64, restart=30, recycle=12)
    totals = {"carried": 0, "fresh": 0}
    for step in range(5):
        matrix = darcy_matrix(30, seed=4, step=0.02 * step)
        rhs = _rhs(matrix, 7)
        carried.invalidate()
        totals["carried"] += _solve(carried, as_operator(matrix), rhs, 1e-8).iterations
        totals["fresh"] += _solve(_engine(matrix, 30, 12), as_operator(matrix), rhs, 1e-8).iterations
    assert totals["carried"] < 0.8 * totals["fresh"]


class _Counted:
    """A preconditioner that counts its applications."""

    def __init__(self, operator: Operator) -> None:
        self._inverse, self.applied = build("ilu", operator), 0

    def apply(self, vector: np.ndarray, out: np.ndarray) -> None:
        self.applied += 1
        self._inverse.apply(vector, out)


def test_carrying_takes_a_product_for_each_vector_and_no_preconditioner() -> None:
    engine = GcroDr(900, np.float64, restart=30, recycle=10)
    for step in range(4):
        matrix = darcy_matrix(30, seed=4, step=0.05 * step)
        operator = as_operator(matrix)
        preconditioner = _Counted(operator)
        engine.invalidate()
        outcome = _solve(engine, operator, _rhs(matrix, 7), 1e-9, preconditioner)
        assert outcome.result is Result.CONVERGED
        assert np.linalg.norm(_rhs(matrix, 7) - matrix @ outcome.x) <= 1e-9 * np.linalg.norm(_rhs(matrix, 7))
        np.testing.assert_array_equal(engine.residual, _rhs(matrix, 7) - matrix @ outcome.x)
        assert preconditioner.applied == outcome.iterations
        cycles = operator.products - outcome.iterations - engine._carried
        assert 0 < cycles <= 1 + outcome.iterations // 20
    assert engine._carried > 5


def _is_spanned(vectors: np.ndarray, by: np.ndarray) -> bool:
    return vectors.shape == by.shape and bool(sl.subspace_angles(vectors, by).max(initial=0.0) < 1e-6)


def test_a_space_between_short_systems_rests_once_it_serves_and_is_renewed_after_a_drift() -> None:
    engine, renewed = GcroDr(900, np.float64, restart=40, recycle=10), []
    for step in (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0, 3.0):
        matrix = darcy_matrix(30, seed=4, step=step)
        operator, before = as_operator(matrix), engine.vectors
        engine.invalidate()
        _solve(engine, operator, _rhs(matrix, 7), 1e-9, build("ssor", operator))
        renewed.append(not _is_spanned(before, engine.vectors))
    assert all(renewed[:2])
    assert not any(renewed[4:6])
    assert all(renewed[6:])


def test_carrying_is_given_up_where_it_costs_more_than_it_saves_and_tried_again_later() -> None:
    engine, generator, extra = GcroDr(120, float, restart=20, recycle=8), np.random.default_rng(0), []
    for _ in range(15):
        # No two of these matrices have an eigenvector in common.
        turn = np.linalg.qr(generator.normal(size=(120, 120)))[0]
        operator = as_operator(turn * np.geomspace(0.05, 1, 120) @ turn.T)
        engine.invalidate()
        _solve(engine, operator, np.ones(120), rtol=1e-6)
        extra.append(engine._carried)
    assert extra[0] == 0
    assert min(extra[1:3]) > 0
    assert extra[3:13] == [0] * 10
    assert extra[13] > 0  # one more trial
    assert extra[14] == 0


def test_fewer_vectors_are_carried_where_systems_are_easy() -> None:
    counts = {}
    for rtol in (1e-1, 1e-10):
        engine = _engine(darcy_matrix(40), 30, 20)
        for step in range(2):
            engine.invalidate()
            _solve(engine, as_operator(darcy_matrix(40, step=0.02 * step)), np.ones(1600), rtol=rtol)
        counts[rtol] = engine._carried
    assert 0 < counts[1e-1] < counts[1e-10] == 20


def test_a_space_lost_to_values_that_are_not_finite_is_begun_anew() -> None:
    matrix = convection_matrix(18)
    engine = _engine(matrix, 20, 8)
    _solve(engine, as_operator(matrix), _rhs(matrix))
    engine.invalidate()
    broken = Operator(324, np.float64, function=lambda v: np.full(324, np.nan))
    assert _solve(engine, broken, _rhs(matrix)).result is Result.NON_FINITE_OUTPUT
    engine.invalidate()
    assert _solve(engine, as_operator(matrix), _rhs(matrix)).result is Result.CONVERGED


def test_dependent_and_vanished_vectors_of_a_space_are_dropped() -> None:
    matrix = darcy_matrix(12)
    base = np.random.default_rng(0).normal(size=(144, 3))
    engine = _engine(matrix, 20, 6)
    engine.set_vectors(np.column_stack([base, base @ [1.0, 2.0, 0.0], np.zeros(144)]))
    engine.refresh(as_operator(matrix), None)
    assert engine.vectors.shape == (144, 3)
    np.testing.assert_allclose(matrix @ engine.vectors, engine.images, atol=1e-10)
    np.testing.assert_allclose(engine.images.T @ engine.images, np.eye(3), atol=1e-12)


def test_a_system_solved_in_one_step_keeps_no_space() -> None:
    matrix = sp.csr_array(2.0 * sp.eye_array(50))
    engine = GcroDr(50, np.float64, restart=10, recycle=4)
    outcome = _solve(engine, as_operator(matrix), np.ones(50))
    assert outcome.iterations == 1
    assert engine.vectors.shape == (50, 0)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_systems_smaller_than_a_cycle_are_solved(size: int) -> None:
    generator = np.random.default_rng(size)
    matrix = sp.csr_array(generator.normal(size=(size, size)) + 4 * np.eye(size))
    engine = GcroDr(size, np.float64, restart=40, recycle=20)
    for seed in range(3):
        rhs = _rhs(matrix, seed)
        outcome = _solve(engine, as_operator(matrix), rhs)
        assert outcome.result is Result.CONVERGED
        np.testing.assert_allclose(matrix @ outcome.x, rhs, atol=1e-8)


def test_solutions_agree_with_scipys_recycling_solvers() -> None:
    matrix = convection_matrix(20, seed=5)
    rhs = _rhs(matrix)
    ours = _solve(_engine(matrix, 30, 10), as_operator(matrix), rhs, 1e-11).x
    for solver, options in ((spla.gcrotmk, {"m": 20, "k": 10}), (spla.lgmres, {"inner_m": 25})):
        theirs, status = solver(matrix, rhs, rtol=1e-11, atol=0.0, maxiter=500, **options)
        assert status == 0
        np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-8 * np.abs(theirs).max())


@pytest.mark.parametrize("kind", ["gmres", "dgmres"])
def test_solutions_agree_with_petsc(kind: str) -> None:
    petsc = pytest.importorskip("petsc4py.PETSc", reason="petsc4py is not installed")
    matrix = convection_matrix(20, seed=5)
    rhs = _rhs(matrix)
    ours = _solve(_engine(matrix, 30, 10), as_operator(matrix), rhs, 1e-11).x
    a = petsc.Mat().createAIJ(size=matrix.shape, csr=(matrix.indptr, matrix.indices, matrix.data))
    solver = petsc.KSP().create()
    solver.setOperators(a)
    solver.setType(kind)
    solver.getPC().setType("none")
    solver.setTolerances(rtol=1e-11, max_it=10_000)
    b, x = a.createVecs()
    b.setArray(rhs)
    solver.solve(b, x)
    np.testing.assert_allclose(ours, x.getArray(), rtol=1e-7, atol=1e-8 * np.abs(ours).max())
