"""`equipoise evaluate` for search directions: iterations and time beside other solvers, on domains not trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from equipoise.training.direction_evaluation import SolverFigures

__all__ = ["evaluate_direction_run"]


def evaluate_direction_run(run: Path, resolutions: Sequence[int], *, seed: int, device: str, as_json: bool) -> None:
    """Print what the network of a run needs on each domain at each size, and what the other solvers need.

    Args:
        run: folder of `equipoise train dcdm`. resolutions: cells along a side; those trained at where there are none.
    """
    from equipoise.cli.cell_options import check_device
    from equipoise.problems.obstacles import DOMAINS
    from equipoise.training.direction_evaluation import FORMS, compare_solvers
    from equipoise.training.direction_runs import load_direction_run

    loaded = load_direction_run(run, device=check_device(device))
    results: list[dict[str, Any]] = []
    for size in resolutions or loaded.sizes:
        if size < 4 or size % 2:
            raise ValueError(f"--resolution {size} must be even and at least 4.")
        network = loaded.network(size)
        shape = (size,) * loaded.dim
        for name in DOMAINS:
            directions = {f"learned, {form}": (network, options) for form, options in FORMS.items()}
            found = compare_solvers(directions, name, shape, seed=seed, device=device)
            results.append(
                {
                    "size": size,
                    "trained_at": loaded.trained_at(size),
                    "domain": name,
                    "solvers": {solver: asdict(figures) for solver, figures in found.items()},
                }
            )
            if not as_json:
                print(_text(results[-1], found), flush=True)
    if as_json:
        print(json.dumps({"run": str(run), "device": device, "results": results}, allow_nan=False))
    else:
        print("iterations and times to a relative residual of 1e-4, medians of three right-hand sides; ms of one solve")


def _text(row: Mapping[str, Any], found: Mapping[str, SolverFigures]) -> str:
    lines = [f"{row['domain']}, {row['size']} cells a side, weights trained at {row['trained_at']}"]
    plain = found["CG"].iterations
    for solver, figures in found.items():
        note = "" if figures.converged else "   not converged"
        lines.append(
            f"    {solver:24s} {figures.iterations:6.0f} iterations {figures.iterations / plain:6.2f} of CG "
            f"{1e3 * figures.seconds:9.1f} ms, setting up {1e3 * figures.setup_seconds:8.1f} ms{note}"
        )
    return "\n".join(lines)
