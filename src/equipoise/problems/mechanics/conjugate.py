"""Complementary energies: what they hold, how they are differentiated, and the Newton iteration for any convex law.

`W*(sig) = sup (sig . eps - W(eps))` is where lower bounds come from, so a value below the true one would make a bound
wrong: every answer here is either at or above it up to round-off, or declared infinite. Closed forms and scalar
equations of isotropic laws live with those laws.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from equipoise.problems.mechanics.symmetric_forms import inverse_symmetric

if TYPE_CHECKING:
    from equipoise.problems.mechanics.material import Material

__all__ = ["Conjugate", "complementary_energy", "newton_conjugate", "work"]

_MAX_ITERATIONS = 60
_MAX_HALVINGS = 40
_SUFFICIENT_DECREASE = 1e-4


class Conjugate(NamedTuple):
    """Complementary energy of a stress.

    Attributes:
        strain: the strain whose stress it is, `(..., v)`; finite also where the energy is not.
        energy: `W*`, MPa, `(...)`; `inf` where the stress lies outside the range of the law or none was found.
        is_finite: where the energy is a number, `(...)`.
    """

    strain: torch.Tensor
    energy: torch.Tensor
    is_finite: torch.Tensor


def complementary_energy(
    material: Material,
    stress: torch.Tensor,
    strain: torch.Tensor,
    is_finite: torch.Tensor,
    correction: torch.Tensor | None = None,
) -> Conjugate:
    """`sig . eps - W(eps)` of conjugate pairs, `inf` where not finite.

    Where gradients are asked for, those of the strain are `C(eps)^-1` and those of the energy the strain, whatever
    iteration found it.

    Args:
        material: the law. stress, strain: `(..., v)`. is_finite: `(...)`; elsewhere the strain becomes zero.
        correction: added to the energy, `(...)`.
    """
    strain = torch.where(is_finite[..., None], strain, torch.zeros_like(strain)).detach()
    if torch.is_grad_enabled() and stress.requires_grad:
        change = torch.where(is_finite[..., None], stress - stress.detach(), torch.zeros_like(stress))
        strain = strain + (inverse_symmetric(material.tangent(strain)) @ change[..., None])[..., 0]
    energy = work(stress, strain) - material.energy(strain)
    if correction is not None:
        energy = energy + correction
    return Conjugate(strain, torch.where(is_finite, energy, torch.full_like(energy, torch.inf)), is_finite)


def work(stress: torch.Tensor, strain: torch.Tensor) -> torch.Tensor:
    """`sig . eps` over the last axis; by components, which is far faster than `sum(-1)` over so few."""
    product = stress * strain
    total = product[..., 0]
    for component in range(1, product.shape[-1]):
        total = total + product[..., component]
    return total


def newton_conjugate(material: Material, stress: torch.Tensor, start: torch.Tensor | None = None) -> Conjugate:
    """Conjugate of a convex law by Newton's method with line search on `W(eps) - sig . eps`, batched over points.

    A point has converged when its residual is below 1e-12 of the stress, or the energy that is left to gain, estimated
    by the Newton decrement `r . C^-1 r`, is below the round-off of the energy itself; then one more step is taken. An
    inexact strain gives a value below `W*` by `r . C^-1 r / 2` to leading order, so twice that is added: the result
    is above `W*` as long as the tangent does not halve between the strain found and the exact one, which at this size
    of residual no smooth law does.

    Args:
        material: a law whose energy is convex where the iteration goes; for another the answer is a stationary point
            only. See `Material.validate`.
        stress: `(..., v)`, MPa.
        start: first strains, `(..., v)`; by default zero.

    Returns:
        Conjugates, with `is_finite` False wherever the iteration fails: outside the range of the law, at a tangent
        that is not positive definite, or for stresses that are not finite.
    """
    flat = stress.detach().reshape(-1, stress.shape[-1])
    with torch.no_grad():
        strain = torch.zeros_like(flat) if start is None else start.detach().reshape(flat.shape).clone()
        usable = torch.isfinite(material.energy(strain)) & torch.isfinite(strain).all(-1)
        strain[~usable] = 0.0
        found, correction = _iterate(material, flat, strain)
    shape = stress.shape[:-1]
    return complementary_energy(material, stress, strain.view(stress.shape), found.view(shape), correction.view(shape))


def _iterate(material: Material, stress: torch.Tensor, strain: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Advance the strains `(p, v)` in place; returns where they converged and the correction of the energy, `(p,)`."""
    round_off = torch.finfo(stress.dtype).eps
    rtol = max(1e-12, 64 * round_off)
    found = torch.zeros(len(stress), dtype=torch.bool, device=stress.device)
    correction = stress.new_zeros(len(stress))
    active = torch.nonzero(torch.isfinite(stress).all(-1)).flatten()
    for _ in range(_MAX_ITERATIONS):
        if len(active) == 0:
            break
        point, target = strain[active], stress[active]
        law_stress, tangent = material.stress_and_tangent(point)
        residual = target - law_stress
        step, is_convex = _newton_step(tangent, residual)
        decrement = (residual * step).sum(-1)
        energy, external = material.energy(point), work(target, point)
        slack = 4 * round_off * (energy.abs() + external.abs())
        size, scale = torch.linalg.vector_norm(residual, dim=-1), torch.linalg.vector_norm(target, dim=-1)
        is_done = is_convex & ((size <= rtol * scale) | (decrement <= slack))
        trial, is_lower = _search_line(material, target, point, step, energy - external, decrement, slack)
        # The last full step, where it does not raise the energy, brings the strain to round-off too.
        strain[active] = torch.where(is_lower[:, None], trial, point)
        found[active], correction[active] = is_done, torch.where(is_done, decrement.clamp(min=0), 0.0)
        active = active[~is_done & is_lower]
    return found, correction


def _newton_step(tangent: torch.Tensor, residual: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Descent steps `(p, v)` and where the tangent was positive definite; elsewhere it is shifted until it is."""
    sound = torch.isfinite(tangent).flatten(1).all(-1) & torch.isfinite(residual).all(-1)
    identity = torch.eye(tangent.shape[-1], dtype=tangent.dtype, device=tangent.device)
    tangent = torch.where(sound[:, None, None], tangent, identity)
    residual = torch.where(sound[:, None], residual, torch.zeros_like(residual))
    factor, info = torch.linalg.cholesky_ex(tangent)
    is_convex = sound & (info == 0)
    if bool((info != 0).any()):
        norm = torch.linalg.matrix_norm(tangent).clamp(min=torch.finfo(tangent.dtype).tiny ** 0.5)
        shift = torch.where(info != 0, 1.1 * norm, torch.zeros_like(norm))
        factor, _ = torch.linalg.cholesky_ex(tangent + shift[:, None, None] * identity)
    return torch.cholesky_solve(residual[..., None], factor)[..., 0], is_convex


def _search_line(
    material: Material,
    stress: torch.Tensor,
    strain: torch.Tensor,
    step: torch.Tensor,
    value: torch.Tensor,
    decrement: torch.Tensor,
    slack: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Strains after the longest halved steps that lower `W(eps) - sig . eps`, and where there are any."""
    length = torch.ones_like(value)
    for _ in range(_MAX_HALVINGS):
        trial = strain + length[:, None] * step
        reached = material.energy(trial) - work(stress, trial)
        # A comparison with nan or inf is False, which shortens the step as it should.
        is_lower = reached <= value - _SUFFICIENT_DECREASE * length * decrement + slack
        if bool(is_lower.all()):
            break
        length = torch.where(is_lower, length, length / 2)
    return trial, is_lower
