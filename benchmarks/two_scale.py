"""A whole two-scale simulation with a learned cell against FE² with Equipoise's own full-field solver.

FE² is run to its end on a small structure and compared in displacement and reaction; on a large one its time is an
estimate from the timed solves of a sample of points, and is called that. `--scaling` measures how both costs grow.

    equipoise generate rve --mesh MESH -n 100 -o rve.h5 && equipoise train equino rve.h5 -o run
    python benchmarks/two_scale.py run [--small 4] [--large 32] [--repeats 5] [--workers 2] [--scaling FIGURE.png]
"""

from __future__ import annotations

import argparse
import os
import statistics
from pathlib import Path

import torch
from cost_scaling import draw_scaling
from environment import describe_environment, peak_memory

from equipoise.data.executors import ProcessExecutor
from equipoise.multiscale.certified_model import CertifiedModel
from equipoise.multiscale.comparison import compare_with_full_field, seconds_per_strain
from equipoise.multiscale.distributed_solver import DistributedCellSolver
from equipoise.multiscale.full_field import FullFieldRVE
from equipoise.multiscale.full_field_estimate import estimate_full_field
from equipoise.multiscale.load_stepping import Stepping
from equipoise.multiscale.macroscale import simulate
from equipoise.multiscale.runs import load_micro
from equipoise.multiscale.structure import Region, Structure, Support
from equipoise.spaces.structures import cooks_membrane


def membrane(elements: int, deflection: float) -> Structure:
    return Structure(
        cooks_membrane(elements=(elements, elements)),
        [
            Support(Region(group="left"), {"x": 0.0, "y": 0.0}, name="clamp"),
            Support(Region(group="right"), {"y": deflection}, name="edge"),
        ],
        stepping=Stepping(first_step=0.25),
        name="Cook's membrane",
    )


def quartiles(values: list[float], unit: str, digits: int = 3) -> str:
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.{digits}g} {unit} ({low:.{digits}g} to {high:.{digits}g})"


def small(model: CertifiedModel, elements: int, deflection: float) -> None:
    compared = compare_with_full_field(membrane(elements, deflection), model)
    print(f"\nFE² run to its end: {elements} x {elements} elements, {len(compared.full.weights)} points")
    for row in compared.table()[1]:
        print("  ".join(f"{cell:<36s}" if i == 0 else f"{cell:<14s}" for i, cell in enumerate(row)))
    estimate = estimate_full_field(membrane(elements, deflection), model, FullFieldRVE(model.cell), sample=12)
    ratio = estimate.seconds / compared.full.timings.total
    print(
        f"estimate of the same from {estimate.sampled_evaluations} solves: {estimate.seconds:.3g} s, {ratio:.2f} of it"
    )


def large(model: CertifiedModel, elements: int, deflection: float, repeats: int, workers: int) -> None:
    structure = membrane(elements, deflection)
    simulate(structure, model)
    learned = [simulate(structure, model).timings for _ in range(repeats)]
    micro = [seconds_per_strain(model) for _ in range(repeats)]
    warm = FullFieldRVE(model.cell)
    estimates = {"one process": estimate_full_field(structure, model, warm, sample=8)}
    if workers > 1:
        spread = DistributedCellSolver(model.cell, executor=ProcessExecutor(workers), batch=8)
        with_workers = FullFieldRVE(model.cell, solver=spread)
        estimates[f"{workers} workers"] = estimate_full_field(structure, model, with_workers, sample=8 * workers)
    name, full = min(estimates.items(), key=lambda item: item[1].seconds)
    print(f"\nFE² estimated ({name}): {elements} x {elements} elements, {len(full.learned.weights)} points")
    print(f"learned cell, wall seconds               {quartiles([t.total for t in learned], 's')}")
    for part in ("micro", "assembly", "solve"):
        print(f"    {part:37s}{quartiles([getattr(t, part) for t in learned], 's')}")
    for name, estimate in estimates.items():
        print(
            f"FE², {name}: {1e3 * estimate.seconds_per_evaluation:.3g} ms a solve (measured on "
            f"{estimate.sampled_evaluations} of {estimate.evaluations}), {estimate.seconds / 3600:.3g} h (estimate)"
        )
    whole = [full.seconds / timings.total for timings in learned]
    print(f"whole simulation, FE² estimated          {quartiles(whole, 'times faster')}")
    generator = torch.Generator().manual_seed(0)
    box = model.box
    assert box is not None
    strain = box[0] + torch.rand(12, model.n_strain, generator=generator, dtype=torch.float64) * (box[1] - box[0])
    cold = [float(warm.solver.solve(row[None]).seconds[0]) for row in strain]
    in_structure = [full.seconds_per_evaluation / one for one in micro]
    print(f"learned answer with tangent              {quartiles([1e6 * one for one in micro], 'µs')}")
    print(f"full-field solve over the box, cold      {quartiles([1e3 * one for one in cold], 'ms')}")
    print(f"micro evaluation against FE²'s           {quartiles(in_structure, 'times faster')}")
    from_cold = [statistics.median(cold) / one for one in micro]
    print(f"micro evaluation against a cold solve    {quartiles(from_cold, 'times faster')}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--small", type=int, default=4)
    parser.add_argument("--large", type=int, default=32)
    parser.add_argument("--deflection", type=float, default=1.35)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--scaling", type=Path, help="measure the scaling of both costs and draw it here")
    arguments = parser.parse_args()
    print(describe_environment("scikit-fem", "pypardiso"))
    model = load_micro(arguments.run, certify="none")
    assert isinstance(model, CertifiedModel)
    if arguments.small:
        small(model, arguments.small, arguments.deflection)
    if arguments.large:
        large(model, arguments.large, arguments.deflection, arguments.repeats, arguments.workers)
    if arguments.scaling:
        draw_scaling(model, lambda elements: membrane(elements, arguments.deflection / 4), arguments.scaling)
    print(f"\npeak memory {peak_memory():.0f} MiB")


if __name__ == "__main__":
    main()
