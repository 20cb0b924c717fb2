"""Small structures and micro models that the tests of this folder share."""

from __future__ import annotations

import numpy as np
import torch

from equipoise.errors import ConvergenceError
from equipoise.multiscale.micro import MicroModel, Response, State, StepCertificate
from equipoise.multiscale.structure import Region


def at(**where: float) -> Region:
    """Nodes on a plane or at the crossing of several."""
    return Region(where={axis: (value, value) for axis, value in where.items()})


def elastic_matrix(dim: int, *, young: float = 1000.0, poisson: float = 0.3) -> torch.Tensor:
    """Isotropic stiffness in Voigt order, plane strain in the plane."""
    shear = young / (2 * (1 + poisson))
    lame = young * poisson / ((1 + poisson) * (1 - 2 * poisson))
    size = {2: 3, 3: 6}[dim]
    matrix = torch.zeros(size, size, dtype=torch.float64)
    matrix[:dim, :dim] = lame
    for axis in range(dim):
        matrix[axis, axis] += 2 * shear
    for axis in range(dim, size):
        matrix[axis, axis] = shear
    return matrix


class Linear(MicroModel):
    """Linear elastic points."""

    def __init__(self, dim: int, matrix: torch.Tensor | None = None) -> None:
        self.dim, self.n_strain = dim, {2: 3, 3: 6}[dim]
        self.matrix = elastic_matrix(dim) if matrix is None else matrix

    def respond(self, strain: torch.Tensor, *, state: State = None) -> Response:
        return Response(strain @ self.matrix.T, self.matrix.expand(len(strain), -1, -1))


class Hardening(Linear):
    """Stress `C eps (1 + s |eps|^2)` with its exact, symmetric tangent; counts how often it was asked in its state."""

    def __init__(self, dim: int, *, stiffening: float = 400.0, box: float | None = None) -> None:
        super().__init__(dim)
        self.stiffening = stiffening
        if box is not None:
            self.box = box * torch.tensor([[-1.0], [1.0]], dtype=torch.float64).expand(2, self.n_strain)

    def respond(self, strain: torch.Tensor, *, state: State = None) -> Response:
        linear = strain @ self.matrix.T
        energy = (linear * strain).sum(-1)[:, None]
        scale = self.stiffening / 1000.0
        stress = linear * (1 + scale * energy)
        tangent = self.matrix * (1 + scale * energy)[..., None] + 2 * scale * linear[:, :, None] * linear[:, None, :]
        asked = torch.zeros(len(strain), dtype=torch.float64) if state is None else state
        return Response(stress, tangent, state=asked + 1)


class Brittle(Linear):
    """Linear, but fails to answer where a strain component jumps by more than `jump` from the last answer."""

    def __init__(self, dim: int, *, jump: float, largest: float = float("inf")) -> None:
        super().__init__(dim)
        self.jump, self.largest = jump, largest

    def respond(self, strain: torch.Tensor, *, state: State = None) -> Response:
        last = torch.zeros_like(strain) if state is None else state
        if float((strain - last).abs().max()) > self.jump or float(strain.abs().max()) > self.largest:
            raise ConvergenceError("the cell gave up.")
        return Response(strain @ self.matrix.T, self.matrix.expand(len(strain), -1, -1), state=strain.clone())


class Certified(Hardening):
    """Estimates everywhere; its certificate replaces the answers of stiff points once, which needs a second round."""

    def respond(self, strain: torch.Tensor, *, state: State = None) -> Response:
        replaced = torch.zeros(len(strain), dtype=torch.bool) if state is None else state
        plain = super().respond(strain)
        factor = torch.where(replaced, 1.1, 1.0).to(strain)
        return Response(
            plain.stress * factor[:, None],
            plain.tangent * factor[:, None, None],
            error_estimate=1e-3 * strain.norm(dim=-1),
            error_kind="estimate",
            state=replaced,
            counts={"refined": int(replaced.sum())},
        )

    def certify(self, strain: torch.Tensor, state: State = None) -> StepCertificate:
        gap = 2e-3 * strain.norm(dim=-1)
        wanted = gap > gap.median()
        return StepCertificate(
            relative_gap=gap,
            is_bound=wanted,
            counts={"bounds": int(wanted.sum()), "fallbacks": 0 if bool(state.any()) else int(wanted.sum())},
            figures={"bound_to_estimate": 2.0},
            state=state if bool(state.any()) else wanted,
            is_final=bool(state.any()),
        )


def linear_field(points: np.ndarray) -> np.ndarray:
    """A displacement whose strain is constant, with a rotation in it."""
    dim = points.shape[1]
    gradient = np.array([[0.01, 0.004, -0.002], [-0.003, 0.005, 0.006], [0.001, 0.002, -0.004]])[:dim, :dim]
    return points @ gradient.T


def strain_of_linear_field(dim: int) -> np.ndarray:
    """Voigt strain of `linear_field`."""
    gradient = linear_field(np.eye(dim)).T
    shear = {2: [(0, 1)], 3: [(1, 2), (0, 2), (0, 1)]}[dim]
    return np.array([*np.diag(gradient), *(gradient[i, j] + gradient[j, i] for i, j in shear)])
