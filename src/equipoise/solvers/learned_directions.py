"""Conjugate directions proposed by any function of the residual, such as a network, for many systems in lockstep.

The safeguarded form minimises the error over the proposal, the residual and the stored steps, so that it converges
whatever is proposed. The plain form is the published one. Networks live in `operators/direction_net.py`.

Source: Kaneda et al. (2023), deep conjugate directions, for the plain form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float

from equipoise.solvers.solution import Result, Solution, raise_unless_converged

__all__ = ["DirectionCounts", "conjugate_directions"]

FieldMap: TypeAlias = Callable[[torch.Tensor], torch.Tensor]

# A column whose energy falls below this share of its own by projection lies in the span of the stored steps.
_DEPENDENT = 1e-12


@dataclass(frozen=True)
class DirectionCounts:
    """What became of the proposals, per sample `(n,)`.

    Attributes:
        replaced: proposals that were not finite or zero; the residual took their place.
        dropped: steps at which the stored directions were dropped.
        negative: proposals that pointed uphill.
    """

    replaced: torch.Tensor
    dropped: torch.Tensor
    negative: torch.Tensor


def conjugate_directions(
    operator: FieldMap,
    rhs: Float[torch.Tensor, " n *grid"],
    direction: FieldMap,
    *,
    stored: int = 16,
    safeguard: bool = True,
    norm: str = "energy",
    x0: torch.Tensor | None = None,
    rtol: float = 1e-4,
    maxiter: int = 500,
    project: FieldMap | None = None,
    preconditioner: FieldMap | None = None,
    refresh: int = 10,
    callback: Callable[[torch.Tensor, torch.Tensor], object] | None = None,
    throw: bool = True,
) -> Solution:
    """Solve `A_i x_i = b_i` for all `i`, A symmetric positive definite, or semidefinite with `project`.

    Args:
        operator: `A` applied to all rows at once, `(n, *grid)` to the same.
        rhs: right-hand sides; all algebra is done in their dtype, float64 unless there is a reason.
        direction: residuals of unit 2-norm `(m, *grid)`, `m <= n`, to proposals; row by row, but not otherwise
            restricted. Scale and sign of a proposal do not matter.
        stored: earlier steps that the next is made conjugate to; 2 in the publication.
        safeguard: minimise over the residual too. Without it, the form as published: nothing prevents stagnation.
        norm: `"energy"`: the error never grows in the energy norm. `"residual"`: the residual never grows in the
            2-norm.
        x0: initial guesses, zero by default.
        rtol: stop at `|b - A x| <= rtol |b - A x0|`, of the true residual.
        maxiter: largest number of iterations.
        project: onto the fields that the solution lives in, such as those without a mean on closed components and
            with zeros in solid cells. Applied to `rhs` as well.
        preconditioner: symmetric positive definite; takes the place of the identity in the safeguard.
        refresh: iterations between true residuals, which otherwise are updated.
        callback: called after each iteration with the iterates `(n, *grid)` and the relative residuals `(n,)`.
        throw: whether a failure raises, rather than being flagged in the result.

    Returns:
        A solution of the shape of `rhs`; `state` is a `DirectionCounts`. Samples that are finished keep their values.

    Raises:
        ValueError: for options out of range or a tolerance below round-off.
        ConvergenceError: unless `throw=False`.
    """
    if norm not in ("energy", "residual"):
        raise ValueError(f"norm={norm!r} is unknown; use 'energy' or 'residual'.")
    if stored < 0 or maxiter < 1 or refresh < 1:
        raise ValueError(f"stored={stored}, maxiter={maxiter}, refresh={refresh}: give 0, 1 and 1 at least.")
    if not rtol >= torch.finfo(rhs.dtype).eps:
        raise ValueError(f"rtol={rtol:g} lies below round-off; it must be at least {torch.finfo(rhs.dtype).eps:.1e}.")
    if x0 is not None and x0.shape != rhs.shape:
        raise ValueError(f"x0 has shape {tuple(x0.shape)}; the right-hand sides have {tuple(rhs.shape)}.")
    run = _Run(operator, direction, project, preconditioner, rhs, stored, safeguard=safeguard, norm=norm)
    run.start(x0, rtol)
    for iteration in range(maxiter):
        if not run.is_active:
            break
        run.step()
        run.measure(refresh=(iteration + 1) % refresh == 0)
        if callback is not None:
            callback(run.value.view(rhs.shape), run.relative)
    solution = run.solution()
    if throw:
        raise_unless_converged(solution, f"conjugate directions on {rhs[0].numel()} cells")
    return solution


class _Run:
    """The state of one solve; fields are rows `(n, cells)`, stored steps `(n, stored, cells)` of unit norm."""

    def __init__(
        self,
        operator: FieldMap,
        direction: FieldMap,
        project: FieldMap | None,
        preconditioner: FieldMap | None,
        rhs: torch.Tensor,
        stored: int,
        *,
        safeguard: bool,
        norm: str,
    ) -> None:
        self._operator, self._direction = operator, direction
        self._project, self._preconditioner = project, preconditioner
        self._shape, self._safeguard, self._residual_norm = rhs.shape, safeguard, norm == "residual"
        self._rhs = self._projected(rhs.flatten(1))
        count, cells = self._rhs.shape
        self._steps, self._images = self._rhs.new_zeros(2, count, stored, cells)
        self._next = 0
        counters = torch.zeros(5, count, dtype=torch.int64, device=rhs.device)
        self.iterations, self.products, self._replaced, self._dropped, self._negative = counters
        self.result = torch.full_like(self.iterations, int(Result.MAX_ITERATIONS))
        # Whether any and whether all samples are unfinished, so that the device is asked once in an iteration.
        self.is_active, self._is_whole = False, False

    def _field(self, rows: torch.Tensor) -> torch.Tensor:
        return rows.view(len(rows), *self._shape[1:])

    def _apply(self, rows: torch.Tensor) -> torch.Tensor:
        return self._operator(self._field(rows)).flatten(1)

    def _projected(self, rows: torch.Tensor) -> torch.Tensor:
        return rows if self._project is None else self._project(self._field(rows)).flatten(1)

    def _norm(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.linalg.vector_norm(rows, dim=1)

    def start(self, x0: torch.Tensor | None, rtol: float) -> None:
        """First residuals, and the samples that need no iteration."""
        self.value = torch.zeros_like(self._rhs) if x0 is None else self._projected(x0.flatten(1)).clone()
        self._residual = self._rhs if x0 is None else self._true_residual()
        if x0 is not None:
            self.products += 1
        norm = self._norm(self._residual)
        self._scale = torch.where(norm > 0, norm, torch.ones_like(norm))
        self._target = rtol * self._scale
        finite = torch.isfinite(norm)
        self.result[~finite] = int(Result.NON_FINITE_INPUT)
        self.result[norm == 0] = int(Result.CONVERGED)
        self._size, self.relative = norm, norm / self._scale
        self._active = finite & (norm > 0)
        self.is_active, self._is_whole = _flags(self._active.any(), self._active.all())
        self._history = [self.relative]

    def _true_residual(self) -> torch.Tensor:
        return self._projected(self._rhs - self._apply(self.value))

    def _proposals(self) -> torch.Tensor:
        """Unit proposals; the residual where there is none that can be used, and zero in finished samples."""
        unit = torch.where(self._active[:, None], self._residual / self._size[:, None], 0.0)
        if self._is_whole:
            proposed = self._direction(self._field(unit)).flatten(1)
        else:
            rows = torch.nonzero(self._active).flatten()
            proposed = torch.zeros_like(unit)
            proposed[rows] = self._direction(self._field(unit[rows])).flatten(1).to(unit.dtype)
        proposed = self._projected(proposed.to(unit.dtype))
        size = self._norm(proposed)
        good = torch.isfinite(size) & (size > 0)
        self._replaced += (self._active & ~good).long()
        scaled = proposed / torch.where(good, size, torch.ones_like(size))[:, None]
        proposed = torch.where(good[:, None], scaled, unit)
        self._negative += (self._active & ((proposed * unit).sum(1) < 0)).long()
        self._unit = unit
        return proposed

    def step(self) -> None:
        """One iteration of all unfinished samples."""
        columns = [self._proposals()]
        if self._safeguard:
            if self._preconditioner is None:
                columns.append(self._unit)
            else:
                second = self._projected(self._preconditioner(self._field(self._unit)).flatten(1))
                columns.append(second / self._norm(second).clamp_min(torch.finfo(second.dtype).tiny)[:, None])
        basis = torch.stack(columns, 1)
        basis, images, own = self._conjugate(basis)
        left = images if self._residual_norm else basis
        gram = left @ images.mT
        slope = (left @ self._residual[..., None])[..., 0]
        weights, broken = _minimiser(gram, slope, own)
        if bool((broken & self._active).any()):
            weights = self._recover(broken, weights, basis, images)
        weights = torch.where(self._active[:, None], weights, 0.0)
        move, image = ((weights[:, None] @ block)[:, 0] for block in (basis, images))
        self.value = self.value + move
        self._residual = self._residual - image
        self.products += self._active.long() * basis.shape[1]
        self.iterations += self._active.long()
        self._store(move, image)

    def _multiply(self, basis: torch.Tensor) -> torch.Tensor:
        return torch.stack([self._apply(column) for column in basis.unbind(1)], 1)

    def _conjugate(self, basis: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Columns made conjugate to the stored steps, their images, and the squared norms that they had before.

        The stored steps are conjugate to one another, so that one pass over all of them at once is Gram-Schmidt; the
        plain form takes them one after the other.
        """
        images = self._multiply(basis) if self._residual_norm else None
        removed = basis.new_zeros(basis.shape[:2])
        stored = self._steps.shape[1]
        groups = [slice(None)] if self._safeguard else [slice(place, place + 1) for place in range(stored)]
        for group in groups if stored else []:
            left = basis if images is None else images
            overlap = left @ self._images[:, group].mT
            basis = basis - overlap @ self._steps[:, group]
            if images is not None:
                images = images - overlap @ self._images[:, group]
            removed = removed + overlap.square().sum(-1)
        if images is None:
            images = self._multiply(basis)
        left = images if self._residual_norm else basis
        return basis, images, removed + (left * images).sum(-1)

    def _recover(
        self, broken: torch.Tensor, weights: torch.Tensor, basis: torch.Tensor, images: torch.Tensor
    ) -> torch.Tensor:
        """Where no column can be used: drop the stored steps, and go along the residual."""
        broken = broken & self._active
        self._steps[broken], self._images[broken] = 0.0, 0.0
        self._dropped += broken.long()
        image = self._apply(self._unit)
        left = image if self._residual_norm else self._unit
        energy, curvature = (left * image).sum(1), (self._unit * image).sum(1)
        bad = broken & ~(curvature > 0)
        self.result[bad] = int(Result.BREAKDOWN)
        self._active = self._active & ~bad
        self.products += broken.long()
        basis[broken, 0], images[broken, 0] = self._unit[broken], image[broken]
        weights = torch.where(broken[:, None], 0.0, weights)
        along = (left * self._residual).sum(1) / energy
        weights[:, 0] = torch.where(broken & ~bad, along, weights[:, 0])
        return weights

    def _store(self, move: torch.Tensor, image: torch.Tensor) -> None:
        """Keep the step, scaled to unit norm; what is nearly zero beside the residual is kept as zero."""
        if not self._steps.shape[1]:
            return
        energy = ((image if self._residual_norm else move) * image).sum(1)
        usable = self._active & (energy > 0)
        scale = torch.where(usable, energy, torch.ones_like(energy)).rsqrt()
        scale = torch.where(usable, scale, torch.zeros_like(scale))[:, None]
        self._steps[:, self._next], self._images[:, self._next] = scale * move, scale * image
        self._next = (self._next + 1) % self._steps.shape[1]

    def measure(self, *, refresh: bool) -> None:
        """Residual norms, true ones where they decide, and the samples that are finished."""
        norm = self._norm(self._residual)
        lost = self._active & ~torch.isfinite(norm)
        reached = self._active & (norm <= self._target)
        if not refresh:
            refresh, self.is_active, self._is_whole = _flags(
                (reached | lost).any(), self._active.any(), self._active.all()
            )
        if refresh:
            self._residual = torch.where(self._active[:, None], self._true_residual(), self._residual)
            self.products += self._active.long()
            norm = self._norm(self._residual)
            lost = self._active & ~torch.isfinite(norm)
            reached = self._active & (norm <= self._target)
        self._size = torch.where(self._active, norm, self._size)
        self.relative = torch.where(self._active, norm / self._scale, self.relative)
        self.result = torch.where(reached, int(Result.CONVERGED), self.result)
        self.result = torch.where(lost, int(Result.NON_FINITE_OUTPUT), self.result)
        if refresh:
            self._active = self._active & ~reached & ~lost
            self.is_active, self._is_whole = _flags(self._active.any(), self._active.all())
        self._history.append(self.relative)

    def solution(self) -> Solution:
        """What was reached."""
        return Solution(
            self.value.view(self._shape),
            self.result,
            self.iterations,
            self.relative,
            tuple(self._history),
            DirectionCounts(self._replaced, self._dropped, self._negative),
            self.products,
        )


