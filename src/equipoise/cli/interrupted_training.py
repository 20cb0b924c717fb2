"""What an interrupted `equipoise train` leaves beside its run folder: the trainer's state, and what it started from.

The state itself is written and read by the trainer; here it is only found, and refused where it would not fit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["check_start", "keep_settings", "remove_state", "state_file"]


def state_file(run: Path) -> Path:
    """Where the trainer keeps the state of the training that will become this run folder."""
    return run.with_name(f"{run.name}.training")


def check_start(run: Path, settings: Mapping[str, Any], *, resume: bool, overwrite: bool) -> None:
    """Refuse, before any work, to resume what is not there or began otherwise, and to lose what can be resumed.

    Raises:
        FileNotFoundError: where there is nothing to resume.
        ValueError: naming the first setting that differs, or for a state that would be lost.
    """
    from equipoise.data.parts import first_difference

    state, kept = state_file(run), _settings_file(run)
    if not resume:
        if state.exists() and not overwrite:
            raise ValueError(
                f"{state} holds an unfinished training; use --resume to go on with it, or --overwrite to start afresh."
            )
        return
    if not (state.exists() and kept.exists()):
        raise FileNotFoundError(f"there is no training state at {state} to resume from; train without --resume.")
    try:
        began = dict(json.loads(kept.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{kept} is damaged; use --overwrite instead of --resume to start afresh.") from error
    difference = first_difference(began, settings)
    if difference is not None:
        raise ValueError(f"{run} cannot be resumed: {difference}; repeat the first settings, or start afresh.")


def keep_settings(run: Path, settings: Mapping[str, Any]) -> None:
    """Write down what a training starts from, in place of an earlier one's state."""
    from equipoise.data.whole_files import write_whole

    remove_state(run)
    file = _settings_file(run)
    write_whole(file, json.dumps(dict(settings)).encode())


def remove_state(run: Path) -> None:
    """Remove what a training has left beside its run folder."""
    state_file(run).unlink(missing_ok=True)
    _settings_file(run).unlink(missing_ok=True)


def _settings_file(run: Path) -> Path:
    return run.with_name(f"{run.name}.training.json")
