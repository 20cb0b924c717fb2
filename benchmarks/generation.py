"""`equipoise generate darcy` against the loop that a user would write with SciPy, both drawing, solving and storing.

The loop assembles by `scipy.sparse.diags_array`, solves by `spsolve` and writes into an HDF5 file as it goes. Runs are
paired: each ratio comes from one run of either, one after the other. Set-up, the choice of the solver included, counts.

    python benchmarks/generation.py [-n 100] [--repeats 5] [--resolution 128] [--coefficient piecewise]
        [--solver auto] [--tolerance 1e-10] [--threads 2] [--without-pardiso]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spla
import torch
from environment import describe_environment

from equipoise.data import generate_fields, read_fields
from equipoise.data.field_chunks import draw_inputs
from equipoise.problems import Darcy


def assembled(a: np.ndarray) -> tuple[sp.csc_array, np.ndarray]:
    """Finite volumes with harmonic means on the inner points of a square grid."""
    n = len(a) - 2
    squared = 1 / (len(a) - 1) ** 2
    down = 2 * a[:-1, 1:-1] * a[1:, 1:-1] / (a[:-1, 1:-1] + a[1:, 1:-1]) / squared
    right = 2 * a[1:-1, :-1] * a[1:-1, 1:] / (a[1:-1, :-1] + a[1:-1, 1:]) / squared
    diagonal = down[:-1] + down[1:] + right[:, :-1] + right[:, 1:]
    across = right[:, 1:].copy()
    across[:, -1] = 0
    along, across = down[1:-1].ravel(), across.ravel()[:-1]
    values = [-along, -across, diagonal.ravel(), -across, -along]
    return sp.diags_array(values, offsets=[-n, -1, 0, 1, n], format="csc"), np.ones(n * n)


def plain_loop(problem: Darcy, count: int, path: Path) -> None:
    """One sample after another."""
    shape = problem.grid.shape
    with h5py.File(path, "w") as file:
        inputs = file.create_dataset("conductivity", (count, *shape), dtype=np.float32)
        outputs = file.create_dataset("solution", (count, *shape), dtype=np.float32)
        for number in range(count):
            a = draw_inputs(problem, [number], seed=0)[0, 0].numpy()
            field = np.zeros(shape)
            field[1:-1, 1:-1] = spla.spsolve(*assembled(a)).reshape(shape[0] - 2, -1)
            inputs[number], outputs[number] = a, field


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-n", "--count", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--coefficient", default="piecewise")
    parser.add_argument("--solver", default="auto")
    parser.add_argument("--tolerance", type=float)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--without-pardiso", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.without_pardiso:
        sys.modules["pypardiso"] = None  # type: ignore[assignment]
    family = {"resolution": options.resolution, "coefficient": options.coefficient}
    problem = Darcy(**family)
    print(describe_environment("pypardiso", "pyamg"))
    ratios, processor = [], []
    with tempfile.TemporaryDirectory() as folder:
        ours, plain = Path(folder) / "ours.h5", Path(folder) / "plain.h5"
        for repeat in range(options.repeats):
            began, cpu_began = time.perf_counter(), time.process_time()
            made = generate_fields(
                "darcy",
                options.count,
                ours,
                options=family,
                solver=options.solver,
                tolerance=options.tolerance,
                overwrite=True,
            )
            middle, cpu_middle = time.perf_counter(), time.process_time()
            plain_loop(problem, options.count, plain)
            ended, cpu_ended = time.perf_counter(), time.process_time()
            ratios.append((ended - middle) / (middle - began))
            processor.append((cpu_ended - cpu_middle) / (cpu_middle - cpu_began))
            if repeat == 0:
                assert made.solver is not None
                print(f"solver: {made.solver['recipe']}, ms a system by trial: ", end="")
                print({name: round(1e3 * seconds, 1) for name, seconds in made.solver["timings"].items()})
                with h5py.File(plain) as file:
                    expected = torch.as_tensor(file["solution"][()])[:, None]
                gap = float((read_fields(ours).outputs - expected).norm() / expected.norm())
                print(f"relative difference of the two files: {gap:.1e}")
            times = (
                f"{1e3 * (middle - began) / options.count:.2f} ms, loop {1e3 * (ended - middle) / options.count:.2f} ms"
            )
            print(f"generate {times} a sample: {ratios[-1]:.2f} times faster, {processor[-1]:.2f} in processor time")
    middle = f"{statistics.median(ratios):.2f} times faster, {statistics.median(processor):.2f} in processor time"
    print(f"median of {len(ratios)} pairs of {options.count} samples: {middle}")


if __name__ == "__main__":
    main()
