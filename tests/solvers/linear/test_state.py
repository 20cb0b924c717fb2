"""One face for every method and every form of operator, with honest residuals, counts and complaints."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import scipy.sparse.linalg as spla
import torch
from linear_families import convection_matrix, darcy_matrix

from equipoise.errors import ConvergenceError
from equipoise.solvers.linear import (
    GCRODR,
    GMRES,
    DeflatedCG,
    DeflatedMINRES,
    Direct,
    RecycleSpace,
    pardiso_is_available,
    prepare,
    pyamg_is_available,
    solve,
    update,
)
from equipoise.solvers.linear.direct_family import SymmetryCheck
from equipoise.solvers.solution import Result

GENERAL = ["direct", "bicgstab", "gmres", "gcrodr", *(["fgmres"] if pyamg_is_available() else [])]
SYMMETRIC = [*GENERAL, "cg", "deflated_cg", "minres", "deflated_minres"]
BACKENDS = ["superlu", *(["pardiso"] if pardiso_is_available() else [])]


def _rhs(size: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=size)


def _relative(matrix: sp.csr_array, value: torch.Tensor, rhs: np.ndarray) -> float:
    return float(np.linalg.norm(matrix @ value.numpy() - rhs) / np.linalg.norm(rhs))


@pytest.mark.parametrize("method", SYMMETRIC)
def test_every_method_meets_the_true_residual_along_a_chain(method: str) -> None:
    state = prepare(darcy_matrix(14), None if method == "direct" else "ssor", method=method)
    for step in range(3):
        matrix, rhs = darcy_matrix(14, step=0.1 * step), _rhs(196, step)
        assert update(state, matrix) is state
        solution = solve(state, rhs, rtol=1e-9)
        assert solution.value.shape == (196,)
        assert solution.result.tolist() == [Result.CONVERGED]
        assert _relative(matrix, solution.value, rhs) <= 1e-9
        assert float(solution.residual[0]) == pytest.approx(_relative(matrix, solution.value, rhs), rel=1e-2)
        assert float(solution.history[-1][0]) == float(solution.residual[0])
        assert len(solution.history) == int(solution.iterations[0]) + 1


@pytest.mark.parametrize("method", GENERAL)
@pytest.mark.parametrize("preconditioner", [None, "ilu", "sor"])
def test_transposed_systems_are_solved_from_the_same_state(method: str, preconditioner: str | None) -> None:
    if method == "direct" and preconditioner is not None:
        return
    state = prepare(convection_matrix(9), preconditioner, method=method)
    for seed in range(2):
        matrix, rhs = convection_matrix(9, seed=seed), _rhs(81, seed)
        update(state, matrix)
        assert _relative(matrix.T, solve(state, rhs, rtol=1e-9, transpose=True).value, rhs) <= 1e-9
        assert _relative(matrix, solve(state, rhs, rtol=1e-9).value, rhs) <= 1e-9


@pytest.mark.parametrize("method", ["cg", "gcrodr"])
def test_every_form_of_an_operator_gives_the_same_iterations(method: str) -> None:
    matrix, rhs = darcy_matrix(12), _rhs(144)
    coo = torch.sparse_coo_tensor(np.array(matrix.nonzero()), matrix.data, matrix.shape)
    forms = [matrix, sp.csc_matrix(matrix), matrix.toarray(), coo, coo.to_sparse_csr(), coo.to_dense()]
    states = [prepare(form, method=method) for form in forms]
    states.append(prepare(spla.aslinearoperator(matrix), method=method))
    states.append(prepare(lambda v: matrix @ v, method=method, size=144))
    states.append(prepare(lambda v: torch.from_numpy(matrix @ v), method=method, size=144))
    solutions = [solve(state, rhs) for state in states]
    assert len({int(solution.iterations[0]) for solution in solutions}) == 1
    for solution in solutions:
        torch.testing.assert_close(solution.value, solutions[0].value, rtol=1e-6, atol=1e-8)


def test_products_are_all_that_a_matrix_free_operator_was_asked_for() -> None:
    matrix, calls = convection_matrix(10), []

    def product(vector: np.ndarray) -> np.ndarray:
        calls.append(1)
        return matrix @ vector

    state = prepare(product, method="gcrodr", size=100)
    for seed in range(2):
        calls.clear()
        update(state, product)
        solution = solve(state, _rhs(100, seed))
        assert int(solution.products[0]) == len(calls)
        assert len(calls) > int(solution.iterations[0])


def test_several_right_hand_sides_are_solved_one_after_another_and_recycled() -> None:
    matrix, rhs = darcy_matrix(20), np.stack([_rhs(400, seed) for seed in range(3)])
    state = prepare(matrix, "jacobi", method=GCRODR(30, 12))
    seen: list[float] = []
    solution = solve(state, torch.from_numpy(rhs), callback=seen.append)
    assert solution.value.shape == (3, 400)
    assert solution.iterations[2] < solution.iterations[0]
    assert len(seen) == int(solution.iterations.sum())
    for row in range(3):
        assert _relative(matrix, solution.value[row], rhs[row]) <= 1e-8
    assert len(solution.history) == int(solution.iterations.max()) + 1
    assert solution.state is state


def test_a_good_guess_needs_no_iteration_and_a_zero_right_hand_side_no_work() -> None:
    matrix, rhs = darcy_matrix(8), _rhs(64)
    state = prepare(matrix, method="gcrodr")
    exact = solve(prepare(matrix), rhs, rtol=1e-14, throw=False).value
    assert int(solve(state, rhs, exact).iterations[0]) == 0
    nothing = solve(state, np.zeros(64), _rhs(64))
    assert int(nothing.products[0]) == 0
    assert not nothing.value.any()


def test_complex_systems_are_solved() -> None:
    matrix = sp.csr_array(convection_matrix(9) + 0.5j * sp.eye_array(81))
    rhs = _rhs(81) + 1j * _rhs(81, 2)
    for method in ("direct", "gcrodr", "gmres", "bicgstab"):
        state = prepare(matrix, method=method)
        for transpose, a in ((False, matrix), (True, matrix.T)):
            solution = solve(state, rhs, rtol=1e-9, transpose=transpose)
            assert solution.value.dtype == torch.complex128
            assert _relative(a, solution.value, rhs) <= 1e-9


def test_the_same_matrix_again_costs_nothing() -> None:
    matrix, rhs = convection_matrix(14), _rhs(196)
    state = prepare(matrix, method=GCRODR(20, 8))
    solve(state, rhs)
    update(state, matrix.copy())
    same = solve(state, _rhs(196, 2))
    update(state, sp.csr_array(matrix * 1.001))
    changed = solve(state, _rhs(196, 3))
    overhead = [int(s.products[0]) - int(s.iterations[0]) for s in (same, changed)]
    assert overhead[0] + 8 <= overhead[1] + 3


def test_a_space_from_one_chain_starts_another() -> None:
    first = prepare(darcy_matrix(20), "jacobi", method=GCRODR(30, 12))
    cold = solve(first, _rhs(400))
    space = first.recycle_space
    assert space is not None
    second = prepare(darcy_matrix(20, step=0.05), "jacobi", method=GCRODR(30, 12), recycle=space)
    assert int(solve(second, _rhs(400, 2)).iterations[0]) < int(cold.iterations[0])
    assert prepare(darcy_matrix(4), method="cg").recycle_space is None


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("structure", ["positive_definite", "symmetric", "general"])
def test_the_direct_method_analyses_a_pattern_once(backend: str, structure: str) -> None:
    state = prepare(darcy_matrix(12), method=Direct(backend, structure))
    for step in range(3):
        matrix, rhs = darcy_matrix(12, step=0.3 * step), np.stack([_rhs(144, step), _rhs(144, step + 5)])
        update(state, matrix)
        solution = solve(state, rhs, rtol=1e-12)
        for row in range(2):
            assert _relative(matrix, solution.value[row], rhs[row]) <= 1e-12
    assert state._direct is not None
    assert state._direct.analyses == 1
    update(state, sp.csr_array(matrix + sp.diags_array(0.01 * np.ones(141), offsets=3, shape=(144, 144)) * 0.0))
    assert _relative(matrix, solve(state, rhs[0], rtol=1e-12).value, rhs[0]) <= 1e-12


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_direct_method_finds_out_that_a_symmetric_matrix_is_indefinite(backend: str) -> None:
    matrix = sp.csr_array(darcy_matrix(12) - 0.3 * sp.eye_array(144))
    assert np.linalg.eigvalsh(matrix.toarray())[0] < 0 < matrix.diagonal().min()
    rhs = _rhs(144)
    assert _relative(matrix, solve(prepare(matrix, method=Direct(backend)), rhs, rtol=1e-11).value, rhs) <= 1e-11


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_direct_method_says_that_a_matrix_is_not_positive_definite(backend: str) -> None:
    matrix = sp.csr_array(darcy_matrix(12) - 0.3 * sp.eye_array(144))
    method = Direct(backend, "positive_definite")
    with pytest.raises(ConvergenceError, match="not positive definite"):
        prepare(matrix, method=method)
    state = prepare(darcy_matrix(12), method=method)
    with pytest.raises(ConvergenceError, match="not positive definite"):
        update(state, matrix)


BAD = [
    (lambda: prepare(np.ones((2, 3))), "square, got 2 x 3"),
    (lambda: prepare(sp.csr_array(np.array([[1.0, 0], [np.inf, 1]]))), "holds inf in row 1"),
    (lambda: prepare(lambda v: v), "size=None for a matrix-free operator"),
    (lambda: prepare(np.eye(3), method="lanczos"), "use one of direct, cg"),
    (lambda: prepare(lambda v: v, size=3, method="direct"), "needs the matrix"),
    (lambda: prepare(np.eye(3), "jacobi", method="direct"), "takes no preconditioner"),
    (lambda: prepare(np.array([[2.0, 1], [0, 2]]), method="cg"), "CG needs a symmetric matrix"),
    (lambda: prepare(np.diag([1.0, -2.0]), method="deflated_cg"), r"positive definite matrix, and A\[1, 1\] = -2"),
    (lambda: prepare(lambda v: np.roll(v, 1) + v, size=9, method="minres"), "needs a symmetric operator"),
    (lambda: prepare(darcy_matrix(4), "sor", method="cg"), "breaks the symmetry that CG needs"),
    (lambda: GCRODR(20, 20), "recycle=20 must lie between 0 and restart - 1 = 19"),
    (lambda: GMRES(0), "restart=0 must be at least 1"),
    (lambda: DeflatedCG(recycle=-1), "recycle >= 0"),
    (lambda: DeflatedMINRES(stored=0), "stored >= 1"),
    (lambda: prepare(np.array([[2.0, 1], [0, 2]]), method="deflated_minres"), "needs a symmetric matrix"),
    (lambda: prepare(np.eye(3), method=Direct("auto", "banded")), "structure 'banded' is unknown"),
    (lambda: prepare(np.array([[2.0, 1], [0, 2]]), method=Direct(structure="symmetric")), "is not symmetric"),
    (
        lambda: prepare(np.eye(30), method="gcrodr", recycle=RecycleSpace(np.ones((20, 2)), "none")),
        "this system has 30 unknowns",
    ),
    (
        lambda: prepare(np.eye(30), "jacobi", method="gcrodr", recycle=RecycleSpace(np.ones((30, 2)), "none")),
        "arose under preconditioner 'none', not 'jacobi'",
    ),
    (
        lambda: prepare(np.eye(30), method=GCRODR(8, 2), recycle=RecycleSpace(np.ones((30, 4)), "none")),
        "holds 4 vectors; the method carries 2",
    ),
    (
        lambda: prepare(np.eye(30), method="cg", recycle=RecycleSpace(np.ones((30, 4)), "none")),
        "CG carries no recycle space",
    ),
    (lambda: update(prepare(np.eye(3)), np.eye(4)), "4 unknowns; this state has 3"),
    (lambda: update(prepare(np.eye(3)), 1j * np.eye(3)), "is complex128; this state is float64"),
    (lambda: update(prepare(darcy_matrix(4), method="cg"), np.triu(np.ones((16, 16)))), "needs a symmetric matrix"),
    (lambda: solve(prepare(np.eye(3)), np.ones(4)), r"rhs has shape \(4,\); give \(3,\)"),
    (lambda: solve(prepare(np.eye(3)), np.ones(3), np.ones((2, 3))), "x0 has shape"),
    (lambda: solve(prepare(np.eye(3)), 1j * np.ones(3)), "rhs is complex"),
    (lambda: solve(prepare(np.eye(3)), np.ones(3), rtol=1e-17), "below round-off"),
    (lambda: solve(prepare(np.eye(3)), np.ones(3), rtol=float("nan")), "below round-off"),
    (lambda: solve(prepare(np.eye(3)), np.ones(3), maxiter=0), "maxiter=0"),
    (lambda: solve(prepare(lambda v: v[:2], size=3), np.ones(3)), r"returned shape \(2,\)"),
    (lambda: solve(prepare(lambda v: v, size=3), np.ones(3), transpose=True), "rmatvec"),
]


@pytest.mark.parametrize(("action", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_input_gets_one_sentence(action: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        action()  # type: ignore[operator]


def test_a_singular_matrix_is_named_by_every_kind_of_method() -> None:
    matrix = sp.csr_array(sp.diags_array([-np.ones(29), 2 * np.ones(30), -np.ones(29)], offsets=[-1, 0, 1]))
    matrix[0, 0] = matrix[29, 29] = 1.0  # a chain with free ends: constants are its null space
    with pytest.raises(ConvergenceError, match="singular"):
        prepare(sp.csr_array(np.diag([1.0, 0.0])), method=Direct("superlu"))
    rhs = np.ones(30)
    for method in ("gcrodr", "gmres", "cg", "minres", "deflated_minres"):
        flagged = solve(prepare(matrix, method=method), rhs, throw=False, maxiter=500)
        assert int(flagged.result[0]) in (Result.STAGNATION, Result.BREAKDOWN, Result.MAX_ITERATIONS)
        assert float(flagged.residual[0]) > 0.5
        in_range = np.sin(np.arange(30)) - np.sin(np.arange(30)).mean()
        assert _relative(matrix, solve(prepare(matrix, method=method), in_range).value, in_range) <= 1e-8


def test_a_tolerance_that_round_off_forbids_ends_as_stagnation() -> None:
    for method in ("direct", "gcrodr", "cg", "minres", "deflated_minres", "bicgstab"):
        solution = solve(prepare(darcy_matrix(16), method=method), _rhs(256), rtol=3e-16, throw=False)
        assert solution.result.tolist() == [Result.STAGNATION]
        assert 1e-16 < float(solution.residual[0]) < 1e-13


def test_failures_name_their_rows_and_carry_the_history() -> None:
    rhs = np.stack([_rhs(256), np.full(256, np.nan), np.zeros(256)])
    state = prepare(darcy_matrix(16), method="gcrodr")
    with pytest.raises(ConvergenceError, match="2 of 3 samples failed: 0 ") as caught:
        solve(state, rhs, maxiter=5)
    flagged = caught.value.solution
    assert flagged.result.tolist() == [Result.MAX_ITERATIONS, Result.NON_FINITE_INPUT, Result.CONVERGED]  # type: ignore
    assert len(flagged.history) == 6  # type: ignore[union-attr]
    assert int(flagged.iterations[0]) == 5  # type: ignore[union-attr]


def test_an_operator_that_turns_not_finite_is_flagged_and_leaves_no_space() -> None:
    matrix = darcy_matrix(10)
    state = prepare(lambda v: (matrix @ v) / np.where(np.abs(v).max() > 0.9, 0.0, 1.0), size=100, method="gcrodr")
    rhs = np.zeros(100)
    rhs[3] = 1.0
    with np.errstate(all="ignore"):
        solution = solve(state, rhs, throw=False)
    assert solution.result.tolist() == [Result.NON_FINITE_OUTPUT]
    assert state.recycle_space is not None
    assert state.recycle_space.vectors.shape == (100, 0)


def test_symmetry_is_checked_on_every_matrix_of_a_chain_and_on_every_pattern() -> None:
    check = SymmetryCheck()
    full = sp.csr_array(np.array([[2.0, 1.0], [1.0, 2.0]]))
    broken = sp.csr_array(np.array([[2.0, 1.0], [1.1, 2.0]]))
    stored_zero = sp.csr_array((np.array([2.0, 0.0, 2.0]), np.array([0, 1, 1]), np.array([0, 2, 3])), shape=(2, 2))
    hermitian = sp.csr_array(np.array([[2.0, 1j], [-1j, 2.0]]))
    outcomes = [check(matrix, rtol=1e-10) for matrix in (full, broken, stored_zero, full, hermitian, 1j * hermitian)]
    assert outcomes == [True, False, True, True, True, False]
