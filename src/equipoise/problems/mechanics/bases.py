"""Reduced bases of a unit cell: displacement modes that are periodic and stress modes that are in equilibrium.

They come from converged full-field solutions by proper orthogonal decomposition. What is done with their coefficients
(reduced problems, networks, bounds) lives elsewhere.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float

from equipoise.errors import FormatError, MeshError
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.cell_state import CellEquations
from equipoise.solvers.linear import analyse

__all__ = ["ReducedBases", "equilibrium_residual"]

Variant = Literal["scaled", "paper"]

EQUILIBRIUM_TOLERANCE = 1e-9
"""Largest residual of a stress mode, relative to its summed absolute element forces."""

_LARGEST_SNAPSHOT_RESIDUAL = 1e-4

_RANK_TOLERANCE = 1e-13
"""Singular values below this share of the largest are round-off, and their modes are left out."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ReducedBases:
    """Displacement and stress modes of one unit cell; float64.

    Strain of coefficients `a`: `Ebar + G a`; stress of coefficients `b`: `S b`; its volume average: `H b`.

    Attributes:
        displacement_modes: periodic fluctuations U, `(r_u, N)`.
        strain_modes: their strains G at the quadrature points, `(Q, v, r_u)`.
        stress_modes: self-equilibrated stresses S at the quadrature points, MPa, `(Q, v, r_s)`.
        homogenised_modes: volume averages H of the stress modes, MPa, `(v, r_s)`.
        displacement_singular_values, stress_singular_values: of all m snapshots, `(m,)`.
        displacement_coefficients, stress_coefficients: of the snapshots, `(m, r_u)` and `(m, r_s)`.
        strain: macroscopic strains of the snapshots, `(m, v)`, or `(0, v)` where they were not given.
        cell_fingerprint: digest of the mesh and materials that the modes belong to.
        variant: `"scaled"`: coefficients are O(1) each, inner products are volume averages; `"paper"`: orthonormal
            modes of the plain Euclidean decomposition, as published.

    Source: Eivazi et al. (2026), section 3, for the construction; scaling and weighting are Equipoise's.
    """

    displacement_modes: torch.Tensor
    strain_modes: torch.Tensor
    stress_modes: torch.Tensor
    homogenised_modes: torch.Tensor
    displacement_singular_values: torch.Tensor
    stress_singular_values: torch.Tensor
    displacement_coefficients: torch.Tensor
    stress_coefficients: torch.Tensor
    strain: torch.Tensor
    cell_fingerprint: str
    variant: Variant = "scaled"

    @property
    def n_displacement_modes(self) -> int:
        """Number of displacement modes r_u; fewer than asked for where the snapshots are not independent."""
        return self.displacement_modes.shape[0]

    @property
    def n_stress_modes(self) -> int:
        """Number of stress modes r_s."""
        return self.stress_modes.shape[-1]

    @property
    def displacement_energy(self) -> float:
        """Share of the snapshots' squared displacement norm that the modes hold."""
        return _captured(self.displacement_singular_values, self.n_displacement_modes)

    @property
    def stress_energy(self) -> float:
        """Share of the snapshots' squared stress norm that the modes hold."""
        return _captured(self.stress_singular_values, self.n_stress_modes)

    @classmethod
    def from_snapshots(
        cls,
        cell: PeriodicCell,
        fluctuation: torch.Tensor,
        stress: torch.Tensor,
        *,
        strain: torch.Tensor | None = None,
        n_modes: int | tuple[int, int] | None = None,
        energy: float | None = None,
        variant: Variant = "scaled",
    ) -> ReducedBases:
        """Decompose snapshots into modes.

        Args:
            cell: the unit cell that the snapshots were solved on.
            fluctuation: displacement fluctuations, `(m, N)`.
            stress: stresses at the quadrature points, `(m, Q, v)`, converged to equilibrium.
            strain: macroscopic strains, `(m, v)`; kept for fitting start values and networks.
            n_modes: number of modes, for both fields or (displacement, stress); 16 by default, at most m.
            energy: instead, the share in (0, 1] of the squared norm that the modes have to hold.
            variant: see the class.

        Raises:
            ValueError: for snapshots of other shapes, not finite, not in equilibrium on this cell, or too few for the
                modes asked for.
        """
        _check_snapshots(cell, fluctuation, stress, strain)
        counts = _mode_counts(n_modes, energy, len(stress))
        if variant == "scaled":
            displacement_matrix = _energy_rows(cell, fluctuation)
            stress_matrix = (stress * (cell.weights / cell.volume).sqrt()[:, None]).flatten(1)
        elif variant == "paper":
            displacement_matrix, stress_matrix = cell.expand(fluctuation).flatten(1), stress.flatten(1)
        else:
            raise ValueError(f"variant {variant!r} is unknown; use 'scaled' or 'paper'.")
        s_u, c_u, t_u = _decompose(displacement_matrix, counts[0], energy, variant)
        del displacement_matrix
        s_s, c_s, t_s = _decompose(stress_matrix, counts[1], energy, variant)
        del stress_matrix
        displacement_modes = t_u.T @ fluctuation
        stress_modes = _equilibrated(cell, (t_s.T @ stress.flatten(1)).view(-1, cell.n_points, cell.n_strain))
        return cls(
            displacement_modes=displacement_modes,
            strain_modes=_strain_modes(cell, displacement_modes),
            stress_modes=stress_modes.permute(1, 2, 0).contiguous(),
            homogenised_modes=cell.average(stress_modes).T.contiguous(),
            displacement_singular_values=s_u,
            stress_singular_values=s_s,
            displacement_coefficients=c_u,
            stress_coefficients=c_s,
            strain=stress.new_zeros(0, cell.n_strain) if strain is None else strain.clone(),
            cell_fingerprint=cell.fingerprint,
            variant=variant,
        )

    def truncated(self, n_modes: int | tuple[int, int]) -> ReducedBases:
        """The same bases with fewer modes; the snapshots need not be at hand."""
        r_u, r_s = (n_modes, n_modes) if isinstance(n_modes, int) else n_modes
        if not (1 <= r_u <= self.n_displacement_modes and 1 <= r_s <= self.n_stress_modes):
            held = (self.n_displacement_modes, self.n_stress_modes)
            raise ValueError(f"n_modes={n_modes} must lie between 1 and the {held} modes held.")
        return ReducedBases(
            displacement_modes=self.displacement_modes[:r_u],
            strain_modes=self.strain_modes[..., :r_u].contiguous(),
            stress_modes=self.stress_modes[..., :r_s].contiguous(),
            homogenised_modes=self.homogenised_modes[:, :r_s].contiguous(),
            displacement_singular_values=self.displacement_singular_values,
            stress_singular_values=self.stress_singular_values,
            displacement_coefficients=self.displacement_coefficients[:, :r_u],
            stress_coefficients=self.stress_coefficients[:, :r_s],
            strain=self.strain,
            cell_fingerprint=self.cell_fingerprint,
            variant=self.variant,
        )

    def check_cell(self, cell: PeriodicCell) -> None:
        """Raise `MeshError` if the modes belong to another mesh or other materials."""
        if cell.fingerprint != self.cell_fingerprint:
            raise MeshError(
                f"the bases belong to the cell {self.cell_fingerprint[:12]}, but the cell given is "
                f"{cell.fingerprint[:12]}: mesh or materials differ; build the bases again from its own snapshots."
            )

    def fluctuation(
        self, displacement_coefficients: Float[torch.Tensor, "n modes"]
    ) -> Float[torch.Tensor, "n unknowns"]:
        """Fluctuations of coefficients, `(n, r_u)` to `(n, N)`."""
        return displacement_coefficients @ self.displacement_modes

    def stress(self, stress_coefficients: Float[torch.Tensor, "n modes"]) -> Float[torch.Tensor, "n points v"]:
        """Stress fields of coefficients, `(n, r_s)` to `(n, Q, v)`, MPa."""
        points, components, modes = self.stress_modes.shape
        return (stress_coefficients @ self.stress_modes.view(-1, modes).T).view(-1, points, components)

    def equilibrium_residual(self, cell: PeriodicCell) -> torch.Tensor:
        """Residual of each stress mode relative to its summed absolute element forces, `(r_s,)`."""
        return equilibrium_residual(cell, self.stress_modes.permute(2, 0, 1))

    def tensors(self) -> dict[str, torch.Tensor]:
        """Everything as named tensors, ready for a safetensors file."""
        held = {name: getattr(self, name).contiguous() for name in _TENSOR_NAMES}
        held["cell_fingerprint"] = torch.frombuffer(bytearray(self.cell_fingerprint, "ascii"), dtype=torch.uint8)
        held["variant"] = torch.frombuffer(bytearray(self.variant, "ascii"), dtype=torch.uint8)
        return held

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor]) -> ReducedBases:
        """Inverse of `tensors`; raises `FormatError` naming the first tensor that is missing."""
        missing = [name for name in (*_TENSOR_NAMES, "cell_fingerprint", "variant") if name not in tensors]
        if missing:
            raise FormatError(f"the reduced bases lack the tensor {missing[0]!r}.")
        texts = {name: bytes(tensors[name].cpu().tolist()).decode("ascii") for name in ("cell_fingerprint", "variant")}
        return cls(
            **{name: tensors[name] for name in _TENSOR_NAMES},
            cell_fingerprint=texts["cell_fingerprint"],
            variant="paper" if texts["variant"] == "paper" else "scaled",
        )


