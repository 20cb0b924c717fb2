"""The models that the DeepONet reproduction compares, each as a job that depends on its settings alone.

Jobs are plain values, so that they can run in other processes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from equipoise.nn.perceptron import MultilayerPerceptron
from equipoise.operators.deeponet import DeepONet
from equipoise.operators.linear_map import LinearMap
from equipoise.operators.pod_deeponet import PODDeepONet
from equipoise.problems.problem import Problem
from equipoise.problems.registry import make_problem
from equipoise.training.deeponet import QueryObjective, train_pod_deeponet
from equipoise.training.phases import Phase
from equipoise.training.trainer import Trainer

__all__ = ["CASES", "Job", "run_job"]

SENSORS = 100
_SEEN, _FRESH = 2000, 3000

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "antiderivative": ("antiderivative", {}),
    "pendulum, T = 1": ("pendulum", {}),
    "pendulum, T = 3": ("pendulum", {"final_time": 3.0}),
    "nonlinear ODE": ("nonlinear-ode", {}),
    "diffusion-reaction, k = 0.1": ("diffusion-reaction", {"reaction": 0.1, "n_times": SENSORS}),
}
"""Families with the options of the paper, or the nonlinear ones of our choice; always 100 sensors."""


@dataclass(frozen=True)
class Job:
    """One training or fit.

    Attributes:
        kind: `"ridge"`, `"deeponet"`, `"pod_linear"`, or on triples `"deeponet_triples"` and `"plain_triples"`; or
            `"ridge_of_sensors"` and `"pod_of_sensors"`, which read functions of a length scale at a number of sensors.
        case: of `CASES`. count: training functions. steps: of the optimiser. seed: of weights and batches; the
            functions are the same for all.
        tests: functions to test on. options: of the network. variant: what a network of other options is called.
        sensors, length_scale: of the studies of sensors.
    """

    kind: str
    case: str
    count: int
    steps: int = 0
    seed: int = 0
    tests: int = 350
    options: tuple[tuple[str, Any], ...] = ()
    variant: str = ""
    sensors: int = SENSORS
    length_scale: float = 0.2

    def problem(self) -> Problem:
        """The family."""
        name, options = CASES[self.case]
        return make_problem(name, resolution=SENSORS, **options)


def run_job(job: Job) -> dict[str, Any]:
    """Errors on unseen functions and seconds of training, as plain values.

    Seconds are those of the processor on one thread, which are wall seconds where nothing else runs, and stay so where
    something does.
    """
    return {
        "ridge": _ridge,
        "deeponet": _deeponet,
        "pod_linear": _pod_linear,
        "deeponet_triples": _triples,
        "plain_triples": _triples,
        "ridge_of_sensors": _sensor_study,
        "pod_of_sensors": _sensor_study,
    }[job.kind](job)


def _functions(job: Job, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs `(n, sensors)` and the first component of the outputs, `(n, 1, *grid)`."""
    problem = job.problem()
    inputs = problem.sample(count, torch.Generator().manual_seed(seed))
    return inputs[:, 0], problem.solve(inputs)[:, :1]


