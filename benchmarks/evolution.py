"""Evolution equations in a batch of 32 against one trajectory at a time, and Navier-Stokes against torch-cfd.

All pairs run in one process; the second part needs `pip install torch-cfd`.

python benchmarks/evolution.py [--repeats 5]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from environment import describe_environment, peak_memory

from equipoise.problems import (
    SpectralEvolution,
    advection,
    allen_cahn,
    burgers,
    korteweg_de_vries,
    kuramoto_sivashinsky,
    navier_stokes,
)

COUNT = 32
FAMILIES: dict[str, Callable[[], SpectralEvolution]] = {
    "advection, 128": lambda: advection(resolution=128, n_times=50),
    "burgers, 128": lambda: burgers(resolution=128, final_time=0.1),
    "allen-cahn, 128": lambda: allen_cahn(resolution=128, final_time=0.5),
    "korteweg-de-vries, 128": lambda: korteweg_de_vries(resolution=128, final_time=0.1),
    "kuramoto-sivashinsky, 128": lambda: kuramoto_sivashinsky(resolution=128, final_time=2.0),
    "burgers, 1024": lambda: burgers(resolution=1024, final_time=0.05),
    "navier-stokes, 64 x 64": lambda: navier_stokes(resolution=64, final_time=0.1),
    "navier-stokes, 128 x 128": lambda: navier_stokes(resolution=128, final_time=0.05),
    "navier-stokes, 256 x 256": lambda: navier_stokes(resolution=256, final_time=0.02),
}


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    print(describe_environment())
    print(f"{'family':28s}{'batch, ms':>12s}{'one, ms':>12s}{'ratio':>8s}   per trajectory, medians")
    for name, make in FAMILIES.items():
        problem = make()
        start = problem.sample(COUNT, torch.Generator().manual_seed(0))
        few = start[:4]
        batch, loop = [], []
        for _ in range(arguments.repeats + 1):
            batch.append(seconds(lambda p=problem, s=start: p.solve(s)) / COUNT)
            loop.append(seconds(lambda p=problem, s=few: [p.solve(row[None]) for row in s]) / len(few))
        batch, loop = batch[1:], loop[1:]
        ratio = statistics.median(b / a for a, b in zip(batch, loop, strict=True))
        print(f"{name:28s}{1e3 * statistics.median(batch):12.3f}{1e3 * statistics.median(loop):12.3f}{ratio:8.1f}")
    against_torch_cfd(arguments.repeats)
    print(f"peak memory {peak_memory():.0f} MiB")


def against_torch_cfd(repeats: int) -> None:
    """One step of decaying Navier-Stokes in float64 beside torch-cfd's, for its integrators of both orders."""
    try:
        from torch_cfd.grids import Grid
        from torch_cfd.spectral import IMEXStepper, NavierStokes2DSpectral, RK4CrankNicolsonStepper
    except ImportError:
        print("torch-cfd is not installed; its comparison is left out")
        return
    print(f"\n{'navier-stokes, a step':28s}{'ours, ms':>12s}{'torch-cfd':>12s}{'ratio':>8s}   difference of solutions")
    step, steps, viscosity = 1e-3, 20, 1e-3
    for points, count in ((64, 32), (128, 8), (256, 4)):
        for order, stepper in ((4, RK4CrankNicolsonStepper()), (2, IMEXStepper(order=2))):
            ours = navier_stokes(
                resolution=points, viscosity=viscosity, forcing=0.0, final_time=steps * step, max_step=step, order=order
            )
            start = ours.sample(count, torch.Generator().manual_seed(0))
            grid = Grid(shape=(points, points), domain=((0, 1), (0, 1)))
            theirs = NavierStokes2DSpectral(viscosity=viscosity, grid=grid, step_fn=stepper).double()

            def peer(theirs: torch.nn.Module = theirs, start: torch.Tensor = start) -> torch.Tensor:
                with torch.no_grad():
                    spectrum = torch.fft.rfft2(start[:, 0])
                    for _ in range(steps):
                        spectrum = theirs.step_fn(spectrum, step, theirs)
                    return torch.fft.irfft2(spectrum)

            difference = float((peer() - ours.solve(start)[:, 0]).norm() / peer().norm())
            mine, other = [], []
            for _ in range(repeats):
                mine.append(seconds(lambda ours=ours, start=start: ours.solve(start)) / steps)
                other.append(seconds(peer) / steps)
            ratio = statistics.median(b / a for a, b in zip(mine, other, strict=True))
            name = f"{points} x {points}, batch {count}, order {order}"
            print(
                f"{name:28s}{1e3 * statistics.median(mine):12.2f}{1e3 * statistics.median(other):12.2f}{ratio:8.2f}"
                f"   {difference:.1e}"
            )


if __name__ == "__main__":
    main()
