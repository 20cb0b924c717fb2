"""Elliptic families: second order against manufactured solutions, residual zero at the solution, seed and batch."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from equipoise.problems.elliptic import Darcy, EllipticFields, EllipticProblem, Helmholtz, HelmholtzMedium, Poisson
from equipoise.spaces.grid import Grid

SMALL: dict[str, Callable[[], EllipticProblem]] = {
    "darcy, piecewise": lambda: Darcy(resolution=17),
    "darcy, log-normal": lambda: Darcy(resolution=17, coefficient="log-normal"),
    "darcy, trigonometric": lambda: Darcy(resolution=17, coefficient="trigonometric"),
    "darcy, smooth": lambda: Darcy(resolution=17, coefficient="smooth"),
    "poisson": lambda: Poisson(resolution=15),
    "poisson, chebyshev": lambda: Poisson(resolution=15, data="chebyshev"),
    "helmholtz": lambda: Helmholtz(resolution=19),
    "helmholtz, medium": lambda: HelmholtzMedium(resolution=19),
}


class Manufactured(EllipticProblem):
    """`u = sin(2 x) exp(y)` on a rectangle with a smooth conductivity and reaction."""

    name, input_names = "manufactured", ("unused",)

    def sample(self, count: int, generator: torch.Generator) -> torch.Tensor:
        return torch.zeros(count, 1, *self.grid.shape, dtype=torch.float64)

    def exact(self) -> torch.Tensor:
        x, y = self.grid.points().unbind(-1)
        return torch.sin(2 * x) * torch.exp(y)

    def fields(self, inputs: torch.Tensor) -> EllipticFields:
        x, y = self.grid.points().unbind(-1)
        u = self.exact()
        a, q = 2 + torch.sin(x + y), x * y
        slope = torch.cos(x + y)
        flux = a * (-4 * u + u) + slope * (2 * torch.cos(2 * x) * torch.exp(y) + u)
        return EllipticFields(*(field.expand(len(inputs), -1, -1) for field in (a, q, -flux - q * u, u)))


def test_error_falls_at_second_order() -> None:
    errors = []
    for n in (17, 33):
        problem = Manufactured(Grid((n, n + 4), ((0.0, 1.5), (-1.0, 1.0))))
        found = problem.solve(problem.sample(1, torch.Generator()))[0, 0]
        errors.append(float((found - problem.exact()).abs().max()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.2)


def test_three_dimensional_box_with_a_harmonic_solution_is_exact() -> None:
    class Harmonic(EllipticProblem):
        name, input_names = "harmonic", ("unused",)

        def sample(self, count: int, generator: torch.Generator) -> torch.Tensor:
            return torch.zeros(count, 1, *self.grid.shape, dtype=torch.float64)

        def fields(self, inputs: torch.Tensor) -> EllipticFields:
            x, y, z = self.grid.points().unbind(-1)
            zero = torch.zeros_like(inputs[:, 0])
            return EllipticFields(zero + 1, zero, zero, zero + x**2 + y**2 - 2 * z**2)

    problem = Harmonic(Grid((5, 6, 7)))
    x, y, z = problem.grid.points().unbind(-1)
    found = problem.solve(problem.sample(1, torch.Generator()))[0, 0]
    torch.testing.assert_close(found, x**2 + y**2 - 2 * z**2)


@pytest.mark.parametrize("name", SMALL)
def test_residual_of_the_solution_vanishes_and_matches_the_matrix(name: str) -> None:
    problem = SMALL[name]()
    inputs = problem.sample(2, torch.Generator().manual_seed(0))
    found = problem.solve(inputs)
    scale = float(problem.fields(inputs).conductivity.max() * found.abs().max() / problem.grid.spacings[0] ** 2)
    assert float(problem.residual(inputs, found).abs().max()) < 1e-12 * scale
    matrix, rhs = problem.assemble(inputs[0])
    trial = torch.randn(1, 1, *problem.grid.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    inside = np.zeros(problem.grid.shape, dtype=bool)
    inside[1:-1, 1:-1] = True
    boundary = problem.fields(inputs[:1]).boundary[0]
    trial[0, 0] = torch.where(torch.as_tensor(inside), trial[0, 0], boundary)
    expected = matrix @ trial[0, 0].numpy()[inside] - rhs
    residual = problem.residual(inputs[:1], trial)[0, 0].numpy()
    np.testing.assert_allclose(residual[inside], expected, rtol=1e-9, atol=1e-9)
    assert np.abs(residual[~inside]).max() == 0
    if not name.startswith("helmholtz"):
        np.testing.assert_allclose((matrix - matrix.T).toarray(), 0, atol=1e-9)
        assert np.linalg.eigvalsh(matrix.toarray())[0] > 0


@pytest.mark.parametrize("name", SMALL)
def test_seed_decides_and_batch_equals_loop(name: str) -> None:
    problem = SMALL[name]()
    first, second = (problem.sample(3, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
    alone = torch.cat([SMALL[name]().solve(row[None]) for row in first])
    torch.testing.assert_close(problem.solve(first), alone, rtol=1e-10, atol=1e-12)


def test_darcy_draws_what_it_says() -> None:
    generator = torch.Generator().manual_seed(0)
    piecewise = Darcy(resolution=33).sample(50, generator)
    assert sorted(set(piecewise.flatten().tolist())) == [3.0, 12.0]
    assert 0.4 < float((piecewise == 12).double().mean()) < 0.6
    logarithm = Darcy(resolution=33, coefficient="log-normal").sample(200, generator).log()
    assert float(logarithm.var()) == pytest.approx(1.0, rel=0.2)
    waves = Darcy(resolution=65, coefficient="trigonometric").sample(20, generator)
    contrast = waves.amax((1, 2, 3)) / waves.amin((1, 2, 3))
    assert float(waves.min()) > 0
    assert 500 < float(contrast.median()) < 5e4


def test_smooth_conductivity_is_periodic_of_small_contrast_and_the_same_at_any_resolution() -> None:
    coarse, fine = (
        Darcy(resolution=n, coefficient="smooth").sample(40, torch.Generator().manual_seed(0)) for n in (17, 33)
    )
    torch.testing.assert_close(fine[..., ::2, ::2], coarse)
    torch.testing.assert_close(fine[..., 0, :], fine[..., -1, :])
    assert 0.15 < float(fine.log().std()) < 0.21
    assert 0.4 < float(fine.min()) < float(fine.max()) < 2.2


@pytest.mark.parametrize("coefficient", ["piecewise", "log-normal", "smooth"])
def test_darcy_in_the_cube_balances_and_is_positive_definite(coefficient: str) -> None:
    problem = Darcy(resolution=9, coefficient=coefficient, dim=3)
    inputs = problem.sample(2, torch.Generator().manual_seed(0))
    found = problem.solve(inputs)
    assert found.shape == (2, 1, 9, 9, 9)
    assert float(problem.residual(inputs, found).abs().max()) < 1e-11
    matrix, rhs = problem.assemble(inputs[1])
    np.testing.assert_allclose(matrix @ found[1, 0, 1:-1, 1:-1, 1:-1].numpy().ravel(), rhs, rtol=1e-10)
    assert np.linalg.eigvalsh(matrix.toarray())[0] > 0
    if coefficient == "log-normal":
        assert float(problem.sample(30, torch.Generator().manual_seed(1)).log().var()) == pytest.approx(1, rel=0.4)


def test_helmholtz_in_a_medium_is_indefinite_at_the_wavenumbers_that_it_is_for() -> None:
    for k in (20.0, 30.0):
        problem = HelmholtzMedium(resolution=41, wavenumber=k)
        matrix = problem.assemble(problem.sample(1, torch.Generator().manual_seed(0))[0])[0]
        # Weyl: about k^2 / (4 pi) modes of the square lie below the wavenumber, fewer by its edges.
        below = int((np.linalg.eigvalsh(matrix.toarray()) < 0).sum())
        assert 0.6 * k**2 / (4 * np.pi) < below < 1.2 * k**2 / (4 * np.pi)


def test_chebyshev_data_are_sums_of_order_five_along_x_and_have_one_matrix() -> None:
    problem = Poisson(resolution=33, data="chebyshev")
    source, boundary = problem.sample(3, torch.Generator().manual_seed(0)).unbind(1)
    x = problem.grid.axis(0).numpy()
    for field in (source[0, :, 7], boundary[1, 1:-1, 0], boundary[2, 1:-1, -1]):
        points = x if len(field) == 33 else x[1:-1]
        sums, (left, *_) = np.polynomial.chebyshev.chebfit(points, field.numpy(), 5, full=True)
        assert np.abs(sums).max() <= 1 + 1e-9
        assert left.sum() < 1e-20
    assert torch.equal(source, source[:, :, :1].expand_as(source))
    assert torch.equal(boundary[:, 0], boundary[:, 0, :1].expand(-1, 33))
    assert float(boundary[:, 1:-1, 1:-1].abs().max()) == 0
    first, second = (problem.assemble(row)[0] for row in problem.sample(2, torch.Generator().manual_seed(1)))
    np.testing.assert_array_equal(first.toarray(), second.toarray())


def test_residual_is_differentiable() -> None:
    problem = Darcy(resolution=5)
    inputs = problem.sample(1, torch.Generator().manual_seed(0)).requires_grad_()
    outputs = torch.randn(1, 1, 5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(problem.residual, (inputs, outputs))


def test_bad_input_is_named() -> None:
    problem = Darcy(resolution=5)
    inputs = torch.ones(2, 1, 5, 5, dtype=torch.float64)
    inputs[1, 0, 2, 2] = -1
    with pytest.raises(ValueError, match="conductivity of sample 1 falls to -1"):
        problem.solve(inputs)
    with pytest.raises(ValueError, match="use piecewise, log-normal, smooth or trigonometric"):
        Darcy(coefficient="rough")
    with pytest.raises(ValueError, match="dim=3 must be 2 or 3, and 2 for the trigonometric"):
        Darcy(coefficient="trigonometric", dim=3)
    with pytest.raises(ValueError, match="use gaussian or chebyshev"):
        Poisson(data="fourier")
    with pytest.raises(ValueError, match="at least 3 points"):
        Poisson(resolution=2)
