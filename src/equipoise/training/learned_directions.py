"""Training of networks that propose search directions: no solutions, no simulations, an empty box.

A network learns to leave a small residual after one line search from combinations of Ritz vectors. It is chosen among
its states by the iterations it needs on the empty box and on boxes with obstacles, which it is not trained on, and
passed on from a coarse grid to a finer one. Run folders stand in `direction_runs.py`.

Source: Kaneda et al. (2023), for the objective and the vectors.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import nn

from equipoise.operators.direction_net import LAYOUTS, DirectionNet, deepened, network_direction
from equipoise.problems.obstacles import empty_box, random_obstacles
from equipoise.problems.pressure import PressurePoisson, smooth_divergence
from equipoise.solvers.learned_directions import conjugate_directions
from equipoise.solvers.ritz import RitzVectors, ritz_vectors
from equipoise.training.direction_evaluation import FORMS
from equipoise.training.phases import Phase
from equipoise.training.trainer import Trainer

__all__ = [
    "DirectionObjective",
    "Stage",
    "TrainedDirections",
    "curriculum",
    "residual_after_line_search",
    "train_directions",
    "within_seconds",
]


def residual_after_line_search(
    residual: Float[torch.Tensor, " n *grid"],
    direction: Float[torch.Tensor, " n *grid"],
    image: Float[torch.Tensor, " n *grid"],
) -> Float[torch.Tensor, " n"]:
    """`|b - s A f|^2` of each unit residual b, with `s = f.b / f.Af`, the step of least energy; `image` is `A f`.

    The squared residual that the solver has after its first step: 1 is no progress. Scale and sign of f cancel.
    """
    b, f, af = residual.flatten(1), direction.flatten(1), image.flatten(1)
    step = (f * b).sum(1) / (f * af).sum(1)
    return (b - step[:, None] * af).square().sum(1)


class DirectionObjective:
    """Mean of `residual_after_line_search` over random combinations of Ritz vectors.

    Args:
        system: the matrix. ritz: its Ritz vectors. count: number of combinations. seed: of them.
    """

    def __init__(self, system: PressurePoisson, ritz: RitzVectors, *, count: int, seed: int = 0) -> None:
        self.system, self.ritz, self.size = system, ritz, count
        generator = torch.Generator().manual_seed(seed)
        # Coefficients are kept, not vectors: there may be more of those than fit.
        self.coefficients = ritz.coefficients(count, generator).to(ritz.vectors)

    def __call__(self, model: nn.Module, samples: torch.Tensor | None) -> Mapping[str, torch.Tensor]:
        chosen = slice(None) if samples is None else samples.to(self.coefficients.device)
        residual = self.ritz.combine(self.coefficients[chosen])
        direction = self.system.project(model(residual[:, None])[:, 0])
        return {"residual": residual_after_line_search(residual, direction, self.system.apply(direction)).mean()}


@dataclass(frozen=True)
class Stage:
    """Training on one grid.

    Attributes:
        size: cells along each side. steps: of the optimiser. batch_size: vectors in a step.
        learning_rate: at its largest; it rises over the first twentieth of the steps and falls as a cosine.
        ritz: steps of Lanczos. vectors: combinations of Ritz vectors. validations: choices among states of the network.
        layout: that the network is deepened to before, if it is not as deep already; `None` leaves it.
    """

    size: int
    steps: int
    batch_size: int = 16
    learning_rate: float = 2e-3
    ritz: int = 300
    vectors: int = 3000
    validations: int = 6
    layout: str | None = None

    def __post_init__(self) -> None:
        if self.size < 4 or self.size % 2:
            raise ValueError(f"size={self.size} must be even and at least 4.")
        if self.layout is not None and self.layout not in LAYOUTS:
            raise ValueError(f"layout={self.layout!r} is unknown; use one of {', '.join(LAYOUTS)}.")
        if min(self.steps, self.batch_size, self.ritz, self.vectors, self.validations) < 1:
            raise ValueError(f"{self} needs positive numbers.")


def curriculum(
    size: int, *, dim: int, start: int | None = None, generous: bool = False, deepen: bool = True
) -> tuple[Stage, ...]:
    """Stages that lead to a grid of `size` cells along each side, doubling from 32 in the plane and 16 in space.

    Args:
        start: size that the network has been trained at before, if any; the stages go on from there.
        generous: more steps and vectors, for an accelerator. Otherwise minutes on two cores.
        deepen: to the layout `"k128"` at 128 cells along a side, as published.
    """
    sizes = [size]
    least = (32 if dim == 2 else 16) if start is None else start + 1
    while sizes[0] % 4 == 0 and sizes[0] // 2 >= least:
        sizes.insert(0, sizes[0] // 2)
    stages = []
    for place, n in enumerate(sizes):
        fresh = place == 0 and start is None
        # Fewer steps of Lanczos leave the smoothest modes out, and those are what iterations are spent on.
        cells, ritz = n**dim, max(300, 10 * n)
        # Small batches at large rates: as few iterations as batches of 16 at 2e-3 in a third of the time. In space
        # 8e-3 can leave every unit dead.
        rate = (8e-3 if dim == 2 else 4e-3) / (1 if fresh else 2)
        if generous:
            stage = Stage(n, 6000 if fresh else 4000, 4 if cells < 10**6 else 2, rate, ritz, 20_000)
        else:
            steps, batch = (1600, 4) if fresh else (1000 if cells <= 4096 else 1500, 2)
            stage = Stage(n, steps, batch, rate, ritz)
        stages.append(replace(stage, ritz=min(stage.ritz, cells), layout="k128" if deepen and n >= 128 else None))
    return tuple(stages)


@dataclass(frozen=True, eq=False)
class TrainedDirections:
    """A network after its stages.

    Attributes:
        network: of the last stage. networks: of each stage, by cells along a side.
        iterations: that each stage's weights need on the boxes of validation, a mean.
        rows: history of all stages. seconds: wall time with everything.
    """

    network: DirectionNet
    networks: Mapping[int, DirectionNet]
    iterations: Mapping[int, float]
    rows: Sequence[Mapping[str, float]]
    seconds: float


def train_directions(
    network: DirectionNet,
    stages: Sequence[Stage],
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    on_row: Callable[[Mapping[str, float]], None] | None = None,
) -> TrainedDirections:
    """Train a network through its stages; it is changed in place and moved to the device, until a stage deepens it.

    At each validation, and at the end of a stage, the network solves the empty box and boxes with random obstacles; the
    state with the fewest iterations, of both forms, is kept. Pass `seed` for the vectors, batches and right-hand sides.

    Raises:
        ConvergenceError: for a loss that is not finite.
    """
    began = time.perf_counter()
    network.to(device)
    networks: dict[int, DirectionNet] = {}
    iterations: dict[int, float] = {}
    rows: list[Mapping[str, float]] = []

    def record(row: Mapping[str, float]) -> None:
        rows.append({**row, "phase": float(len(networks)), "size": float(stage.size)})
        if on_row is not None:
            on_row(rows[-1])

    for stage in stages:
        network = _at_depth(network, stage)
        shape = (stage.size,) * int(network.config["dim"])
        trainer = Trainer(
            network,
            _objective(stage, shape, seed, device),
            seed=seed,
            record_every=20,
            on_row=record,
            validate=_Iterations(shape, seed, device),
            validate_every=max(1, stage.steps // stage.validations),
        )
        phase = Phase(
            steps=stage.steps,
            batch_size=stage.batch_size,
            learning_rate=stage.learning_rate,
            warm_up=stage.steps // 20,
        )
        trainer.fit([phase])
        assert trainer.best is not None
        network.load_state_dict(trainer.best)
        iterations[stage.size] = trainer.history.best_metric
        networks[stage.size] = copy.deepcopy(network)
    return TrainedDirections(network, networks, iterations, rows, time.perf_counter() - began)


def _at_depth(network: DirectionNet, stage: Stage) -> DirectionNet:
    """The network, deepened where the stage asks for more than it has."""
    if stage.layout is None or LAYOUTS[stage.layout] <= LAYOUTS[network.config["layout"]]:
        return network
    return deepened(network, stage.layout)


def _objective(stage: Stage, shape: tuple[int, ...], seed: int, device: torch.device | str) -> DirectionObjective:
    system = PressurePoisson(empty_box(shape)[None])
    generator = torch.Generator(device).manual_seed(seed)
    ritz = ritz_vectors(system.apply, shape, stage.ritz, generator, project=system.project, dtype=torch.float32)
    return DirectionObjective(system, ritz, count=stage.vectors, seed=seed + 1)


class _Iterations:
    """Mean iterations to 1e-4 of both forms on the empty box and on boxes with random obstacles.

    States of a network are chosen by them.
    """

    def __init__(self, shape: tuple[int, ...], seed: int, device: torch.device | str, *, count: int = 4) -> None:
        generator = torch.Generator().manual_seed(77_000 + seed)
        obstacles = [random_obstacles(shape, generator) for _ in range(count)]
        self._system = PressurePoisson(torch.stack([empty_box(shape), *obstacles]))
        self._rhs = smooth_divergence(self._system, 1 + count, generator).to(device)
        self._limit = 4 * max(shape)

    def __call__(self, model: nn.Module) -> dict[str, float]:
        assert isinstance(model, DirectionNet)
        system, taken = self._system, []
        for form in FORMS.values():
            solution = conjugate_directions(
                system.apply,
                self._rhs,
                network_direction(model),
                project=system.project,
                maxiter=self._limit,
                throw=False,
                **form,
            )
            # Where the limit is reached, the decades that were left tell states apart.
            left = (solution.residual.clamp_min(1e-30).log10() + 4).clamp_min(0)
            taken.append(float((solution.iterations + left).mean()))
        return {"iterations": sum(taken) / len(taken)}


def within_seconds(
    network: DirectionNet, stages: Sequence[Stage], seconds: float, *, device: torch.device | str = "cpu"
) -> tuple[Stage, ...]:
    """The stages with as many steps as fit into the time given, shared equally; measured on a copy of the network."""
    found = []
    for stage in stages:
        shape = (stage.size,) * int(network.config["dim"])
        twin = _at_depth(copy.deepcopy(network), stage).to(device)
        objective = _objective(replace(stage, ritz=2), shape, 0, device)
        samples = torch.arange(min(stage.batch_size, stage.vectors))
        times = []
        for _ in range(4):
            began = time.perf_counter()
            objective(twin, samples)["residual"].backward()
            if torch.device(device).type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - began)
        found.append(replace(stage, steps=max(10, int(seconds / len(stages) / (1.15 * min(times))))))
    return tuple(found)
