"""Local integral convolution: a learned kernel on a ball of fixed physical radius, the same operator on every grid."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import nn

from equipoise.nn.grid_padding import continuations, pad_field
from equipoise.nn.initialisation import seeded
from equipoise.nn.stencils import convolve, offset_matrix
from equipoise.spaces.grid import Grid

__all__ = ["LocalIntegralConvolution", "ball_basis"]

_ACROSS = {1: 64, 2: 24, 3: 12}
"""Quadrature points across the ball, along each axis."""


def ball_basis(dim: int, n_radial: int, n_angular: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Points in the unit ball, `(points, dim)`, and basis functions there, `(basis, points)`, each with sum one.

    Hats in the radius, nodes at i / n_radial, times periodic hats in the angle (in 2-D), or the two sides (in 1-D); the
    innermost hat, and all hats in 3-D, are isotropic. All vanish on the sphere.
    """
    across = _ACROSS[dim]
    axis = (2 * torch.arange(across, dtype=torch.float64) + 1) / across - 1
    points = torch.stack(torch.meshgrid(*[axis] * dim, indexing="ij"), -1).reshape(-1, dim)
    radius = torch.linalg.vector_norm(points, dim=-1)
    points, radius = points[radius <= 1], radius[radius <= 1]
    hats = [(1 - (radius * n_radial - i).abs()).clamp(min=0) for i in range(n_radial)]
    if dim == 2:
        position = torch.atan2(points[:, 1], points[:, 0]) / (2 * torch.pi / n_angular)
        distance = [((position - j + n_angular / 2) % n_angular - n_angular / 2).abs() for j in range(n_angular)]
        sectors = [(1 - d).clamp(min=0) for d in distance]
    elif dim == 1:
        sectors = [(points[:, 0] > 0).double(), (points[:, 0] < 0).double()]
    else:
        sectors = [torch.ones_like(radius)]
    basis = torch.stack([hats[0], *(hat * sector for hat in hats[1:] for sector in sectors)])
    return points, basis / basis.sum(1, keepdim=True)


class LocalIntegralConvolution(nn.Module):
    """`(K u)(x) = sum_b theta_b integral of psi_b(z) u(x + z) dz` over the ball `|z| <= radius`.

    The integrals are sums over fixed points z, each basis function has integral one, and u is interpolated between grid
    points by cubics. So constants map to `sum_b theta_b` times the constant on every grid, and the error against the
    limit is of fourth order in the spacing for smooth fields. Fields are zero beyond ends that are not periodic.

    Args:
        in_channels, out_channels: of the fields. dim: axes of the grid, 1 to 3.
        radius: in the units of the grid's bounds. n_radial, n_angular: basis functions along radius and angle; there
            are `1 + (n_radial - 1) n_angular` of them in 2-D.
        seed: of the initial weights.

    Raises:
        ValueError: for sizes out of range.

    Source: Ocampo et al. (2022), for discrete-continuous convolutions; Berner et al. (2025). Sampling the basis at
    grid points, as they do, leaves no point at all in a hat that is narrower than the spacing.
    """

    points: torch.Tensor
    basis: torch.Tensor

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        dim: int = 2,
        radius: float,
        n_radial: int = 2,
        n_angular: int = 4,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(in_channels, out_channels, n_radial, n_angular) < 1 or not 1 <= dim <= 3:
            raise ValueError("channels and basis functions must be positive, and dim one of 1, 2, 3.")
        if not 0 < radius < float("inf"):
            raise ValueError(f"radius={radius} must be positive.")
        self.config: dict[str, Any] = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "dim": dim,
            "radius": radius,
            "n_radial": n_radial,
            "n_angular": n_angular,
            "seed": seed,
        }
        points, basis = ball_basis(dim, n_radial, n_angular)
        self.register_buffer("points", points, persistent=False)
        self.register_buffer("basis", basis, persistent=False)
        with seeded(seed):
            weight = torch.randn(out_channels, in_channels, len(basis)) / (in_channels * len(basis)) ** 0.5
            self.weight = nn.Parameter(weight)
        self._stencils: dict[Grid, tuple[list[int], torch.Tensor]] = {}

    def stencil(self, grid: Grid) -> tuple[list[int], torch.Tensor]:
        """Number of the first grid point along each axis, and the basis as weights of points, `(basis, *stencil)`."""
        if grid not in self._stencils:
            weights = self.basis.double().cpu()
            first = []
            for axis, spacing in enumerate(grid.spacings):
                offsets = self.points[:, axis].double().cpu() * (self.config["radius"] / spacing)
                start, matrix = offset_matrix(offsets.tolist())
                first.append(start)
                weights = weights[..., None, :] * matrix
            self._stencils[grid] = (first, weights.sum(-1))
        return self._stencils[grid]

    def forward(
        self, inputs: Float[torch.Tensor, "batch channels *grid"], grid: Grid
    ) -> Float[torch.Tensor, "batch filters *grid"]:
        """The integrals at all points of the grid.

        Raises:
            ValueError: for a field that does not live on the grid, or a grid of other dimension.
        """
        grid.check_field(inputs)
        if grid.dim != self.config["dim"]:
            raise ValueError(f"the grid has {grid.dim} axes; this layer was made for {self.config['dim']}.")
        first, basis = self.stencil(grid)
        kernel = torch.tensordot(self.weight, basis.to(self.weight), dims=1)
        left = [-start for start in first]
        right = [size - 1 + start for size, start in zip(kernel.shape[2:], first, strict=True)]
        return convolve(pad_field(inputs, left, right, continuations(grid, "zeros")), kernel)
