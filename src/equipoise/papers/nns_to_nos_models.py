"""The models of the NNs-to-NOs reproduction: who is trained how, and in which forms each is then evaluated."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from equipoise.data.field_dataset import FieldDataset
from equipoise.operators.attention import PatchTransformer
from equipoise.operators.conversion import Method, to_operator
from equipoise.operators.fno import FNO
from equipoise.operators.local_fno import LocalFNO
from equipoise.operators.normalisation import NormalisedOperator
from equipoise.operators.unet import UNet
from equipoise.problems.registry import make_problem
from equipoise.spaces.grid import Grid
from equipoise.spaces.norms import relative_error
from equipoise.spaces.resampling import resample
from equipoise.training.multi_resolution import train_on_resolutions
from equipoise.training.operators import TrainedOperator, predict_in_batches, train_operator

__all__ = ["FORMS", "Bench", "Sizes", "Trained", "errors", "make_bench", "train"]

_LENGTH = 2 * math.pi
_REYNOLDS, _TIME = 200.0, 2.0

FORMS: dict[str, tuple[tuple[str, Method | None], ...]] = {
    "fno": (("FNO", None),),
    "fno_fd": (("FNO + finite differences", None),),
    "fno_local": (("FNO + local integrals", None),),
    "unet": (
        ("U-Net", None),
        ("U-Net, kernels interpolated", "interpolated-kernels"),
        ("U-Net, fixed offsets", "fixed-offsets"),
        ("U-Net, input and output resampled", "resampling"),
    ),
    "unet_multi": (("U-Net, trained on all resolutions", None),),
    "attention": (("attention", None), ("attention, fixed offsets", "fixed-offsets")),
}
"""Trained models, and the forms in which each is evaluated: as it is, or converted without retraining."""


@dataclass(frozen=True)
class Sizes:
    """How large an experiment is.

    Attributes:
        train, test: numbers of pairs. solver: points along each side of the reference solver, a multiple of all others.
        grids: resolutions of the tests, ascending. training: of the training. max_step: of the solver in time.
        epochs: of each model, by its key in `FORMS`; a model without epochs is left out. batch: samples in a step.
        width, n_modes: of the FNO. unet_width, unet_taps, unet_blocks, multipliers: of the U-Net.
        seeds: how many trainings of each model.
    """

    train: int
    test: int
    solver: int
    grids: tuple[int, ...]
    training: int
    max_step: float
    epochs: Mapping[str, int]
    batch: int = 8
    width: int = 24
    n_modes: int = 12
    unet_width: int = 12
    unet_taps: int = 5
    unet_blocks: int = 1
    multipliers: tuple[int, ...] = (1, 2, 2)
    seeds: int = 1


@dataclass(frozen=True)
class Bench:
    """Data at all resolutions: the same functions, low-passed to two thirds of what the training grid holds.

    Attributes:
        train, test: by resolution. aliased: share of the test targets' norm that the coarsest grid can't hold; no model
            can do better there.
    """

    sizes: Sizes
    train: Mapping[int, FieldDataset]
    test: Mapping[int, FieldDataset]
    aliased: float
    device: str


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained model: its parameters, and the seconds it took."""

    model: NormalisedOperator
    parameters: int
    seconds: float


