"""The models of the MG-TFNO reproduction: their data, their trainings side by side in processes, and their errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from equipoise.data.executors import Executor, ProcessExecutor, SerialExecutor
from equipoise.data.field_dataset import FieldDataset
from equipoise.nn.spectral_weight import SpectralWeight
from equipoise.operators.fno import FNO
from equipoise.operators.tfno import MGTFNO, TFNO
from equipoise.problems.registry import make_problem
from equipoise.spaces.norms import relative_error
from equipoise.training.operators import predict_in_batches, train_operator

__all__ = ["MODELS", "Bench", "Sizes", "Training", "all_trainings", "make_bench", "parameters", "train_all"]

_JOINT: dict[str, Any] = {"joint": True}
_WHOLE: dict[str, Any] = {"grid_embedding": False}
_PLACED: dict[str, Any] = {"grid_embedding": True, "random_shift": True}

MODELS: dict[str, tuple[Callable[..., nn.Module], dict[str, Any]]] = {
    "FNO": (FNO, _WHOLE),
    "TFNO, by layer": (TFNO, _WHOLE),
    "TFNO, joint": (TFNO, {**_WHOLE, **_JOINT}),
    "MG-TFNO": (MGTFNO, {**_JOINT, **_PLACED}),
    "MG-TFNO without halo": (MGTFNO, {**_JOINT, **_PLACED, "padding": 0}),
}
"""Every model by its name. Those on the whole torus need no coordinates and know of its symmetry. Patches need them, to
place the coarse view, and see fields shifted at random instead."""


@dataclass(frozen=True)
class Sizes:
    """How large an experiment is.

    Attributes:
        train, test: numbers of pairs. few: training pairs of the low-data case; none leaves it out.
        solver: points along each side of the reference solver. training: of the networks, a divisor of it.
        max_step: of the solver in time.
        epochs, few_epochs: passes through all pairs, and through the few.
        batch: fields in a step; patched_batch: the same for models on patches, where a field is four samples.
        width, n_modes: of the networks. rank: share of the dense entries that TFNO keeps.
        halo: of the patches, as a share of the side. learning_rate: at its largest. schedule: see `Phase`.
        weight_decay: of all parameters. seeds: trainings of each model. workers: processes, none for this one.
        forcing_scale, reynolds, final_time: of the flow.
    """

    train: int
    test: int
    few: int
    solver: int
    training: int
    max_step: float
    epochs: int
    few_epochs: int = 0
    batch: int = 8
    patched_batch: int = 4
    width: int = 24
    n_modes: int = 16
    rank: float = 0.1
    halo: float = 0.125
    learning_rate: float = 2e-2
    schedule: str = "one-cycle"
    weight_decay: float = 0.0
    seeds: int = 1
    workers: int = 0
    forcing_scale: float = 0.25
    reynolds: float = 200.0
    final_time: float = 2.0


@dataclass(frozen=True)
class Bench:
    """Training pairs and test pairs at the resolution of the training, and the same tests at that of the solver."""

    train: FieldDataset
    test: FieldDataset
    fine_test: FieldDataset


@dataclass(frozen=True)
class Training:
    """One training: a model's name, how many pairs, and the seed of weights and batches."""

    model: str
    count: int
    seed: int


