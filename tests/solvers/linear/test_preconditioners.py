"""Each preconditioner is the matrix that its name says, applied exactly."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg as sl
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_families import convection_matrix, darcy_matrix

from equipoise.errors import ConvergenceError
from equipoise.solvers.linear import (
    AMG,
    IC,
    ILU,
    SOR,
    SSOR,
    BlockJacobi,
    Jacobi,
    Neighbour,
    prepare,
    pyamg_is_available,
    solve,
    triangular,
    update,
)
from equipoise.solvers.linear.incomplete import ZeroFillPattern
from equipoise.solvers.linear.operators import as_operator
from equipoise.solvers.linear.preconditioners import build

needs_pyamg = pytest.mark.skipif(not pyamg_is_available(), reason="pyamg is not installed")


def _inverse(specification: object, matrix: sp.csr_array) -> np.ndarray:
    """The approximate inverse as a dense matrix."""
    operator = as_operator(matrix)
    built = build(specification, operator)
    assert built is not None
    columns = np.empty((operator.size, operator.size), dtype=operator.dtype)
    for column, unit in enumerate(np.eye(operator.size, dtype=operator.dtype)):
        out = np.empty(operator.size, dtype=operator.dtype)
        built.apply(unit, out)
        columns[:, column] = out
    return columns


def _dense_incomplete(dense: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Incomplete LU without fill as the textbook writes it."""
    a, kept = dense.copy(), dense != 0
    for i in range(1, len(a)):
        for k in range(i):
            if kept[i, k]:
                a[i, k] /= a[k, k]
                for j in range(k + 1, len(a)):
                    if kept[i, j]:
                        a[i, j] -= a[i, k] * a[k, j]
    return np.tril(a, -1) + np.eye(len(a)), np.triu(a)


