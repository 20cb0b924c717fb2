"""A structure simulated twice, with a learned cell and with FE²: how far apart they are, and what each costs."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch

from equipoise.multiscale.certified_model import CertifiedModel
from equipoise.multiscale.full_field import FullFieldRVE
from equipoise.multiscale.macroscale import simulate
from equipoise.multiscale.micro import MicroModel
from equipoise.multiscale.simulation import Simulation
from equipoise.multiscale.structure import Structure

__all__ = ["Comparison", "compare_with_full_field", "seconds_per_strain"]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two simulations of one structure.

    Attributes:
        learned, full: with the learned cell, and with FE² (Equipoise's own solver, warm-started).
        displacement_error: of all nodes at the last step, relative. reaction_error: of all supports, relative.
        learned_micro_seconds: of one evaluation with tangent in a batch of 10^4.
        full_micro_seconds: of one full-field evaluation within the FE² simulation.
    """

    learned: Simulation
    full: Simulation
    displacement_error: float
    reaction_error: float
    learned_micro_seconds: float
    full_micro_seconds: float

    @property
    def simulation_speed_up(self) -> float:
        """Ratio of the wall seconds of both simulations, all parts included."""
        return self.full.timings.total / self.learned.timings.total

    @property
    def micro_speed_up(self) -> float:
        """Ratio of the wall seconds of one micro evaluation with tangent."""
        return self.full_micro_seconds / self.learned_micro_seconds

    def figures(self) -> dict[str, float]:
        """Everything in plain values."""
        return {
            "displacement_error": self.displacement_error,
            "reaction_error": self.reaction_error,
            "integration_points": len(self.full.weights),
            "full_field_evaluations": self.full.evaluations,
            "learned_simulation_seconds": self.learned.timings.total,
            "full_field_simulation_seconds": self.full.timings.total,
            "simulation_speed_up": self.simulation_speed_up,
            "learned_microseconds_per_evaluation": 1e6 * self.learned_micro_seconds,
            "full_field_milliseconds_per_evaluation": 1e3 * self.full_micro_seconds,
            "micro_speed_up": self.micro_speed_up,
        }

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Header and rows for a report."""
        rows = [
            ["simulation, wall seconds", f"{self.full.timings.total:.3g}", f"{self.learned.timings.total:.3g}",
             f"{self.simulation_speed_up:,.0f} times faster"],
            ["one micro evaluation with tangent", f"{1e3 * self.full_micro_seconds:.3g} ms",
             f"{1e6 * self.learned_micro_seconds:.3g} µs", f"{self.micro_speed_up:,.0f} times faster"],
            ["micro evaluations", f"{self.full.evaluations:,}", f"{self.learned.evaluations:,}", ""],
            ["displacement of all nodes", "", "", f"differs by {100 * self.displacement_error:.4f} %"],
            ["reactions", "", "", f"differ by {100 * self.reaction_error:.4f} %"],
        ]  # fmt: skip
        return ["", "FE²", "learned cell", ""], rows


def seconds_per_strain(model: MicroModel, *, count: int = 10_000, repeats: int = 5, seed: int = 0) -> float:
    """Median wall seconds of one answer with tangent in a batch drawn from the training box, certificate left out.

    Raises:
        ValueError: for a model without a training box.
    """
    if model.box is None:
        raise ValueError("the model has no training box to draw strains from.")
    generator = torch.Generator().manual_seed(seed)
    unit = torch.rand(count, model.n_strain, generator=generator, dtype=torch.float64).to(model.box.device)
    strain = model.box[0] + unit * (model.box[1] - model.box[0])
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        if isinstance(model, CertifiedModel):
            model.answer(strain)
        else:
            model.respond(strain)
        times.append(time.perf_counter() - began)
    return float(np.median(times[1:])) / count


def compare_with_full_field(
    structure: Structure, model: CertifiedModel, *, full: Simulation | None = None
) -> Comparison:
    """Simulate a structure with a learned or reduced cell and with FE² on the same cell.

    Args:
        structure: small enough for FE². model: whose cell the full-field model solves.
        full: FE² of the same structure and cell, where it has been run before.
    """
    full = simulate(structure, FullFieldRVE(model.cell)) if full is None else full
    simulate(structure, model)
    learned = simulate(structure, model)
    difference = np.linalg.norm(learned.displacement - full.displacement) / np.linalg.norm(full.displacement)
    exact, found = (np.concatenate(list(run.steps[-1].reactions.values())) for run in (full, learned))
    return Comparison(
        learned=learned,
        full=full,
        displacement_error=float(difference),
        reaction_error=float(np.linalg.norm(found - exact) / np.linalg.norm(exact)),
        learned_micro_seconds=seconds_per_strain(model),
        full_micro_seconds=full.timings.micro / full.evaluations,
    )
