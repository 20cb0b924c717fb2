"""Newton's method with a line search for many small convex minimisations at once.

All samples advance together, so that every evaluation is a few large matrix products; finished samples leave the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

from equipoise.solvers.solution import Result, Solution

__all__ = ["EnergyForms", "lockstep_newton"]

_SHORTEST_STEP = 2.0**-30
_SUFFICIENT_DECREASE = 1e-4
_ENERGY_ROUND_OFF = 1e-13


class EnergyForms(NamedTuple):
    """An energy of r coefficients with its derivatives, for n samples.

    Attributes:
        energy: `(n,)`; `inf` outside the domain, where the derivatives mean nothing.
        gradient: `(n, r)`. hessian: `(n, r, r)`.
    """

    energy: torch.Tensor
    gradient: torch.Tensor
    hessian: torch.Tensor


def lockstep_newton(
    evaluate: Callable[[torch.Tensor, torch.Tensor], EnergyForms],
    start: torch.Tensor,
    *,
    rtol: float,
    max_iterations: int,
) -> Solution:
    """Minimise one convex energy per sample.

    Args:
        evaluate: `(rows, values)` to the energy and its derivatives of these samples; `rows` `(k,)`, `values` `(k, r)`.
        start: first iterates, `(n, r)`, inside the domain.
        rtol: a sample has converged when half the squared Newton decrement is below `rtol**2` of the largest energy
            that it has passed; the step is still taken, so that the error left is far smaller than `rtol`.
        max_iterations: Newton steps per sample, at least 1. The last one is taken without a line search test.

    Returns:
        The iterates; `residual` is the last relative decrement, the square root of that energy ratio.

    Source: Boyd and Vandenberghe (2004), section 9.5.
    """
    count = len(start)
    value, step = start.clone(), torch.zeros_like(start)
    base, slope = start.new_full((count,), torch.inf), start.new_zeros(count)
    length, scale = start.new_ones(count), start.new_zeros(count)
    residual = start.new_full((count,), torch.inf)
    result = torch.full((count,), int(Result.MAX_ITERATIONS), device=start.device)
    iterations = torch.zeros(count, dtype=torch.int64, device=start.device)
    rows = torch.arange(count, device=start.device)
    while len(rows):
        trial = value[rows] + length[rows, None] * step[rows]
        forms = evaluate(rows, trial)
        slack = _ENERGY_ROUND_OFF * base[rows].abs().nan_to_num(posinf=0.0)
        ceiling = base[rows] + _SUFFICIENT_DECREASE * length[rows] * slope[rows] + slack
        accepted = torch.isfinite(forms.energy) & (forms.energy <= ceiling)
        kept = rows[accepted]
        value[kept], base[kept] = trial[accepted], forms.energy[accepted]
        direction, decrement = _newton_direction(forms, accepted)
        scale[kept] = torch.maximum(scale[kept], base[kept].abs())
        relative = torch.where(decrement == 0, torch.zeros_like(decrement), (decrement / (2 * scale[kept])).sqrt())
        residual[kept], step[kept], slope[kept], length[kept] = relative, direction, -decrement, 1.0
        converged = relative <= rtol
        result[kept[converged]] = int(Result.CONVERGED)
        broken = ~torch.isfinite(relative)
        result[kept[broken]] = int(Result.BREAKDOWN)
        last = converged | (iterations[kept] + 1 >= max_iterations)
        finished = kept[last & ~broken]
        iterations[kept[~broken]] += 1
        value[finished] += step[finished]
        refused = rows[~accepted]
        length[refused] /= 2
        outside = torch.isinf(base[refused])
        result[refused[outside]] = int(Result.NON_FINITE_INPUT)
        stuck = outside | (length[refused] < _SHORTEST_STEP)
        result[refused[stuck & ~outside]] = int(Result.STAGNATION)
        rows = torch.cat([kept[~last & ~broken], refused[~stuck]]).sort().values
    return Solution(value, result, iterations, residual)


def _newton_direction(forms: EnergyForms, accepted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Newton direction and squared decrement of the accepted samples."""
    hessian, gradient = forms.hessian[accepted], forms.gradient[accepted]
    factor, info = torch.linalg.cholesky_ex(hessian)
    direction = -torch.cholesky_solve(gradient[..., None], factor)[..., 0]
    decrement = -(gradient * direction).sum(-1)
    return direction, torch.where(info == 0, decrement, torch.full_like(decrement, torch.nan))
