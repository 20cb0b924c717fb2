"""What the reproduction of deep conjugate directions measures, and the tables it prints."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import torch

from equipoise.operators.direction_net import DirectionNet, network_direction
from equipoise.papers.reproduction import Table
from equipoise.problems.obstacles import DOMAINS
from equipoise.problems.pressure import PressurePoisson, smooth_divergence
from equipoise.problems.smoke import SmokePlume
from equipoise.solvers.learned_directions import conjugate_directions
from equipoise.solvers.linear import prepare, solve
from equipoise.training.direction_evaluation import FORMS, SolverFigures, compare_solvers, held_out_system

__all__ = [
    "Domains",
    "comparison_table",
    "growth",
    "growth_table",
    "measure_domains",
    "measure_energy",
    "measure_frames",
    "pooled",
    "share_table",
    "shares",
]

Domains: TypeAlias = Mapping[str, Mapping[str, SolverFigures]]
"""Figures by domain and solver."""


def measure_domains(
    network: DirectionNet,
    shape: Sequence[int],
    *,
    domains: Sequence[str],
    rivals: Sequence[str],
    random_weights: bool,
    seed: int,
    device: str,
) -> Domains:
    """Both forms with the network, the rivals, and where asked the safeguarded form with random weights."""
    found: dict[str, dict[str, SolverFigures]] = {}
    directions: dict[str, tuple[DirectionNet, Mapping[str, Any]]] = {
        form: (network, options) for form, options in FORMS.items()
    }
    for name in domains:
        found[name] = compare_solvers(directions, name, shape, rivals=rivals, seed=seed, device=device)
        if random_weights:
            untrained = DirectionNet(**{**network.config, "seed": network.config["seed"] + 1}).to(device)
            options = {**FORMS["safeguarded"], "maxiter": int(4 * found[name]["CG"].iterations)}
            random = compare_solvers(
                {"random weights": (untrained, options)}, name, shape, rivals=(), seed=seed, device=device, count=1
            )
            found[name]["random weights"] = random["random weights"]
    return found


def pooled(runs: Sequence[Domains]) -> Domains:
    """Runs on the same domains as one: medians over all solves; a solver may be missing from all runs but the first."""
    return {
        name: {solver: _pooled([run[name][solver] for run in runs if solver in run[name]]) for solver in solvers}
        for name, solvers in runs[0].items()
    }


def _pooled(rows: Sequence[SolverFigures]) -> SolverFigures:
    each = tuple(count for row in rows for count in row.each)
    setup, seconds = (statistics.median(getattr(row, name) for row in rows) for name in ("setup_seconds", "seconds"))
    return SolverFigures(statistics.median(each), each, setup, seconds, all(row.converged for row in rows))


def measure_energy(network: DirectionNet, shape: Sequence[int], seed: int, device: str) -> dict[str, float]:
    """Largest growth of the energy error and of the residual in one step of the published form, over all domains."""
    growth_of_error, growth_of_residual, negative, steps = -1.0, 0.0, 0, 0
    for name in DOMAINS:
        system = held_out_system(name, shape, seed)
        rhs = smooth_divergence(system, 1, torch.Generator().manual_seed(1000 * (seed + 1)))
        exact = solve(prepare(system.matrix(), "ic", method="cg"), system.restrict(rhs), rtol=1e-12).value
        target = system.prolong(exact.numpy()).to(device)
        errors = _Errors(system, target)
        solution = conjugate_directions(
            system.apply,
            rhs.to(device),
            network_direction(network),
            project=system.project,
            maxiter=4 * max(shape),
            throw=False,
            callback=errors,
            **FORMS["as published"],
        )
        growth_of_error = max(growth_of_error, errors.largest_growth)
        history = torch.stack(solution.history)[:, 0]
        growth_of_residual = max(growth_of_residual, float((history[1:] / history[:-1]).max()))
        negative += int(solution.state.negative)
        steps += int(solution.iterations)
    return {
        "largest_relative_growth": growth_of_error,
        "largest_growth_of_the_residual": growth_of_residual,
        "share_of_uphill_proposals": negative / max(steps, 1),
    }


def measure_frames(network: DirectionNet, shape: Sequence[int], device: str) -> dict[str, list[int]]:
    """Iterations on the pressure equations of frames 1, 10 and 50 of smoke around a disc or a sphere."""
    plume = SmokePlume(held_out_system("disc", shape).fluid[0])
    rhs = plume.frames((1, 10, 50))
    found = {}
    for form, options in FORMS.items():
        solution = conjugate_directions(
            plume.system.apply,
            rhs.to(device),
            network_direction(network),
            project=plume.system.project,
            maxiter=4 * max(shape),
            throw=False,
            **options,
        )
        found[form] = solution.iterations.tolist()
    plain = prepare(plume.system.matrix(), method="cg")
    found["CG"] = solve(plain, plume.system.restrict(rhs), rtol=1e-4).iterations.tolist()
    return found


class _Errors:
    """Energy errors of the iterates of one solve."""

    def __init__(self, system: PressurePoisson, exact: torch.Tensor) -> None:
        self._system, self._exact = system, exact
        self._energies = [self._energy(torch.zeros_like(exact))]

    def _energy(self, value: torch.Tensor) -> float:
        error = value - self._exact
        return float((self._system.apply(error) * error).sum())

    def __call__(self, value: torch.Tensor, relative: torch.Tensor) -> None:
        self._energies.append(self._energy(value))

    @property
    def largest_growth(self) -> float:
        """In one step, relative to the first."""
        return max(after - before for before, after in pairwise(self._energies)) / self._energies[0]


def shares(domains: Domains) -> dict[str, dict[str, float]]:
    """Iterations divided by CG's, by form and domain."""
    return {
        form: {name: solvers[form].iterations / solvers["CG"].iterations for name, solvers in domains.items()}
        for form in FORMS
    }