_TENSOR_NAMES = (
    "displacement_modes",
    "strain_modes",
    "stress_modes",
    "homogenised_modes",
    "displacement_singular_values",
    "stress_singular_values",
    "displacement_coefficients",
    "stress_coefficients",
    "strain",
)


def equilibrium_residual(cell: PeriodicCell, stress: torch.Tensor) -> torch.Tensor:
    """Norm of `B^T w sigma` relative to that of the summed absolute element forces, `(n, Q, v)` to `(n,)`."""
    force = torch.linalg.vector_norm(cell.force(stress), dim=-1)
    scale = torch.linalg.vector_norm(cell.force_magnitude(stress), dim=-1)
    return torch.where(scale > 0, force / scale.clamp(min=torch.finfo(scale.dtype).tiny), torch.zeros_like(force))


def _captured(singular_values: torch.Tensor, count: int) -> float:
    squares = singular_values.square()
    total = float(squares.sum())
    return 1.0 if total == 0 else min(1.0, float(squares[:count].sum()) / total)


def _check_snapshots(
    cell: PeriodicCell, fluctuation: torch.Tensor, stress: torch.Tensor, strain: torch.Tensor | None
) -> None:
    count = len(stress)
    expected = {
        "fluctuation": (fluctuation, (count, cell.n_unknowns)),
        "stress": (stress, (count, cell.n_points, cell.n_strain)),
    }
    if strain is not None:
        expected["strain"] = (strain, (count, cell.n_strain))
    for name, (tensor, shape) in expected.items():
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name} snapshots have shape {tuple(tensor.shape)}; this cell needs {shape}.")
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name} snapshots hold a value that is not finite.")
    residual = equilibrium_residual(cell, stress)
    worst = int(residual.argmax())
    if float(residual[worst]) > _LARGEST_SNAPSHOT_RESIDUAL:
        raise ValueError(
            f"stress snapshot {worst} is not in equilibrium on this cell: its relative residual is "
            f"{float(residual[worst]):.1e}, at most {_LARGEST_SNAPSHOT_RESIDUAL:.0e} is accepted."
        )


