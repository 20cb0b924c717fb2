"""From which size learned conjugate directions take less time than conjugate gradients, both as batched torch code.

Networks are trained first, size by size, then boxes with two solid blocks are solved to a relative residual of 1e-4 in
float64. Two forms of conjugate gradients stand beside: the library's, and one whose iteration is written without
waiting for the host and, on CUDA, replayed as a graph. The network is replayed as a graph too. Ratios above 1 mean that
learned directions are faster than the faster of the two.

    python benchmarks/learned_directions.py [--device cuda] [--train SECONDS] [--minutes 3.7] [--batch 1 --batch 8]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from environment import describe_environment

from equipoise.operators.direction_net import DirectionNet, network_direction
from equipoise.problems.obstacles import domain
from equipoise.problems.pressure import PressurePoisson, smooth_divergence
from equipoise.solvers.learned_directions import conjugate_directions
from equipoise.solvers.linear import conjugate_gradient
from equipoise.training.learned_directions import curriculum, train_directions, within_seconds

TOLERANCE = 1e-4
FieldMap = Callable[[torch.Tensor], torch.Tensor]


def synchronise(device: str) -> None:
    """Wait for the device."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def fastest(work: Callable[[], Any], device: str, repeats: int = 3) -> tuple[Any, float]:
    """Result, and the least time of a few calls after one to warm up, in ms; one call alone where it takes long."""
    times = []
    for number in range(repeats + 1):
        synchronise(device)
        began = time.perf_counter()
        result = work()
        synchronise(device)
        times.append(1e3 * (time.perf_counter() - began))
        if times[-1] > 1500 or (number == 1 and sum(times) > 1500):
            break
    return result, min(times)


class Captured:
    """A function of one tensor, replayed as a CUDA graph for the shape of the example and called for others."""

    def __init__(self, function: FieldMap, example: torch.Tensor) -> None:
        self.function, self.graph = function, None
        if not example.is_cuda:
            return
        self.input = example.clone()
        try:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side), torch.no_grad():
                for _ in range(3):
                    function(self.input)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.no_grad(), torch.cuda.graph(graph):
                self.output = function(self.input)
            self.graph = graph
        except Exception as error:
            torch.cuda.synchronize()
            print(f"(no graph of the network: {str(error).splitlines()[0]})", flush=True)

    def __call__(self, field: torch.Tensor) -> torch.Tensor:
        if self.graph is None or field.shape != self.input.shape:
            return self.function(field)
        self.input.copy_(field)
        self.graph.replay()
        return self.output.clone()


class CapturedCG:
    """Conjugate gradients that look at the residual every `stride` iterations only, on CUDA as a graph."""

    def __init__(self, operator: FieldMap, rhs: torch.Tensor, *, stride: int = 20) -> None:
        self.operator, self.rhs, self.stride = operator, rhs, stride
        self.x, self.r, self.p = torch.zeros_like(rhs), rhs.clone(), rhs.clone()
        self.rr = self._dot(rhs, rhs)
        self.graph = None
        if rhs.is_cuda:
            try:
                side = torch.cuda.Stream()
                side.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(side):
                    self._iterate()
                torch.cuda.current_stream().wait_stream(side)
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph):
                    for _ in range(stride):
                        self._iterate()
                self.graph = graph
            except Exception as error:
                torch.cuda.synchronize()
                print(f"(no graph of CG: {str(error).splitlines()[0]})", flush=True)

    def _dot(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a * b).flatten(1).sum(1).view(-1, *[1] * (a.ndim - 1))

    def _iterate(self) -> None:
        image = self.operator(self.p)
        alpha = self.rr / self._dot(self.p, image).clamp_min(1e-300)
        self.x.addcmul_(alpha, self.p)
        self.r.addcmul_(alpha, image, value=-1)
        rr = self._dot(self.r, self.r)
        self.p.mul_(rr / self.rr.clamp_min(1e-300)).add_(self.r)
        self.rr.copy_(rr)

    def __call__(self, limit: int = 20_000) -> torch.Tensor:
        self.x.zero_()
        self.r.copy_(self.rhs)
        self.p.copy_(self.rhs)
        self.rr.copy_(self._dot(self.rhs, self.rhs))
        target = TOLERANCE**2 * self.rr
        for _ in range(0, limit, self.stride):
            if self.graph is None:
                for _ in range(self.stride):
                    self._iterate()
            else:
                self.graph.replay()
            if bool((self.rr <= target).all()):
                break
        return self.x


def trained(dim: int, size: int, seconds: float, device: str) -> dict[int, DirectionNet]:
    """A network through its curriculum within so many seconds: what it is after each stage."""
    network = DirectionNet(dim=dim, width=16 if dim == 2 or device.startswith("cuda") else 8)
    stages = curriculum(size, dim=dim, generous=device.startswith("cuda"))
    stages = within_seconds(network, stages, seconds, device=device)
    found = train_directions(network, stages, device=device)
    for stage in stages:
        held_out = found.iterations[stage.size]
        print(
            f"trained {dim}-D {stage.size:4d}: {stage.steps} steps of {stage.batch_size}, held-out boxes with "
            f"obstacles {held_out:.1f} iterations",
            flush=True,
        )
    print(f"training {dim}-D took {found.seconds:.0f} s with everything", flush=True)
    return dict(found.networks)


