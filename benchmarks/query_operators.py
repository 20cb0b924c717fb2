"""Training steps of DeepONet against DeepXDE's with PyTorch, paired in one process, and the error after equal steps.

python benchmarks/query_operators.py [--pairs 7] [--steps 3000] [--seeds 3]

Aligned antiderivative: branch [100, 40, 40], trunk [1, 40, 40], ReLU, 150 functions at 100 shared points, full batch.
Physics-informed antiderivative: widths of 128, tanh, 100 of 1000 functions a step, residuals at 22 points, exact start;
DeepXDE in reverse mode, in forward mode, and by its zero-coordinate shift. Needs deepxde.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

os.environ["DDE_BACKEND"] = "pytorch"
warnings.filterwarnings("ignore", category=DeprecationWarning)

import numpy as np  # noqa: E402
import torch  # noqa: E402
from environment import describe_environment  # noqa: E402

from equipoise.operators.deeponet import DeepONet  # noqa: E402
from equipoise.problems.registry import make_problem  # noqa: E402
from equipoise.training.adam import Adam  # noqa: E402
from equipoise.training.deeponet import EquationObjective, QueryObjective  # noqa: E402
from equipoise.training.phases import Phase  # noqa: E402
from equipoise.training.trainer import Trainer  # noqa: E402

with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    import deepxde as dde

FUNCTIONS, TESTS, POINTS = 150, 1000, 100
Step = Callable[[int], None]


def functions(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    problem = make_problem("antiderivative", resolution=POINTS)
    inputs = problem.sample(count, torch.Generator().manual_seed(seed))
    return inputs[:, 0].float(), problem.solve(inputs)[:, 0].float()


def plain_loop(model: torch.nn.Module, objective: Any, batch: int | None, seed: int = 0, rate: float = 1e-3) -> Step:
    optimiser = Adam(model.parameters(), lr=rate)
    generator = torch.Generator().manual_seed(seed)

    def steps(count: int) -> None:
        for _ in range(count):
            samples = None if batch is None else torch.randint(objective.size, (batch,), generator=generator)
            optimiser.zero_grad()
            (loss,) = objective(model, samples).values()
            loss.backward()
            optimiser.step()

    return steps


def trainer_loop(model: torch.nn.Module, objective: Any, batch: int | None) -> Step:
    def steps(count: int) -> None:
        phase = Phase("adam", steps=count, schedule="constant", batch_size=batch)
        Trainer(model, objective, record_every=10**9).fit([phase])

    return steps


def peer_loop(model: dde.Model) -> Step:
    def steps(count: int) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            model.train(iterations=count, display_every=10**9)

    return steps


def compiled(data: Any, net: Any, rate: float, kind: type = dde.Model, metrics: bool = False) -> dde.Model:
    model = kind(data, net)
    with contextlib.redirect_stdout(io.StringIO()):
        model.compile("adam", lr=rate, metrics=["mean squared error"] if metrics else None)
    return model


def aligned(seed: int) -> tuple[dict[str, Step], Callable[[], dict[str, float]]]:
    (inputs, outputs), (unseen, exact) = functions(FUNCTIONS, 0), functions(TESTS, 1)
    points = torch.linspace(0, 1, POINTS)[:, None]
    ours = DeepONet(sensors=POINTS, dim=1, seed=seed)
    trained = DeepONet(sensors=POINTS, dim=1, seed=seed)
    objective = QueryObjective(inputs, points, outputs[..., None])
    dde.config.set_random_seed(seed)
    data = dde.data.TripleCartesianProd(
        (inputs.numpy(), points.numpy()), outputs.numpy(), (unseen[:2].numpy(), points.numpy()), exact[:2].numpy()
    )
    net = dde.nn.DeepONetCartesianProd([POINTS, 40, 40], [1, 40, 40], "relu", "Glorot normal")
    peer = compiled(data, net, 1e-3)
    loops = {
        "Equipoise, plain loop": plain_loop(ours, objective, None),
        "Equipoise, Trainer": trainer_loop(trained, objective, None),
        "DeepXDE": peer_loop(peer),
    }

    def errors() -> dict[str, float]:
        with torch.no_grad():
            found = {
                "Equipoise, plain loop": ours(unseen, points)[..., 0],
                "DeepXDE": torch.as_tensor(peer.predict((unseen.numpy(), points.numpy()))),
            }
        return {name: float((value - exact).square().mean()) for name, value in found.items()}

    return loops, errors


def differentiate_by(mode: str) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        dde.config.set_default_autodiff(mode)


def physics_informed() -> dict[str, Step]:
    sensors, rate = 50, 5e-4
    places = np.linspace(0, 1, num=sensors, dtype=np.float32)[:, None]

    def difference(x: Any, u: Any, v: Any) -> Any:
        slope = dde.grad.jacobian(u, x, i=0, j=0)
        return (slope[0] if isinstance(slope, tuple) else slope) - v

    def shifted(parameters: Any, u: Any, v: Any) -> Any:
        return dde.zcs.LazyGrad(parameters, u).compute((1,)) - v

    def peer(mode: str) -> Step:
        is_shift = mode == "zero-coordinate shift"
        room: Any = dde.zcs if is_shift else dde
        dde.config.set_random_seed(0)
        differentiate_by("forward" if mode == "forward" else "reverse")
        with contextlib.redirect_stdout(io.StringIO()):
            equation = dde.data.PDE(
                dde.geometry.TimeDomain(0, 1), shifted if is_shift else difference, [], num_domain=20, num_boundary=2
            )
            operator = (dde.zcs if is_shift else dde.data).PDEOperatorCartesianProd
            data = operator(equation, dde.data.GRF(length_scale=0.2), places, 1000, num_test=2, batch_size=100)
        net = dde.nn.DeepONetCartesianProd([sensors, 128, 128, 128], [1, 128, 128, 128], "tanh", "Glorot normal")
        net.apply_output_transform(lambda inputs, outputs: outputs * inputs[1].T)
        return peer_loop(compiled(data, net, rate, room.Model))

    problem = make_problem("antiderivative", resolution=sensors)
    inputs = problem.sample(1000, torch.Generator().manual_seed(0))[:, 0].float()
    points = torch.linspace(0, 1, 22)[:, None]
    at = torch.as_tensor(np.stack([np.interp(points[:, 0], places[:, 0], row) for row in inputs.numpy()])).float()
    model = DeepONet(
        sensors=sensors,
        dim=1,
        n_modes=128,
        branch=(128, 128),
        trunk=(128, 128),
        activation="tanh",
        vanishing=("low",),
    )

    def residual(chosen: Any, value: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        return gradient[..., 0, 0] - at[chosen]

    objective = EquationObjective(inputs, points, residual)
    loops = {"Equipoise, plain loop": plain_loop(model, objective, 100, rate=rate)}
    for mode in ("reverse", "forward", "zero-coordinate shift"):
        try:
            step = peer(mode)
            step(2)
        except Exception as error:  # a mode that the peer does not offer here is said, not hidden
            print(f"DeepXDE, {mode}: not run, {type(error).__name__}: {str(error)[:80]}")
            continue
        loops[f"DeepXDE, {mode}"] = step
    differentiate_by("reverse")
    return loops


def compare(loops: dict[str, Step], pairs: int, count: int) -> None:
    spent: dict[str, list[float]] = {name: [] for name in loops}
    for number in range(pairs + 1):
        for name, step in loops.items():
            differentiate_by("forward" if "forward" in name else "reverse")
            began = time.perf_counter()
            step(count)
            if number > 0:
                spent[name].append((time.perf_counter() - began) / count * 1e3)
    first = next(iter(loops))
    for name, values in spent.items():
        ratio = statistics.median(b / a for a, b in zip(spent[first], values, strict=True))
        print(f"{name:34s}{statistics.median(values):10.3f} ms a step{ratio:8.2f} of {first}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3000, help="of the trainings whose errors are compared")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(describe_environment("deepxde"))
    print(f"aligned antiderivative, {FUNCTIONS} functions x {POINTS} points; medians of {arguments.pairs} pairs")
    compare(aligned(0)[0], arguments.pairs, 300)
    rows = []
    for seed in range(arguments.seeds):
        loops, errors = aligned(seed)
        for name in ("Equipoise, plain loop", "DeepXDE"):
            loops[name](arguments.steps)
        rows.append(errors())
    for name in ("Equipoise, plain loop", "DeepXDE"):
        values = [row[name] for row in rows]
        print(f"{name:34s}test mean square error {statistics.median(values):.3e} after {arguments.steps} steps")
    ratio = statistics.median(row["Equipoise, plain loop"] for row in rows)
    ratio /= statistics.median(row["DeepXDE"] for row in rows)
    print(f"ratio of the medians over {arguments.seeds} seeds {ratio:.2f}")
    print("physics-informed antiderivative, 100 of 1000 functions x 22 points a step")
    compare(physics_informed(), arguments.pairs, 30)


if __name__ == "__main__":
    main()
