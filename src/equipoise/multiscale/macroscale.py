"""The two-scale simulation: load steps of a structure whose points ask a micro model. Start reading at `simulate`.

A step is predicted, brought into equilibrium (`equilibrium.py`), certified, recorded, written and checkpointed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray

from equipoise.errors import ConvergenceError, OutOfRangeError
from equipoise.multiscale.checkpoint import (
    CHECKPOINT_NAME,
    Progress,
    load_progress,
    save_progress,
    simulation_fingerprint,
)
from equipoise.multiscale.discretization import Discretization
from equipoise.multiscale.equilibrium import Converged, Equilibrium, Timings
from equipoise.multiscale.load_stepping import StepControl
from equipoise.multiscale.micro import MicroModel, StepCertificate
from equipoise.multiscale.output import OutputFolder
from equipoise.multiscale.point_responses import PointResponses
from equipoise.multiscale.simulation import (
    LoadStep,
    LoadStepError,
    OutsideBoxError,
    Simulation,
    peak_memory,
    point_gaps,
    record_step,
)
from equipoise.multiscale.structure import Structure

__all__ = ["simulate"]

_log = logging.getLogger("equipoise.multiscale")
_CERTIFICATE_ROUNDS = 10


def simulate(
    structure: Structure,
    micro: MicroModel,
    *,
    output: str | Path | None = None,
    resume: bool = False,
    extrapolate: bool = False,
    device: torch.device | str = "cpu",
    linear_solver: str = "auto",
    chunk: int = 20_000,
    on_step: Callable[[LoadStep], None] | None = None,
) -> Simulation:
    """Simulate a structure with any micro model.

    Args:
        structure: mesh, supports, loads and stepping.
        micro: what every integration point asks; of the structure's dimension, on `device`.
        output: folder for fields, tables and checkpoints; nothing is written without one.
        resume: go on from the checkpoint in `output`; the result is the same as without the interruption.
        extrapolate: accept strains outside the micro model's training box, with a warning; otherwise they end the
            simulation.
        device: where strains live and element kernels run.
        linear_solver: `"auto"` (PARDISO where installed), `"pardiso"` or `"superlu"`.
        chunk: integration points asked at once.
        on_step: called with the record of each converged step.

    Raises:
        ValueError, MeshError: for input that cannot be used, before work starts.
        LoadStepError: if a step fails at the smallest size. OutsideBoxError: if a step leaves the training box.
            Both hold the `simulation` up to the last converged step, which has been written too.

    Source: Eivazi et al. (2026), section on FE-OL; Feyel and Chaboche (2000) for FE².
    """
    began = perf_counter()
    run = _Run(structure, micro, output, device, linear_solver, chunk, extrapolate)
    if resume:
        run.resume()
    spent = run.progress.timings.total
    stop: LoadStepError | OutsideBoxError | None = None
    while not run.progress.control.is_finished and stop is None:
        try:
            record = run.step()
        except OutOfRangeError as error:
            stop = OutsideBoxError(str(error), run.simulation())
        except ConvergenceError as error:
            stop = run.retry(error)
        else:
            run.progress.timings.total = spent + perf_counter() - began
            run.keep()
            if on_step is not None:
                on_step(record)
    run.progress.timings.total = spent + perf_counter() - began
    simulation = run.simulation()
    if stop is not None:
        simulation.stop = str(stop)
        stop.simulation = simulation
    if run.folder is not None:
        run.folder.finish(simulation)
    if stop is not None:
        raise stop
    return simulation


class _Run:
    """One simulation while it runs."""

    def __init__(
        self,
        structure: Structure,
        micro: MicroModel,
        output: str | Path | None,
        device: torch.device | str,
        linear_solver: str,
        chunk: int,
        extrapolate: bool,
    ) -> None:
        if micro.dim != structure.mesh.dim:
            raise ValueError(
                f"the micro model has dimension {micro.dim} and structure {structure.name!r} has {structure.mesh.dim}."
            )
        self.structure, self.micro, self.extrapolate = structure, micro, extrapolate
        timings, began = Timings(), perf_counter()
        self.system = Discretization(structure, device=device, linear_solver=linear_solver)
        timings.assembly += perf_counter() - began
        self.respond = PointResponses(micro, chunk=chunk)
        self.equilibrium = Equilibrium(self.system, self.respond, structure.stepping, timings)
        control = StepControl.begin(structure.stepping, structure.breakpoints)
        rest = self.equilibrium.undeformed()
        self.progress = Progress(control, rest, None, [], None, timings)
        self.fingerprint = simulation_fingerprint(structure, micro)
        self.folder = None if output is None else OutputFolder(Path(output), self.system)
        self._counted = dict(self.respond.counts)

    def resume(self) -> None:
        """Go on from the checkpoint in the output folder."""
        if self.folder is None:
            raise ValueError("resuming needs the output folder of the interrupted simulation.")
        path = self.folder.path / CHECKPOINT_NAME
        self.progress = load_progress(path, self.progress, self.fingerprint, device=self.system.device)
        self.equilibrium.timings = self.progress.timings
        self.respond.evaluations = self.progress.evaluations

    def step(self) -> LoadStep:
        """Find the next equilibrium and certify it.

        Raises:
            ConvergenceError: if Newton's method fails. OutOfRangeError: if the equilibrium leaves the training box.
        """
        progress = self.progress
        time = progress.control.target
        first = self.equilibrium.predict(progress.last, progress.before, time)
        state, certificate, residuals, iterations = self._certified(first, time)
        outside = self._check_box(state)
        gaps = point_gaps(state, certificate)
        counts = {k: v - self._counted.get(k, 0) for k, v in self.respond.counts.items() if v > self._counted.get(k, 0)}
        record = record_step(
            len(progress.steps) + 1,
            self.system,
            state,
            residuals=residuals,
            iterations=iterations,
            gaps=gaps,
            certificate=certificate,
            counts=counts,
            outside_box=outside,
            evaluations=self.respond.evaluations - progress.evaluations,
        )
        self._counted = dict(self.respond.counts)
        progress.control.accept(iterations)
        progress.before = (progress.last.time, progress.last.displacement)
        progress.last, progress.gaps = state, gaps
        progress.largest_scale = max(progress.largest_scale, state.scale)
        progress.evaluations = self.respond.evaluations
        progress.steps.append(record)
        gap = "" if record.largest_gap is None else f", largest gap {record.largest_gap:.1e} ({record.gap_kind})"
        _log.info("step %d: time %.4g, %d Newton iterations%s", record.number, time, iterations, gap)
        return record

    def _certified(
        self, first: NDArray[np.float64], time: float
    ) -> tuple[Converged, StepCertificate | None, tuple[float, ...], int]:
        """Equilibrium whose certificate asks for no further change of the answers."""
        progress, states, iterations = self.progress, self.progress.last.answers.states, 0
        residuals: tuple[float, ...] = ()
        for _ in range(_CERTIFICATE_ROUNDS):
            state = self.equilibrium.find(first, time, states, least_scale=progress.largest_scale)
            residuals, iterations = (*residuals, *state.residuals), iterations + state.iterations
            began = perf_counter()
            certificate = self.respond.certify(state.strain, state.answers.states)
            progress.timings.certificate += perf_counter() - began
            if certificate is None:
                return state, None, residuals, iterations
            states, first = certificate.state, state.displacement
            if certificate.is_final:
                state = replace(state, answers=replace(state.answers, states=states))
                return state, certificate, residuals, iterations
        raise ConvergenceError(f"the certificate still changed answers after {_CERTIFICATE_ROUNDS} rounds.")

    def _check_box(self, state: Converged) -> int:
        outside = self.micro.outside_box(state.strain)
        count = int(outside.sum())
        if count == 0:
            return 0
        if not self.extrapolate:
            try:
                self.micro.check_box(state.strain)
            except OutOfRangeError as error:
                raise OutOfRangeError(f"load step to time {state.time:.6g}: {error}") from None
        _log.warning(
            "time %.6g: %d of %d integration points lie outside the trained box", state.time, count, len(outside)
        )
        return count

    def retry(self, error: ConvergenceError) -> LoadStepError | None:
        """Halve the step after a failure; an error to stop with where it cannot be halved further."""
        control = self.progress.control
        target, begin = control.target, control.time
        if control.reject():
            _log.info("step from time %.6g to %.6g halved: %s", begin, target, error)
            return None
        message = (
            f"the load step from time {begin:.6g} to {target:.6g} did not converge at the smallest size "
            f"{self.structure.stepping.smallest_step:g}: {error} All {len(self.progress.steps)} steps up to time "
            f"{begin:.6g} are kept."
        )
        return LoadStepError(message, self.simulation())

    def keep(self) -> None:
        """Write the last step's fields and the checkpoint."""
        if self.folder is None:
            return
        began = perf_counter()
        progress = self.progress
        self.folder.write_step(progress.steps, progress.last, progress.gaps)
        progress.timings.output += perf_counter() - began
        save_progress(self.folder.path / CHECKPOINT_NAME, progress, self.fingerprint)

    def simulation(self) -> Simulation:
        """What there is so far."""
        progress = self.progress
        return Simulation(
            structure=self.structure,
            steps=list(progress.steps),
            displacement=progress.last.displacement.reshape(-1, self.system.dim),
            strain=progress.last.strain,
            stress=progress.last.answers.stress,
            positions=self.system.positions,
            weights=self.system.weights,
            gaps=progress.gaps,
            timings=progress.timings,
            evaluations=self.respond.evaluations,
            halvings=progress.control.halvings,
            peak_memory=peak_memory(),
        )
