"""Random functions of one variable, drawn once and evaluated at any points: Gaussian processes and polynomials.

`random_fields.py` draws stationary fields on grids of one to three dimensions; here points may lie anywhere.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float

__all__ = ["KERNELS", "GaussianProcess", "PolynomialFunctions", "wasserstein_distance"]

KERNELS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "squared-exponential": lambda ratio: torch.exp(-ratio.square() / 2),
    "exponential": lambda ratio: torch.exp(-ratio.abs()),
}
"""Covariances of unit variance by distance over length scale."""

_SMALLEST_EIGENVALUE = 1e-13


class GaussianProcess:
    """Gaussian process of mean zero and unit variance on an interval, by its Karhunen-Loeve expansion.

    Eigenfunctions are computed by Nystrom's method at Gauss-Legendre points and continued to any point exactly, so that
    one seed gives one function. Where the process is smooth, few terms hold all of it: at a length scale of a fifth of
    the interval, about 18.

    Args:
        length_scale: l. kernel: `"squared-exponential"`, `exp(-r^2 / (2 l^2))`, or `"exponential"`, `exp(-r / l)`.
        bounds: of the interval. n_terms: of the expansion; by default all with an eigenvalue of at least 1e-13 of the
            first. n_nodes: of the quadrature, which bounds the terms.

    Raises:
        ValueError: for another kernel, a length scale that is not positive, or no terms.
    """

    def __init__(
        self,
        *,
        length_scale: float,
        kernel: str = "squared-exponential",
        bounds: tuple[float, float] = (0.0, 1.0),
        n_terms: int | None = None,
        n_nodes: int = 128,
    ) -> None:
        if kernel not in KERNELS:
            raise ValueError(f"kernel={kernel!r} is unknown; use one of {', '.join(KERNELS)}.")
        if not length_scale > 0 or not bounds[0] < bounds[1]:
            raise ValueError(f"length_scale={length_scale} must be positive, and bounds {bounds} increasing.")
        if n_terms is not None and not 1 <= n_terms <= n_nodes:
            raise ValueError(f"n_terms={n_terms} must be at least 1 and at most n_nodes={n_nodes}.")
        self.length_scale, self.kernel, self.bounds = length_scale, kernel, bounds
        nodes, weights = (torch.as_tensor(part) for part in np.polynomial.legendre.leggauss(n_nodes))
        half = (bounds[1] - bounds[0]) / 2
        self._nodes, roots = bounds[0] + half * (nodes + 1), (half * weights).sqrt()
        values, vectors = torch.linalg.eigh(roots[:, None] * self.covariance(self._nodes, self._nodes) * roots)
        values, vectors = values.flip(0), vectors.flip(1)
        resolved = int((values > _SMALLEST_EIGENVALUE * values[0]).sum())
        kept = resolved if n_terms is None else n_terms
        # Terms that were asked for and cannot be told from rounding are zero.
        self.eigenvalues = torch.where(torch.arange(kept) < resolved, values[:kept], 0.0)
        inverse = torch.where(self.eigenvalues > 0, self.eigenvalues.clamp(min=1e-300).rsqrt(), 0.0)
        # Continues sqrt(lambda) e from the nodes to other points.
        self._continuation = roots[:, None] * vectors[:, :kept] * inverse
        first = self.covariance(torch.tensor([bounds[0]], dtype=torch.float64), self._nodes) @ self._continuation
        self._continuation = self._continuation * torch.where(first < 0, -1.0, 1.0)

    def covariance(
        self, first: Float[torch.Tensor, " n"], second: Float[torch.Tensor, " m"]
    ) -> Float[torch.Tensor, "n m"]:
        """Covariance of the values at pairs of points."""
        return KERNELS[self.kernel]((first[:, None] - second) / self.length_scale)

    def functions(self, points: Float[torch.Tensor, " n"]) -> Float[torch.Tensor, "terms n"]:
        """Eigenfunctions times the roots of their eigenvalues, `sqrt(lambda_i) e_i`; not negative at the lower end."""
        nodes, continuation = self._nodes.to(points.device), self._continuation.to(points.device)
        return (self.covariance(points.double(), nodes) @ continuation).T

    def sample(
        self, count: int, points: Float[torch.Tensor, " n"], generator: torch.Generator
    ) -> Float[torch.Tensor, "count n"]:
        """Draw functions and evaluate them; float64. The same generator state gives the same functions anywhere."""
        shape = (count, len(self.eigenvalues))
        draw = torch.randn(shape, generator=generator, dtype=torch.float64, device=generator.device)
        return draw @ self.functions(points.to(generator.device))


class PolynomialFunctions:
    """`sum_i a_i T_i(2 x - 1)` on the unit interval, coefficients uniform in `[-1, 1]`; or powers `x^i` for `T_i`.

    Args:
        n_terms: of the sum. kind: `"chebyshev"` or `"power"`.

    Raises:
        ValueError: for another kind, or no terms.

    Source: the spaces of Lu, Jin and Karniadakis (2019), with 20 terms.
    """

    def __init__(self, *, n_terms: int = 20, kind: str = "chebyshev") -> None:
        if kind not in ("chebyshev", "power") or n_terms < 1:
            raise ValueError(f"kind={kind!r} must be chebyshev or power, and n_terms={n_terms} at least 1.")
        self.n_terms, self.kind = n_terms, kind

    def sample(
        self, count: int, points: Float[torch.Tensor, " n"], generator: torch.Generator
    ) -> Float[torch.Tensor, "count n"]:
        """Draw functions and evaluate them at points of `[0, 1]`; float64."""
        shape = (count, self.n_terms)
        draw = 2 * torch.rand(shape, generator=generator, dtype=torch.float64, device=generator.device) - 1
        at = points.to(generator.device, torch.float64)
        degrees = torch.arange(self.n_terms, dtype=torch.float64, device=at.device)[:, None]
        if self.kind == "power":
            return draw @ at**degrees
        return draw @ torch.cos(degrees * torch.arccos((2 * at - 1).clamp(-1, 1)))


def wasserstein_distance(first: Float[torch.Tensor, "n n"], second: Float[torch.Tensor, "n n"]) -> float:
    """2-Wasserstein distance of two Gaussian processes of one mean, by their covariances at n equally spaced points.

    `sqrt(trace(K1 + K2 - 2 (K1 K2)^(1/2)) / n)`: the root mean square distance of their best coupling. The error of an
    operator on functions of another process than it was trained on grows with it.

    Source: Lu, Jin and Karniadakis (2019).
    """
    values, vectors = torch.linalg.eigh(first.double())
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    shared = torch.linalg.eigvalsh(root @ second.double() @ root).clamp(min=0).sqrt().sum()
    squared = first.double().trace() + second.double().trace() - 2 * shared
    return float((squared.clamp(min=0) / len(first)).sqrt())
