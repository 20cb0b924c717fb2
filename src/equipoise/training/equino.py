"""The recipe that turns a unit cell's bases into a trained EquiNO: labels, objective, phases.

Nothing here asks the full-field solver: labels are solutions of the reduced problems on a few weighted points.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from equipoise.data.sampling import sobol
from equipoise.operators.equino import EquiNO, hidden_widths
from equipoise.problems.mechanics.bases import ReducedBases
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.cubature import Cubature
from equipoise.problems.mechanics.reduced import ReducedProblem
from equipoise.training.objectives import CoefficientObjective, GapObjective, StressObjective
from equipoise.training.phases import Phase
from equipoise.training.trainer import History, Objective, Trainer
from equipoise.training.variable_projection import VariableProjection

__all__ = ["OBJECTIVES", "TrainedEquiNO", "equino_phases", "train_equino"]

OBJECTIVES = ("variable-projection", "coefficients", "gap", "energy-norm", "stress")

_STRAINS_PER_UNIT = 4

Progress = Callable[[int, int, int, float], None]


@dataclass(frozen=True, eq=False)
class TrainedEquiNO:
    """A trained operator, the history of its loss, and the wall seconds of labels and descent together."""

    operator: EquiNO
    history: History
    seconds: float


def equino_phases(form: str = "anchored", *, steps: int | None = None) -> tuple[Phase, ...]:
    """The phases that train each form.

    Args:
        form: `"anchored"`: SOAP on the full batch. `"paper"`: Adam on batches of 10 for 1000 steps, then L-BFGS on the
            full batch.
        steps: of the last phase; 3000 and 500 by default.
    """
    if form == "paper":
        return (
            Phase("adam", steps=1000, learning_rate=1e-3, final_learning_rate=1e-3, batch_size=10),
            Phase("lbfgs", steps=500 if steps is None else steps),
        )
    return (Phase("soap", steps=3000 if steps is None else steps, learning_rate=2e-2, warm_up=50),)


def train_equino(
    cell: PeriodicCell,
    bases: ReducedBases,
    cubature: Cubature,
    *,
    box: torch.Tensor,
    n_collocation: int = 1000,
    form: str = "anchored",
    objective: str | None = None,
    steps: int | None = None,
    phases: Sequence[Phase] | None = None,
    hidden: Sequence[int] | None = None,
    n_points: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
) -> TrainedEquiNO:
    """Train EquiNO on a unit cell.

    Args:
        cell: the unit cell. bases: its modes; of variant `"paper"` for the published form.
        cubature: weighted points for the labels. box: lowest and highest strains, `(2, v)`.
        n_collocation: strains by Sobol's sequence, half of them in the box and half drawn from there towards zero.
        form: `"anchored"` or `"paper"`, see `EquiNO`.
        objective: `"variable-projection"` (the anchored form only, on the full batch; default there with at least
            four strains for each unit of the last hidden layer), `"coefficients"` (default otherwise), `"gap"`,
            `"energy-norm"`, or `"stress"` (default of the published form); see `training.objectives` and
            `VariableProjection`.
        steps: of the last phase, see `equino_phases`. phases: instead of those.
        hidden: widths of the hidden layers, see `EquiNO`. seed: of weights, strains and batches.
        n_points: quadrature points that `"stress"` visits, drawn at random; all of them by default.
        progress: called with (phase, step, steps, loss). checkpoint, resume: see `Trainer`.

    Raises:
        ValueError: for unknown names, a box of wrong shape, or variable projection of the published form or on parts
            of the batch. ConvergenceError: see `Trainer`.

    Source: Eivazi et al. (2026), section 3, for the published form.
    """
    modes = max(bases.n_displacement_modes, bases.n_stress_modes)
    hidden = hidden_widths(form, modes, cell.n_strain) if hidden is None else tuple(hidden)
    chosen_phases = equino_phases(form, steps=steps) if phases is None else phases
    name = objective or _default_objective(form, n_collocation, hidden, chosen_phases)
    check_objective(name, form)
    if box.shape != (2, cell.n_strain):
        raise ValueError(f"box has shape {tuple(box.shape)}; expected (2, {cell.n_strain}).")
    began = time.perf_counter()
    strain = _collocation(n_collocation, box, seed).to(cell.device)
    operator = EquiNO(
        n_strain=cell.n_strain,
        n_displacement_modes=bases.n_displacement_modes,
        n_stress_modes=bases.n_stress_modes,
        hidden=hidden,
        form=form,
        seed=seed,
        is_odd=form == "anchored" and all(material.is_odd for material in cell.materials.values()),
    ).to(cell.device)
    chosen, known = _objective(name, cell, bases, cubature, strain, n_points, seed)
    operator.set_input_scale(((box[1] - box[0]) / 2).to(cell.device))
    slopes = ReducedProblem.on_cubature(cell, bases, cubature).slopes_at_zero() if form == "anchored" else None
    operator.fit_scales(*known, bases.homogenised_modes, slopes=slopes)
    if name == "variable-projection" and isinstance(chosen, CoefficientObjective):
        chosen = VariableProjection(chosen, operator)
    trainer = Trainer(operator, chosen, seed=seed, checkpoint=checkpoint, on_step=progress)
    history = trainer.fit(chosen_phases, resume=resume)
    if isinstance(chosen, VariableProjection):
        chosen.project()
    return TrainedEquiNO(operator.eval(), history, time.perf_counter() - began)


def check_objective(name: str, form: str) -> None:
    """Raise `ValueError` for an objective that does not exist, or that a form cannot be trained on."""
    if name not in OBJECTIVES:
        raise ValueError(f"objective {name!r} is unknown; use one of {', '.join(OBJECTIVES)}.")
    if name == "variable-projection" and form == "paper":
        raise ValueError(
            "objective 'variable-projection' needs the anchored form; use one of " + ", ".join(OBJECTIVES[1:]) + "."
        )


def _default_objective(form: str, n_collocation: int, hidden: Sequence[int], phases: Sequence[Phase]) -> str:
    if form == "paper":
        return "stress"
    # A last layer that is solved for interpolates few strains instead of fitting them.
    enough = n_collocation >= _STRAINS_PER_UNIT * (hidden[-1] if hidden else 1)
    whole = all(phase.batch_size is None for phase in phases)
    return "variable-projection" if enough and whole else "coefficients"


def _collocation(count: int, box: torch.Tensor, seed: int) -> torch.Tensor:
    """Strains of the box, half of them shrunk: a structure holds many points at small strain, a box hardly any."""
    drawn = sobol(count, torch.cat([box, box.new_tensor([[0.0], [2.0]])], -1), seed=seed)
    return drawn[:, :-1] * drawn[:, -1:].clamp(max=1)


def _objective(
    name: str,
    cell: PeriodicCell,
    bases: ReducedBases,
    cubature: Cubature,
    strain: torch.Tensor,
    n_points: int | None,
    seed: int,
) -> tuple[Objective, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """The objective, and strains with known coefficients for fitting scales: labels, or else those of the snapshots."""
    snapshots = (bases.strain, bases.displacement_coefficients, bases.stress_coefficients)
    if name in ("variable-projection", "coefficients", "gap"):
        reduced = ReducedProblem.on_cubature(cell, bases, cubature)
        if name == "gap":
            return GapObjective(reduced, strain), snapshots
        labelled = CoefficientObjective(reduced, strain)
        return labelled, (labelled.strain, labelled.displacement, labelled.stress)
    options: dict[str, Any] = {}
    if name == "energy-norm":
        points, options["weights"] = cubature.all_points(cell)
        options["norm"] = "energy"
    else:
        generator = torch.Generator().manual_seed(seed)
        count = cell.n_points if n_points is None else min(n_points, cell.n_points)
        points = torch.randperm(cell.n_points, generator=generator)[:count].sort().values.to(cell.device)
    law, strain_modes, stress_modes = cell.law.at(points), bases.strain_modes[points], bases.stress_modes[points]
    return StressObjective(law, strain_modes, stress_modes, strain, **options), snapshots
