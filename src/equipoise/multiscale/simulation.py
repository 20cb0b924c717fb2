"""What a simulation leaves: its load steps, its last state, counts and times. Nothing is solved or written here."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from equipoise.errors import ConvergenceError, OutOfRangeError
from equipoise.multiscale.discretization import Discretization
from equipoise.multiscale.equilibrium import Converged, Timings
from equipoise.multiscale.micro import StepCertificate
from equipoise.multiscale.structure import Structure

__all__ = [
    "LoadStep",
    "LoadStepError",
    "OutsideBoxError",
    "PointGaps",
    "Simulation",
    "peak_memory",
    "point_gaps",
    "record_step",
]


@dataclass(frozen=True, eq=False)
class PointGaps:
    """Relative energy gap at each integration point.

    Attributes:
        relative_gap: `(n,)`; `inf` stands for "no finite bound".
        is_bound: guaranteed (True) or estimated, `(n,)` booleans.
    """

    relative_gap: torch.Tensor
    is_bound: torch.Tensor

    @property
    def kind(self) -> str:
        """`"bound"` if guaranteed everywhere, `"estimate"` if nowhere, otherwise `"mixed"`."""
        if bool(self.is_bound.all()):
            return "bound"
        return "mixed" if bool(self.is_bound.any()) else "estimate"


@dataclass(frozen=True)
class LoadStep:
    """One converged load step; plain values, as written to checkpoints and tables.

    Attributes:
        number: from 1. time: pseudo-time. iterations: Newton iterations, that is, linear solves.
        residuals: relative residuals, before each Newton step and last.
        reactions: sum of the reactions at each support, N, by its label; a node held by two counts for one of them.
        displacements: at the monitored points, mm, by name (nearest node).
        largest_gap, mean_gap: relative energy gap over the points, or `None`; the mean is weighted by volume.
        gap_kind: what the gaps are, see `PointGaps.kind`; `"none"` without.
        counts: points that took a dear path in this step. figures: further numbers of the certificate.
        largest_strain: largest absolute strain component of all points.
        outside_box: points whose strain lies outside the micro model's training box.
        evaluations: micro evaluations since the last step, failed attempts included.
    """

    number: int
    time: float
    iterations: int
    residuals: tuple[float, ...]
    reactions: dict[str, list[float]]
    displacements: dict[str, list[float]]
    largest_gap: float | None = None
    mean_gap: float | None = None
    gap_kind: str = "none"
    counts: dict[str, int] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    largest_strain: float = 0.0
    outside_box: int = 0
    evaluations: int = 0


@dataclass(eq=False)
class Simulation:
    """A simulation and how far it came.

    Attributes:
        structure: what was simulated. steps: converged load steps.
        displacement: nodal, mm, `(nodes, dim)`. strain, stress: at the integration points, `(n, v)`, MPa.
        positions: of the integration points, `(n, dim)`. weights: their volumes, mm^3, `(n,)`.
        gaps: of the last step, or `None`.
        timings: wall seconds by part. evaluations: micro evaluations in all, failed attempts included.
        halvings: load steps that had to be halved. peak_memory: of this process, MiB.
        stop: `None` when the end of pseudo-time was reached, otherwise the sentence that says why not.
    """

    structure: Structure
    steps: list[LoadStep]
    displacement: NDArray[np.float64]
    strain: torch.Tensor
    stress: torch.Tensor
    positions: NDArray[np.float64]
    weights: NDArray[np.float64]
    gaps: PointGaps | None
    timings: Timings
    evaluations: int
    halvings: int
    peak_memory: float
    stop: str | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the end of pseudo-time was reached."""
        return self.stop is None

    @property
    def warnings(self) -> list[str]:
        """What a reader of the results must know, one sentence each."""
        most = max((step.outside_box for step in self.steps), default=0)
        if most == 0:
            return []
        return [
            f"Up to {most} of {len(self.weights)} integration points left the strain range in which the micro model "
            "was trained; its answers there are unchecked."
        ]

    def summary(self) -> dict[str, Any]:
        """Figures of the whole simulation, as JSON holds them; gaps are `None` where the micro model has none."""
        gaps = [step.largest_gap for step in self.steps if step.largest_gap is not None]
        means = [step.mean_gap for step in self.steps if step.mean_gap is not None]
        counts: Counter[str] = Counter()
        for step in self.steps:
            counts.update(step.counts)
        last = self.steps[-1] if self.steps else None
        return {
            "structure": self.structure.name,
            "complete": self.is_complete,
            "stop": self.stop,
            "elements": self.structure.mesh.n_cells,
            "unknowns": int(self.displacement.size),
            "integration_points": len(self.weights),
            "steps": len(self.steps),
            "time": last.time if last else self.structure.stepping.start,
            "newton_iterations": [step.iterations for step in self.steps],
            "halvings": self.halvings,
            "micro_evaluations": self.evaluations,
            "fallbacks": counts.get("fallbacks", 0),
            "counts": dict(counts),
            "largest_gap": _finite(max(gaps)) if gaps else None,
            "mean_gap": _finite(float(np.mean(means))) if means else None,
            "gap_kind": last.gap_kind if last else "none",
            "largest_strain": max((step.largest_strain for step in self.steps), default=0.0),
            "outside_box": max((step.outside_box for step in self.steps), default=0),
            "warnings": self.warnings,
            "reactions": last.reactions if last else {},
            "displacements": last.displacements if last else {},
            "figures": last.figures if last else {},
            "seconds": {name: float(value) for name, value in vars(self.timings).items()},
            "peak_memory_mib": self.peak_memory,
        }


