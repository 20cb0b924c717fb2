"""The MgNO paper's Helmholtz experiment: its network, its loss and its sizes; scale gpu, and small in tests.

The paper's data are published files. Here they are drawn and solved: the equation and the speed `20 + tanh(g)` are
theirs as recalled, the law of g is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from equipoise.data.field_dataset import FieldDataset
from equipoise.data.split import Split
from equipoise.operators.mgno import MgNO
from equipoise.problems.reflecting_box import ReflectingBox
from equipoise.spaces.norms import relative_error
from equipoise.training.difference_h1_loss import DifferenceH1Loss
from equipoise.training.operators import predict_in_batches, train_operator

__all__ = ["HelmholtzSizes", "helmholtz_data", "helmholtz_operator", "run_helmholtz"]


@dataclass(frozen=True)
class HelmholtzSizes:
    """Sizes and recipe; the defaults are the paper's: 4000 samples of 101² points, 100 epochs in batches of 10."""

    resolution: int = 101
    train: int = 4000
    validation: int = 200
    test: int = 200
    epochs: int = 100
    batch: int = 10
    width: int = 20
    layers: int = 4
    levels: int = 5
    rate: float = 3e-4
    weight_decay: float = 1e-5
    frequency: float = 1000.0


def helmholtz_data(sizes: HelmholtzSizes, *, seed: int) -> FieldDataset:
    """Wave speeds and amplitudes; float32."""
    problem = ReflectingBox(resolution=sizes.resolution, frequency=sizes.frequency)
    count = sizes.train + sizes.validation + sizes.test
    speed = problem.sample(count, torch.Generator().manual_seed(seed))
    return FieldDataset(speed.float(), problem.solve(speed).float(), problem.grid)


def helmholtz_operator(sizes: HelmholtzSizes, *, seed: int) -> MgNO:
    """Mirrored boundaries, inner levels with channels that grow, norms before GELU, and a multigrid operator last."""
    return MgNO(
        grid=(sizes.resolution, sizes.resolution),
        width=sizes.width,
        n_layers=sizes.layers,
        smoothing=((1, 0),) * (sizes.levels - 1) + ((2, 0),),
        boundary="neumann",
        transfer="inner",
        growing=True,
        multigrid_bias=True,
        activation_norm="layer",
        end="multigrid",
        seed=seed,
    )


def run_helmholtz(sizes: HelmholtzSizes, *, seed: int, device: str) -> dict[str, Any]:
    """Train on the published loss, keep the best validation, and measure on other samples."""
    data, operator = helmholtz_data(sizes, seed=1000 + seed), helmholtz_operator(sizes, seed=seed)
    numbers = range(len(data))
    first, last = sizes.train, sizes.train + sizes.validation
    trained = train_operator(
        operator,
        data,
        split=Split(tuple(numbers[:first]), tuple(numbers[first:last]), tuple(numbers[last:])),
        loss=DifferenceH1Loss(data.grid),
        epochs=sizes.epochs,
        batch_size=sizes.batch,
        learning_rate=sizes.rate,
        schedule="one-cycle",
        weight_decay=sizes.weight_decay,
        clip_norm=1.0,
        seed=seed,
        device=device,
    )
    test = data.subset(slice(last, None))
    found = predict_in_batches(trained.model, test.inputs)
    mean = data.outputs[:first].mean(0, keepdim=True).expand_as(test.outputs)
    losses = [float(row["loss"]) for row in trained.history.rows if "loss" in row]
    return {
        "parameters": sum(weight.numel() for weight in operator.parameters()),
        "l2": float(relative_error(found, test.outputs, test.grid).mean()),
        "h1": float(relative_error(found, test.outputs, test.grid, order=1.0).mean()),
        "l2_of_mean": float(relative_error(mean, test.outputs, test.grid).mean()),
        "loss_fall": losses[-1] / losses[0],
        "training_seconds": trained.seconds,
    }
