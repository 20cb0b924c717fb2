"""The two reduced problems of a unit cell: least energy over displacement modes, and its dual over stress modes.

Both are convex and small, and run batched over strains on all quadrature points or on a few weighted ones. How modes
and points are chosen lives in `bases.py` and `cubature.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import torch
from jaxtyping import Float

from equipoise.problems.mechanics.bases import ReducedBases
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.lockstep_newton import EnergyForms, lockstep_newton
from equipoise.problems.mechanics.material_field import MaterialField
from equipoise.problems.mechanics.symmetric_forms import SymmetricForms, inverse_symmetric
from equipoise.solvers.solution import Solution, raise_unless_converged

if TYPE_CHECKING:
    from equipoise.problems.mechanics.cubature import Cubature

__all__ = ["EnergyForms", "ReducedEnergies", "ReducedProblem", "linear_points"]

_Tensors = TypeVar("_Tensors", bound=tuple[torch.Tensor, ...])

_CHUNK_BYTES = 2**24


class ReducedEnergies(NamedTuple):
    """Two sides of the effective energy density, `(n,)` each, MPa.

    Attributes:
        upper: `<W(Ebar + G a)>`.
        lower: `Ebar . H b - <W*(S b)>`; `-inf` where `S b` leaves the range of the law.
        is_finite: where the lower side is a number.
    """

    upper: torch.Tensor
    lower: torch.Tensor
    is_finite: torch.Tensor


class ReducedProblem:
    """Primal and dual energies of displacement and stress coefficients over weighted points.

    Points of linear materials are condensed to small quadratic forms here, so that only nonlinear points are visited.

    Args:
        law: materials at the P points.
        weights: quadrature weights, `(P,)`; they need not sum to the volume of the cell.
        volume: volume of the cell, by which sums become averages.
        strain_modes: G at the points, `(P, v, r_u)`.
        stress_modes: S at the points, MPa, `(P, v, r_s)`.
        homogenised_modes: H over the whole cell, `(v, r_s)`; by default the average over these points.

    Raises:
        ValueError: for shapes that disagree, or a law without an energy.

    Source: the primal problem is POD-Galerkin; the dual is the complementary energy principle on the stress modes.
    """

    def __init__(
        self,
        law: MaterialField,
        weights: torch.Tensor,
        volume: float,
        strain_modes: torch.Tensor,
        stress_modes: torch.Tensor,
        homogenised_modes: torch.Tensor | None = None,
    ) -> None:
        points, components, r_u = strain_modes.shape
        if weights.shape != (points,) or stress_modes.shape[:2] != (points, components) or len(law.index) != points:
            raise ValueError(
                f"weights {tuple(weights.shape)}, strain modes {tuple(strain_modes.shape)}, stress modes "
                f"{tuple(stress_modes.shape)} and a law on {len(law.index)} points do not belong together."
            )
        without_energy = [material.name for material in law.materials if not material.is_hyperelastic]
        if without_energy:
            raise ValueError(f"material {without_energy[0]!r} has no energy, so it has no reduced energies or bounds.")
        self.n_strain, self.n_displacement_modes, self.n_stress_modes = components, r_u, stress_modes.shape[2]
        self.device = weights.device
        shares = weights / volume
        is_linear = linear_points(law)
        linear, curved = torch.nonzero(is_linear).flatten(), torch.nonzero(~is_linear).flatten()
        self._condense_linear(law.at(linear), shares[linear], strain_modes[linear], stress_modes[linear])
        self.law, self.shares = law.at(curved), shares[curved]
        self.n_nonlinear = len(curved)
        operator = _with_identity(strain_modes[curved])
        self._strain_operator = operator.flatten(0, 1).contiguous()
        self._stress_operator = stress_modes[curved].flatten(0, 1).contiguous()
        self._strain_forms = SymmetricForms(operator, self.shares)
        self._stress_forms = SymmetricForms(stress_modes[curved], self.shares)
        average = torch.einsum("p,pvr->vr", shares, stress_modes)
        self.homogenised_modes = average if homogenised_modes is None else homogenised_modes
        self._coupling = average
        self._linearise_at_zero()

    @classmethod
    def on_all_points(cls, cell: PeriodicCell, bases: ReducedBases) -> ReducedProblem:
        """The problem over every quadrature point: what is called guaranteed rests on this one."""
        bases.check_cell(cell)
        return cls(cell.law, cell.weights, cell.volume, bases.strain_modes, bases.stress_modes, bases.homogenised_modes)

    @classmethod
    def on_cubature(cls, cell: PeriodicCell, bases: ReducedBases, cubature: Cubature) -> ReducedProblem:
        """The problem over a few weighted points; linear phases are summed exactly where they are left out."""
        bases.check_cell(cell)
        points, weights = cubature.all_points(cell)
        return cls(
            cell.law.at(points),
            weights,
            cell.volume,
            bases.strain_modes[points],
            bases.stress_modes[points],
            bases.homogenised_modes,
        )

    def primal(self, strain: Float[torch.Tensor, "n v"], displacement: Float[torch.Tensor, "n modes"]) -> EnergyForms:
        """`<W(Ebar + G a)>` with gradient and Hessian in `a`, at strains `(n, v)` and coefficients `(n, r_u)`."""
        v = self.n_strain
        forms = self._in_chunks(self._strain_energy, strain, displacement)
        return EnergyForms(forms.energy, forms.gradient[:, v:], forms.hessian[:, v:, v:])

    def dual(self, strain: Float[torch.Tensor, "n v"], stress: Float[torch.Tensor, "n modes"]) -> EnergyForms:
        """`<W*(S b)> - Ebar . <S b>` with gradient and Hessian in `b`; `inf` outside the range of the law."""
        return self._in_chunks(self._complementary_energy, strain, stress)

    def solve_primal(
        self,
        strain: torch.Tensor,
        start: torch.Tensor | None = None,
        *,
        max_iterations: int = 30,
        rtol: float = 1e-7,
        throw: bool = True,
    ) -> torch.Tensor:
        """Coefficients `(n, r_u)` of least energy.

        Args:
            strain: `(n, v)`.
            start: first iterates, `(n, r_u)`; by default the answer of the linearised law.
            max_iterations: Newton steps allowed; with `throw=False` a small number of them refines `start`.
            rtol: see `lockstep_newton`.
            throw: whether a strain that does not converge raises `ConvergenceError`.
        """
        start = strain @ self._displacement_slope.T if start is None else _zero_at_zero(start, strain)

        def solve(strain: torch.Tensor, start: torch.Tensor) -> Solution:
            def evaluate(rows: torch.Tensor, value: torch.Tensor) -> EnergyForms:
                return self._displacement_block(self._strain_energy(strain[rows], value))

            return lockstep_newton(evaluate, start, rtol=rtol, max_iterations=max_iterations)

        return self._solved("reduced displacement", solve, strain, start, throw)

    def solve_dual(
        self,
        strain: torch.Tensor,
        start: torch.Tensor | None = None,
        *,
        max_iterations: int = 30,
        rtol: float = 1e-7,
        throw: bool = True,
    ) -> torch.Tensor:
        """Coefficients `(n, r_s)` of least complementary energy.

        Args: as for `solve_primal`. By default the start is the law's stress at the least energy, projected on the
            modes; a start outside the range of the law is shrunk until it lies inside.
        """
        if start is None:
            start = self.project_stress(strain, self.solve_primal(strain, rtol=1e-2, max_iterations=3, throw=False))
        start = self._shrunk_into_range(_zero_at_zero(start, strain))

        def solve(strain: torch.Tensor, start: torch.Tensor) -> Solution:
            conjugate = start.new_zeros(len(start), self.n_nonlinear, self.n_strain)

            def evaluate(rows: torch.Tensor, value: torch.Tensor) -> EnergyForms:
                forms, conjugate[rows] = self._complementary_forms(strain[rows], value, conjugate[rows])
                return forms

            return lockstep_newton(evaluate, start, rtol=rtol, max_iterations=max_iterations)

        return self._solved("reduced stress", solve, strain, start, throw)

    def solve(
        self, strain: Float[torch.Tensor, "n v"]
    ) -> tuple[Float[torch.Tensor, "n displacement_modes"], Float[torch.Tensor, "n stress_modes"]]:
        """Both sets of coefficients `(a, b)` at their optima: the smallest gap that the bases allow."""
        displacement = self.solve_primal(strain)
        return displacement, self.solve_dual(strain, self.project_stress(strain, displacement))

    def slopes_at_zero(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Derivatives of both optima by the strain at zero strain, `(r_u, v)` and `(r_s, v)`."""
        return self._displacement_slope, self._stress_slope

    def project_stress(self, strain: torch.Tensor, displacement: torch.Tensor) -> torch.Tensor:
        """Coefficients `(n, r_s)` of the law's stress at `Ebar + G a`, in the norm of the undeformed compliance."""

        def project(strain: torch.Tensor, displacement: torch.Tensor) -> tuple[torch.Tensor]:
            unknowns = torch.cat([strain, displacement], -1)
            law_stress = self.law.stress(self._strain(unknowns)).flatten(1)
            return (unknowns @ self._linear_projection + law_stress @ self._projection,)

        return self._in_chunks(project, strain, displacement)[0]

    def energies(self, strain: torch.Tensor, displacement: torch.Tensor, stress: torch.Tensor) -> ReducedEnergies:
        """Upper and lower sides of the effective energy density for any coefficients `(n, r_u)` and `(n, r_s)`.

        They are guaranteed bounds over all points, estimates over a cubature.
        """

        def sides(*chunk: torch.Tensor) -> tuple[torch.Tensor, ...]:
            strain, displacement, stress = chunk
            unknowns = torch.cat([strain, displacement], -1)
            energy = self.law.energy(self._strain(unknowns))
            upper = _quadratic(unknowns, self._linear_strain, unknowns) / 2 + energy @ self.shares
            conjugate = self.law.conjugate(self._stress(stress))
            is_finite = conjugate.is_finite.all(-1)
            point_energy = torch.where(is_finite[:, None], conjugate.energy, torch.zeros_like(conjugate.energy))
            complementary = _quadratic(stress, self._linear_stress, stress) / 2 + point_energy @ self.shares
            lower = (strain * (stress @ self._coupling.T)).sum(-1) - complementary
            return upper, torch.where(is_finite, lower, torch.full_like(lower, -torch.inf)), is_finite

        return ReducedEnergies(*self._in_chunks(sides, strain, displacement, stress))

    def gap_and_energy(
        self, strain: torch.Tensor, displacement: torch.Tensor, stress: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Constitutive-relation error `<W(eps) + W*(sig) - sig . eps>` and energy `<W(eps)>`, `(n,)` each, MPa.

        The error is not negative, and `inf` without a finite bound. Over all points it equals `upper - lower`; over a
        cubature it is the better estimate of it, because each point's share is positive.

        Source: Ladevèze and Leguillon (1983).
        """

        def errors(*chunk: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            strain, displacement, stress = chunk
            unknowns = torch.cat([strain, displacement], -1)
            point_strain, point_stress = self._strain(unknowns), self._stress(stress)
            conjugate = self.law.conjugate(point_stress, point_strain)
            energy = self.law.energy(point_strain)
            density = energy + conjugate.energy - (point_stress * point_strain).sum(-1)
            linear_energy = _quadratic(unknowns, self._linear_strain, unknowns) / 2
            linear = linear_energy + _quadratic(stress, self._linear_stress, stress) / 2
            linear = linear - _quadratic(unknowns, self._linear_work, stress)
            finite = conjugate.is_finite.all(-1)
            density = torch.where(finite[:, None], density.clamp(min=0), torch.zeros_like(density))
            gap = torch.where(finite, linear.clamp(min=0) + density @ self.shares, torch.inf)
            return gap, linear_energy + energy @ self.shares

        return self._in_chunks(errors, strain, displacement, stress)

    def kinematic_response(self, strain: torch.Tensor, displacement: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Average of the law's stress, `(n, v)`, and its tangent `<C> - G^T H^-1 G`: consistent at the least energy."""

        def response(*chunk: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            forms, v = self._strain_energy(*chunk), self.n_strain
            coupling = forms.hessian[:, v:, :v]
            factor = torch.linalg.cholesky(forms.hessian[:, v:, v:])
            reduced = torch.linalg.solve_triangular(factor, coupling, upper=False)
            return forms.gradient[:, :v], forms.hessian[:, :v, :v] - reduced.mT @ reduced

        return self._in_chunks(response, strain, displacement)

    def modal_response(self, strain: torch.Tensor, stress: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Stress `H b`, `(n, v)`, and its tangent `H D^-1 <S>^T` by implicit differentiation of the dual optimum."""

        def response(*chunk: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            hessian = self._complementary_energy(*chunk).hessian
            factor = torch.linalg.cholesky(hessian)
            slope = torch.cholesky_solve(self._coupling.T.expand(len(hessian), -1, -1), factor)
            return chunk[1] @ self.homogenised_modes.T, self.homogenised_modes @ slope

        return self._in_chunks(response, strain, stress)

    def _condense_linear(
        self, law: MaterialField, shares: torch.Tensor, strain_modes: torch.Tensor, stress_modes: torch.Tensor
    ) -> None:
        """Quadratic forms of the linear phases in `(Ebar, a)`, in `b`, and the work of one on the other."""
        operator = _with_identity(strain_modes)
        tangent = law.tangent(strain_modes.new_zeros(len(shares), self.n_strain))
        weighted = shares[:, None, None]
        self._linear_strain = _summed(operator, weighted * tangent @ operator)
        self._linear_stress = _summed(stress_modes, weighted * inverse_symmetric(tangent) @ stress_modes)
        self._linear_work = _summed(operator, weighted * stress_modes)

    def _linearise_at_zero(self) -> None:
        """Start values: the displacement of the undeformed law, and the projection of a stress on the modes."""
        v, r_u = self.n_strain, self.n_displacement_modes
        tangent = self.law.tangent(self.shares.new_zeros(self.n_nonlinear, v))
        compliance = inverse_symmetric(tangent)
        hessian = self._linear_strain + self._strain_forms.sum(tangent[None])[0]
        self._displacement_slope = -_solve_definite(hessian[v:, v:], hessian[v:, :v]).reshape(r_u, v)
        gramian = self._linear_stress + self._stress_forms.sum(compliance[None])[0]
        self._stress_slope = _solve_definite(gramian, self._coupling.T)
        weighted = (self.shares[:, None, None] * compliance) @ self._stress_operator.view(-1, v, self.n_stress_modes)
        self._projection = _solve_definite(gramian, weighted.flatten(0, 1).T).T.contiguous()
        self._linear_projection = _solve_definite(gramian, self._linear_work.T).T.contiguous()

    def _strain(self, unknowns: torch.Tensor) -> torch.Tensor:
        return (unknowns @ self._strain_operator.T).view(len(unknowns), self.n_nonlinear, self.n_strain)

    def _stress(self, coefficients: torch.Tensor) -> torch.Tensor:
        return (coefficients @ self._stress_operator.T).view(len(coefficients), self.n_nonlinear, self.n_strain)

    def _strain_energy(self, strain: torch.Tensor, displacement: torch.Tensor) -> EnergyForms:
        """Energy with its derivatives in `(Ebar, a)`: average stress and tangent are blocks of them."""
        unknowns = torch.cat([strain, displacement], -1)
        point_strain = self._strain(unknowns)
        stress, tangent = self.law.stress_and_tangent(point_strain)
        linear = unknowns @ self._linear_strain
        energy = (linear * unknowns).sum(-1) / 2 + self.law.energy(point_strain) @ self.shares
        gradient = linear + (stress * self.shares[:, None]).flatten(1) @ self._strain_operator
        return EnergyForms(energy, gradient, self._linear_strain + self._strain_forms.sum(tangent))

    def _displacement_block(self, forms: EnergyForms) -> EnergyForms:
        v = self.n_strain
        return EnergyForms(forms.energy, forms.gradient[:, v:], forms.hessian[:, v:, v:])

    def _complementary_energy(self, strain: torch.Tensor, stress: torch.Tensor) -> EnergyForms:
        return self._complementary_forms(strain, stress, None)[0]

    def _complementary_forms(
        self, strain: torch.Tensor, stress: torch.Tensor, start: torch.Tensor | None
    ) -> tuple[EnergyForms, torch.Tensor]:
        conjugate = self.law.conjugate(self._stress(stress), start)
        is_finite = conjugate.is_finite.all(-1)
        conjugate_strain = torch.where(is_finite[:, None, None], conjugate.strain, 0.0)
        compliance = inverse_symmetric(self.law.tangent(conjugate_strain))
        linear = stress @ self._linear_stress
        work = strain @ self._coupling
        energy = (linear * stress).sum(-1) / 2 - (work * stress).sum(-1)
        point_energy = torch.where(is_finite[:, None], conjugate.energy, torch.zeros_like(conjugate.energy))
        energy = torch.where(is_finite, energy + point_energy @ self.shares, torch.inf)
        gradient = linear - work + (conjugate_strain * self.shares[:, None]).flatten(1) @ self._stress_operator
        return EnergyForms(energy, gradient, self._linear_stress + self._stress_forms.sum(compliance)), conjugate_strain

    def _shrunk_into_range(self, stress: torch.Tensor) -> torch.Tensor:
        """Halve the coefficients of each sample until every point's stress lies in the range of the law."""

        def finite(stress: torch.Tensor) -> tuple[torch.Tensor]:
            return (self.law.conjugate(self._stress(stress)).is_finite.all(-1),)

        stress = stress.clone()
        outside = torch.nonzero(~self._in_chunks(finite, stress)[0]).flatten()
        for _ in range(60):
            if len(outside) == 0:
                break
            stress[outside] /= 2
            outside = outside[~self._in_chunks(finite, stress[outside])[0]]
        return stress

    def _solved(
        self,
        what: str,
        solve: Callable[[torch.Tensor, torch.Tensor], Solution],
        strain: torch.Tensor,
        start: torch.Tensor,
        throw: bool,
    ) -> torch.Tensor:
        value, result, iterations, residual = self._in_chunks(lambda *chunk: _parts(solve(*chunk)), strain, start)
        if throw:
            raise_unless_converged(Solution(value, result, iterations, residual), what)
        return value

    def _in_chunks(self, function: Callable[..., _Tensors], *tensors: torch.Tensor) -> _Tensors:
        """Apply a function to slices of strains that keep the working memory bounded, and join its results."""
        per_strain = 8 * max(1, self.n_nonlinear) * self.n_strain * (self.n_strain + 8)
        size = max(1, _CHUNK_BYTES // per_strain)
        if len(tensors[0]) <= size:
            return function(*tensors)
        parts = [function(*(t[i : i + size] for t in tensors)) for i in range(0, len(tensors[0]), size)]
        joined = [torch.cat(column) for column in zip(*parts, strict=True)]
        kind = type(parts[0])
        return kind(*joined) if hasattr(kind, "_fields") else kind(joined)


def linear_points(law: MaterialField) -> torch.Tensor:
    """Which points have a linear law, `(P,)` booleans."""
    return torch.tensor([material.is_linear for material in law.materials], device=law.index.device)[law.index]


def _parts(solution: Solution) -> tuple[torch.Tensor, ...]:
    return solution.value, solution.result, solution.iterations, solution.residual


def _with_identity(strain_modes: torch.Tensor) -> torch.Tensor:
    """`[I G]`: the operator from `(Ebar, a)` to the strain at each point, `(P, v, v + r)`."""
    points, components, _ = strain_modes.shape
    identity = torch.eye(components, dtype=strain_modes.dtype, device=strain_modes.device)
    return torch.cat([identity.expand(points, -1, -1), strain_modes], -1)


def _summed(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return left.flatten(0, 1).T @ right.flatten(0, 1)


def _quadratic(left: torch.Tensor, matrix: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return ((left @ matrix) * right).sum(-1)


def _solve_definite(matrix: torch.Tensor, rhs: torch.Tensor) -> torch.Tensor:
    return torch.cholesky_solve(rhs, torch.linalg.cholesky(matrix))


def _zero_at_zero(start: torch.Tensor, strain: torch.Tensor) -> torch.Tensor:
    """Zero strain is answered by exact zeros, from whatever start."""
    return torch.where((strain == 0).all(-1, keepdim=True), torch.zeros_like(start), start)
