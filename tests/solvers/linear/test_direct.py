"""Direct solvers agree with dense algebra and say what is wrong with a matrix."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.errors import ConvergenceError
from equipoise.solvers.linear import SymmetricPattern, analyse, factorize, pardiso_is_available

BACKENDS = [
    "superlu",
    pytest.param("pardiso", marks=pytest.mark.skipif(not pardiso_is_available(), reason="pypardiso is not installed")),
]


def _chain(size: int) -> tuple[SymmetricPattern, np.ndarray]:
    dofs = np.column_stack([np.arange(size), np.arange(1, size + 1)])
    return SymmetricPattern.from_elements(size, dofs), dofs


@settings(max_examples=30, deadline=None)
@given(size=st.integers(2, 12), elements=st.integers(1, 15), nodes=st.integers(1, 4), seed=st.integers(0, 2**31 - 1))
def test_pattern_sums_element_matrices_as_a_dense_loop_does(size: int, elements: int, nodes: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    nodes = min(nodes, size)
    dofs = np.stack([generator.permutation(size + 1)[:nodes] for _ in range(elements)])
    local = generator.normal(size=(elements, nodes, nodes))
    local = local + local.transpose(0, 2, 1)
    dense = np.zeros((size + 1, size + 1))
    for table, matrix in zip(dofs, local, strict=True):
        dense[np.ix_(table, table)] += matrix
    pattern = SymmetricPattern.from_elements(size, dofs)
    values = pattern.accumulator(dofs) @ local.ravel()
    np.testing.assert_allclose(pattern.full(values).toarray(), dense[:-1, :-1], atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_updated_factorisations_solve_each_matrix_of_the_family(backend: str) -> None:
    pattern, dofs = _chain(40)
    solver = analyse(pattern, backend=backend)
    generator = np.random.default_rng(0)
    for _ in range(3):
        stiffness = generator.uniform(0.5, 2.0, size=len(dofs))
        local = stiffness[:, None, None] * np.array([[1.0, -1.0], [-1.0, 1.0]])
        values = pattern.accumulator(dofs) @ local.ravel()
        solver.update(values)
        for rhs in (generator.normal(size=40), generator.normal(size=(40, 3))):
            expected = np.linalg.solve(pattern.full(values).toarray(), rhs)
            np.testing.assert_allclose(solver.solve(rhs), expected, rtol=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_general_factorisation_solves_an_unsymmetric_matrix_and_new_values(backend: str) -> None:
    generator = np.random.default_rng(1)
    matrix = sp.random_array((30, 30), density=0.2, rng=generator, format="csr") + 5 * sp.eye_array(30, format="csr")
    solver = factorize(matrix, backend=backend)
    rhs = generator.normal(size=30)
    np.testing.assert_allclose(matrix @ solver.solve(rhs), rhs, atol=1e-10)
    changed = sp.csr_array(matrix)
    changed.sort_indices()
    changed.data = changed.data * generator.uniform(0.9, 1.1, size=changed.nnz)
    solver.update(changed.data)
    np.testing.assert_allclose(changed @ solver.solve(rhs), rhs, atol=1e-10)


def test_singular_matrix_is_named() -> None:
    with pytest.raises(ConvergenceError, match="size 3 is singular"):
        factorize(sp.csr_array(np.diag([1.0, 0.0, 2.0])), backend="superlu")


def test_unknown_backend_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="auto, pardiso, superlu"):
        analyse(_chain(3)[0], backend="umfpack")


def test_matrix_must_be_square_and_finite() -> None:
    with pytest.raises(ValueError, match="2 x 3"):
        factorize(sp.csr_array(np.ones((2, 3))))
    with pytest.raises(ValueError, match="not finite"):
        factorize(sp.csr_array(np.array([[np.nan]])))
