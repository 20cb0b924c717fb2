"""Random functions: Karhunen-Loeve terms against an eigen-solver and closed forms, covariance, distances."""

from __future__ import annotations

import math

import pytest
import torch

from equipoise.spaces.random_functions import GaussianProcess, PolynomialFunctions, wasserstein_distance


@pytest.mark.parametrize("length_scale", [0.1, 0.2, 0.5])
def test_eigenvalues_are_those_of_the_kernel_on_a_fine_grid(length_scale: float) -> None:
    process = GaussianProcess(length_scale=length_scale)
    x = (torch.arange(800, dtype=torch.float64) + 0.5) / 800
    exact = torch.linalg.eigvalsh(process.covariance(x, x)).flip(0)[:8] / 800
    torch.testing.assert_close(process.eigenvalues[:8], exact, rtol=1e-4, atol=1e-9)
    assert float(process.eigenvalues.sum()) == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize(("length_scale", "terms"), [(0.1, 31), (0.2, 18), (0.5, 11)])
def test_smooth_processes_have_as_many_terms_as_published(length_scale: float, terms: int) -> None:
    assert len(GaussianProcess(length_scale=length_scale).eigenvalues) == pytest.approx(terms, abs=1)


def test_first_eigenvalue_of_the_exponential_kernel_is_the_root_of_its_equation() -> None:
    # On an interval of half width a: 2 c / (w^2 + c^2) with c = 1 / l and the first root of c - w tan(w a) = 0.
    c, a, low, high = 2.0, 0.5, 1e-9, math.pi - 1e-9
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if c - middle * math.tan(middle * a) > 0 else (low, middle)
    found = GaussianProcess(length_scale=1 / c, kernel="exponential", n_terms=4)
    assert float(found.eigenvalues[0]) == pytest.approx(2 * c / (low**2 + c**2), rel=1e-4)


def test_functions_are_orthogonal_and_rebuild_the_covariance_anywhere() -> None:
    process = GaussianProcess(length_scale=0.3, bounds=(-1.0, 2.0))
    points = torch.tensor([-1.0, -0.123, 0.4567, 1.9, 2.0], dtype=torch.float64)
    functions = process.functions(points)
    torch.testing.assert_close(functions.T @ functions, process.covariance(points, points), rtol=0, atol=1e-8)
    assert bool((functions[:8, 0] >= 0).all())


def test_sampled_covariance_is_the_kernel() -> None:
    process = GaussianProcess(length_scale=0.2)
    points = torch.linspace(0, 1, 6, dtype=torch.float64)
    drawn = process.sample(100_000, points, torch.Generator().manual_seed(0))
    assert float((torch.cov(drawn.T) - process.covariance(points, points)).abs().max()) < 1e-2


def test_one_seed_gives_one_function() -> None:
    for functions in (GaussianProcess(length_scale=0.2), PolynomialFunctions(), PolynomialFunctions(kind="power")):
        few, many = (
            functions.sample(3, torch.linspace(0, 1, n, dtype=torch.float64), torch.Generator().manual_seed(2))
            for n in (5, 9)
        )
        torch.testing.assert_close(many[:, ::2], few)


def test_polynomials_are_what_they_are_called() -> None:
    points = torch.linspace(0, 1, 30, dtype=torch.float64)
    for kind in ("chebyshev", "power"):
        drawn = PolynomialFunctions(n_terms=4, kind=kind).sample(5, points, torch.Generator().manual_seed(0))
        assert float(drawn.diff(n=4, dim=1).abs().max()) < 1e-12
        assert float(drawn.diff(n=3, dim=1).abs().max()) > 1e-6
    one = PolynomialFunctions(n_terms=1).sample(1, points, torch.Generator().manual_seed(0))
    assert float(one.diff(dim=1).abs().max()) == 0


def test_distance_of_equal_processes_is_zero_and_of_scaled_ones_the_difference_of_their_deviations() -> None:
    points = torch.linspace(0, 1, 40, dtype=torch.float64)
    kernel = GaussianProcess(length_scale=0.2).covariance(points, points)
    assert wasserstein_distance(kernel, kernel) < 1e-6
    assert wasserstein_distance(kernel, 4 * kernel) == pytest.approx(1.0, abs=1e-6)
    others = [GaussianProcess(length_scale=scale).covariance(points, points) for scale in (0.15, 0.1)]
    near, far = (wasserstein_distance(kernel, other) for other in others)
    assert 0 < near < far


def test_bad_options_are_named() -> None:
    with pytest.raises(ValueError, match="kernel='cubic'"):
        GaussianProcess(length_scale=0.2, kernel="cubic")
    with pytest.raises(ValueError, match="n_terms=0"):
        GaussianProcess(length_scale=0.2, n_terms=0)
    with pytest.raises(ValueError, match="length_scale=0"):
        GaussianProcess(length_scale=0)
    with pytest.raises(ValueError, match="kind='sine'"):
        PolynomialFunctions(kind="sine")
