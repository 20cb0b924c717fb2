"""Indefinite and singular matrices where positive definite ones are needed: said, with the number that shows it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from equipoise.data.linear_chains import Chain, make_recipe
from equipoise.errors import ConvergenceError
from equipoise.problems import Helmholtz
from equipoise.solvers.linear import Direct, pardiso_is_available, prepare, solve, update

# Eigenvalues 3 and -1; the diagonal does not show it.
INDEFINITE = np.array([[1.0, 2.0], [2.0, 1.0]])


@pytest.mark.parametrize("method", ["cg", "deflated_cg"])
def test_conjugate_gradients_name_the_curvature_that_is_not_positive(method: str) -> None:
    with pytest.raises(ConvergenceError, match=r"p\.A p = -[0-9.]+: the matrix is not positive definite"):
        solve(prepare(INDEFINITE, method=method), np.array([1.0, -1.0]))
    with pytest.raises(ConvergenceError, match=r"r\.M r = -[0-9.]+: the preconditioner is not positive definite"):
        solve(prepare(np.eye(2), lambda v: -v, method=method), np.ones(2))


def test_incomplete_cholesky_names_the_pivot() -> None:
    with pytest.raises(ConvergenceError, match="row 1"):
        prepare(INDEFINITE, "ic", method="cg")


@pytest.mark.parametrize(
    "backend",
    [
        "superlu",
        pytest.param(
            "pardiso", marks=pytest.mark.skipif(not pardiso_is_available(), reason="pypardiso is not installed")
        ),
    ],
)
def test_a_factorisation_names_the_pivot_and_the_chain_goes_on(backend: str) -> None:
    state = prepare(np.array([[2.0, 1.0], [1.0, 2.0]]), method=Direct(backend, "positive_definite"))
    with pytest.raises(ConvergenceError, match="singular or not positive definite: a pivot was zero or negative"):
        update(state, INDEFINITE)
    update(state, np.array([[3.0, 1.0], [1.0, 2.0]]))
    np.testing.assert_allclose(solve(state, np.array([5.0, 5.0])).value.numpy(), [1.0, 2.0])


def test_chain_says_what_failed_and_solves_the_rest() -> None:
    problem = Helmholtz(resolution=9)
    problem.is_positive_definite = True  # which it is not
    inputs = problem.sample(3, torch.Generator().manual_seed(0))
    inputs[1] = 1e6  # no reaction left: this one is
    solved = Chain(problem, make_recipe("skr", problem), 1e-8)(inputs)
    assert set(solved.failures) == {0, 2}
    assert all("positive definite" in note for note in solved.failures.values())
    assert np.isfinite(solved.outputs[1]).all()
