"""Guaranteed bounds on the effective energy of a unit cell, from any displacement and stress coefficients.

The sums run over every quadrature point. Cheaper estimates, and what follows from a large gap, live in
`certificate.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from equipoise.problems.mechanics.bases import ReducedBases
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.reduced import ReducedProblem

__all__ = ["Bounds", "EnergyBounds", "certify", "relative_gap"]


@dataclass(frozen=True, eq=False)
class Bounds:
    """Two sides of the exact discrete effective energy density of each strain, MPa.

    Attributes:
        upper: energy of the compatible strain field, `(n,)`.
        lower: from the complementary energy of the stress field in equilibrium, `(n,)`; `-inf` for "no finite bound".
        is_finite: whether the lower bound is a number, `(n,)` booleans.
    """

    upper: torch.Tensor
    lower: torch.Tensor
    is_finite: torch.Tensor

    @property
    def gap(self) -> torch.Tensor:
        """`upper - lower`, `(n,)`; `inf` for "no finite bound"."""
        return self.upper - self.lower

    @property
    def relative_gap(self) -> torch.Tensor:
        """Gap relative to the upper bound, `(n,)`: the error measure of a micro model; `inf` for "no finite bound"."""
        return relative_gap(self.gap, self.upper)


def relative_gap(gap: torch.Tensor, upper: torch.Tensor) -> torch.Tensor:
    """Gap relative to the energy; zero where both vanish, `inf` without a finite bound, never `nan`."""
    positive = upper > 0
    ratio = gap / torch.where(positive, upper, torch.ones_like(upper))
    without_energy = torch.where(gap <= 0, torch.zeros_like(gap), torch.full_like(gap, torch.inf))
    return torch.where(positive, ratio, without_energy)


class EnergyBounds:
    """Bounds over every quadrature point of one cell, ready for many strains.

    Linear phases are condensed once, so that only nonlinear points are visited, in slices of strains that keep the
    working memory bounded.

    Args:
        cell: the unit cell.
        bases: its modes; the lower bound rests on every stress mode being in equilibrium.

    Raises:
        MeshError: for bases of another cell.
        ValueError: for a stress mode out of equilibrium, or a material without an energy.

    Source: Prager and Synge (1947) for linear laws; Ladevèze and Leguillon (1983) for the constitutive-relation error.
    """

    def __init__(self, cell: PeriodicCell, bases: ReducedBases) -> None:
        self.problem = ReducedProblem.on_all_points(cell, bases)
        residual = bases.equilibrium_residual(cell)
        worst = int(residual.argmax())
        if float(residual[worst]) > _EQUILIBRIUM_TOLERANCE:
            raise ValueError(
                f"stress mode {worst} is not in equilibrium: relative residual {float(residual[worst]):.1e}, at most "
                f"{_EQUILIBRIUM_TOLERANCE:.0e} is accepted; converge the snapshots further."
            )

    def __call__(self, strain: torch.Tensor, displacement: torch.Tensor, stress: torch.Tensor) -> Bounds:
        """Bounds at strains `(n, v)` for coefficients `(n, r_u)` and `(n, r_s)`, whatever their values.

        Raises:
            ValueError: for shapes that disagree, or a value that is not finite.
        """
        problem = self.problem
        widths = (problem.n_strain, problem.n_displacement_modes, problem.n_stress_modes)
        names = ("strain", "displacement coefficients", "stress coefficients")
        for name, tensor, width in zip(names, (strain, displacement, stress), widths, strict=True):
            if tuple(tensor.shape) != (len(strain), width):
                raise ValueError(f"{name} have shape {tuple(tensor.shape)}; expected ({len(strain)}, {width}).")
            bad = torch.nonzero(~torch.isfinite(tensor).all(-1)).flatten().tolist()
            if bad:
                raise ValueError(f"{name} of sample {bad[0]} are not finite: {tensor[bad[0]].tolist()}.")
        return Bounds(*problem.energies(strain, displacement, stress))


_EQUILIBRIUM_TOLERANCE = 1e-9


def certify(
    cell: PeriodicCell, bases: ReducedBases, strain: torch.Tensor, displacement: torch.Tensor, stress: torch.Tensor
) -> Bounds:
    """Bounds for one batch; `EnergyBounds` keeps its preparation for many.

    Args: as for `EnergyBounds` and its call.
    """
    return EnergyBounds(cell, bases)(strain, displacement, stress)
