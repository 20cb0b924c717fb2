"""Families of equations by name, as the command line and data files know them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from equipoise.problems.elliptic import Darcy, Helmholtz, HelmholtzMedium, Poisson
from equipoise.problems.equations_1d import advection, allen_cahn, burgers, korteweg_de_vries, kuramoto_sivashinsky
from equipoise.problems.forced import Antiderivative, DiffusionReaction, NonlinearODE, Pendulum
from equipoise.problems.inclusions import Inclusions
from equipoise.problems.navier_stokes import navier_stokes
from equipoise.problems.problem import Problem
from equipoise.problems.published_matrices import DarcyPublished, HelmholtzPublished
from equipoise.problems.reflecting_box import ReflectingBox
from equipoise.problems.stochastic import RandomGrowth, RandomMedium
from equipoise.problems.thermal import Thermal
from equipoise.problems.transport import Transport

__all__ = ["PROBLEMS", "NamedProblem", "make_problem"]


@dataclass(frozen=True)
class NamedProblem:
    """A family by name: one line about it, and what makes it from keyword options."""

    description: str
    make: Callable[..., Problem]


PROBLEMS: dict[str, NamedProblem] = {
    "antiderivative": NamedProblem("integral of a random function", Antiderivative),
    "pendulum": NamedProblem("gravity pendulum under a random torque", Pendulum),
    "nonlinear-ode": NamedProblem("Riccati equation under a random drive, runaways left out", NonlinearODE),
    "diffusion-reaction": NamedProblem("diffusion with quadratic reaction and a random source", DiffusionReaction),
    "transport": NamedProblem("transport at a varying speed through an interval or around it", Transport),
    "random-growth": NamedProblem("growth at a random rate: mean of the process, or one path", RandomGrowth),
    "random-medium": NamedProblem("conduction through a random medium on an interval", RandomMedium),
    "darcy": NamedProblem("flow through a random medium in the unit square", Darcy),
    "poisson": NamedProblem("random sources and boundary values in the unit square", Poisson),
    "helmholtz": NamedProblem("waves through a random medium in the unit square", Helmholtz),
    "helmholtz-medium": NamedProblem("waves through a random conductivity, indefinite", HelmholtzMedium),
    "inclusions": NamedProblem("flow past fixed balls of random, high conductivity in a cube", Inclusions),
    "thermal": NamedProblem("heat in a slotted plate, quadratic triangles, data on two edges", Thermal),
    "darcy-published": NamedProblem("a published generator's matrices, slips included; not Darcy flow", DarcyPublished),
    "helmholtz-published": NamedProblem(
        "a published generator's matrices, slips included; not the Helmholtz equation", HelmholtzPublished
    ),
    "reflecting-box": NamedProblem("waves between reflecting walls, driven from one side", ReflectingBox),
    "advection": NamedProblem("transport at constant speed, periodic", advection),
    "burgers": NamedProblem("viscous Burgers equation, periodic", burgers),
    "allen-cahn": NamedProblem("Allen-Cahn equation, periodic", allen_cahn),
    "korteweg-de-vries": NamedProblem("Korteweg-de Vries equation, periodic", korteweg_de_vries),
    "kuramoto-sivashinsky": NamedProblem("Kuramoto-Sivashinsky equation, periodic", kuramoto_sivashinsky),
    "navier-stokes": NamedProblem("vorticity in a periodic square, forced or decaying", navier_stokes),
}


def make_problem(name: str, **options: Any) -> Problem:
    """A family by name, such as `make_problem("darcy", resolution=33)`.

    Raises:
        ValueError: for an unknown name or option, or a value that it does not take.
    """
    if name not in PROBLEMS:
        raise ValueError(f"problem {name!r} is unknown; use one of {', '.join(PROBLEMS)}.")
    known = inspect.signature(PROBLEMS[name].make).parameters
    for option, value in options.items():
        if option not in known:
            raise ValueError(f"{name} has no option {option!r}; it has {', '.join(known)}.")
        kind = type(known[option].default)
        if not isinstance(value, kind) and not (kind is float and isinstance(value, int)):
            raise ValueError(f"{option}={value!r} of {name} must be of the kind of {known[option].default!r}.")
    return PROBLEMS[name].make(**options)
