"""Recipes for baselines that are networks over space: VPIONet, its PINN of one strain, and a data-driven DeepONet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from equipoise.data.sampling import sobol
from equipoise.operators.deeponet import DeepONet
from equipoise.operators.vpionet import VPIONet
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.training.field_objectives import EnergyObjective, RegressionObjective
from equipoise.training.phases import Phase
from equipoise.training.trainer import History, Trainer

__all__ = ["TrainedField", "train_pinn", "train_stress_deeponet", "train_vpionet"]

_FIBRE = 2


@dataclass(frozen=True, eq=False)
class TrainedField:
    """A network over a unit cell, and the points, `(p, dim + 1)`, at which its field is wanted.

    Attributes:
        network: maps (strain or scaled strain, points) to a field. points: coordinates and the material's mark.
        history: of the loss.
    """

    network: nn.Module
    points: torch.Tensor
    history: History


def node_marks(cell: PeriodicCell, *, fibre: int = _FIBRE) -> torch.Tensor:
    """1 at nodes of cells with the fibre's tag, -1 at all others, 0 where both meet, `(nodes,)`."""
    touched = torch.zeros(cell.mesh.n_nodes, 2, dtype=torch.bool)
    for block in cell.mesh.blocks:
        for column, is_fibre in ((0, False), (1, True)):
            cells = block.connectivity[(block.tags == fibre) == is_fibre]
            touched[torch.as_tensor(cells.ravel()), column] = True
    return (touched[:, 1].double() - touched[:, 0].double()).to(cell.device)


def train_vpionet(
    cell: PeriodicCell,
    *,
    box: torch.Tensor,
    energy: str = "strain",
    n_collocation: int = 32,
    displacement_scale: float = 1e-4,
    steps: int = 300,
    phases: Sequence[Phase] | None = None,
    seed: int = 0,
) -> TrainedField:
    """Train VPIONet on the energy of a plane unit cell of unit size; no data.

    Args:
        cell: the unit cell, with tag 2 for the fibre. box: lowest and highest strains, `(2, v)`.
        energy: `"strain"`, the true energy, or `"secant"`, the published code's, see `EnergyObjective`.
        n_collocation: strains drawn by Sobol's sequence. displacement_scale: see `VPIONet`.
        steps: of Adam, and of L-BFGS after it. phases: instead of these.
        seed: of weights and strains.

    Raises:
        ValueError: for a cell that is not plane and of unit size, or an unknown energy.

    Source: Eivazi et al. (2026), baselines.
    """
    network = VPIONet(displacement_scale=displacement_scale, seed=seed).to(cell.device)
    strain = sobol(n_collocation, box, seed=seed).to(cell.device)
    network.input_scale.copy_(((box[1] - box[0]) / 2).to(cell.device))
    return _by_energy(cell, network, strain, energy, _phases(steps) if phases is None else phases, seed)


def train_pinn(
    cell: PeriodicCell,
    strain: torch.Tensor,
    *,
    energy: str = "strain",
    displacement_scale: float = 1e-4,
    steps: int = 300,
    phases: Sequence[Phase] | None = None,
    seed: int = 0,
) -> TrainedField:
    """Train a variational PINN for one macroscopic strain, `(v,)`: VPIONet's trunk without a branch.

    Args and errors as for `train_vpionet`.
    """
    if strain.shape != (cell.n_strain,):
        raise ValueError(f"strain has shape {tuple(strain.shape)}; expected ({cell.n_strain},), as a PINN answers one.")
    network = VPIONet(is_operator=False, displacement_scale=displacement_scale, seed=seed).to(cell.device)
    return _by_energy(cell, network, strain[None], energy, _phases(steps) if phases is None else phases, seed)


def _by_energy(
    cell: PeriodicCell, network: VPIONet, strain: torch.Tensor, energy: str, phases: Sequence[Phase], seed: int
) -> TrainedField:
    size = cell.mesh.bounds[1] - cell.mesh.bounds[0]
    if cell.dim != 2 or max(abs(size - 1)) > 1e-9:
        raise ValueError(f"VPIONet is periodic in the unit square; the cell's size is {size.tolist()}.")
    points = torch.cat([cell.points, node_marks(cell)[:, None]], -1)

    def fluctuation(model: nn.Module, strain: torch.Tensor) -> torch.Tensor:
        return model(strain, points)

    objective = EnergyObjective(cell, strain, fluctuation, energy=energy)
    history = Trainer(network, objective, seed=seed).fit(phases)
    return TrainedField(network.eval(), points, history)


def train_stress_deeponet(
    cell: PeriodicCell,
    strain: torch.Tensor,
    stress: torch.Tensor,
    *,
    box: torch.Tensor,
    n_points: int = 1000,
    steps: int = 300,
    phases: Sequence[Phase] | None = None,
    seed: int = 0,
) -> TrainedField:
    """Fit a DeepONet to the stress of snapshots at quadrature points.

    Args:
        cell: the unit cell, with tag 2 for the fibre.
        strain: of the snapshots, `(m, v)`. stress: `(m, Q, v)`, MPa. box: lowest and highest strains, `(2, v)`.
        n_points: quadrature points visited, drawn at random.
        steps: of Adam, and of L-BFGS after it. phases: instead of these. seed: of weights and points.

    Returns:
        A network that maps strains and points to stress in MPa.
    """
    marks = (2.0 * (cell.point_tags == _FIBRE) - 1.0)[:, None].to(cell.device)
    points = torch.cat([cell.positions, marks], -1)
    extent = tuple(float(x) for x in cell.mesh.bounds[1] - cell.mesh.bounds[0])
    network = DeepONet(
        sensors=cell.n_strain,
        dim=cell.dim + 1,
        out_channels=cell.n_strain,
        n_modes=32,
        branch=(64, 64, 64),
        trunk=(64, 64, 64),
        activation="swish",
        periods=extent,
        seed=seed,
    ).double()
    model = _ScaledField(network.to(cell.device), (box[1] - box[0]) / 2, stress.flatten(0, 1).std(0))
    generator = torch.Generator().manual_seed(seed)
    seen = torch.randperm(cell.n_points, generator=generator)[:n_points].to(cell.device)

    def answer(model: nn.Module, strain: torch.Tensor) -> torch.Tensor:
        return model(strain, points[seen])

    objective = RegressionObjective(strain, stress[:, seen], answer, scale=model.scale)
    history = Trainer(model, objective, seed=seed).fit(_phases(steps) if phases is None else phases)
    return TrainedField(model.eval(), points, history)


class _ScaledField(nn.Module):
    """A field network between strains and stresses of order one."""

    input_scale: torch.Tensor
    scale: torch.Tensor

    def __init__(self, network: nn.Module, input_scale: torch.Tensor, scale: torch.Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("input_scale", input_scale.to(scale))
        self.register_buffer("scale", scale)

    def forward(self, strain: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        return self.network(strain / self.input_scale, points) * self.scale


def _phases(steps: int) -> list[Phase]:
    return [Phase("adam", steps=steps, learning_rate=2e-3), Phase("lbfgs", steps=steps)]
