"""Learned directions beside the linear solvers that a user would try: iterations and time on one pressure matrix.

The others work on the matrix in SciPy's format on the processor. Setting up (hierarchy, factors, Ritz vectors) is
timed apart from solving.
"""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from equipoise.operators.direction_net import DirectionNet, network_direction
from equipoise.problems.obstacles import domain, random_obstacles
from equipoise.problems.pressure import PressurePoisson, smooth_divergence
from equipoise.solvers.learned_directions import conjugate_directions
from equipoise.solvers.linear import DeflatedCG, RecycleSpace, prepare, pyamg_is_available, solve
from equipoise.solvers.ritz import ritz_vectors
from equipoise.solvers.threads import one_thread

__all__ = ["FORMS", "RIVALS", "SolverFigures", "compare_solvers", "held_out_system"]

_LANCZOS = 300

FORMS: dict[str, dict[str, Any]] = {
    "safeguarded": {"stored": 16, "safeguard": True},
    "as published": {"stored": 2, "safeguard": False},
}
"""Forms of the learned iteration: the library's default and the published one."""

RIVALS = ("CG", "IC(0)-CG", "deflated CG, 16", "deflated CG, 64", "PyAMG-CG")
"""Solvers compared with; those with a number deflate that many lowest Ritz vectors of 300 steps of Lanczos."""


@dataclass(frozen=True)
class SolverFigures:
    """One solver on one domain.

    Attributes:
        iterations: median over the right-hand sides. each: of every one of them.
        setup_seconds: before the first solve. seconds: median of a solve. converged: whether every solve did.
    """

    iterations: float
    each: tuple[int, ...]
    setup_seconds: float
    seconds: float
    converged: bool


def held_out_system(name: str, shape: Sequence[int], variant: int = 0) -> PressurePoisson:
    """A domain of `problems.obstacles.DOMAINS`; of `"random"` there is one for each variant."""
    if name == "random":
        fluid = random_obstacles(shape, torch.Generator().manual_seed(2023 + variant))
    else:
        fluid = domain(name, shape)
    return PressurePoisson(fluid[None])


def compare_solvers(
    directions: Mapping[str, tuple[DirectionNet, Mapping[str, Any]]],
    name: str,
    shape: Sequence[int],
    *,
    rivals: Sequence[str] = RIVALS,
    rtol: float = 1e-4,
    count: int = 3,
    seed: int = 0,
    maxiter: int | None = None,
    device: str = "cpu",
) -> dict[str, SolverFigures]:
    """Solve `count` right-hand sides (and, for random obstacles, domains) one by one with each solver.

    Args:
        directions: by label, a network and options of `conjugate_directions`.
        name: of the domain. shape: of the grid. rivals: of `RIVALS`; those that need PyAMG are left out without it.
        maxiter: limit of the learned iterations; four times the cells along a side by default.
        device: of the networks.

    Raises:
        ValueError: for an unknown domain or rival.
    """
    unknown = [rival for rival in rivals if rival not in RIVALS]
    if unknown:
        raise ValueError(f"solver {unknown[0]!r} is unknown; use one of {', '.join(RIVALS)}.")
    systems = [held_out_system(name, shape, seed + number) for number in range(count)]
    sides = [
        smooth_divergence(system, 1, torch.Generator().manual_seed(1000 * (seed + 1) + number))
        for number, system in enumerate(systems)
    ]
    found: dict[str, SolverFigures] = {}
    for label, (network, options) in directions.items():
        limit = {"maxiter": maxiter or 4 * max(shape), "rtol": rtol, **options}
        runs = [_learned(network, system, rhs.to(device), limit) for system, rhs in zip(systems, sides, strict=True)]
        found[label] = _summary(runs)
    needed = max((_deflated(rival) for rival in rivals), default=0)
    # Their vectors are short for more: with two threads on a busy machine BLAS has taken many times as long.
    with one_thread():
        lowest = [_lowest(system, needed) for system in systems]
        for rival in rivals:
            if rival == "PyAMG-CG" and not pyamg_is_available():
                continue
            given = zip(systems, sides, lowest, strict=True)
            found[rival] = _summary([_rival(rival, system, rhs, rtol, low) for system, rhs, low in given])
    return found


_Run = tuple[int, float, float, bool]


def _summary(runs: Sequence[_Run]) -> SolverFigures:
    iterations, setup, seconds, converged = zip(*runs, strict=True)
    middle = statistics.median
    return SolverFigures(middle(iterations), tuple(iterations), middle(setup), middle(seconds), all(converged))


def _learned(network: DirectionNet, system: PressurePoisson, rhs: torch.Tensor, options: Mapping[str, Any]) -> _Run:
    direction = network_direction(network)
    direction(rhs)  # The first call on a new shape chooses kernels.
    began = _now(rhs)
    solution = conjugate_directions(system.apply, rhs, direction, project=system.project, throw=False, **options)
    return int(solution.iterations), 0.0, _now(rhs) - began, bool(solution.converged.all())


def _now(tensor: torch.Tensor) -> float:
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)
    return time.perf_counter()


def _rival(name: str, system: PressurePoisson, rhs: torch.Tensor, rtol: float, lowest: _Lowest) -> _Run:
    matrix, values = system.matrix(), system.restrict(rhs)
    began, count = time.perf_counter(), _deflated(name)
    if count:
        space = RecycleSpace(np.asfortranarray(lowest.vectors[:, :count]), "none")
        state = prepare(matrix, method=DeflatedCG(recycle=count, stored=1), recycle=space)
    else:
        state = prepare(matrix, _PRECONDITIONERS[name](matrix), method="cg")
    setup = time.perf_counter() - began + (lowest.seconds if count else 0.0)
    began = time.perf_counter()
    solution = solve(state, values, rtol=rtol, throw=False)
    return int(solution.iterations), setup, time.perf_counter() - began, bool(solution.converged.all())


class _Lowest(NamedTuple):
    """Lowest Ritz vectors of one matrix, `(cells, k)`, and the time they took."""

    vectors: NDArray[np.float64]
    seconds: float


def _deflated(rival: str) -> int:
    """How many vectors a rival deflates."""
    return int(rival.rpartition(" ")[2]) if rival.startswith("deflated CG") else 0


def _lowest(system: PressurePoisson, count: int) -> _Lowest:
    if count == 0:
        return _Lowest(np.zeros((0, 0)), 0.0)
    began = time.perf_counter()
    generator = torch.Generator().manual_seed(0)
    ritz = ritz_vectors(system.apply, system.shape, _LANCZOS, generator, project=system.project)
    return _Lowest(system.restrict(ritz.vectors[:count]).T, time.perf_counter() - began)


def _algebraic_multigrid(matrix: Any) -> Any:
    # Ruge-Stueben's coarsening needs the fewest iterations on these matrices.
    pyamg: Any = importlib.import_module("pyamg")
    sparse: Any = importlib.import_module("scipy.sparse")
    return pyamg.ruge_stuben_solver(sparse.csr_matrix(matrix)).aspreconditioner(cycle="V")


_PRECONDITIONERS: dict[str, Callable[[Any], Any]] = {
    "CG": lambda matrix: None,
    "IC(0)-CG": lambda matrix: "ic",
    "PyAMG-CG": _algebraic_multigrid,
}
