"""Families of equations: their inputs, reference solutions and residuals; no networks.

Start reading at `problem.py`; `mechanics` is the periodic unit cell of two-scale simulation."""

from equipoise.problems.elliptic import Darcy, EllipticProblem, Helmholtz, HelmholtzMedium, Poisson
from equipoise.problems.equations_1d import advection, allen_cahn, burgers, korteweg_de_vries, kuramoto_sivashinsky
from equipoise.problems.evolution import SpectralEvolution
from equipoise.problems.forced import Antiderivative, DiffusionReaction, NonlinearODE, Pendulum
from equipoise.problems.inclusions import Inclusions
from equipoise.problems.navier_stokes import navier_stokes
from equipoise.problems.problem import Problem
from equipoise.problems.published_matrices import DarcyPublished, HelmholtzPublished
from equipoise.problems.reflecting_box import ReflectingBox
from equipoise.problems.registry import PROBLEMS, make_problem
from equipoise.problems.stochastic import RandomGrowth, RandomMedium
from equipoise.problems.thermal import Thermal
from equipoise.problems.transport import Transport

__all__ = [
    "PROBLEMS",
    "Antiderivative",
    "Darcy",
    "DarcyPublished",
    "DiffusionReaction",
    "EllipticProblem",
    "Helmholtz",
    "HelmholtzMedium",
    "HelmholtzPublished",
    "Inclusions",
    "NonlinearODE",
    "Pendulum",
    "Poisson",
    "Problem",
    "RandomGrowth",
    "RandomMedium",
    "ReflectingBox",
    "SpectralEvolution",
    "Thermal",
    "Transport",
    "advection",
    "allen_cahn",
    "burgers",
    "korteweg_de_vries",
    "kuramoto_sivashinsky",
    "make_problem",
    "navier_stokes",
]