def _flags(*values: torch.Tensor) -> list[bool]:
    return torch.stack(values).tolist()


def _minimiser(gram: torch.Tensor, slope: torch.Tensor, own: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights `(n, k)` of one or two columns that minimise the error, and where no column can be used `(n,)`.

    Args:
        gram: products of the columns. slope: their products with the residual. own: squared norms before projection.
    """
    energy = gram.diagonal(dim1=1, dim2=2)
    usable = torch.isfinite(energy) & torch.isfinite(slope) & (energy > _DEPENDENT * own) & (energy > 0)
    scale = torch.where(usable, energy, torch.ones_like(energy)).rsqrt()
    scaled = torch.where(usable, slope * scale, torch.zeros_like(slope))
    if gram.shape[1] == 1:
        return scaled * scale, ~usable[:, 0]
    cosine = (gram[:, 0, 1] + gram[:, 1, 0]) / 2 * scale[:, 0] * scale[:, 1]
    determinant = 1 - cosine.square()
    both = usable.all(1) & (determinant > _DEPENDENT)
    safe = torch.where(both, determinant, torch.ones_like(determinant))
    cross = torch.where(both, cosine, torch.zeros_like(cosine))
    pair = (scaled - cross[:, None] * scaled.flip(1)) / safe[:, None]
    larger = (scaled[:, 0].abs() >= scaled[:, 1].abs())[:, None]
    single = torch.where(torch.cat([larger, ~larger], 1), scaled, torch.zeros_like(scaled))
    weights = torch.where(both[:, None], pair, single)
    return weights * scale, ~usable.any(1)
