"""A micro model that answers by reduced coefficients and carries a certificate: what reduced and learned models share.

Where the coefficients come from (a Newton solve, a network) is the business of the models built on this one.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float

from equipoise.multiscale.certificate import FULL_FIELD, OWN, REFINED, Certificate, Coefficients, Treated
from equipoise.multiscale.full_field import fields_of
from equipoise.multiscale.micro import ErrorKind, MicroFields, MicroModel, Response, State, StepCertificate
from equipoise.problems.mechanics.bases import ReducedBases
from equipoise.problems.mechanics.cell import PeriodicCell

__all__ = ["CertifiedModel", "OwnAnswer"]


class OwnAnswer(NamedTuple):
    """A model's answer before its certificate is asked.

    Attributes:
        stress: homogenised stress, MPa, `(n, v)`. tangent: MPa, `(n, v, v)`.
        warm_start: tensors with the points as first axis, handed back for the same points; `None` if there are none.
    """

    stress: torch.Tensor
    tangent: torch.Tensor
    warm_start: Mapping[str, torch.Tensor] | None = None


class CertifiedModel(MicroModel):
    """Micro model whose fields are `Ebar + G a` and `S b`.

    A subclass gives `coefficients` and `answer`. Asked without a warm start, `respond` also measures and repairs each
    answer at once; with one, it repeats the treatment that the last `certify` decided on, so that Newton's method
    meets one smooth function between two certificates. The warm start holds `treatment` and the subclass's own tensors.

    Args:
        cell: the unit cell. bases: its modes. certificate: measures and repairs the answers; `None`: neither.
        box: lowest and highest strain of the training range, `(2, v)`, or `None`.

    Raises:
        MeshError: for bases of another cell.
    """

    def __init__(
        self,
        cell: PeriodicCell,
        bases: ReducedBases,
        *,
        certificate: Certificate | None = None,
        box: torch.Tensor | None = None,
    ) -> None:
        bases.check_cell(cell)
        self.cell, self.bases, self.certificate, self.box = cell, bases, certificate, box
        self.dim, self.n_strain = cell.dim, cell.n_strain
        self.fingerprint = _fingerprint(self, bases, certificate)

    @abstractmethod
    def coefficients(self, strain: Float[torch.Tensor, "n v"], state: State = None) -> Coefficients:
        """Coefficients of both fields at strains `(n, v)`; `state` is a warm start for the same points."""

    @abstractmethod
    def answer(self, strain: Float[torch.Tensor, "n v"], state: State = None) -> OwnAnswer:
        """Stress and tangent at strains `(n, v)`, without any certificate."""

    def respond(self, strain: Float[torch.Tensor, "n v"], *, state: State = None) -> Response:
        """See `MicroModel.respond`; the error estimate is given for the first answer of a point only.

        Later ones come from `certify`.

        Raises:
            ConvergenceError: where a full-field solution is needed and cannot be found.
        """
        own = self.answer(strain, state)
        treatment = state["treatment"] if isinstance(state, Mapping) else None
        stress, tangent = own.stress, own.tangent
        counts: dict[str, int] = {}
        treated: Treated | None = None
        if treatment is None and self._measures:
            treated = self._treat(strain, self.coefficients(strain, own.warm_start), None)
            treatment = treated.treatment
        if treatment is None:
            treatment = torch.full((len(strain),), OWN, dtype=torch.int64, device=strain.device)
        if bool((treatment != OWN).any()):
            stress, tangent = stress.clone(), tangent.clone()
            counts = self._replace(strain, own, treatment, treated, (stress, tangent))
        return Response(
            stress=stress,
            tangent=tangent,
            error_estimate=None if treated is None else treated.gaps.relative_gap,
            state={**(own.warm_start or {}), "treatment": treatment},
            error_kind=_error_kind(treated),
            counts=counts,
        )

    def certify(self, strain: Float[torch.Tensor, "n v"], state: State = None) -> StepCertificate | None:
        """See `MicroModel.certify`; `None` without a certificate, or with the policy `"none"`."""
        if not self._measures or self.certificate is None:
            return None
        held = dict(state) if isinstance(state, Mapping) else {}
        before = held.get("treatment")
        treated = self._treat(strain, self.coefficients(strain, held or None), before)
        before = torch.zeros_like(treated.treatment) if before is None else before
        is_final = bool((treated.treatment == before).all())
        full = torch.nonzero(treated.treatment == FULL_FIELD).flatten()
        if is_final and len(full):
            self.certificate.fall_back(strain[full], treated.coefficients.rows(full), keep=True, tangent=False)
        return StepCertificate(
            relative_gap=treated.gaps.relative_gap,
            is_bound=treated.gaps.is_bound,
            counts={"bounds": int((treated.gaps.is_bound & (treated.treatment != FULL_FIELD)).sum())},
            figures=treated.gaps.figures,
            state={**held, "treatment": treated.treatment},
            is_final=is_final,
        )

    def localize(self, strain: Float[torch.Tensor, "n v"]) -> MicroFields:
        """Compatible strain and stress in equilibrium, refined or solved in full where the certificate asks for it."""
        coefficients = self.coefficients(strain)
        treatment = torch.full((len(strain),), OWN, device=strain.device)
        if self._measures and self.certificate is not None and self.certificate.acts:
            treated = self._treat(strain, coefficients, None)
            coefficients, treatment = treated.coefficients, treated.treatment
        fluctuation = self.bases.fluctuation(coefficients.displacement)
        full = torch.nonzero(treatment == FULL_FIELD).flatten()
        if len(full) and self.certificate is not None:
            solution = self.certificate.fall_back(strain[full], coefficients.rows(full), tangent=False)
            fluctuation[full] = solution.fluctuation
        fields = fields_of(self.cell, strain, fluctuation)
        stress = self.bases.stress(coefficients.stress)
        stress[full] = fields.stress[full]
        return MicroFields(fields.displacement, fields.fluctuation, fields.strain, stress, fields.mesh)

    def distinguished(self, *parts: bytes | torch.Tensor) -> str:
        """The fingerprint extended by whatever else the answers of a subclass depend on."""
        digest = hashlib.sha256(self.fingerprint.encode())
        for part in parts:
            digest.update(part if isinstance(part, bytes) else part.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @property
    def _measures(self) -> bool:
        return self.certificate is not None and self.certificate.policy != "none"

    def _treat(self, strain: torch.Tensor, coefficients: Coefficients, treatment: torch.Tensor | None) -> Treated:
        if self.certificate is None:
            raise ValueError("this micro model has no certificate.")
        return self.certificate.treat(strain, coefficients, treatment)

    def _replace(
        self,
        strain: torch.Tensor,
        own: OwnAnswer,
        treatment: torch.Tensor,
        treated: Treated | None,
        answers: tuple[torch.Tensor, torch.Tensor],
    ) -> dict[str, int]:
        """Overwrite stress and tangent of refined and full-field points; counts of both."""
        if self.certificate is None:
            raise ValueError("a treated point needs the certificate that treated it.")
        reduced, (stress, tangent) = self.certificate.reduced, answers
        counts: dict[str, int] = {}
        rows = torch.nonzero(treatment != OWN).flatten()
        if treated is None:
            start = self.coefficients(strain[rows], _rows(own.warm_start, rows))
            displacement = reduced.solve_primal(
                strain[rows], start.displacement, max_iterations=self.certificate.refine_steps, throw=False
            )
            coefficients = Coefficients(displacement, start.stress)
        else:
            coefficients = treated.coefficients.rows(rows)
        refined, full = treatment[rows] == REFINED, treatment[rows] == FULL_FIELD
        if bool(refined.any()):
            chosen = rows[refined]
            stress[chosen], tangent[chosen] = reduced.kinematic_response(
                strain[chosen], coefficients.displacement[refined]
            )
            counts["refined"] = len(chosen)
        if bool(full.any()):
            chosen = rows[full]
            solution = self.certificate.fall_back(strain[chosen], coefficients.rows(full))
            if solution.tangent is None:
                raise ValueError("the full-field solver returned no tangent.")
            stress[chosen], tangent[chosen] = solution.stress, solution.tangent
            counts["fallbacks"] = len(chosen)
        return counts


def _rows(warm_start: Mapping[str, torch.Tensor] | None, rows: torch.Tensor) -> dict[str, torch.Tensor] | None:
    return None if warm_start is None else {name: tensor[rows] for name, tensor in warm_start.items()}


def _error_kind(treated: Treated | None) -> ErrorKind:
    if treated is None:
        return "none"
    return "bound" if bool(treated.gaps.is_bound.all()) else "estimate"


def _fingerprint(model: MicroModel, bases: ReducedBases, certificate: Certificate | None) -> str:
    digest = hashlib.sha256(f"{type(model).__name__}:{bases.cell_fingerprint}".encode())
    digest.update(bases.homogenised_modes.cpu().numpy().tobytes())
    if certificate is not None:
        thresholds = (certificate.refine_above, certificate.fall_back_above, certificate.refine_steps)
        digest.update(f"{certificate.policy}:{thresholds}".encode())
        digest.update(certificate.cubature.weights.cpu().numpy().tobytes())
    return digest.hexdigest()