def growth(
    sizes: Mapping[int, Domains], only: int | None = None, *, form: str = "safeguarded"
) -> dict[str, dict[str, float]]:
    """Ratios of a form's iterations from each size to the next one that is twice as large, by domain."""
    found: dict[str, dict[str, float]] = {}
    for size, domains in sizes.items():
        if size // 2 in sizes and only in (None, size):
            before = sizes[size // 2]
            found[f"{size // 2} to {size}"] = {
                name: solvers[form].iterations / before[name][form].iterations for name, solvers in domains.items()
            }
    return found


def share_table(domains: Domains, frames: Mapping[str, Sequence[int]], size: int) -> Table:
    """Iterations and their shares of CG's, a row for each domain and one for frames of smoke."""
    header = ["iterations to 1e-4", "as published", "safeguarded", "random weights", "CG", "shares of CG"]
    rows = []
    for name, solvers in domains.items():
        plain = solvers["CG"].iterations
        row = [_count(solvers.get(solver)) for solver in header[1:4]]
        part = ", ".join(f"{solvers[form].iterations / plain:.2f}" for form in ("as published", "safeguarded"))
        rows.append([name, *row, f"{plain:.0f}", part])
    middle = {solver: sorted(each)[1] for solver, each in frames.items()}
    part = ", ".join(f"{middle[form] / middle['CG']:.2f}" for form in ("as published", "safeguarded"))
    each = (str(middle["as published"]), str(middle["safeguarded"]), "-", str(middle["CG"]))
    rows.append(["disc, frames of smoke", *each, part])
    return Table(f"{size} cells a side, weights trained at that size", header, rows)


def growth_table(own: Mapping[int, Domains], fixed: Mapping[int, Domains]) -> Table:
    """Iterations of the safeguarded form at each size with its own weights, and with those of the size before."""
    header = ["safeguarded, iterations", *(f"{size}, own weights" for size in own)]
    header += [f"{size}, weights of {_before(size, own)}" for size in fixed]
    rows = [
        [name, *(_count(found[name]["safeguarded"]) for found in (*own.values(), *fixed.values()))]
        for name in next(iter(own.values()))
    ]
    return Table("growth with the size", header, rows)


def _before(size: int, own: Mapping[int, Domains]) -> int:
    return max(trained for trained in own if trained < size)


def comparison_table(domains: Domains, size: int) -> Table:
    """Iterations and milliseconds of every solver; on a processor algebraic multigrid is expected to win in time."""
    solvers = list(next(iter(domains.values())))
    header = ["iterations / ms", *domains]
    rows = [
        [solver, *(f"{_count(found[solver])} / {1e3 * found[solver].seconds:.1f}" for found in domains.values())]
        for solver in solvers
    ]
    setup = [f"{1e3 * max(found[solver].setup_seconds for found in domains.values()):.0f}" for solver in solvers]
    header.append("setting up, ms")
    for row, text in zip(rows, setup, strict=True):
        row.append(text)
    return Table(f"{size} cells a side: {_winner(domains)} is the fastest without setting up", header, rows)


def _winner(domains: Domains) -> str:
    total: dict[str, float] = {}
    for found in domains.values():
        for solver, figures in found.items():
            total[solver] = total.get(solver, 0.0) + figures.seconds
    return min(total, key=lambda solver: total[solver])


def _count(figures: SolverFigures | None) -> str:
    if figures is None:
        return "-"
    return f"{figures.iterations:.0f}" if figures.converged else f"> {figures.iterations:.0f}"