@pytest.fixture(params=["installed", "absent"])
def substitution(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Substitution by PyAMG where it is installed, and by SuperLU."""
    if request.param == "absent":
        monkeypatch.setattr(triangular, "pyamg_is_available", lambda: False)


@pytest.mark.usefixtures("substitution")
def test_relaxations_are_their_splittings() -> None:
    matrix = convection_matrix(5)
    dense, omega = matrix.toarray(), 1.3
    diagonal = np.diag(np.diag(dense)) / omega
    lower, upper = np.tril(dense, -1) + diagonal, np.triu(dense, 1) + diagonal
    np.testing.assert_allclose(_inverse(Jacobi(), matrix), np.diag(1 / np.diag(dense)), atol=1e-14)
    np.testing.assert_allclose(_inverse(SOR(omega), matrix), np.linalg.inv(lower), atol=1e-13)
    symmetric = lower @ np.linalg.inv(diagonal) @ upper / (2 - omega)
    np.testing.assert_allclose(_inverse(SSOR(omega), matrix), np.linalg.inv(symmetric), atol=1e-13)


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 14), density=st.floats(0.0, 0.7), seed=st.integers(0, 2**31 - 1))
def test_incomplete_factors_are_those_of_the_textbook_loop(size: int, density: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    dense = generator.normal(size=(size, size)) * (generator.uniform(size=(size, size)) < density)
    dense[np.arange(size), np.arange(size)] = 10 + generator.uniform(size=size)
    matrix = sp.csr_array(dense)
    lower, upper = ZeroFillPattern(matrix).factorize(matrix.data, positive=False)
    expected = _dense_incomplete(dense)
    np.testing.assert_allclose(lower.toarray(), expected[0], atol=1e-12)
    np.testing.assert_allclose(upper.toarray(), expected[1], atol=1e-12)


@pytest.mark.usefixtures("substitution")
def test_incomplete_lu_inverts_its_factors_and_is_exact_without_fill() -> None:
    matrix = convection_matrix(6)
    lower, upper = _dense_incomplete(matrix.toarray())
    np.testing.assert_allclose(_inverse(ILU(), matrix), np.linalg.inv(lower @ upper), atol=1e-12)
    chain = sp.csr_array(sp.diags_array([-np.ones(29), 3 * np.ones(30), -2 * np.ones(29)], offsets=[-1, 0, 1]))
    np.testing.assert_allclose(_inverse(ILU(), chain), np.linalg.inv(chain.toarray()), atol=1e-12)


def test_incomplete_cholesky_of_a_symmetric_matrix_is_symmetric_and_positive() -> None:
    inverse = _inverse(IC(), darcy_matrix(7))
    np.testing.assert_allclose(inverse, inverse.T, atol=1e-13)
    assert np.linalg.eigvalsh(inverse).min() > 0


@pytest.mark.parametrize("kind", ["unequal values", "unequal pattern", "complex"])
def test_incomplete_cholesky_reads_the_upper_triangle_alone(kind: str) -> None:
    symmetric = darcy_matrix(7).toarray()
    if kind == "complex":
        turned = np.exp(1j * np.random.default_rng(0).uniform(size=len(symmetric)))
        symmetric = turned[:, None] * symmetric * turned.conj()
    other = symmetric.copy()
    below = np.tril_indices(len(other), -1)
    other[below] *= 0.0 if kind == "unequal pattern" else 1.7
    expected = _inverse(IC(), sp.csr_array(symmetric))
    np.testing.assert_allclose(expected, expected.conj().T, atol=1e-13)
    np.testing.assert_allclose(_inverse(IC(), sp.csr_array(other)), expected, atol=1e-13)
    # A later matrix of another pattern is analysed anew.
    preconditioner = build(IC(), as_operator(sp.csr_array(other)))
    assert preconditioner is not None
    preconditioner.update(as_operator(sp.csr_array(symmetric)))
    out = np.empty(len(other), dtype=symmetric.dtype)
    preconditioner.apply(np.ones_like(out), out)
    np.testing.assert_allclose(out, expected.sum(axis=1), atol=1e-12)


def test_incomplete_cholesky_names_a_row_without_positive_pivot() -> None:
    matrix = sp.csr_array(np.array([[1.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]]))
    with pytest.raises(ConvergenceError, match=r"pivot -3 in row 1"):
        build("ic", as_operator(matrix))


def test_incomplete_lu_needs_a_stored_diagonal() -> None:
    matrix = sp.csr_array(np.array([[1.0, 2.0], [3.0, 0.0]]))
    with pytest.raises(ValueError, match="row 1 stores no diagonal entry"):
        build("ilu", as_operator(matrix))


def test_block_jacobi_inverts_contiguous_blocks() -> None:
    matrix = convection_matrix(5)
    dense = matrix.toarray()
    blocks = np.array_split(np.arange(25), 4)
    expected = sl.block_diag(*(np.linalg.inv(dense[np.ix_(rows, rows)]) for rows in blocks))
    np.testing.assert_allclose(_inverse(BlockJacobi(4), matrix), expected, atol=1e-13)


def test_overlapping_blocks_are_restricted_additive_schwarz() -> None:
    matrix = convection_matrix(5)
    dense = matrix.toarray()
    expected = np.zeros((25, 25))
    for own in np.array_split(np.arange(25), 4):
        members = np.unique(np.nonzero(dense[own])[1])
        inverse = np.linalg.inv(dense[np.ix_(members, members)])
        expected[np.ix_(own, members)] = inverse[np.isin(members, own)]
    np.testing.assert_allclose(_inverse(BlockJacobi(4, overlap=1), matrix), expected, atol=1e-13)


def test_blocks_with_incomplete_factors_are_exact_for_chains() -> None:
    chain = sp.csr_array(sp.diags_array([-np.ones(29), 3 * np.ones(30), -2 * np.ones(29)], offsets=[-1, 0, 1]))
    exact, incomplete = (_inverse(BlockJacobi(3, inner=inner), chain) for inner in ("lu", "ilu"))
    np.testing.assert_allclose(exact, incomplete, atol=1e-13)


@needs_pyamg
def test_multigrid_iterations_hardly_grow_with_the_grid() -> None:
    counts = []
    for side in (16, 64):
        state = prepare(darcy_matrix(side), AMG(), method="cg")
        counts.append(int(solve(state, np.ones(side * side)).iterations[0]))
    assert counts[1] <= counts[0] + 4


def test_multigrid_without_pyamg_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("equipoise.solvers.linear.preconditioners.pyamg_is_available", lambda: False)
    with pytest.raises(ValueError, match=r"install equipoise\[amg\]"):
        prepare(darcy_matrix(4), "amg")


def test_a_neighbours_factorisation_is_kept_until_it_is_too_far_away() -> None:
    state = prepare(darcy_matrix(16), Neighbour(most_iterations=12), method="cg")
    made, iterations = [], []
    for step in range(12):
        update(state, darcy_matrix(16, step=0.15 * step))
        iterations.append(int(solve(state, np.ones(256)).iterations[0]))
        made.append(state.preconditioner.factorizations)  # type: ignore[union-attr]
    assert iterations[0] == 1
    assert 2 <= made[-1] < 12
    for before, after, count in zip(made[:-1], made[1:], iterations[:-1], strict=True):
        assert (after > before) == (count > 12)


def test_updated_preconditioners_are_those_built_anew() -> None:
    first, second = convection_matrix(8, seed=0), convection_matrix(8, seed=1)
    vector = np.random.default_rng(0).normal(size=64)
    for specification in (Jacobi(), SOR(1.2), SSOR(), ILU(), BlockJacobi(4, 1), BlockJacobi(4, 0, "ilu")):
        renewed, fresh = build(specification, as_operator(first)), build(specification, as_operator(second))
        assert renewed is not None
        assert fresh is not None
        renewed.update(as_operator(second))
        a, b = np.empty(64), np.empty(64)
        renewed.apply(vector, a)
        fresh.apply(vector, b)
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("specification", "message"),
    [
        (lambda: build("lu", as_operator(np.eye(3))), "unknown; use one of jacobi"),
        (lambda: build("jacobi", as_operator(np.array([[1.0, 1], [1, 0]]))), "diagonal entry of row 1 is zero"),
        (lambda: SSOR(2.5), "omega=2.5 must lie between 0 and 2"),
        (lambda: BlockJacobi(0), "blocks >= 1"),
        (lambda: build("ilu", as_operator(lambda v: v, size=3)), "ILU needs the matrix"),
        (lambda: build(lambda v: v[:2], as_operator(np.eye(3))).apply(np.ones(3), np.ones(3)), r"shape \(2,\)"),
    ],
)
def test_unusable_preconditioners_are_named(specification: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        specification()  # type: ignore[operator]


@pytest.mark.parametrize("kind", ["sor", "ssor"])
def test_relaxation_renewed_for_other_entries_or_another_pattern_is_as_built_anew(kind: str) -> None:
    first = darcy_matrix(12)
    wider = sp.csr_array(first + sp.diags_array(0.1 * np.ones(130), offsets=14, shape=(144, 144)))
    vector = np.random.default_rng(0).normal(size=144)
    renewed, out, expected = build(kind, as_operator(first)), np.empty(144), np.empty(144)
    for matrix in (darcy_matrix(12, seed=5), wider):
        renewed.update(as_operator(matrix))
        renewed.apply(vector, out)
        build(kind, as_operator(matrix)).apply(vector, expected)
        np.testing.assert_array_equal(out, expected)