def _split(job: Job) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Training and test functions; on a line, smaller trainings see the first functions of larger ones.

    Test functions are the `tests` that were looked at while the recipe was chosen, and then as many of another seed,
    drawn when it stood.
    """
    most = max(job.count, 1600) if job.problem().grid.dim == 1 else job.count
    inputs, outputs = _functions(job, most, seed=1000)
    seen, fresh = (_functions(job, job.tests, seed=seed) for seed in (_SEEN, _FRESH))
    unseen, exact = (torch.cat(pair) for pair in zip(seen, fresh, strict=True))
    return inputs[: job.count], outputs[: job.count], unseen, exact


def _errors(found: torch.Tensor, exact: torch.Tensor) -> dict[str, float]:
    """Figures of the functions looked at, and the mean and median of the fresh ones."""
    half = len(exact) // 2
    fresh = _figures(found[half:], exact[half:])
    return {**_figures(found[:half], exact[:half]), "fresh_mean": fresh["mean"], "fresh_median": fresh["median"]}


def _figures(found: torch.Tensor, exact: torch.Tensor) -> dict[str, float]:
    error = torch.linalg.vector_norm((found - exact).flatten(1), dim=1)
    relative = error / torch.linalg.vector_norm(exact.flatten(1), dim=1)
    return {
        "mean": float(relative.mean()),
        "median": float(relative.median()),
        "percentile_95": float(relative.quantile(0.95)),
        "mean_square": float((found - exact).square().mean()),
    }


def _ridge(job: Job) -> dict[str, Any]:
    inputs, outputs, unseen, exact = _split(job)
    began = time.process_time()
    operator = LinearMap(sensors=SENSORS, shape=tuple(outputs.shape[2:])).double()
    fitted = operator.fit(inputs, outputs)
    seconds = time.process_time() - began
    found = operator(unseen, None)[..., 0].unflatten(1, exact.shape[2:])[:, None]
    return {**_errors(found, exact), "strength": fitted.strength, "seconds": seconds}


def _pod_linear(job: Job) -> dict[str, Any]:
    inputs, outputs, unseen, exact = _split(job)
    began = time.process_time()
    shape = tuple(outputs.shape[2:])
    operator = PODDeepONet(sensors=SENSORS, shape=shape, seed=job.seed, **dict(job.options)).double()
    trained = train_pod_deeponet(operator, inputs, outputs, steps=job.steps, seed=job.seed)
    seconds = time.process_time() - began
    with torch.no_grad():
        found = operator(unseen, None)[..., 0].unflatten(1, shape)[:, None]
    return {**_errors(found, exact), "share_of_network": trained.share, "seconds": seconds}


@torch.no_grad()
def _ask(model: nn.Module, inputs: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    return torch.cat([model(part, points) for part in inputs.split(100)])[..., 0]


def _deeponet(job: Job) -> dict[str, Any]:
    """The published network on functions at shared points: all of them on a line, 500 drawn at random in the plane."""
    inputs, outputs, unseen, exact = (values.float() for values in _split(job))
    problem = job.problem()
    points = problem.grid.points(dtype=torch.float32).flatten(0, -2)
    generator = torch.Generator().manual_seed(job.seed)
    seen = (
        torch.arange(len(points)) if problem.grid.dim == 1 else torch.randperm(len(points), generator=generator)[:500]
    )
    began = time.process_time()
    model = DeepONet(sensors=SENSORS, dim=problem.grid.dim, seed=job.seed, **dict(job.options))
    objective = QueryObjective(inputs, points[seen], outputs.flatten(2)[:, 0, seen, None])
    phase = Phase("adam", steps=job.steps, learning_rate=1e-3, schedule="constant")
    Trainer(model, objective, seed=job.seed).fit([phase])
    seconds = time.process_time() - began
    return {**_errors(_ask(model, unseen, points), exact.flatten(1)), "seconds": seconds}


class _PlainNetwork(nn.Module):
    """A perceptron of the sensors and the point together, which is what the paper compares with."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.network = MultilayerPerceptron(
            (SENSORS + 1, 100, 100, 1),
            generator=torch.Generator().manual_seed(seed),
            activation="relu",
            dtype=torch.float32,
            distribution="normal",
        )

    def forward(self, inputs: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        return self.network(torch.cat([inputs, points[:, 0]], 1))[:, None]


def _triples(job: Job) -> dict[str, Any]:
    """A network on triples: each function is seen at one random point."""

    def triples(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        inputs, outputs = _functions(job, count, seed)
        place = torch.randint(SENSORS, (count,), generator=torch.Generator().manual_seed(seed))
        points = job.problem().grid.points(dtype=torch.float32)[place]
        return inputs.float(), points[:, None], outputs[torch.arange(count), 0, place].float()[:, None, None]

    train, unseen, fresh = triples(job.count, 1000), triples(job.tests, _SEEN), triples(job.tests, _FRESH)
    began = time.process_time()
    model = (
        DeepONet(sensors=SENSORS, dim=1, seed=job.seed) if job.kind == "deeponet_triples" else _PlainNetwork(job.seed)
    )
    phase = Phase("adam", steps=job.steps, learning_rate=1e-3, schedule="constant", batch_size=1000)
    Trainer(model, QueryObjective(*train), seed=job.seed).fit([phase])
    seconds = time.process_time() - began
    found = {}
    with torch.no_grad():
        for name, (inputs, points, exact) in (("train", train), ("test", unseen), ("fresh_test", fresh)):
            found[name] = float((model(inputs, points) - exact).square().mean())
    gaps = {"gap": found["test"] - found["train"], "fresh_gap": found["fresh_test"] - found["train"]}
    return {**found, **gaps, "ratio": found["test"] / found["train"], "seconds": seconds}


_STUDY_INTERVALS = 200


def _sensor_study(job: Job) -> dict[str, Any]:
    """Functions are solved on 201 points and read at some of them, equally spaced; errors are those at all points."""
    name, options = CASES[job.case]
    problem = make_problem(name, resolution=_STUDY_INTERVALS + 1, length_scale=job.length_scale, **options)
    read = slice(None, None, _STUDY_INTERVALS // (job.sensors - 1))
    drawn = problem.sample(job.count + job.tests, torch.Generator().manual_seed(1000))
    outputs, sensed = problem.solve(drawn)[:, :1], drawn[:, 0, read]
    train, test = slice(None, job.count), slice(job.count, None)
    began = time.process_time()
    shape = tuple(outputs.shape[2:])
    operator: nn.Module
    if job.kind == "ridge_of_sensors":
        operator = LinearMap(sensors=job.sensors, shape=shape).double()
        operator.fit(sensed[train], outputs[train])
    else:
        operator = PODDeepONet(sensors=job.sensors, shape=shape, seed=job.seed, **dict(job.options)).double()
        train_pod_deeponet(operator, sensed[train], outputs[train], steps=job.steps, seed=job.seed)
    seconds = time.process_time() - began
    with torch.no_grad():
        found = operator(sensed[test], None)[..., 0][:, None]
    return {**_figures(found, outputs[test]), "seconds": seconds}