def make_bench(sizes: Sizes, *, seed: int) -> Bench:
    """Draw forcings and solve for the vorticity at the final time; the coarser fields are samples of the finer ones."""
    problem = make_problem(
        "navier-stokes",
        resolution=sizes.solver,
        viscosity=1 / sizes.reynolds,
        length=2 * math.pi,
        final_time=sizes.final_time,
        max_step=sizes.max_step,
        input_field="forcing",
        forcing_scale=sizes.forcing_scale,
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    forcing = problem.sample(sizes.train + sizes.test, torch.Generator().manual_seed(seed)).float()
    vorticity = torch.cat([problem.solve(part.to(device)).cpu() for part in forcing.split(64)])
    fine = FieldDataset(forcing, vorticity, problem.grid)
    step = sizes.solver // sizes.training
    coarse = FieldDataset(
        forcing[..., ::step, ::step].contiguous(),
        vorticity[..., ::step, ::step].contiguous(),
        problem.grid.resized((sizes.training,) * 2),
    )
    tests = slice(sizes.train, None)
    return Bench(coarse.subset(slice(sizes.train)), coarse.subset(tests), fine.subset(tests))


def make_model(name: str, sizes: Sizes, *, seed: int) -> nn.Module:
    """A fresh model by its name in `MODELS`."""
    make, own = MODELS[name]
    options: dict[str, Any] = {"in_channels": 1, "out_channels": 1, "n_modes": (sizes.n_modes,) * 2}
    options |= {"width": sizes.width, "seed": seed}
    if make is not FNO:
        options["rank"] = sizes.rank
    if make is MGTFNO:
        options["padding"] = sizes.halo
    if own.get("joint"):
        options["layer_rank"] = 4
    return make(**{**options, **own})


def parameters(name: str, sizes: Sizes) -> dict[str, int]:
    """Real numbers trained, in all and in the spectral weights alone."""
    model = make_model(name, sizes, seed=0)
    network = model.operator if isinstance(model, MGTFNO) else model
    assert isinstance(network, FNO)
    holders: list[nn.Module] = [part for part in network.modules() if isinstance(part, SpectralWeight)]
    if isinstance(network, TFNO) and network.config["joint"]:
        holders = [network.joint_weights]
    spectral = [p for holder in holders for p in holder.parameters()]
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "spectral_parameters": sum(p.numel() for p in spectral),
    }


def all_trainings(sizes: Sizes, *, seed: int) -> list[Training]:
    """Every model on all pairs, and those of the whole domain on few; the longest first."""
    seeds = range(seed, seed + sizes.seeds)
    found = [Training(model, sizes.train, each) for model in reversed(MODELS) for each in seeds]
    if sizes.few:
        whole = [name for name, (make, _) in MODELS.items() if make is not MGTFNO]
        found += [Training(model, sizes.few, each) for model in whole for each in seeds]
    return found


class _Trainee:
    """Trains and tests one model; sent to a worker process once, with the data."""

    def __init__(self, bench: Bench, sizes: Sizes) -> None:
        self.bench, self.sizes = bench, sizes

    def __call__(self, training: Training) -> dict[str, float]:
        sizes, bench = self.sizes, self.bench
        trained = train_operator(
            make_model(training.model, sizes, seed=training.seed),
            bench.train.subset(slice(training.count)),
            loss="h1",
            epochs=sizes.epochs if training.count == sizes.train else sizes.few_epochs,
            batch_size=sizes.patched_batch if MODELS[training.model][0] is MGTFNO else sizes.batch,
            learning_rate=sizes.learning_rate,
            schedule=sizes.schedule,
            weight_decay=sizes.weight_decay,
            input_normaliser="scalar",
            output_normaliser="scalar",
            seed=training.seed,
            device="cuda" if torch.cuda.is_available() else "cpu",
        )
        first, last = (trained.history.rows[place]["loss"] for place in (0, -1))
        errors = {"seconds": trained.seconds, "first_loss": first, "last_loss": last}
        for name, data in (("l2", bench.test), ("l2_fine", bench.fine_test)):
            prediction = predict_in_batches(trained.model, data.inputs)
            errors[name] = float(relative_error(prediction, data.outputs, data.grid).mean())
            if name == "l2":
                errors["h1"] = float(relative_error(prediction, data.outputs, data.grid, order=1).mean())
        return errors


def train_all(
    bench: Bench, sizes: Sizes, trainings: list[Training], report: Callable[[str], None]
) -> Mapping[Training, dict[str, float]]:
    """Errors and seconds of every training, `sizes.workers` at a time; their number changes no error."""
    found: dict[Training, dict[str, float]] = {}
    trainee = _Trainee(bench, sizes)
    with ExitStack() as stack:
        executor: Executor = SerialExecutor()
        if sizes.workers:
            executor = stack.enter_context(ProcessExecutor(sizes.workers))
        for number, errors in executor.map_batches(trainee, trainings):
            training = trainings[number]
            found[training] = errors
            report(
                f"  {training.model}, {training.count} pairs, seed {training.seed}: {100 * errors['l2']:.2f} % "
                f"in {errors['seconds']:.0f} s"
            )
    return found
