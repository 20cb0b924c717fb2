"""The one face of the linear solvers: `prepare` a chain of systems, `solve` it, `update` it to the next matrix.

A state owns whatever is worth keeping between systems: factorisations, their analysis, recycled spaces, working
blocks. Everything computes on the CPU in float64 or complex128.

Source of the names of arguments: SciPy's sparse linear algebra.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import torch

from equipoise.solvers.linear.deflated_cg import DeflatedCg, natural_stored
from equipoise.solvers.linear.deflated_minres import DeflatedMinres
from equipoise.solvers.linear.direct_family import DirectSolver, SymmetryCheck
from equipoise.solvers.linear.earlier_solutions import EarlierSolutions
from equipoise.solvers.linear.gcrodr import GcroDr
from equipoise.solvers.linear.methods import (
    CG,
    GCRODR,
    GMRES,
    MINRES,
    BiCGStab,
    DeflatedCG,
    DeflatedMINRES,
    Direct,
    FlexibleGMRES,
    Method,
    MethodLike,
    Recycling,
    method_from,
)
from equipoise.solvers.linear.operators import Operator, OperatorLike, Vector, as_operator
from equipoise.solvers.linear.outcome import Callback, Outcome, Task
from equipoise.solvers.linear.preconditioners import Preconditioner, PreconditionerLike, build
from equipoise.solvers.linear.recycle import RecycleSpace
from equipoise.solvers.linear.wrapped import Wrapped
from equipoise.solvers.solution import Result, Solution, raise_unless_converged

__all__ = ["LinearState", "prepare", "solve", "update"]

_Engine: TypeAlias = GcroDr | DeflatedCg | DeflatedMinres
_EPSILON = float(np.finfo(np.float64).eps)


class LinearState:
    """A chain of systems in progress; made by `prepare`.

    Attributes:
        operator: the current operator. method: how it is solved. preconditioner: as built, or `None`.
    """

    def __init__(
        self,
        operator: Operator,
        preconditioner: PreconditionerLike,
        method: Method,
        recycle: RecycleSpace | None,
    ) -> None:
        self.operator, self.method = operator, method
        self._asked = preconditioner
        self._last_iterations: int | None = None
        self._transposed: LinearState | None = None
        self._is_hermitian = SymmetryCheck()
        self._admit(operator)
        if isinstance(method, Direct) and preconditioner is not None:
            raise ValueError("the direct method takes no preconditioner; leave it out, or use gmres or cg.")
        self.preconditioner: Preconditioner | None = build(preconditioner, operator)
        self._check_preconditioner()
        self._direct: DirectSolver | None = None
        self._engine: _Engine | Wrapped | None = None
        if isinstance(method, Direct):
            self._direct = DirectSolver(operator, backend=method.backend, structure=method.structure)
        else:
            self._engine = _engine(method, operator)
        self._earlier: EarlierSolutions | None = None
        if isinstance(method, Recycling) and method.recycle:
            self._earlier = EarlierSolutions(operator.size, operator.dtype, limit=method.recycle)
        if recycle is not None:
            if not isinstance(method, Recycling) or not isinstance(self._engine, _Engine):
                names = "gcrodr, deflated_cg or deflated_minres"
                raise ValueError(f"method {_name(method)} carries no recycle space; use {names}.")
            recycle.check(operator.size, self._engine.recycle, self._kind)
            self._engine.set_vectors(recycle.vectors)

    @property
    def size(self) -> int:
        """Number of unknowns."""
        return self.operator.size

    @property
    def recycle_space(self) -> RecycleSpace | None:
        """What the systems so far leave to the next, a copy; `None` for methods that carry nothing."""
        if isinstance(self.method, Recycling) and isinstance(self._engine, _Engine):
            return RecycleSpace(self._engine.vectors, self._kind)
        return None

    @property
    def _kind(self) -> str:
        return "none" if self.preconditioner is None else self.preconditioner.name

    @property
    def _needs_symmetry(self) -> bool:
        return isinstance(self.method, CG | DeflatedCG | MINRES | DeflatedMINRES)

    def _admit(self, operator: Operator) -> None:
        """Raise `ValueError` for an operator on which the method is known to fail."""
        if not self._needs_symmetry:
            return
        name = _name(self.method)
        if operator.matrix is None:
            gap = _asymmetry(operator)
            if gap > 1e-8:
                raise ValueError(f"{name} needs a symmetric operator; a probe gave |u.Av - v.Au| = {gap:.1e} |u||Av|.")
            return
        if not self._is_hermitian(operator.matrix, rtol=1e-10):
            raise ValueError(f"{name} needs a symmetric matrix, and A differs from its transpose; use gcrodr or gmres.")
        if not isinstance(self.method, MINRES | DeflatedMINRES):
            diagonal = operator.matrix.diagonal().real
            if not (diagonal > 0).all():
                row = int(np.argmin(diagonal))
                raise ValueError(
                    f"{name} needs a positive definite matrix, and A[{row}, {row}] = {diagonal[row]:g}; "
                    "use minres or gcrodr."
                )

    def _check_preconditioner(self) -> None:
        if self.preconditioner is None or not self._needs_symmetry:
            return
        gap = _asymmetry(self.preconditioner, self.operator)
        if gap > 1e-8:
            raise ValueError(
                f"preconditioner {self._kind!r} breaks the symmetry that {_name(self.method)} needs: a probe gave "
                f"|u.Mv - v.Mu| = {gap:.1e} |u||Mv|; use ssor, ic or amg, or gmres with this one."
            )

    def replace_operator(self, operator: Operator) -> None:
        """See `update`."""
        if operator.size != self.size:
            raise ValueError(f"the new operator has {operator.size} unknowns; this state has {self.size}.")
        if operator.dtype != self.operator.dtype:
            raise ValueError(f"the new operator is {operator.dtype}; this state is {self.operator.dtype}.")
        unchanged = operator.equals(self.operator)
        if not unchanged:
            self._admit(operator)
        self.operator = operator
        if unchanged:
            return
        if self._transposed is not None:
            self._transposed.replace_operator(operator.transposed())
        if self._direct is not None:
            self._direct.update(operator)
        if self.preconditioner is not None:
            self.preconditioner.update(operator, self._last_iterations)
        if self._engine is not None:
            self._engine.invalidate()
        if self._earlier is not None:
            self._earlier.invalidate()

    def transposed(self) -> LinearState:
        """The state of the transposed operator, with a recycle space of its own; follows each `update`."""
        if self._transposed is None:
            self._transposed = LinearState(self.operator.transposed(), self._asked, self.method, None)
        return self._transposed

    def solve_one(self, task: Task, *, transpose: bool) -> tuple[Outcome, int]:
        """Outcome of one right-hand side, and the products that it took."""
        if self._direct is not None:
            before = self.operator.products
            outcome = self._solve_directly(task, transpose=transpose)
            return outcome, self.operator.products - before
        if transpose and not (self._needs_symmetry and self.operator.dtype.kind == "f"):
            return self.transposed().solve_one(task, transpose=False)
        assert self._engine is not None
        before = self.operator.products
        if self._earlier is not None and not task.x0.any():
            guess = self._earlier.guess(task.rhs, self.operator)
            task = task if guess is None else replace(task, x0=guess)
        outcome = self._engine.solve(self.operator, self.preconditioner, task)
        if self._earlier is not None and outcome.result is Result.CONVERGED:
            assert not isinstance(self._engine, Wrapped)
            self._earlier.add(task.rhs - self._engine.residual, outcome.x)
        self._last_iterations = outcome.iterations
        return outcome, self.operator.products - before

    def _solve_directly(self, task: Task, *, transpose: bool) -> Outcome:
        """Substitution, with up to two steps of refinement where the residual asks for them."""
        assert self._direct is not None
        operator = self.operator.transposed() if transpose else self.operator
        outcome = Outcome(self._direct.solve(task.rhs, transpose=transpose))
        residual = np.empty_like(task.rhs)
        for refinement in range(3):
            operator.apply(outcome.x, residual)
            np.subtract(task.rhs, residual, out=residual)
            norm = float(np.linalg.norm(residual))
            outcome.history.append(norm / task.scale)
            if norm <= task.target or not np.isfinite(norm) or refinement == 2:
                break
            outcome.iterations += 1
            outcome.x += self._direct.solve(residual, transpose=transpose)
        outcome.residual = outcome.history[-1]
        if transpose:
            self.operator.products += operator.products
        if not np.isfinite(outcome.residual):
            outcome.result, outcome.note = Result.NON_FINITE_OUTPUT, "the factorisation gave values that are not finite"
        elif outcome.residual * task.scale <= task.target:
            outcome.result = Result.CONVERGED
        else:
            outcome.result = Result.STAGNATION
            outcome.note = f"refinement left the true residual at {outcome.residual:.1e}"
        return outcome


def _name(method: Method) -> str:
    return type(method).__name__


def _engine(method: Method, operator: Operator) -> _Engine | Wrapped:
    size, dtype = operator.size, operator.dtype
    match method:
        case GCRODR():
            return GcroDr(size, dtype, restart=method.restart, recycle=method.recycle)
        case GMRES():
            return GcroDr(size, dtype, restart=method.restart, recycle=0)
        case DeflatedCG():
            stored = natural_stored(size, dtype) if method.stored is None else method.stored
            return DeflatedCg(size, dtype, recycle=method.recycle, stored=stored)
        case CG():
            return DeflatedCg(size, dtype, recycle=0, stored=0)
        case DeflatedMINRES():
            return DeflatedMinres(size, dtype, recycle=method.recycle, stored=method.stored)
        case MINRES():
            return Wrapped("minres", restart=1)
        case BiCGStab():
            return Wrapped("bicgstab", restart=1)
        case FlexibleGMRES():
            return Wrapped("fgmres", restart=method.restart)
        case Direct():
            raise ValueError("the direct method has no iteration.")


def _asymmetry(applied: Operator | Preconditioner, operator: Operator | None = None) -> float:
    """`|u.Av - conj(v.Au)| / (|u| |Av| + |v| |Au|)` for one random pair."""
    about = applied if isinstance(applied, Operator) else operator
    assert about is not None
    generator = np.random.default_rng(0)
    u, v = (generator.standard_normal(about.size).astype(about.dtype) for _ in range(2))
    au, av = np.empty_like(u), np.empty_like(v)
    before = about.products
    applied.apply(u, au)
    applied.apply(v, av)
    about.products = before
    scale = np.linalg.norm(u) * np.linalg.norm(av) + np.linalg.norm(v) * np.linalg.norm(au)
    return float(abs(np.vdot(u, av) - np.vdot(v, au).conj()) / scale) if scale > 0 else 0.0


def prepare(
    operator: OperatorLike,
    preconditioner: PreconditionerLike = None,
    *,
    method: MethodLike = "auto",
    size: int | None = None,
    dtype: Any = np.float64,
    recycle: RecycleSpace | None = None,
) -> LinearState:
    """State for a chain of systems that starts with this operator.

    Args:
        operator: SciPy matrix, torch tensor, SciPy `LinearOperator` or function of a vector; see `as_operator`.
        preconditioner: see `preconditioners.build`; built anew, or renewed, at each `update`.
        method: a name (`direct`, `cg`, `deflated_cg`, `minres`, `deflated_minres`, `bicgstab`, `gmres`, `fgmres`,
            `gcrodr`) or a value of one of the classes in `methods.py`. `"auto"`: `direct` for a matrix without
            preconditioner, else `gcrodr`.
        size, dtype: of a matrix-free function.
        recycle: a space from another chain to start from.

    Raises:
        ValueError: for anything that the method is known to fail on, in one sentence: a matrix that is not square,
            finite or of the symmetry that is needed, a preconditioner that breaks it, a recycle space of another size.
        ConvergenceError: for a singular matrix, where it is factorised.
    """
    linear = as_operator(operator, size=size, dtype=dtype)
    if method == "auto":
        method = "direct" if linear.matrix is not None and preconditioner is None else "gcrodr"
    return LinearState(linear, preconditioner, method_from(method), recycle)


def update(state: LinearState, operator: OperatorLike, *, dtype: Any = np.float64) -> LinearState:
    """The state for the next operator of the chain, which must have as many unknowns.

    The state given is changed and returned: factorisations are renewed on the analysis that exists, recycled spaces
    are carried over at the next solve. An operator with the same entries costs nothing.

    Raises:
        ValueError, ConvergenceError: as for `prepare`.
    """
    state.replace_operator(as_operator(operator, size=state.size, dtype=dtype))
    return state


def solve(
    state: LinearState,
    rhs: Vector | torch.Tensor,
    x0: Vector | torch.Tensor | None = None,
    *,
    rtol: float = 1e-8,
    atol: float = 0.0,
    maxiter: int = 10_000,
    callback: Callback | None = None,
    transpose: bool = False,
    throw: bool = True,
) -> Solution:
    """Solve the current system for one right-hand side or several, one after the other.

    Args:
        state: from `prepare` or `update`; what it recycles is renewed.
        rhs: `(N,)` or `(n, N)`. x0: initial guess of the same shape; zero by default.
        rtol, atol: stop at `|b - A x| <= max(rtol |b|, atol)`, of the true residual.
        maxiter: largest number of iterations for each right-hand side.
        callback: called with the relative residual after each iteration.
        transpose: solve `A^T x = b`.
        throw: whether a failure raises, rather than being flagged in the result.

    Returns:
        `value` of the shape of `rhs` (a tensor on its device); the other fields have one entry per right-hand side.

    Raises:
        ValueError: for a shape that does not fit, or a tolerance below round-off.
        ConvergenceError: unless `throw=False`; its `solution` holds the history.
    """
    if not (rtol >= 0 and atol >= 0) or (atol == 0 and rtol < _EPSILON):
        raise ValueError(f"rtol={rtol:g}, atol={atol:g} lie below round-off; rtol must be at least {_EPSILON:.1e}.")
    if maxiter < 1:
        raise ValueError(f"maxiter={maxiter} must be at least 1.")
    table = _table(rhs, state, "rhs")
    guesses = np.zeros_like(table) if x0 is None else _table(x0, state, "x0")
    if guesses.shape != table.shape:
        raise ValueError(f"x0 has shape {guesses.shape}; the right-hand sides have {table.shape}.")
    outcomes, products = [], []
    for row, guess in zip(table, guesses, strict=True):
        outcome, count = _solve_row(state, row, guess, (rtol, atol, maxiter), callback, transpose=transpose)
        outcomes.append(outcome)
        products.append(count)
    solution = _solution(outcomes, products, rhs, state)
    if throw:
        raise_unless_converged(solution, f"{_name(state.method)} on {state.size} unknowns")
    return solution


def _solve_row(
    state: LinearState,
    row: Vector,
    guess: Vector,
    limits: tuple[float, float, int],
    callback: Callback | None,
    *,
    transpose: bool,
) -> tuple[Outcome, int]:
    rtol, atol, maxiter = limits
    if not (np.isfinite(row).all() and np.isfinite(guess).all()):
        note = "the right-hand side or the guess holds a value that is not finite"
        return Outcome(np.full_like(row, np.nan), Result.NON_FINITE_INPUT, note=note), 0
    norm = float(np.linalg.norm(row))
    if norm == 0:
        return Outcome(np.zeros_like(row), Result.CONVERGED, history=[0.0], residual=0.0), 0
    task = Task(row, guess, max(rtol * norm, atol), norm, maxiter, callback)
    return state.solve_one(task, transpose=transpose)


def _table(values: Vector | torch.Tensor, state: LinearState, what: str) -> Vector:
    array = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
    if array.ndim not in (1, 2) or array.shape[-1] != state.size:
        raise ValueError(f"{what} has shape {array.shape}; give ({state.size},) or (n, {state.size}).")
    if np.iscomplexobj(array) and state.operator.dtype.kind != "c":
        raise ValueError(f"{what} is complex and the operator real; solve for real and imaginary part.")
    return np.ascontiguousarray(np.atleast_2d(array), dtype=state.operator.dtype)


def _solution(outcomes: list[Outcome], products: list[int], rhs: Vector | torch.Tensor, state: LinearState) -> Solution:
    device = rhs.device if isinstance(rhs, torch.Tensor) else torch.device("cpu")
    if outcomes:
        value = torch.from_numpy(np.stack([outcome.x for outcome in outcomes])).to(device)
    else:
        value = torch.zeros(tuple(rhs.shape), dtype=torch.float64, device=device)
    longest = max((len(outcome.history) for outcome in outcomes), default=0)
    history = np.full((longest, len(outcomes)), np.inf)
    for column, outcome in enumerate(outcomes):
        length = len(outcome.history)
        history[:length, column] = outcome.history
        history[length:, column] = outcome.history[-1] if length else np.inf
    return Solution(
        value.reshape(tuple(rhs.shape)),
        torch.tensor([int(outcome.result) for outcome in outcomes], device=device),
        torch.tensor([outcome.iterations for outcome in outcomes], device=device),
        torch.tensor([outcome.residual for outcome in outcomes], dtype=torch.float64, device=device),
        tuple(torch.from_numpy(row).to(device) for row in history),
        state,
        torch.tensor(products, device=device),
        tuple(outcome.note for outcome in outcomes),
    )
