"""Lockstep conjugate gradients equal dense solves, sample by sample."""

from __future__ import annotations

import torch

from equipoise.solvers.linear import conjugate_gradient
from equipoise.solvers.solution import Result


def _family(count: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    factor = torch.randn(count, size, size, generator=generator, dtype=torch.float64)
    matrices = factor @ factor.mT + size * torch.eye(size, dtype=torch.float64)
    return matrices, torch.randn(count, size, generator=generator, dtype=torch.float64)


def test_solves_every_system_of_a_family_in_lockstep() -> None:
    matrices, rhs = _family(5, 12)
    solution = conjugate_gradient(
        lambda x, rows: torch.einsum("nij,nj->ni", matrices[rows], x), rhs, preconditioner=lambda r: r, rtol=1e-12
    )
    assert bool(solution.converged.all())
    torch.testing.assert_close(solution.value, torch.linalg.solve(matrices, rhs), rtol=1e-9, atol=1e-10)


def test_exact_preconditioner_needs_one_iteration() -> None:
    matrices, rhs = _family(1, 12)
    inverse = torch.linalg.inv(matrices[0])
    solution = conjugate_gradient(
        lambda x, rows: x @ matrices[0].T, rhs, preconditioner=lambda r: r @ inverse.T, rtol=1e-10
    )
    assert solution.iterations.tolist() == [1]


def test_a_zero_right_hand_side_is_solved_by_zero_at_once() -> None:
    matrices, rhs = _family(2, 4)
    rhs[1] = 0
    solution = conjugate_gradient(
        lambda x, rows: torch.einsum("nij,nj->ni", matrices[rows], x), rhs, preconditioner=lambda r: r
    )
    assert int(solution.iterations[1]) == 0
    assert bool((solution.value[1] == 0).all())


def test_an_indefinite_system_ends_in_breakdown_and_leaves_the_others_alone() -> None:
    matrices, rhs = _family(2, 4)
    matrices[0] = -matrices[0]
    solution = conjugate_gradient(
        lambda x, rows: torch.einsum("nij,nj->ni", matrices[rows], x), rhs, preconditioner=lambda r: r, rtol=1e-12
    )
    assert solution.result.tolist() == [Result.BREAKDOWN, Result.CONVERGED]


def test_iteration_limit_is_reported() -> None:
    matrices, rhs = _family(1, 12)
    solution = conjugate_gradient(
        lambda x, rows: x @ matrices[0].T, rhs, preconditioner=lambda r: r, rtol=1e-14, maxiter=2
    )
    assert solution.result.tolist() == [Result.MAX_ITERATIONS]
    assert len(solution.history) == 3
