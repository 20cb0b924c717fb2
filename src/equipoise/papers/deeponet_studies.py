"""Studies beside the comparison of the DeepONet reproduction: error by number of sensors, and by number of modes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from equipoise.papers.deeponet_models import Job
from equipoise.papers.reproduction import Table

__all__ = ["LENGTHS", "MODES", "SENSOR_COUNTS", "study_figures", "study_jobs", "study_tables"]

SENSOR_COUNTS, LENGTHS, MODES = (11, 21, 41, 101, 201), (0.1, 0.2, 0.5), (1, 2, 4, 8, 16, 32)
_KINDS = {
    "ridge map on the antiderivative": ("ridge_of_sensors", "antiderivative"),
    "POD + linear on the nonlinear ODE": ("pod_of_sensors", "nonlinear ODE"),
}


def study_jobs(steps: int, seed: int, *, count: int = 400) -> dict[tuple[str, float, int, int], Job]:
    """Trainings by name, length scale, number of sensors and of modes, 0 for as many as the operator has by itself."""
    jobs = {}
    for name, (kind, case) in _KINDS.items():
        for length in LENGTHS:
            for sensors in SENSOR_COUNTS:
                jobs[name, length, sensors, 0] = Job(
                    kind, case, count, steps, seed, tests=200, sensors=sensors, length_scale=length
                )
    name, (kind, case) = list(_KINDS.items())[1]
    for modes in MODES:
        jobs[name, 0.2, 101, modes] = Job(
            kind, case, count, steps, seed, tests=200, options=(("n_modes", modes),), variant="modes", sensors=101
        )
    return jobs


def study_figures(jobs: Mapping[Any, Job], found: Mapping[Job, Mapping[str, Any]]) -> dict[str, Any]:
    """Mean relative errors."""
    figures: dict[str, Any] = {"sensors": list(SENSOR_COUNTS), "modes": list(MODES)}
    for name in _KINDS:
        for length in LENGTHS:
            figures[f"{name}, l = {length}"] = [
                found[jobs[name, length, sensors, 0]]["mean"] for sensors in SENSOR_COUNTS
            ]
    name = list(_KINDS)[1]
    figures["by modes"] = [found[jobs[name, 0.2, 101, modes]]["mean"] for modes in MODES]
    return figures


def study_tables(figures: Mapping[str, Any]) -> list[Table]:
    """For a person."""
    sensors = [[name, *_percent(errors)] for name, errors in figures.items() if "l =" in name]
    modes = [["POD + linear on the nonlinear ODE, l = 0.2", *_percent(figures["by modes"])]]
    return [
        Table("error by number of sensors, 400 functions of length scale l", _header(SENSOR_COUNTS), sensors),
        Table("error by number of modes of the outputs, 400 functions", _header(MODES), modes),
    ]


def _header(counts: tuple[int, ...]) -> list[str]:
    return ["mean relative error, %", *map(str, counts)]


def _percent(errors: list[float]) -> list[str]:
    return [f"{100 * error:.3g}" for error in errors]
