"""Families of matrices on which the linear solvers are tested, and one solve by an engine."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from equipoise.solvers.linear.deflated_cg import DeflatedCg
from equipoise.solvers.linear.deflated_minres import DeflatedMinres
from equipoise.solvers.linear.operators import as_operator
from equipoise.solvers.linear.outcome import Outcome, Task
from equipoise.solvers.linear.preconditioners import build


def darcy_matrix(side: int, *, seed: int = 0, contrast: float = 1.0, step: float = 0.0) -> sp.csr_array:
    """`-div(a grad u)` by finite volumes on `side^2` points, `u = 0` outside; `log a` is smooth noise.

    `step` moves the noise along another direction, so that equal seeds and small steps give near matrices.
    """
    generator = np.random.default_rng(seed)
    t = (np.arange(side + 2) + 0.5) / (side + 2)
    waves = np.cos(np.pi * np.outer(np.arange(6), t))
    field = np.einsum("ij,ix,jy->xy", generator.normal(size=(6, 6)), waves, waves)
    field = field + step * np.einsum("ij,ix,jy->xy", generator.normal(size=(6, 6)), waves, waves)
    a = np.exp(contrast * field / 6)
    number = np.arange(side * side).reshape(side, side)
    rows, columns, values = [], [], []
    diagonal = np.zeros((side, side))
    for axis, shift in ((0, -1), (0, 1), (1, -1), (1, 1)):
        other = np.roll(a, -shift, axis)[1:-1, 1:-1]
        between = 2 * a[1:-1, 1:-1] * other / (a[1:-1, 1:-1] + other)
        diagonal += between
        neighbour = np.roll(np.pad(number, 1, constant_values=-1), -shift, axis)[1:-1, 1:-1]
        inside = neighbour >= 0
        rows.append(number[inside])
        columns.append(neighbour[inside])
        values.append(-between[inside])
    rows.append(number.ravel())
    columns.append(number.ravel())
    values.append(diagonal.ravel())
    shape = (side * side, side * side)
    matrix = sp.csr_array((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=shape)
    matrix.sort_indices()
    return matrix


def convection_matrix(side: int, *, speed: float = 0.4, seed: int = 0) -> sp.csr_array:
    """`darcy_matrix` with a convection term: nonsymmetric."""
    wind = sp.diags_array([-speed * np.ones(side - 1), speed * np.ones(side - 1)], offsets=[-1, 1])
    matrix = sp.csr_array(darcy_matrix(side, seed=seed) + sp.kron(sp.eye_array(side), wind))
    matrix.sort_indices()
    return matrix


def solve_once(
    engine: DeflatedCg | DeflatedMinres,
    matrix: sp.csr_array,
    rhs: np.ndarray,
    *,
    preconditioner=None,
    rtol=1e-10,
    maxiter=2000,
) -> Outcome:
    """One system from a zero guess, by an engine that goes on with what it has kept."""
    operator = as_operator(matrix)
    norm = float(np.linalg.norm(rhs))
    task = Task(rhs, np.zeros_like(rhs), rtol * norm, norm, maxiter)
    return engine.solve(operator, build(preconditioner, operator), task)
