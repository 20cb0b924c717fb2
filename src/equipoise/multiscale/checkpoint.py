"""Checkpoints of a simulation: everything that its next load step depends on, in one file written at once.

Tensors and a JSON record in the safetensors format; loading runs no code. When one is written is decided in
`macroscale.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from equipoise.data.whole_files import write_whole
from equipoise.errors import FormatError
from equipoise.multiscale.equilibrium import Converged, Timings
from equipoise.multiscale.load_stepping import StepControl
from equipoise.multiscale.micro import MicroModel
from equipoise.multiscale.point_responses import Answers, flatten_states, unflatten_states
from equipoise.multiscale.simulation import LoadStep, PointGaps
from equipoise.multiscale.structure import Structure

__all__ = ["CHECKPOINT_NAME", "Progress", "load_progress", "save_progress", "simulation_fingerprint"]

CHECKPOINT_NAME = "checkpoint.safetensors"
_VERSION = 1


@dataclass(eq=False)
class Progress:
    """How far a simulation has come.

    Attributes:
        control: pseudo-time and step size. last: the last equilibrium.
        before: time and displacement of the one before it, or `None`.
        steps: records of the converged steps. gaps: of the last step.
        timings: wall seconds by part. evaluations: micro evaluations.
        largest_scale: largest scale of reactions so far, N.
    """

    control: StepControl
    last: Converged
    before: tuple[float, NDArray[np.float64]] | None
    steps: list[LoadStep]
    gaps: PointGaps | None
    timings: Timings
    evaluations: int = 0
    largest_scale: float = 0.0


def simulation_fingerprint(structure: Structure, micro: MicroModel) -> str:
    """Digest of the structure, apart from its stepping, and of the micro model."""
    settings = {
        "mesh": structure.mesh.fingerprint,
        "groups": {
            name: [block.connectivity.tolist() for block in blocks]
            for name, blocks in structure.mesh.facet_groups.items()
        },
        "supports": [asdict(support) for support in structure.supports],
        "loads": [asdict(load) for load in structure.loads],
        "thickness": structure.thickness,
        "micro": [type(micro).__name__, micro.fingerprint],
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def save_progress(path: Path, progress: Progress, fingerprint: str) -> None:
    """Write a checkpoint under a temporary name, then rename it over the last one.

    Raises:
        TypeError: for warm starts that are no tensors.
    """
    last, answers = progress.last, progress.last.answers
    tensors = {
        "displacement": torch.as_tensor(last.displacement),
        "reactions": torch.as_tensor(last.reactions),
        "strain": last.strain,
        "stress": answers.stress,
        "tangent": answers.tangent,
    }
    if answers.error_estimate is not None:
        tensors["error_estimate"] = answers.error_estimate
    if progress.before is not None:
        tensors["displacement_before"] = torch.as_tensor(progress.before[1])
    if progress.gaps is not None:
        tensors["relative_gap"], tensors["is_bound"] = progress.gaps.relative_gap, progress.gaps.is_bound
    tensors.update({f"state.{name}": value for name, value in flatten_states(answers.states).items()})
    record = {
        "fingerprint": fingerprint,
        "control": progress.control.record(),
        "time": last.time,
        "time_before": None if progress.before is None else progress.before[0],
        "residuals": last.residuals,
        "scale": last.scale,
        "error_kind": answers.error_kind,
        "chunks": len(answers.states),
        "steps": [asdict(step) for step in progress.steps],
        "timings": asdict(progress.timings),
        "evaluations": progress.evaluations,
        "largest_scale": progress.largest_scale,
    }
    _write(path, record, tensors)


def load_progress(path: Path, progress: Progress, fingerprint: str, *, device: torch.device) -> Progress:
    """Go on from a checkpoint.

    Args:
        path: the checkpoint.
        progress: the same simulation at its start, whose step control is taken over.
        fingerprint: of the structure and micro model at hand.
        device: where tensors go.

    Raises:
        FileNotFoundError: if there is no checkpoint.
        FormatError: if it is damaged, foreign, of another version, or of another structure or micro model.
    """
    record, tensors = _read(path)
    if record["fingerprint"] != fingerprint:
        raise FormatError(f"{path} is of another structure or micro model than the one to resume.")
    tensors = {name: value.to(device) for name, value in tensors.items()}
    if record["chunks"] != len(progress.last.answers.states):
        raise FormatError(f"{path} was written with another chunk size; resume with the same one.")
    states = {name.removeprefix("state."): value for name, value in tensors.items() if name.startswith("state.")}
    answers = Answers(
        stress=tensors["stress"],
        tangent=tensors["tangent"],
        error_estimate=tensors.get("error_estimate"),
        error_kind=record["error_kind"],
        states=unflatten_states(states, record["chunks"]),
    )
    last = Converged(
        time=record["time"],
        displacement=tensors["displacement"].cpu().numpy(),
        strain=tensors["strain"],
        answers=answers,
        residuals=tuple(record["residuals"]),
        reactions=tensors["reactions"].cpu().numpy(),
        scale=record["scale"],
    )
    progress.control.restore(record["control"])
    before = tensors.get("displacement_before")
    gap = tensors.get("relative_gap")
    return Progress(
        control=progress.control,
        last=last,
        before=None if before is None else (record["time_before"], before.cpu().numpy()),
        steps=[LoadStep(**{**step, "residuals": tuple(step["residuals"])}) for step in record["steps"]],
        gaps=None if gap is None else PointGaps(gap, tensors["is_bound"]),
        timings=Timings(**record["timings"]),
        evaluations=record["evaluations"],
        largest_scale=record["largest_scale"],
    )


def _write(path: Path, record: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
    from safetensors.torch import save

    owned = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    write_whole(path, save(owned, {"equipoise": json.dumps({"version": _VERSION, **record})}))


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist, so there is nothing to resume; run without resuming first.")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("equipoise")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{path} is damaged or no checkpoint: {error}.") from error
    if text is None:
        raise FormatError(f"{path} was not written by a simulation.")
    record = json.loads(text)
    if record.get("version") != _VERSION:
        raise FormatError(f"{path} has checkpoint version {record.get('version')}; this version reads {_VERSION}.")
    return record, tensors
