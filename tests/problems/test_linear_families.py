"""Families of linear systems that are no finite volumes: a published generator's matrices, and the slotted plate."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from equipoise.problems.inclusions import Inclusions
from equipoise.problems.linear_problem import LinearProblem
from equipoise.problems.published_matrices import DarcyPublished, HelmholtzPublished
from equipoise.problems.registry import make_problem
from equipoise.problems.thermal import Thermal

SMALL: dict[str, Callable[[], LinearProblem]] = {
    "darcy-published": lambda: DarcyPublished(resolution=14),
    "helmholtz-published": lambda: HelmholtzPublished(resolution=14),
    "thermal": Thermal,
    "inclusions": lambda: Inclusions(resolution=11, count=2, radius=0.18),
}


@pytest.mark.parametrize("name", SMALL)
def test_residual_of_the_solution_vanishes_and_matches_the_matrix(name: str) -> None:
    problem = SMALL[name]()
    inputs = problem.sample(2, torch.Generator().manual_seed(0))
    found = problem.solve(inputs)
    matrix, rhs = problem.assemble(inputs[1])
    scale = max(float(np.abs(one.data).max()) for one, _ in problem.systems(inputs))
    assert float(problem.residual(inputs, found).abs().max()) < 1e-12 * max(scale, 1.0) * float(found.abs().max())
    trial = np.random.default_rng(0).standard_normal(len(rhs))
    residual = problem.residual(inputs[1:], torch.as_tensor(problem.embed(trial, inputs[1]))[None])[0]
    # As many values as unknowns balance, and they are those of the system in its own order.
    moved = np.sort(residual.flatten()[residual.flatten() != 0].numpy())
    np.testing.assert_allclose(moved, np.sort(matrix @ trial - rhs), rtol=1e-9, atol=1e-12 * scale)


@pytest.mark.parametrize("name", SMALL)
def test_seed_decides_and_batch_equals_loop(name: str) -> None:
    problem = SMALL[name]()
    first, second = (problem.sample(3, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert len(problem.features(first)) == 3
    alone = torch.cat([SMALL[name]().solve(row[None]) for row in first])
    torch.testing.assert_close(problem.solve(first), alone, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", SMALL)
def test_residual_is_differentiable_and_structure_is_as_told(name: str) -> None:
    problem = make_problem(name) if name == "thermal" else SMALL[name]()
    inputs = problem.sample(1, torch.Generator().manual_seed(0))
    outputs = torch.randn(1, 1, *problem.grid.shape, dtype=torch.float64, requires_grad=True)
    direction = torch.randn_like(outputs)
    problem.residual(inputs, outputs).pow(2).sum().backward()
    assert outputs.grad is not None
    with torch.no_grad():
        plus, minus = (problem.residual(inputs, outputs + h * direction).pow(2).sum() for h in (0.5, -0.5))
    torch.testing.assert_close((outputs.grad * direction).sum(), plus - minus, rtol=1e-9, atol=1e-9)
    matrix = problem.assemble(inputs[0])[0]
    assert (abs(matrix - matrix.T).max() < 1e-12) == problem.is_symmetric


def _literal_matrix(coefficient: np.ndarray, shift: float) -> np.ndarray:
    """The published assembly by its diagonals, on a copy."""
    a = coefficient.copy()
    s = len(a) - 2
    a[1:-1, 0] = a[1:-1, -1] = 0
    above = a[:-2, 1:-1].ravel()[s - 2 :]
    diagonals = [
        -a[1:-1, :-2].ravel()[1:],
        -above[: s * s - s],
        4 * a[1:-1, 1:-1].ravel() - shift,
        -a[2:, 1:-1].ravel()[: s * s - s],
        -a[1:-1, 2:].ravel()[:-1],
    ]
    return sp.diags_array(diagonals, offsets=[-1, -s, 0, s, 1]).toarray()


def test_published_matrices_equal_the_literal_assembly() -> None:
    problem = HelmholtzPublished(resolution=12)
    inputs = problem.sample(1, torch.Generator().manual_seed(0))[0]
    matrix, rhs = problem.assemble(inputs)
    k = float(inputs[1, 0, 0])
    assert 0 < k < 1
    np.testing.assert_array_equal(matrix.toarray(), _literal_matrix(inputs[0].numpy(), (k / 9) ** 2))
    np.testing.assert_allclose(rhs, 1 / 81)
    darcy = DarcyPublished(resolution=12).assemble(inputs[:1])[0]
    np.testing.assert_allclose((darcy - matrix).toarray(), (k / 9) ** 2 * np.eye(100), atol=1e-15)


def test_published_matrices_are_one_laplacian_times_the_coefficient_but_for_the_slip() -> None:
    problem = DarcyPublished(resolution=12)
    inputs = problem.sample(2, torch.Generator().manual_seed(0))
    one = sp.diags_array([-np.ones(9), 2 * np.ones(10), -np.ones(9)], offsets=[-1, 0, 1])
    laplacian = sp.kron(one, sp.eye_array(10)) + sp.kron(sp.eye_array(10), one)
    for row in inputs:
        slipped = problem.assemble(row)[0].toarray() - laplacian.toarray() * row[0, 1:-1, 1:-1].numpy().ravel()
        off = np.diagonal(slipped, -10).copy()
        assert np.abs(off).max() > 0.01
        slipped[np.arange(10, 100), np.arange(90)] = 0
        np.testing.assert_allclose(slipped, 0, atol=1e-14)


def test_published_matrices_have_eigenvalues_of_both_signs_next_to_zero() -> None:
    problem = DarcyPublished(resolution=34)
    inputs = problem.sample(2, torch.Generator().manual_seed(0))
    for row in inputs:
        values = np.linalg.eigvals(problem.assemble(row)[0].toarray())
        nearest = values[np.argsort(np.abs(values))[:12]].real
        assert nearest.min() < 0 < nearest.max()
    # A flow would be positive everywhere.
    assert (problem.solve(inputs).amin((1, 2, 3)) < 0).all()


def test_wavenumber_counts_once_in_the_distance() -> None:
    problem = HelmholtzPublished(resolution=8)
    inputs = problem.sample(2, torch.Generator().manual_seed(0))
    inputs[1, 0] = inputs[0, 0]
    gap = torch.linalg.norm(torch.diff(problem.features(inputs), dim=0))
    torch.testing.assert_close(gap, (inputs[1, 1, 0, 0] - inputs[0, 1, 0, 0]).abs())


def test_plate_answers_linearly_in_its_two_data_with_one_matrix() -> None:
    problem = Thermal()
    ones = torch.ones(1, 1, *problem.grid.shape, dtype=torch.float64)
    inputs = torch.cat([torch.cat([t * ones, q * ones], 1) for t, q in ((1.0, 0.0), (0.0, 1.0), (30.0, -7.0))])
    warm, flux, mixed = problem.solve(inputs)
    plate = warm != 0
    torch.testing.assert_close(warm[plate], torch.ones_like(warm[plate]))
    torch.testing.assert_close(mixed, 30 * warm - 7 * flux)
    # All the heat that enters through the right edge, of length 1.6, crosses each column of the plate.
    assert float(flux[0, -1].min()) > 1.0
    # Points inside the slot: 3 by 31.
    assert int((~plate).sum()) == 3 * 31
    for row in inputs:
        assert problem.assemble(row)[0] is problem.assemble(inputs[0])[0]


def test_plate_converges() -> None:
    ends = []
    for n in (41, 81, 121):
        problem = Thermal(resolution=n)
        one = torch.ones(1, 1, *problem.grid.shape, dtype=torch.float64)
        found = problem.solve(torch.cat([0 * one, one], 1))[0, 0]
        ends.append(float(found[-1, 0]))
    # The corners of the slot leave an order of 4/3 in such a value.
    assert abs(ends[2] - ends[1]) < 0.6 * abs(ends[1] - ends[0]) < 0.01


def test_each_inclusion_adds_one_eigenvalue_next_to_zero_with_nearly_the_same_vector() -> None:
    problem = Inclusions(resolution=14, count=4, radius=0.15)
    assert sorted(set(problem.balls.flatten().tolist())) == [0, 1, 2, 3, 4]
    spaces = []
    for row in problem.sample(2, torch.Generator().manual_seed(0)):
        assert float(row.min()) == 1
        assert 1e4 <= float(row[row > 1].min()) < float(row.max()) <= 1e6
        matrix = problem.assemble(row)[0].toarray()
        root = np.sqrt(np.diag(matrix))
        values, vectors = np.linalg.eigh(matrix / np.outer(root, root))
        assert values[3] < 1e-3 < 1e-2 < values[4]
        spaces.append(np.linalg.qr(vectors[:, :4] / root[:, None])[0])
    assert np.linalg.svd(spaces[0].T @ spaces[1])[1].min() > 0.999


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="1 more than a multiple of 40"):
        Thermal(resolution=50)
    with pytest.raises(ValueError, match="resolution=4 of darcy-published must be at least 5"):
        DarcyPublished(resolution=4)
    with pytest.raises(ValueError, match=r"60 balls of radius .* do not fit"):
        Inclusions(count=60, radius=0.2)
    with pytest.raises(ValueError, match="contrast=10 must be at least 100"):
        Inclusions(contrast=10.0)
    problem = Thermal()
    inputs = problem.sample(2, torch.Generator())
    inputs[1, 0, 3, 3] += 1
    with pytest.raises(ValueError, match="channels of sample 1 must be constant"):
        problem.residual(inputs, inputs[:, :1])
