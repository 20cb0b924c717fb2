"""The models that the EquiNO reproduction compares, each trained on the same snapshots of one cell."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from equipoise.data.sampling import uniform
from equipoise.data.snapshots import Snapshots
from equipoise.multiscale.baselines import DisplacementNetworkModel, StressNetworkModel
from equipoise.multiscale.equino import EquiNOModel
from equipoise.multiscale.micro import MicroModel
from equipoise.multiscale.reduced_model import ReducedRVE
from equipoise.nn.perceptron import MultilayerPerceptron
from equipoise.problems.mechanics.bases import ReducedBases
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.cubature import Cubature
from equipoise.training.equino import train_equino
from equipoise.training.field_networks import train_pinn, train_stress_deeponet, train_vpionet
from equipoise.training.field_objectives import RegressionObjective
from equipoise.training.phases import Phase
from equipoise.training.trainer import Trainer

__all__ = ["Bench", "Trained", "train_models"]

# The size of the fluctuations. The published scale is a hundredth of it, and costs thousands of steps.
_DISPLACEMENT_SCALE = 1e-2


@dataclass(frozen=True, eq=False)
class Bench:
    """What every model is made from.

    Attributes:
        cell, snapshots, bases, cubature, box: of the cell. steps: of our form; the baselines get
            `baseline_steps`, and those trained on energies `field_steps`.
        collocation: strains. published_form, with_fields: whether that form, and the networks over space, are
        trained too. seed: of everything random.
    """

    cell: PeriodicCell
    snapshots: Snapshots
    bases: ReducedBases
    cubature: Cubature
    box: torch.Tensor
    steps: int | None
    baseline_steps: int
    field_steps: int
    collocation: int
    published_form: bool
    with_fields: bool
    seed: int


@dataclass(frozen=True, eq=False)
class Trained:
    """A model, what it learned from, the wall seconds of its training, and on how many strains it can be tested."""

    model: MicroModel
    learned_from: str
    seconds: float
    n_tests: int | None = None


def train_models(bench: Bench, report: Callable[[str], None]) -> dict[str, Trained]:
    """Our form, the published form, the reduced-order model, and the learned baselines, by name."""
    makers: dict[str, Callable[[Bench], Trained]] = {
        "equino": _equino,
        "reduced_order_model": _reduced,
        "pod_deeponet": _pod_deeponet,
    }
    if bench.published_form:
        makers["equino_paper_form"] = _paper_form
    if bench.with_fields:
        makers.update(vpionet=_vpionet, vpionet_secant=_vpionet_secant, pinn=_pinn, deeponet=_deeponet)
    models: dict[str, Trained] = {}
    for name, make in makers.items():
        models[name] = make(bench)
        report(f"  {name} trained in {models[name].seconds:.0f} s")
    return models


def _equino(bench: Bench) -> Trained:
    trained = train_equino(
        bench.cell,
        bench.bases,
        bench.cubature,
        box=bench.box,
        n_collocation=bench.collocation,
        steps=bench.steps,
        seed=bench.seed,
    )
    model = EquiNOModel(bench.cell, bench.bases, trained.operator, box=bench.box)
    return Trained(model, "physics", trained.seconds)


def _paper_form(bench: Bench) -> Trained:
    cell, held = bench.cell, bench.snapshots
    bases = ReducedBases.from_snapshots(
        cell,
        cell.restrict(held.fluctuation),
        held.stress,
        strain=held.strain,
        n_modes=(bench.bases.n_displacement_modes, bench.bases.n_stress_modes),
        variant="paper",
    )
    trained = train_equino(
        cell,
        bases,
        bench.cubature,
        box=bench.box,
        n_collocation=100,
        form="paper",
        steps=4 * bench.baseline_steps,
        n_points=2000,
        seed=bench.seed,
    )
    return Trained(EquiNOModel(cell, bases, trained.operator, box=bench.box), "physics", trained.seconds)


def _reduced(bench: Bench) -> Trained:
    model = ReducedRVE(bench.cell, bench.bases, cubature=bench.cubature, box=bench.box)
    return Trained(model, "physics, no network", 0.0)


def _fit(model: nn.Module, objective: RegressionObjective, bench: Bench) -> float:
    began = time.perf_counter()
    adam = Phase("adam", steps=10 * bench.baseline_steps, learning_rate=2e-3)
    Trainer(model, objective, seed=bench.seed).fit([adam, Phase("lbfgs", steps=5 * bench.baseline_steps)])
    return time.perf_counter() - began


def _pod_deeponet(bench: Bench) -> Trained:
    """Branch regressed on the snapshots' coefficients in the norm of the stress; its trunk are the stress modes."""
    bases = bench.bases
    generator = torch.Generator().manual_seed(bench.seed)
    network = MultilayerPerceptron((bench.cell.n_strain, 64, 64, 64, 64, bases.n_stress_modes), generator=generator)
    half = (bench.box[1] - bench.box[0]) / 2
    spread = bases.stress_coefficients.std(0)
    sizes = (bench.cell.average(bases.stress_modes.permute(2, 0, 1).square()).sum(-1)).sqrt()

    def answer(model: nn.Module, strain: torch.Tensor) -> torch.Tensor:
        return model(strain / half) * spread

    scale = sizes[0] * spread[0] / sizes
    objective = RegressionObjective(bases.strain, bases.stress_coefficients, answer, scale=scale)
    seconds = _fit(network, objective, bench)
    model = StressNetworkModel(bench.cell, lambda strain: bases.stress(answer(network, strain)), box=bench.box)
    return Trained(model, "stress data", seconds)


