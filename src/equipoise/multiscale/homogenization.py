"""Homogenised stress and tangent at given strains, by the full-field cell or by a learned micro model.

This answers single queries; structures ask their micro model through `macroscale.py`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from equipoise.data.executors import Executor, SerialExecutor
from equipoise.data.snapshot_solver import SnapshotSolver
from equipoise.errors import ConvergenceError
from equipoise.multiscale.micro import MicroFields, MicroModel
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.materials import Material
from equipoise.spaces.mesh import Mesh

__all__ = ["Homogenization", "homogenize_full", "homogenize_model"]

_BATCH = 8


@dataclass(frozen=True, eq=False)
class Homogenization:
    """Answers to a list of macroscopic strains; tensors are float64 on the processor.

    Attributes:
        strain: `(n, v)`, engineering shear. stress: MPa, `(n, v)`. tangent: MPa, `(n, v, v)`.
        error_estimate: relative energy gap, `(n,)`, or `None` for a model without one (the full-field cell).
        iterations: Newton iterations, `(n,)`; zero for models that don't iterate.
        seconds: wall time of each, `(n,)`; an equal share where strains are answered together.
        volume_fractions: by name of the material.
        fields: microscopic fields, if they were asked for.
        warnings: sentences that a user must see with the numbers.
    """

    strain: torch.Tensor
    stress: torch.Tensor
    tangent: torch.Tensor
    error_estimate: torch.Tensor | None
    iterations: torch.Tensor
    seconds: torch.Tensor
    volume_fractions: Mapping[str, float]
    fields: MicroFields | None = None
    warnings: tuple[str, ...] = field(default=())


def homogenize_full(
    mesh: Mesh,
    materials: Mapping[int, Material],
    strain: torch.Tensor,
    *,
    executor: Executor | None = None,
    device: str = "cpu",
    with_fields: bool = False,
) -> Homogenization:
    """Solve the unit cell in full at each strain.

    Args:
        mesh, materials: of the cell, as for `PeriodicCell`.
        strain: `(n, v)`, engineering shear.
        executor: where solves run; in this process by default.
        device: where the cell lives, for an executor in this process.
        with_fields: whether to return microscopic fields.

    Raises:
        MeshError: for a cell that cannot be built. ValueError: for bad strains.
        ConvergenceError: naming the first strain without solution. WorkerError: from the executor.
    """
    solve = SnapshotSolver(mesh, materials, fields=with_fields, device=device)
    volume_fractions = solve.cell.volume_fractions
    answers = _answers(solve, strain, executor or SerialExecutor())
    converged = answers["converged"]
    if not bool(converged.all()):
        row = int(torch.argmin(converged.to(torch.int8)))
        raise ConvergenceError(
            f"{int((~converged).sum())} of {len(strain)} strains did not converge; the first is strain {row}, "
            f"{strain[row].tolist()}, with relative residual {float(answers['residual'][row]):.1e}."
        )
    return Homogenization(
        strain=strain,
        stress=answers["homogenised_stress"],
        tangent=answers["homogenised_tangent"],
        error_estimate=None,
        iterations=answers["iterations"],
        seconds=answers["seconds"],
        volume_fractions=volume_fractions,
        fields=_fields(solve.cell, strain, answers) if with_fields else None,
    )


def _answers(solve: SnapshotSolver, strain: torch.Tensor, executor: Executor) -> dict[str, torch.Tensor]:
    """Answers of all batches, put together in the order of the strains."""
    batches = list(torch.split(strain, _BATCH))
    parts: list[dict[str, np.ndarray]] = [{}] * len(batches)
    for number, arrays in executor.map_batches(solve, batches):
        parts[number] = arrays
    return {name: torch.from_numpy(np.concatenate([part[name] for part in parts])) for name in parts[0]}


def _fields(cell: PeriodicCell, strain: torch.Tensor, answers: Mapping[str, torch.Tensor]) -> MicroFields:
    macro, fluctuation = strain.to(cell.device), answers["fluctuation"]
    return MicroFields(
        displacement=cell.affine_displacement(macro).cpu() + fluctuation,
        fluctuation=fluctuation,
        strain=cell.strain(macro, cell.restrict(fluctuation.to(cell.device))).cpu(),
        stress=answers["stress"],
        mesh=cell.mesh,
    )


def homogenize_model(
    model: MicroModel,
    strain: torch.Tensor,
    *,
    extrapolate: bool = False,
    device: str = "cpu",
    with_fields: bool = False,
) -> Homogenization:
    """Ask a micro model at each strain.

    Args:
        model: any micro model. strain: `(n, v)`, engineering shear.
        extrapolate: answer outside the trained box too, with a warning.
        device: where the model lives.
        with_fields: whether to return microscopic fields.

    Raises:
        ValueError: for strains of wrong length or not finite.
        OutOfRangeError: for strains outside the trained box, unless `extrapolate`.
    """
    if strain.ndim != 2 or strain.shape[1] != model.n_strain or not bool(torch.isfinite(strain).all()):
        raise ValueError(f"strain has shape {tuple(strain.shape)}; expected finite values, (n, {model.n_strain}).")
    warnings: list[str] = []
    outside = model.outside_box(strain)
    if bool(outside.any()):
        if not extrapolate:
            model.check_box(strain)
        rows = torch.nonzero(outside).flatten().tolist()
        warnings.append(
            f"{len(rows)} of {len(strain)} strains lie outside the trained box, the first is strain {rows[0]}; "
            "nothing is known of the error there unless an error estimate says so."
        )
    began = time.perf_counter()
    response = model.respond(strain.to(device))
    # Fetching the stress waits for a GPU to finish.
    stress = response.stress.detach().cpu()
    seconds = (time.perf_counter() - began) / len(strain)
    estimate = response.error_estimate
    if estimate is not None and not bool(torch.isfinite(estimate).all()):
        rows = torch.nonzero(~torch.isfinite(estimate)).flatten().tolist()
        warnings.append(
            f"there is no finite bound for {len(rows)} of {len(strain)} strains, the first is strain {rows[0]}."
        )
    cell = getattr(model, "cell", None)
    return Homogenization(
        strain=strain,
        stress=stress,
        tangent=response.tangent.detach().cpu(),
        error_estimate=None if estimate is None else estimate.detach().cpu(),
        iterations=torch.zeros(len(strain), dtype=torch.int64),
        seconds=torch.full((len(strain),), seconds, dtype=torch.float64),
        volume_fractions={} if cell is None else cell.volume_fractions,
        fields=model.localize(strain.to(device)) if with_fields else None,
        warnings=tuple(warnings),
    )
