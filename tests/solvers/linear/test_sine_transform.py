"""The fast Laplace inverse as a preconditioner: exact where the coefficient is constant, close elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

import equipoise.solvers.linear.sine_transform as module
from equipoise.problems import Darcy
from equipoise.solvers.linear import SineTransform, prepare, solve
from equipoise.solvers.linear.operators import as_operator


def laplace(shape: tuple[int, ...], spacings: tuple[float, ...]) -> sp.csr_array:
    total: sp.csr_array | None = None
    for points, spacing in zip(shape, spacings, strict=True):
        values = [-np.ones(points - 1), 2 * np.ones(points), -np.ones(points - 1)]
        line = sp.diags_array(values, offsets=[-1, 0, 1]) / spacing**2
        total = line if total is None else sp.kronsum(line, total)
    return sp.csr_array(total)


@pytest.mark.parametrize("single", [1, 8192])
@pytest.mark.parametrize("longest", [512, 4])
@pytest.mark.parametrize(("shape", "spacings"), [((7, 9), (0.3, 0.1)), ((5, 6, 7), (1.0, 0.5, 0.25)), ((11,), (0.1,))])
def test_inverts_the_laplace_operator_to_its_precision(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], spacings: tuple[float, ...], longest: int, single: int
) -> None:
    monkeypatch.setattr(module, "_SINGLE", single)
    monkeypatch.setattr(module, "_LONGEST_PRODUCT", longest)
    matrix = laplace(shape, spacings)
    inverse = SineTransform(shape, spacings).build(as_operator(matrix))
    expected = np.random.default_rng(0).standard_normal(matrix.shape[0])
    found = np.empty_like(expected)
    inverse.apply(1e80 * (matrix @ expected), found)  # beyond the range of single precision
    np.testing.assert_allclose(found / 1e80, expected, atol=(3e-5 if single == 1 else 1e-12) * np.abs(expected).max())


@pytest.mark.parametrize(("coefficient", "scaled"), [("piecewise", False), ("log-normal", True)])
def test_iterations_do_not_grow_with_the_resolution(coefficient: str, scaled: bool) -> None:
    counts = []
    for resolution in (33, 65, 97):
        problem = Darcy(resolution=resolution, coefficient=coefficient)
        matrix, rhs = problem.assemble(problem.sample(1, torch.Generator().manual_seed(0))[0])
        inner, spacing = resolution - 2, 1 / (resolution - 1)
        state = prepare(matrix, SineTransform((inner, inner), (spacing, spacing), scaled), method="cg")
        counts.append(int(solve(state, rhs, rtol=1e-8).iterations[0]))
    assert max(counts) <= 22
    assert counts[-1] <= counts[0] + 3


def test_what_does_not_fit_is_named() -> None:
    matrix = laplace((4, 4), (0.2, 0.2))
    with pytest.raises(ValueError, match="one for each axis"):
        SineTransform((4, 4), (0.2,))
    with pytest.raises(ValueError, match=r"shape \(4, 5\) does not have the 16 unknowns"):
        prepare(matrix, SineTransform((4, 5), (0.2, 0.2)), method="cg")
    with pytest.raises(ValueError, match="real matrices only"):
        prepare(matrix.astype(complex), SineTransform((4, 4), (0.2, 0.2)), method="gmres")
    with pytest.raises(ValueError, match=r"needs a positive diagonal, and A\[0, 0\] is -"):
        prepare(-matrix, SineTransform((4, 4), (0.2, 0.2), scaled=True), method="gmres")