def _deeponet(bench: Bench) -> Trained:
    """Branch and trunk networks fitted to the snapshots' stress at the quadrature points."""
    began = time.perf_counter()
    fitted = train_stress_deeponet(
        bench.cell,
        bench.snapshots.strain,
        bench.snapshots.stress,
        box=bench.box,
        steps=bench.baseline_steps,
        seed=bench.seed,
    )
    seconds = time.perf_counter() - began
    model = StressNetworkModel(bench.cell, lambda strain: fitted.network(strain, fitted.points), box=bench.box)
    return Trained(model, "stress data", seconds)


def _vpionet(bench: Bench) -> Trained:
    return _energy_trained(bench, "strain")


def _vpionet_secant(bench: Bench) -> Trained:
    return _energy_trained(bench, "secant")


def _energy_trained(bench: Bench, energy: str) -> Trained:
    began = time.perf_counter()
    fitted = train_vpionet(
        bench.cell,
        box=bench.box,
        energy=energy,
        displacement_scale=_DISPLACEMENT_SCALE,
        phases=field_phases(bench.field_steps),
        seed=bench.seed,
    )
    seconds = time.perf_counter() - began
    model = DisplacementNetworkModel(bench.cell, lambda strain: fitted.network(strain, fitted.points), box=bench.box)
    return Trained(model, "energy", seconds)


def _pinn(bench: Bench) -> Trained:
    """One network for each strain asked, trained when it is asked; seconds are those of one."""
    phases = field_phases(bench.field_steps)
    known: dict[tuple[float, ...], torch.Tensor] = {}

    def fluctuation(strain: torch.Tensor) -> torch.Tensor:
        for row in strain.detach():
            if tuple(row.tolist()) not in known:
                fitted = train_pinn(
                    bench.cell, row, displacement_scale=_DISPLACEMENT_SCALE, phases=phases, seed=bench.seed
                )
                with torch.no_grad():
                    known[tuple(row.tolist())] = fitted.network(row[None], fitted.points)
        return torch.cat([known[tuple(row.tolist())] for row in strain])

    began = time.perf_counter()
    fluctuation(uniform(1, bench.box, seed=bench.seed + 1))
    seconds = time.perf_counter() - began

    model = DisplacementNetworkModel(bench.cell, fluctuation, box=bench.box)
    return Trained(model, "energy, one training per strain", seconds, n_tests=2)


def field_phases(steps: int) -> list[Phase]:
    """A short descent by Adam, and L-BFGS, which does most of the work on energies."""
    return [Phase("adam", steps=steps // 3, learning_rate=2e-3), Phase("lbfgs", steps=steps)]
