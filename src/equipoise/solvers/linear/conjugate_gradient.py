"""Preconditioned conjugate gradients for many symmetric positive definite systems in lockstep.

The systems differ; the preconditioner may be one for all, so that its application is one block operation.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from equipoise.solvers.solution import Result, Solution

__all__ = ["conjugate_gradient"]


def conjugate_gradient(
    operator: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    rhs: torch.Tensor,
    *,
    preconditioner: Callable[[torch.Tensor], torch.Tensor],
    x0: torch.Tensor | None = None,
    rtol: torch.Tensor | float = 1e-8,
    maxiter: int = 200,
) -> Solution:
    """Solve `A_i x_i = b_i` for all `i` at once; finished systems drop out of the work.

    Args:
        operator: `operator(x, rows)` applies `A_i` to the rows `x` `(m, N)` of the systems numbered `rows` `(m,)`.
        rhs: right-hand sides, `(n, N)`.
        preconditioner: maps residuals `(m, N)` to `(m, N)`; symmetric positive definite.
        x0: initial guesses, `(n, N)`; zero by default.
        rtol: bound on `sqrt(r.P r / b.P b)`, one for all or one per system.
        maxiter: largest number of iterations.

    Source: Hestenes and Stiefel (1952).
    """
    count = rhs.shape[0]
    value = torch.zeros_like(rhs) if x0 is None else x0.clone()
    rows = torch.arange(count, device=rhs.device)
    tolerance = torch.as_tensor(rtol, dtype=rhs.dtype, device=rhs.device).expand(count)
    residual = rhs.clone() if x0 is None else rhs - operator(value, rows)
    direction = preconditioner(residual)
    product = (residual * direction).sum(-1)
    scale = product if x0 is None else (rhs * preconditioner(rhs)).sum(-1)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    relative = (product.clamp_min(0) / scale).sqrt()
    result = torch.full((count,), int(Result.MAX_ITERATIONS), device=rhs.device)
    iterations = torch.zeros(count, dtype=torch.int64, device=rhs.device)
    last = relative.clone()
    history = [last.clone()]
    result[relative <= tolerance] = int(Result.CONVERGED)
    active = relative > tolerance
    for _ in range(maxiter):
        if not bool(active.all()):
            rows, residual, direction, product = rows[active], residual[active], direction[active], product[active]
        if rows.numel() == 0:
            break
        applied = operator(direction, rows)
        curvature = (direction * applied).sum(-1)
        broken = ~(curvature > 0)
        if bool(broken.any()):
            result[rows[broken]] = int(Result.BREAKDOWN)
        step = torch.where(broken, torch.zeros_like(product), product / curvature)
        value[rows] += step[:, None] * direction
        residual = residual - step[:, None] * applied
        preconditioned = preconditioner(residual)
        updated = (residual * preconditioned).sum(-1)
        direction = preconditioned + (updated / product)[:, None] * direction
        product = updated
        iterations[rows] += 1
        relative = (product.clamp_min(0) / scale[rows]).sqrt()
        last[rows] = relative
        history.append(last.clone())
        done = relative <= tolerance[rows]
        result[rows[done & ~broken]] = int(Result.CONVERGED)
        active = ~(done | broken)
    return Solution(value, result, iterations, last, tuple(history))
