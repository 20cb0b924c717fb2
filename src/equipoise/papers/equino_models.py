"""The models that the EquiNO reproduction compares, each trained on the same snapshots of one cell."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from equipoise.data.snapshots import Snapshots
from equipoise.multiscale.baselines import DisplacementNetworkModel, StressNetworkModel
from equipoise.multiscale.equino import EquiNOModel
from equipoise.multiscale.micro import MicroModel
from equipoise.multiscale.reduced_model import ReducedRVE
from equipoise.operators.deeponet import DeepONet
from equipoise.operators.perceptron import MultilayerPerceptron
from equipoise.operators.vpionet import VPIONet
from equipoise.problems.mechanics.bases import ReducedBases
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.cubature import Cubature
from equipoise.training.equino import train_equino
from equipoise.training.field_objectives import EnergyObjective, RegressionObjective
from equipoise.training.phases import Phase
from equipoise.training.trainer import Trainer

__all__ = ["Bench", "Trained", "train_models"]


@dataclass(frozen=True, eq=False)
class Bench:
    """What every model is made from.

    Attributes:
        cell, snapshots, bases, cubature, box: of the cell. steps: of our form; the baselines get `baseline_steps`.
        collocation: strains. with_fields: whether the networks over space are trained too. seed: of everything random.
    """

    cell: PeriodicCell
    snapshots: Snapshots
    bases: ReducedBases
    cubature: Cubature
    box: torch.Tensor
    steps: int
    baseline_steps: int
    collocation: int
    with_fields: bool
    seed: int


@dataclass(frozen=True, eq=False)
class Trained:
    """A model, what it learned from, and the wall seconds of its training."""

    model: MicroModel
    learned_from: str
    seconds: float


def train_models(bench: Bench) -> dict[str, Trained]:
    """Our form, the published form, the reduced-order model, and the learned baselines, by name."""
    makers: dict[str, Callable[[Bench], Trained]] = {
        "equino": _equino,
        "equino_paper_form": _paper_form,
        "reduced_order_model": _reduced,
        "pod_deeponet": _pod_deeponet,
    }
    if bench.with_fields:
        makers.update(vpionet=_vpionet, vpionet_secant=_vpionet_secant, deeponet=_deeponet)
    return {name: make(bench) for name, make in makers.items()}


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
        steps=bench.baseline_steps,
        n_points=2000,
        seed=bench.seed,
    )
    return Trained(EquiNOModel(cell, bases, trained.operator, box=bench.box), "physics", trained.seconds)


def _reduced(bench: Bench) -> Trained:
    model = ReducedRVE(bench.cell, bench.bases, cubature=bench.cubature, box=bench.box)
    return Trained(model, "physics, no network", 0.0)


def _fit(model: nn.Module, objective: RegressionObjective | EnergyObjective, bench: Bench) -> float:
    began = time.perf_counter()
    adam = Phase("adam", steps=2 * bench.baseline_steps, learning_rate=2e-3)
    Trainer(model, objective, seed=bench.seed).fit([adam, Phase("lbfgs", steps=bench.baseline_steps)])
    return time.perf_counter() - began


def _pod_deeponet(bench: Bench) -> Trained:
    """Branch regressed on the stress coefficients of the snapshots; its trunk are the modes."""
    bases = bench.bases
    generator = torch.Generator().manual_seed(bench.seed)
    network = MultilayerPerceptron((bench.cell.n_strain, 64, 64, 64, 64, bases.n_stress_modes), generator=generator)
    half = (bench.box[1] - bench.box[0]) / 2
    coefficients = bases.stress_coefficients

    def answer(model: nn.Module, strain: torch.Tensor) -> torch.Tensor:
        return model(strain / half)

    objective = RegressionObjective(bases.strain, coefficients, answer, scale=coefficients.std(0))
    seconds = _fit(network, objective, bench)
    model = StressNetworkModel(bench.cell, lambda strain: bases.stress(network(strain / half)), box=bench.box)
    return Trained(model, "stress data", seconds)


def _deeponet(bench: Bench) -> Trained:
    """Branch and trunk networks fitted to the snapshots' stress at the quadrature points."""
    cell, held = bench.cell, bench.snapshots
    marks = (2.0 * (cell.point_tags == 2) - 1.0)[:, None]
    points = torch.cat([cell.positions, marks], -1)
    extent = torch.as_tensor(cell.mesh.bounds[1] - cell.mesh.bounds[0])
    network = DeepONet(
        n_inputs=cell.n_strain,
        dim=cell.dim + 1,
        n_outputs=cell.n_strain,
        periods=tuple(float(x) for x in extent),
        seed=bench.seed,
    )
    generator = torch.Generator().manual_seed(bench.seed)
    seen = torch.randperm(cell.n_points, generator=generator)[:1000]
    scale = held.stress.flatten(0, 1).std(0)
    half = (bench.box[1] - bench.box[0]) / 2

    def answer(model: nn.Module, strain: torch.Tensor) -> torch.Tensor:
        return model(strain / half, points[seen]) * scale

    objective = RegressionObjective(held.strain, held.stress[:, seen], answer, scale=scale)
    seconds = _fit(network, objective, bench)
    model = StressNetworkModel(cell, lambda strain: network(strain / half, points) * scale, box=bench.box)
    return Trained(model, "stress data", seconds)


def _vpionet(bench: Bench) -> Trained:
    return _energy_trained(bench, "strain")


def _vpionet_secant(bench: Bench) -> Trained:
    return _energy_trained(bench, "secant")


def _energy_trained(bench: Bench, energy: str) -> Trained:
    cell = bench.cell
    points = torch.cat([cell.points, _node_marks(cell)[:, None]], -1)
    network = VPIONet(seed=bench.seed)

    def fluctuation(model: nn.Module, strain: torch.Tensor) -> torch.Tensor:
        return model(strain, points)

    from equipoise.data.sampling import sobol

    strain = sobol(32, bench.box, seed=bench.seed)
    objective = EnergyObjective(cell, strain, fluctuation, energy=energy)
    seconds = _fit(network, objective, bench)
    model = DisplacementNetworkModel(cell, lambda strain: fluctuation(network, strain), box=bench.box)
    return Trained(model, "energy", seconds)


def _node_marks(cell: PeriodicCell) -> torch.Tensor:
    """-1 at nodes of the matrix, 1 of the fibre, 0 where both meet, `(nodes,)`."""
    touched = torch.zeros(cell.mesh.n_nodes, 2, dtype=torch.bool)
    for block in cell.mesh.blocks:
        for column, is_fibre in ((0, False), (1, True)):
            cells = block.connectivity[(block.tags == 2) == is_fibre]
            touched[torch.as_tensor(cells.ravel()), column] = True
    return touched[:, 1].double() - touched[:, 0].double()
