"""Full-field unit-cell solves against a plain scikit-fem approach, paired in one process.

Both reach the same residual tolerance with the same number of threads and are compared at equal stress and tangent. A
cold solve starts from the mesh: numbering, pattern and analysis count. A family starts from the zero strain; as the
plain approach takes minutes for it, its time per solve is measured on a sample of the same strains.

    python benchmarks/full_field.py [--mesh PATH_OR_NAME] [--repeats 5] [--family 100] [--linear-solver superlu]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from environment import describe_environment, peak_memory
from plain_cell_solver import PlainCellSolver

from equipoise.data.sampling import uniform
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.cell_solver import CellSolution, CellSolver
from equipoise.problems.mechanics.materials import paper_materials
from equipoise.spaces.cells import builtin_cell
from equipoise.spaces.mesh import Mesh
from equipoise.spaces.mesh_files import read_mesh

RTOL = 1e-10


def timed(work: Callable[[], object]) -> tuple[float, object]:
    began = time.perf_counter()
    value = work()
    return time.perf_counter() - began, value


def quartiles(values: list[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:8.3f} ({low:.3f} to {high:.3f})"


def cold(mesh: Mesh, backend: str, strain: torch.Tensor) -> CellSolution:
    return CellSolver(PeriodicCell(mesh, paper_materials()), linear_solver=backend, rtol=RTOL).solve(strain)


def plain(mesh: Mesh) -> PlainCellSolver:
    (block,) = mesh.blocks
    return PlainCellSolver(mesh.points, block.connectivity, block.tags, RTOL)


def report(name: str, ours: list[float], theirs: list[float]) -> None:
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    print(f"{name:34s} ours {quartiles(ours)} s   plain {quartiles(theirs)} s   ratio {quartiles(ratios)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mesh", default="fibre:n=14,fraction=0.4")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--family", type=int, default=100)
    parser.add_argument("--linear-solver", default="auto")
    arguments = parser.parse_args()
    source = arguments.mesh
    mesh = read_mesh(source) if Path(source).exists() else builtin_cell(source)
    backend = arguments.linear_solver
    box = 0.04 * torch.tensor([[-1.0] * 3, [1.0] * 3], dtype=torch.float64)
    strains = uniform(arguments.family, box, seed=0)
    print(describe_environment("scikit-fem", "pypardiso"))
    cold(mesh, backend, strains[:1])
    ours, theirs, errors = [], [], []
    for repeat in range(arguments.repeats):
        strain = strains[repeat : repeat + 1]
        seconds, answer = timed(lambda strain=strain: cold(mesh, backend, strain))
        ours.append(seconds)
        seconds, (stress, tangent, _) = timed(lambda strain=strain: plain(mesh).solve(strain[0].numpy()))
        theirs.append(seconds)
        errors.append(
            (
                np.abs(answer.stress[0].numpy() - stress).max() / np.abs(stress).max(),
                np.abs(answer.tangent[0].numpy() - tangent).max() / np.abs(tangent).max(),
            )
        )
    report("one cold solve, tangent included", ours, theirs)
    print(
        f"largest relative difference: stress {max(e[0] for e in errors):.1e}, tangent {max(e[1] for e in errors):.1e}"
    )
    solver, rival = CellSolver(PeriodicCell(mesh, paper_materials()), linear_solver=backend, rtol=RTOL), plain(mesh)
    ours, theirs = [], []
    for repeat in range(arguments.repeats):
        seconds, answer = timed(lambda: solver.solve(strains))
        ours.append(seconds / len(strains))
        sample = strains[repeat * len(strains) // arguments.repeats].numpy()
        theirs.append(timed(lambda sample=sample: rival.solve(sample))[0])
    report(f"per solve, family of {len(strains)}", ours, theirs)
    print(f"Newton steps {answer.iterations.double().mean():.2f} a solve; peak memory {peak_memory():.0f} MiB")


if __name__ == "__main__":
    main()
