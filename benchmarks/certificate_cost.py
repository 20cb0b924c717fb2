"""What each part of the certificate costs for one strain, beside the learned answer and the full-field solve.

python benchmarks/certificate_cost.py run [--count 2000] [--repeats 5]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from environment import describe_environment, peak_memory

from equipoise.data.sampling import uniform
from equipoise.multiscale.certified_model import CertifiedModel
from equipoise.multiscale.runs import load_micro
from equipoise.problems.mechanics.cell_solver import CellSolver


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    model = load_micro(arguments.run, certify="all")
    assert isinstance(model, CertifiedModel)
    assert model.box is not None
    assert model.certificate is not None
    certificate, solver = model.certificate, CellSolver(model.cell)
    strain = uniform(arguments.count, model.box, seed=0)
    few, fewer = strain[:20], strain[:5]
    found = model.coefficients(strain)
    of_few, of_many = found.rows(torch.arange(20)), found.rows(torch.arange(200))
    parts: dict[str, tuple[Callable[[], object], int]] = {
        "learned stress and tangent": (lambda: model.answer(strain), len(strain)),
        "learned coefficients of both fields": (lambda: model.coefficients(strain), len(strain)),
        "estimate of the gap (sampled)": (lambda: certificate.estimate(strain, found), len(strain)),
        "refinement, reduced Newton steps": (lambda: certificate.refine(strain[:200], of_many), 200),
        "guaranteed bound, all points (all)": (lambda: certificate.bound(few, of_few), len(few)),
        "full-field solve (fall-back)": (lambda: solver.solve(fewer), len(fewer)),
    }
    print(describe_environment())
    print(f"{model.cell.n_points} quadrature points, {model.bases.n_stress_modes} modes")
    for name, (work, count) in parts.items():
        times = []
        for _ in range(arguments.repeats + 1):
            began = time.perf_counter()
            work()
            times.append((time.perf_counter() - began) / count)
        print(f"{name:38s}{1e3 * statistics.median(times[1:]):12.4f} ms per strain")
    print(f"peak memory {peak_memory():.0f} MiB")


if __name__ == "__main__":
    main()
