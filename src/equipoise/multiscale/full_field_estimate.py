"""What FE² would cost on a structure that it cannot finish: the full-field solves of a sample of its points, timed.

The points' strains are those of every Newton iteration of a simulation with a learned cell, and the full-field solver
follows them as FE² does, each solve warm-started from the last. Only the product is an estimate; each time is measured.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from equipoise.multiscale.full_field import FullFieldRVE
from equipoise.multiscale.macroscale import simulate
from equipoise.multiscale.micro import MicroModel, Response, State
from equipoise.multiscale.simulation import Simulation
from equipoise.multiscale.structure import Structure
from equipoise.spaces.quadrature import quadrature

__all__ = ["FullFieldEstimate", "estimate_full_field"]


@dataclass(frozen=True, eq=False)
class FullFieldEstimate:
    """Estimated cost of FE² on a structure.

    Attributes:
        learned: the simulation whose Newton iterations FE² was made to follow.
        sampled_evaluations: micro evaluations that were solved and timed.
        seconds_per_evaluation: mean over the sample, tangent included.
        seconds: estimated wall seconds of the whole FE² simulation, macroscale part included.
        largest_stress_difference: of the learned cell from the full field over the sample's last answers, relative.
    """

    learned: Simulation
    sampled_evaluations: int
    seconds_per_evaluation: float
    seconds: float
    largest_stress_difference: float

    @property
    def evaluations(self) -> int:
        """Micro evaluations of the whole simulation."""
        return self.learned.evaluations


class _Recorder(MicroModel):
    """Passes everything on to another micro model and keeps the strains of a few points."""

    def __init__(self, micro: MicroModel, rows: torch.Tensor) -> None:
        self.micro, self.rows = micro, rows
        self.dim, self.n_strain, self.box, self.fingerprint = micro.dim, micro.n_strain, micro.box, micro.fingerprint
        self.seen: list[torch.Tensor] = []
        self.last: torch.Tensor | None = None

    def respond(self, strain: torch.Tensor, *, state: State = None) -> Response:
        response = self.micro.respond(strain, state=state)
        if len(strain) > int(self.rows.max()):
            self.seen.append(strain[self.rows].detach().clone())
            self.last = response.stress[self.rows]
        return response


def estimate_full_field(
    structure: Structure,
    micro: MicroModel,
    full_field: FullFieldRVE,
    *,
    sample: int = 16,
    extrapolate: bool = False,
    seed: int = 0,
) -> FullFieldEstimate:
    """Estimate what FE² would cost from a share of its solves.

    Args:
        structure: of any size that the learned cell can simulate.
        micro: the learned cell, whose simulation gives the strains. full_field: the solver to be timed.
        sample: integration points to follow, drawn at random; at most all of them.
        extrapolate: see `simulate`. seed: of the draw.

    Raises:
        ValueError: for a sample below 1. Errors of `simulate` and of the full-field solver.
    """
    if sample < 1:
        raise ValueError(f"sample={sample} must be at least 1 point.")
    points = sum(block.weights.size for block in quadrature(structure.mesh))
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(points, generator=generator)[:sample].sort().values
    recorder = _Recorder(micro, rows)
    learned = simulate(structure, recorder, extrapolate=extrapolate, chunk=points)
    full_field.respond(recorder.seen[0][:1])  # the first solve pays for the start of workers and libraries
    state: State = None
    began = time.perf_counter()
    for strain in recorder.seen:
        response = full_field.respond(strain, state=state)
        state = response.state
    seconds = (time.perf_counter() - began) / (len(recorder.seen) * len(rows))
    assert recorder.last is not None
    difference = torch.linalg.vector_norm(recorder.last - response.stress, dim=-1)
    size = torch.linalg.vector_norm(response.stress, dim=-1)
    macroscale = learned.timings.assembly + learned.timings.solve
    return FullFieldEstimate(
        learned=learned,
        sampled_evaluations=len(recorder.seen) * len(rows),
        seconds_per_evaluation=seconds,
        seconds=macroscale + seconds * learned.evaluations,
        largest_stress_difference=float((difference / size).max()),
    )
