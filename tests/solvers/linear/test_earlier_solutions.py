"""Earlier solutions answer whatever lies in their span: of the same matrix at no product, of others at one each."""

from __future__ import annotations

import numpy as np
import pytest
from linear_families import convection_matrix, darcy_matrix

from equipoise.solvers.linear import GCRODR, DeflatedCG, prepare, solve, update
from equipoise.solvers.linear.earlier_solutions import EarlierSolutions
from equipoise.solvers.linear.operators import as_operator


@pytest.mark.parametrize("dtype", [float, complex])
def test_the_guess_solves_the_part_within_the_span_and_no_more(dtype: type) -> None:
    generator = np.random.default_rng(0)
    matrix = generator.normal(size=(30, 30)) + 8 * np.eye(30)
    sides = generator.normal(size=(30, 4)).astype(dtype)
    if dtype is complex:
        matrix, sides = matrix + 1j * np.eye(30), sides + 1j * generator.normal(size=(30, 4))
    earlier = EarlierSolutions(30, dtype, limit=3)
    for side in sides.T:
        earlier.add(side, np.linalg.solve(matrix, side))
    assert earlier.count == 3
    operator = as_operator(matrix)
    inside = sides[:, :3] @ np.array([1.0, -2.0, 0.5])
    np.testing.assert_allclose(matrix @ earlier.guess(inside, operator), inside, atol=1e-11)
    left = sides[:, 3] - matrix @ earlier.guess(sides[:, 3], operator)
    np.testing.assert_allclose(sides[:, :3].conj().T @ left, 0, atol=1e-10)
    assert operator.products == 0


def test_the_last_two_solutions_are_taken_over_to_a_new_matrix_for_a_product_each() -> None:
    generator = np.random.default_rng(0)
    old, new = (generator.normal(size=(30, 30)) + 8 * np.eye(30) for _ in range(2))
    solutions, earlier, operator = (
        generator.normal(size=(3, 30)),
        EarlierSolutions(30, float, limit=3),
        as_operator(new),
    )
    for solution in solutions:
        earlier.add(old @ solution, solution)
    earlier.invalidate()
    inside = new @ (solutions[2] - 3 * solutions[1])
    np.testing.assert_allclose(earlier.guess(inside, operator), solutions[2] - 3 * solutions[1], atol=1e-10)
    assert operator.products == 2
    left = new @ solutions[0] - new @ earlier.guess(new @ solutions[0], operator)
    np.testing.assert_allclose((new @ solutions[1:].T).T @ left, 0, atol=1e-10)
    assert operator.products == 2


def test_solutions_that_tell_nothing_are_tried_at_every_tenth_matrix_only() -> None:
    generator, earlier, products = np.random.default_rng(0), EarlierSolutions(200, float, limit=3), []
    for _ in range(14):
        operator = as_operator(np.diag(generator.uniform(1, 2, 200)))
        earlier.invalidate()
        earlier.guess(generator.normal(size=200), operator)
        earlier.add(generator.normal(size=200), generator.normal(size=200))
        products.append(operator.products)
    assert products == [0, 1, *[0] * 9, 2, 0, 0]
    assert EarlierSolutions(5, float, limit=1).guess(np.ones(5), as_operator(np.eye(5))) is None


def test_an_image_that_is_known_is_not_kept_twice() -> None:
    earlier = EarlierSolutions(5, float, limit=4)
    side = np.arange(1.0, 6.0)
    earlier.add(side, side)
    earlier.add(2 * side, 2 * side)
    assert earlier.count == 1


@pytest.mark.parametrize("method", [GCRODR(restart=30, recycle=10), DeflatedCG(recycle=10)])
def test_what_first_solutions_were_wrong_by_is_learned_too(method: GCRODR | DeflatedCG) -> None:
    matrix, generator = darcy_matrix(20), np.random.default_rng(0)
    sides = generator.normal(size=(2, 400))
    state = prepare(matrix, method=method)
    taken = [int(solve(state, generator.normal(size=2) @ sides, rtol=1e-6).iterations[0]) for _ in range(10)]
    assert taken[0] > 20
    assert taken[5:] == [0] * 5


@pytest.mark.parametrize("method", [GCRODR(restart=30, recycle=10), DeflatedCG(recycle=10)])
def test_recycling_methods_need_no_iteration_for_a_combination_of_known_sides(method: GCRODR | DeflatedCG) -> None:
    matrix = darcy_matrix(20) if isinstance(method, DeflatedCG) else convection_matrix(20)
    sides = np.random.default_rng(0).normal(size=(3, 400))
    state = prepare(matrix, method=method)
    solve(state, sides, rtol=1e-10)
    mixed = sides[0] - 2 * sides[1] + 0.1 * sides[2]
    again = solve(state, mixed, rtol=1e-8)
    assert int(again.iterations[0]) == 0
    np.testing.assert_allclose(matrix @ again.value.numpy(), mixed, rtol=1e-6, atol=1e-7)
    # A guess of the user's is not overruled, and another matrix not taken for this one.
    given = solve(state, mixed, x0=np.ones(400), rtol=1e-8)
    assert int(given.iterations[0]) > 0
    update(state, darcy_matrix(20, step=0.3) if isinstance(method, DeflatedCG) else convection_matrix(20, seed=9))
    assert int(solve(state, mixed, rtol=1e-8).iterations[0]) > 0