def compare(
    network: DirectionNet, dim: int, size: int, batch: int, device: str, forms: list[tuple[str, str, int, bool]]
) -> float:
    """Print one row for each solver; the ratio of the fastest conjugate gradients to the fastest learned directions."""
    system = PressurePoisson(domain("two boxes", (size,) * dim)[None])
    rhs = smooth_divergence(system, batch, torch.Generator().manual_seed(3)).to(device)
    shape = rhs.shape

    def rowwise(rows: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        return system.product(rows.view(-1, *shape[1:])).flatten(1)

    def library() -> Any:
        return conjugate_gradient(
            rowwise, rhs.flatten(1), preconditioner=lambda rows: rows, rtol=TOLERANCE, maxiter=20_000
        )

    found, plain = fastest(library, device)
    needed = int(found.iterations.max())
    captured = CapturedCG(system.product, rhs)
    value, quick = fastest(captured, device)
    gap = float(torch.linalg.vector_norm(rhs - system.product(value)) / torch.linalg.vector_norm(rhs))
    line = f"{dim}-D {size:5d} batch {batch:2d}"
    print(f"{line}  {'CG, library':34s} {needed:6d} iterations {plain:9.1f} ms")
    print(f"{line}  {'CG, captured':34s} {needed:6d} iterations {quick:9.1f} ms   residual {gap:.0e}", flush=True)
    best = float("inf")
    for name, precision, stored, safeguard in forms:
        direction = Captured(network_direction(network, precision=precision), rhs)

        def learned(direction: FieldMap = direction, stored: int = stored, safeguard: bool = safeguard) -> Any:
            return conjugate_directions(
                system.product,
                rhs,
                direction,
                stored=stored,
                safeguard=safeguard,
                rtol=TOLERANCE,
                maxiter=500,
                project=system.project,
                throw=False,
            )

        solution, spent = fastest(learned, device)
        _, forward = fastest(lambda direction=direction: direction(rhs), device)
        done = bool(solution.converged.all())
        best = min(best, spent) if done else best
        print(
            f"{line}  {name:34s} {int(solution.iterations.max()):6d} iterations {spent:9.1f} ms   network "
            f"{forward:.2f} ms{'' if done else '   NOT CONVERGED'}",
            flush=True,
        )
    ratio = min(plain, quick) / best
    print(f"{line}  CG / learned directions: {ratio:.2f}", flush=True)
    return ratio


def main() -> None:
    """Train, compare at each size, and say where the curves cross."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--train", type=float, default=None, help="seconds of training for both dimensions together")
    parser.add_argument("--minutes", type=float, default=3.7, help="no further size is begun after this time")
    parser.add_argument("--batch", type=int, action="append")
    options = parser.parse_args()
    began, device = time.perf_counter(), options.device
    on_gpu = device.startswith("cuda")
    print(describe_environment() + (f"; {torch.cuda.get_device_name()}" if on_gpu else ""), flush=True)
    seconds = options.train if options.train is not None else (100.0 if on_gpu else 40.0)
    plan: list[tuple[int, int, tuple[int, ...]]] = [(2, 64, (32, 64)), (3, 16, (16,))]
    forms = [
        ("learned, safeguarded, 16 stored", "full", 16, True),
        ("learned, as published, 2 stored", "full", 2, False),
    ]
    if on_gpu:
        plan = [(2, 256, (64, 128, 256, 512, 1024)), (3, 64, (32, 64, 128))]
        forms.insert(1, ("learned, safeguarded, half precision", "half", 16, True))
    crossings = []
    for dim, largest, sizes in plan:
        networks = trained(dim, largest, seconds / len(plan), device)
        ratios: dict[int, dict[int, float]] = {batch: {} for batch in options.batch or [1, 8]}
        for size in sizes:
            # The second half of the time belongs to three dimensions.
            if time.perf_counter() - began > 60 * options.minutes * (0.6 if dim == 2 else 1.0):
                print(f"({dim}-D {size}: left out, the time is up)")
                break
            network = networks[min(networks, key=lambda n, size=size: abs(n - size))]
            for batch, row in ratios.items():
                row[size] = compare(network, dim, size, batch, device, forms)
        for batch, row in ratios.items():
            won = [size for size, ratio in row.items() if ratio > 1]
            told = f"from {min(won)} cells a side" if won else f"nowhere up to {max(row, default=0)} cells a side"
            crossings.append(f"{dim}-D, batch {batch}: learned directions are faster than CG {told} ({_shown(row)})")
    print("\n".join(["", *crossings, f"all in {time.perf_counter() - began:.0f} s"]))


def _shown(row: dict[int, float]) -> str:
    return ", ".join(f"{size}: {ratio:.2f}" for size, ratio in row.items())


if __name__ == "__main__":
    main()
