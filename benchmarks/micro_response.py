"""Learned micro answers with tangent: the one-sweep path against the published arrangement, paired in one process.

Published: one strain a call, value and reverse-mode Jacobian of the stress branch. The batched form of the same
(`vmap(jacrev)`) stands beside it.

    python benchmarks/micro_response.py [--count 10000] [--repeats 7] [--device cuda]
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from environment import describe_environment, peak_memory

from equipoise.operators.equino import EquiNO


def seconds(work: object, count: int) -> float:
    began = time.perf_counter()
    work()  # type: ignore[operator]
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    model = EquiNO().eval()
    model.set_input_scale(torch.full((3,), 0.04, dtype=torch.float64))
    known = [torch.randn(200, k, generator=generator, dtype=torch.float64) for k in (3, 16, 16)]
    model.fit_scales(*known, torch.randn(3, 16, generator=generator, dtype=torch.float64))
    model = model.to(arguments.device)
    strain = 0.08 * torch.rand(arguments.count, 3, generator=generator, dtype=torch.float64) - 0.04
    strain = strain.to(arguments.device)

    def homogenised(one: torch.Tensor) -> torch.Tensor:
        return model.homogenised_modes @ model.stress_branch(one[None])[0]

    single = torch.func.jacrev(homogenised)
    batched = torch.func.vmap(torch.func.jacrev(homogenised))
    few = strain[:50]

    def one_by_one() -> None:
        for row in few:
            homogenised(row)
            single(row)

    print(describe_environment(), arguments.device)
    times: dict[str, list[float]] = {"one sweep": [], "vmap(jacrev)": [], "one strain a call": []}
    for _ in range(arguments.repeats + 1):
        times["one sweep"].append(seconds(lambda: model.response(strain), arguments.count))
        times["vmap(jacrev)"].append(seconds(lambda: batched(strain[:2000]), 2000))
        times["one strain a call"].append(seconds(one_by_one, len(few)))
    error = (batched(strain[:200]) - model.response(strain[:200])[1]).abs().max().detach()
    ours = times["one sweep"][1:]
    for name, values in times.items():
        ratio = statistics.median(b / a for a, b in zip(ours, values[1:], strict=True))
        print(f"{name:20s} {1e6 * statistics.median(values[1:]):10.2f} µs per strain   ratio {ratio:8.1f}")
    print(f"largest difference of the tangents {float(error):.1e}; peak memory {peak_memory():.0f} MiB")


if __name__ == "__main__":
    main()