def _mode_counts(
    n_modes: int | tuple[int, int] | None, energy: float | None, snapshots: int
) -> tuple[int | None, int | None]:
    if energy is not None:
        if n_modes is not None:
            raise ValueError("give n_modes or energy, not both.")
        if not 0 < energy <= 1:
            raise ValueError(f"energy={energy} must lie in (0, 1].")
        return None, None
    chosen = 16 if n_modes is None else n_modes
    counts = (chosen, chosen) if isinstance(chosen, int) else chosen
    for count in counts:
        if not 1 <= count <= snapshots:
            raise ValueError(f"n_modes={count} must lie between 1 and the {snapshots} snapshots given.")
    return counts


def _energy_rows(cell: PeriodicCell, fluctuation: torch.Tensor) -> torch.Tensor:
    """Rows whose Euclidean product is the mean elastic energy product of the fluctuations, `(m, Q v)`."""
    zero = cell.weights.new_zeros(cell.n_points, cell.n_strain)
    factor = torch.linalg.cholesky(cell.law.tangent(zero)) * (cell.weights / cell.volume).sqrt()[:, None, None]
    return torch.einsum("mqi,qij->mqj", cell.fluctuation_strain(fluctuation), factor).flatten(1)


def _decompose(
    rows: torch.Tensor, count: int | None, energy: float | None, variant: Variant
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Singular values `(m,)`, snapshot coefficients `(m, r)`, and the combination of snapshots each mode is, `(m, r)`.

    Scaled modes are `X v_k / sqrt(m)`: the scale `s_k / sqrt(m)` cancels the division by `s_k`, so that all m of them
    reproduce the snapshots to round-off however small the last singular values are.
    """
    triangle = torch.linalg.qr(rows.T, mode="r").R
    _, values, right = torch.linalg.svd(triangle, full_matrices=False)
    if count is None:
        share = values.square().cumsum(0) / values.square().sum().clamp(min=torch.finfo(values.dtype).tiny)
        count = min(int((share < energy).sum()) + 1, len(values))
    rank = int((values > _RANK_TOLERANCE * values[0]).sum())
    if count > rank:
        _log.warning("the snapshots hold %d independent modes; %d were asked for.", rank, count)
    vectors = right[: min(count, rank)].T
    vectors = vectors * torch.sign(vectors.gather(0, vectors.abs().argmax(0, keepdim=True)))
    count = vectors.shape[1]
    if variant == "paper":
        return values, vectors * values[:count], vectors / values[:count]
    root = len(rows) ** 0.5
    return values, vectors * root, vectors / root


def _strain_modes(cell: PeriodicCell, displacement_modes: torch.Tensor) -> torch.Tensor:
    if len(displacement_modes) == 0:
        return displacement_modes.new_zeros(cell.n_points, cell.n_strain, 0)
    return cell.fluctuation_strain(displacement_modes).permute(1, 2, 0).contiguous()


def _equilibrated(cell: PeriodicCell, stress_modes: torch.Tensor) -> torch.Tensor:
    """Remove what is left of the force of the modes `(r, Q, v)` by elastic corrections.

    Small modes are differences of large snapshots and inherit their residual amplified by the ratio of singular values.
    """
    if float(equilibrium_residual(cell, stress_modes).max()) <= EQUILIBRIUM_TOLERANCE / 100:
        return stress_modes
    equations = CellEquations(cell)
    zero = cell.weights.new_zeros(1, cell.n_strain)
    state = equations.evaluate(zero, cell.weights.new_zeros(1, cell.n_unknowns))
    factor = analyse(equations.pattern)
    factor.update(equations.stiffness_values(state, 0))
    tangent = cell.law.tangent(cell.weights.new_zeros(cell.n_points, cell.n_strain))
    for _ in range(3):
        force = cell.force(stress_modes).cpu().numpy()
        correction = torch.as_tensor(factor.solve(force.T).T, device=cell.device).contiguous()
        strain = cell.fluctuation_strain(correction.view(force.shape))
        stress_modes = stress_modes - torch.einsum("qij,nqj->nqi", tangent, strain)
        if float(equilibrium_residual(cell, stress_modes).max()) <= EQUILIBRIUM_TOLERANCE / 100:
            break
    return stress_modes
