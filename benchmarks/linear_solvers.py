"""Solvers of a family of linear systems side by side: Darcy flow in the plane, coefficient 3 or 12, unsorted.

Every method solves the same systems in the same order and keeps what it keeps; runs are taken by turns, medians of the
repeats are printed. Assembling is excluded, building and renewing factorisations and preconditioners included.

    OMP_NUM_THREADS=1 python benchmarks/linear_solvers.py [--resolution 128] [-n 12] [--rtol 1e-8] [--repeats 5]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import scipy.sparse as sp
import scipy.sparse.linalg as spla
import torch
from environment import describe_environment

from equipoise.problems import Darcy
from equipoise.solvers.linear import Direct, pardiso_is_available, prepare, pyamg_is_available, solve, update

KRYLOV = (
    ("cg", "neighbour"),
    ("cg", "amg"),
    ("cg", "ic"),
    ("deflated_cg", "ic"),
    ("cg", "ssor"),
    ("deflated_cg", "ssor"),
    ("gcrodr", "ssor"),
    ("gmres", "ssor"),
)


def chain(systems: list, method: object, preconditioner: str | None, rtol: float) -> tuple[float, str]:
    """Milliseconds a system, and the iterations of the last two."""
    began = time.perf_counter()
    state, counts = None, []
    for matrix, rhs in systems:
        state = prepare(matrix, preconditioner, method=method) if state is None else update(state, matrix)
        counts.append(int(solve(state, rhs, rtol=rtol).iterations[0]))
    milliseconds = 1e3 * (time.perf_counter() - began) / len(systems)
    return milliseconds, "" if isinstance(method, Direct) else f"{counts[-2]}, {counts[-1]}"


def spsolve(systems: list) -> tuple[float, str]:
    """The same by SciPy's own factorisation, one by one."""
    began = time.perf_counter()
    for matrix, rhs in systems:
        spla.spsolve(sp.csc_matrix(matrix), rhs)
    return 1e3 * (time.perf_counter() - began) / len(systems), ""


def main() -> None:
    """Print milliseconds a system of every method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("-n", type=int, default=12)
    parser.add_argument("--rtol", type=float, default=1e-8)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    problem = Darcy(resolution=options.resolution)
    inputs = problem.sample(options.n, torch.Generator().manual_seed(0)).double()
    systems = list(problem.systems(inputs))

    work: dict[str, Callable[[], tuple[float, str]]] = {"scipy.sparse.linalg.spsolve": lambda: spsolve(systems)}
    for backend in ("pardiso", "superlu") if pardiso_is_available() else ("superlu",):
        method = Direct(backend, "positive_definite")
        work[f"direct, {backend}"] = lambda method=method: chain(systems, method, None, options.rtol)
    for name, preconditioner in KRYLOV:
        if preconditioner != "amg" or pyamg_is_available():
            work[f"{name} + {preconditioner}"] = lambda name=name, preconditioner=preconditioner: chain(
                systems, name, preconditioner, options.rtol
            )

    found: dict[str, list[tuple[float, str]]] = {name: [] for name in work}
    for repeat in range(options.repeats + 1):
        for name, run in work.items():
            answer = run()
            if repeat:  # the first loads what is loaded at first use
                found[name].append(answer)
    print(describe_environment())
    print(f"{systems[0][0].shape[0]} unknowns, {options.n} systems, relative residual {options.rtol:g}")
    for name, answers in sorted(found.items(), key=lambda item: statistics.median(ms for ms, _ in item[1])):
        milliseconds = [ms for ms, _ in answers]
        spread = f"{min(milliseconds):.0f} to {max(milliseconds):.0f}"
        print(f"{name:28} {statistics.median(milliseconds):6.1f} ms a system ({spread})  {answers[-1][1]}")


if __name__ == "__main__":
    main()
