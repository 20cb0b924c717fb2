"""Lanczos' method and the random vectors made of its Ritz vectors."""

from __future__ import annotations

import pytest
import torch

from equipoise.problems.obstacles import domain
from equipoise.problems.pressure import PressurePoisson
from equipoise.solvers.ritz import lanczos, ritz_vectors


def _system(size: int, *, closed: bool = False) -> PressurePoisson:
    sides = ((False, not closed), (False, False))
    return PressurePoisson(domain("two boxes", (size, size))[None], open_sides=sides)


def test_rows_are_orthonormal_and_make_the_matrix_tridiagonal() -> None:
    system = _system(24)
    start = system.apply(torch.randn(1, 24, 24, dtype=torch.float64))[0]
    rows, diagonal, beside = lanczos(system.apply, start, 120)
    torch.testing.assert_close(rows @ rows.mT, torch.eye(120, dtype=torch.float64), rtol=0, atol=1e-12)
    images = system.apply(rows.view(-1, 24, 24)).flatten(1)
    expected = torch.diag(diagonal) + torch.diag(beside, 1) + torch.diag(beside, -1)
    torch.testing.assert_close(rows @ images.mT, expected, rtol=0, atol=1e-11)


def test_after_all_steps_ritz_values_are_the_eigenvalues() -> None:
    system = _system(8)
    ritz = ritz_vectors(system.apply, (8, 8), 64, torch.Generator().manual_seed(0))
    exact = torch.linalg.eigvalsh(torch.from_numpy(system.matrix().toarray()))
    torch.testing.assert_close(ritz.values, exact, rtol=0, atol=1e-10)
    torch.testing.assert_close(system.apply(ritz.vectors), ritz.values[:, None, None] * ritz.vectors, rtol=0, atol=1e-8)


def test_vectors_stay_orthogonal_to_the_null_space_of_a_closed_box() -> None:
    system = _system(16, closed=True)
    assert system.is_singular
    ritz = ritz_vectors(system.apply, (16, 16), 100, torch.Generator().manual_seed(0), project=system.project)
    assert ritz.values.min() > 1e-3
    assert ritz.vectors.flatten(1).sum(1).abs().max() < 1e-12


def test_the_lower_half_is_drawn_nine_times_as_large() -> None:
    system = _system(16)
    ritz = ritz_vectors(system.apply, (16, 16), 40, torch.Generator().manual_seed(0))
    drawn = ritz.coefficients(4000, torch.Generator().manual_seed(1))
    deviation = drawn.std(0)
    assert len(ritz.values) == 40
    assert (deviation[:22] - 9).abs().max() < 0.6
    assert (deviation[22:] - 1).abs().max() < 0.1
    combined = ritz.combine(drawn[:5])
    torch.testing.assert_close(combined.flatten(1).norm(dim=1), torch.ones(5, dtype=torch.float64))
    projected = combined.flatten(1) @ ritz.vectors.flatten(1).mT
    torch.testing.assert_close(projected, drawn[:5] / drawn[:5].norm(dim=1, keepdim=True))


def test_a_start_that_cannot_be_used_is_refused() -> None:
    with pytest.raises(ValueError, match="norm above zero"):
        lanczos(lambda field: field, torch.zeros(4, dtype=torch.float64), 2)


def test_an_invariant_space_ends_the_iteration() -> None:
    rows, diagonal, beside = lanczos(lambda field: 2 * field, torch.ones(5, dtype=torch.float64), 4)
    assert rows.shape == (1, 5)
    assert float(diagonal[0]) == pytest.approx(2)
    assert len(beside) == 0