def make_bench(sizes: Sizes, *, seed: int) -> Bench:
    """Draw forcings, solve for the vorticity at the final time, and bring both to all resolutions."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    problem = make_problem(
        "navier-stokes",
        resolution=sizes.solver,
        viscosity=1 / _REYNOLDS,
        length=_LENGTH,
        final_time=_TIME,
        max_step=sizes.max_step,
        input_field="forcing",
    )
    forcing = problem.sample(sizes.train + sizes.test, torch.Generator().manual_seed(seed)).float()
    parts = [problem.solve(part.to(device)).cpu() for part in torch.split(forcing, 64)]
    fine = problem.grid
    # An odd number of points holds modes up to its half, here two thirds of the highest of the training grid.
    kept = 2 * (sizes.training // 3) + 1
    inputs, outputs = (_low_passed(field, fine, kept) for field in (forcing, torch.cat(parts)))
    datasets = {}
    for n in sorted({*sizes.grids, sizes.training}):
        step = sizes.solver // n
        at_grid = [field[..., ::step, ::step].contiguous() for field in (inputs, outputs)]
        datasets[n] = FieldDataset(at_grid[0], at_grid[1], fine.resized((n, n)))
    held = _low_passed(outputs[sizes.train :], fine, min(kept, sizes.grids[0] - 1))
    aliased = float(relative_error(held, outputs[sizes.train :], fine).mean())
    return Bench(
        sizes,
        {n: data.subset(slice(0, sizes.train)) for n, data in datasets.items()},
        {n: data.subset(slice(sizes.train, None)) for n, data in datasets.items()},
        aliased,
        device,
    )


def _low_passed(field: torch.Tensor, grid: Grid, kept: int) -> torch.Tensor:
    small = (min(kept, grid.shape[0]),) * 2
    return resample(resample(field, grid, small), grid.resized(small), grid.shape)


def train(kind: str, bench: Bench, *, seed: int) -> Trained:
    """Train one model of `FORMS` on the training grid, or on all grids of the tests."""
    sizes = bench.sizes
    network = _BUILDERS[kind](bench, seed)
    options: dict[str, Any] = {
        "epochs": sizes.epochs[kind],
        "batch_size": sizes.batch,
        "learning_rate": 2e-3,
        "schedule": "one-cycle",
        "seed": seed,
        "device": bench.device,
    }
    trained: TrainedOperator
    if kind == "unet_multi":
        datasets = [bench.train[n] for n in sizes.grids]
        trained = train_on_resolutions(network, datasets, **options)
    else:
        trained = train_operator(network, bench.train[sizes.training], **options)
    count = sum(parameter.numel() for parameter in network.parameters())
    return Trained(trained.model, count, trained.seconds)


def errors(trained: Trained, bench: Bench, method: Method | None) -> dict[int, float]:
    """Mean relative L2 error on unseen pairs at each resolution, as trained or converted."""
    model = trained.model
    if method is not None:
        model = copy.deepcopy(model)
        grid = bench.train[bench.sizes.training].grid
        model.operator = to_operator(model.operator, grid, method=method)
    found = {}
    for n in bench.sizes.grids:
        data = bench.test[n]
        answer = predict_in_batches(model, data.inputs, batch_size=16)
        found[n] = float(relative_error(answer, data.outputs, data.grid).mean())
    return found


def _fno(bench: Bench, seed: int) -> nn.Module:
    modes = (bench.sizes.n_modes,) * 2
    return FNO(in_channels=1, out_channels=1, width=bench.sizes.width, n_modes=modes, n_layers=3, seed=seed)


def _local_fno(bench: Bench, seed: int, **local: Any) -> nn.Module:
    sizes = bench.sizes
    grid = bench.train[sizes.training].grid
    return LocalFNO(
        in_channels=1,
        out_channels=1,
        width=sizes.width,
        n_modes=(sizes.n_modes,) * 2,
        n_layers=3,
        shape=grid.shape,
        bounds=grid.bounds,
        periodic=True,
        seed=seed,
        **local,
    )


def _unet(bench: Bench, seed: int) -> nn.Module:
    sizes = bench.sizes
    return UNet(
        in_channels=1,
        out_channels=1,
        width=sizes.unet_width,
        kernel_size=sizes.unet_taps,
        n_blocks=sizes.unet_blocks,
        multipliers=sizes.multipliers,
        padding="circular",
        seed=seed,
    )


def _attention(bench: Bench, seed: int) -> nn.Module:
    shape = bench.train[bench.sizes.training].grid.shape
    return PatchTransformer(in_channels=1, out_channels=1, shape=shape, patch=4, local_taps=3, seed=seed)


_BUILDERS: dict[str, Callable[[Bench, int], nn.Module]] = {
    "fno": _fno,
    "fno_fd": lambda bench, seed: _local_fno(bench, seed, differences=True),
    "fno_local": lambda bench, seed: _local_fno(bench, seed, radius=2 * _LENGTH / bench.sizes.training),
    "unet": _unet,
    "unet_multi": _unet,
    "attention": _attention,
}