class LoadStepError(ConvergenceError):
    """A load step failed at the smallest size; `simulation` holds everything that converged before."""

    def __init__(self, message: str, simulation: Simulation) -> None:
        super().__init__(message)
        self.simulation = simulation


class OutsideBoxError(OutOfRangeError):
    """A load step left the training box; `simulation` holds everything that converged before."""

    def __init__(self, message: str, simulation: Simulation) -> None:
        super().__init__(message)
        self.simulation = simulation


def _finite(value: float) -> float | str:
    """JSON has no infinity; an infinite gap is written as the words that say what it means."""
    return value if np.isfinite(value) else "no finite bound"


def point_gaps(state: Converged, certificate: StepCertificate | None) -> PointGaps | None:
    """Gaps of a converged step: those of the certificate, else the estimates of the last response, else `None`."""
    if certificate is not None:
        return PointGaps(certificate.relative_gap, certificate.is_bound)
    estimate = state.answers.error_estimate
    if estimate is None:
        return None
    return PointGaps(estimate, torch.full_like(estimate, state.answers.error_kind == "bound", dtype=torch.bool))


def record_step(
    number: int,
    system: Discretization,
    state: Converged,
    *,
    residuals: tuple[float, ...],
    iterations: int,
    gaps: PointGaps | None,
    certificate: StepCertificate | None,
    counts: Mapping[str, int],
    outside_box: int,
    evaluations: int,
) -> LoadStep:
    """Plain record of a converged step."""
    largest = mean = None
    if gaps is not None:
        values = gaps.relative_gap.cpu().numpy()
        largest, mean = float(values.max()), float(np.average(values, weights=system.weights))
    return LoadStep(
        number=number,
        time=state.time,
        iterations=iterations,
        residuals=residuals,
        reactions=_reactions(system, state),
        displacements=_monitored(system, state),
        largest_gap=largest,
        mean_gap=mean,
        gap_kind="none" if gaps is None else gaps.kind,
        counts=dict(counts),
        figures={} if certificate is None else dict(certificate.figures),
        largest_strain=float(state.strain.abs().max()),
        outside_box=outside_box,
        evaluations=evaluations,
    )


def _reactions(system: Discretization, state: Converged) -> dict[str, list[float]]:
    reactions: dict[str, list[float]] = {}
    for number, support in enumerate(system.held.supports):
        unknowns = system.held.unknowns[system.held.owner == number]
        label = support.label
        while label in reactions:
            label += "'"
        axes = unknowns % system.dim
        reactions[label] = [float(state.reactions[unknowns[axes == axis]].sum()) for axis in range(system.dim)]
    return reactions


def _monitored(system: Discretization, state: Converged) -> dict[str, list[float]]:
    nodal = state.displacement.reshape(-1, system.dim)
    points = system.structure.mesh.points
    return {
        name: nodal[int(np.argmin(np.linalg.norm(points - np.asarray(place), axis=1)))].tolist()
        for name, place in system.structure.monitored.items()
    }


def peak_memory() -> float:
    """Largest resident memory of this process so far, MiB; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0.0
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / 2**20 if sys.platform == "darwin" else size / 2**10
