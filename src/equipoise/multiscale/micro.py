"""The seam between scales: what a structure asks of the material at its integration points.

Full-field unit cells, reduced ones, learned ones and plain constitutive laws are all a `MicroModel`; the macroscale
solver can't tell them apart. No micro model is defined here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float

from equipoise.errors import OutOfRangeError
from equipoise.spaces.mesh import Mesh

__all__ = ["VOIGT_NAMES", "ErrorKind", "MicroFields", "MicroModel", "Response", "State", "StepCertificate"]

ErrorKind = Literal["none", "estimate", "bound"]

State = Any
"""Warm start of a batch of points: `None`, a tensor, or a mapping of tensors, each with the points as first axis.

The macroscale solver cuts it into chunks of points, hands it back and writes it to checkpoints; it never looks inside.
"""

VOIGT_NAMES: dict[int, tuple[str, ...]] = {3: ("xx", "yy", "xy"), 6: ("xx", "yy", "zz", "yz", "xz", "xy")}
"""Component names by the number of Voigt components."""


@dataclass(frozen=True, eq=False)
class Response:
    """Answer of a micro model to a batch of macroscopic strains; float64, on the device of the strains.

    Attributes:
        stress: homogenised stress, MPa, `(n, v)`.
        tangent: consistent tangent `d stress / d strain`, MPa, `(n, v, v)`; need not be symmetric.
        error_estimate: relative energy gap, `(n,)`, or `None` where the model has no measure of its own error.
        state: warm start for the same points, see `State`.
        error_kind: whether `error_estimate` is an estimate or a guaranteed bound.
        counts: how many points took a dear path, such as `{"refined": 12, "fallbacks": 1}`; summed over a simulation.
    """

    stress: Float[torch.Tensor, "n v"]
    tangent: Float[torch.Tensor, "n v v"]
    error_estimate: Float[torch.Tensor, " n"] | None = None
    state: State = None
    error_kind: ErrorKind = "none"
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class MicroFields:
    """Microscopic fields of a batch of macroscopic strains; float64.

    Attributes:
        displacement: affine part plus fluctuation at the nodes, `(n, nodes, dim)`.
        fluctuation: periodic displacement fluctuation at the nodes, `(n, nodes, dim)`.
        strain: at the quadrature points of the cell, `(n, Q, v)`; engineering shear.
        stress: at the quadrature points, MPa, `(n, Q, v)`.
        mesh: mesh of the cell.
    """

    displacement: Float[torch.Tensor, "n nodes dim"]
    fluctuation: Float[torch.Tensor, "n nodes dim"]
    strain: Float[torch.Tensor, "n points v"]
    stress: Float[torch.Tensor, "n points v"]
    mesh: Mesh


@dataclass(frozen=True, eq=False)
class StepCertificate:
    """What a micro model guarantees about a converged load step.

    Attributes:
        relative_gap: relative energy gap of each point, `(n,)`; `inf` stands for "no finite bound".
        is_bound: whether each gap is a guaranteed bound (True) or an estimate, `(n,)` booleans.
        counts: points that took a dear path, such as `{"bounds": 40, "fallbacks": 2}`.
        figures: further numbers worth printing, such as the mean ratio of bound to estimate.
        state: warm start to go on with, or `None` to keep the present one.
        is_final: False asks the macroscale solver to iterate on from `state`, because the answer at some points has
            been replaced (by a refined or a full-field one) and equilibrium must be found again.
    """

    relative_gap: Float[torch.Tensor, " n"]
    is_bound: Bool[torch.Tensor, " n"]
    counts: Mapping[str, int] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    state: State = None
    is_final: bool = True


class MicroModel(ABC):
    """Material behaviour of one integration point, asked for many points at once.

    Attributes:
        n_strain: Voigt components v, 3 in the plane and 6 in space.
        dim: 2 or 3.
        box: lowest and highest strain components of the training range, `(2, v)`, or `None` if there is no limit.
        fingerprint: digest of everything that its answers depend on; a simulation is resumed only with the same one.
    """

    n_strain: int
    dim: int
    box: torch.Tensor | None = None
    fingerprint: str = ""

    @abstractmethod
    def respond(self, strain: Float[torch.Tensor, "n v"], *, state: State = None) -> Response:
        """Stress, tangent and error estimate of each strain.

        Args:
            strain: macroscopic strains, `(n, v)`, Voigt order with engineering shear. Strains outside the box are
                answered: Newton iterates may pass there. `check_box` is the caller's to use.
            state: warm start that an earlier response returned for the same points in the same order.
        """

    def localize(self, strain: Float[torch.Tensor, "n v"]) -> MicroFields:
        """Microscopic fields of each strain, `(n, v)`.

        Raises:
            ValueError: for a model without a microstructure.
        """
        raise ValueError(f"{type(self).__name__} has no microstructure, so there are no microscopic fields to show.")

    def certify(self, strain: Float[torch.Tensor, "n v"], state: State = None) -> StepCertificate | None:
        """Bounds or estimates at a converged load step, `(n, v)`; `None` for a model without a certificate."""
        return None

    def outside_box(self, strain: Float[torch.Tensor, "n v"], *, rtol: float = 1e-9) -> Bool[torch.Tensor, " n"]:
        """Which strains lie outside the training box, `(n,)` booleans; `rtol` is relative to the box's width."""
        if self.box is None:
            return torch.zeros(len(strain), dtype=torch.bool, device=strain.device)
        box = self.box.to(strain)
        slack = rtol * (box[1] - box[0])
        return ((strain < box[0] - slack) | (strain > box[1] + slack)).any(-1)

    def check_box(self, strain: Float[torch.Tensor, "n v"]) -> None:
        """Raise `OutOfRangeError` naming the strain farthest outside the training box, if there is one."""
        outside = self.outside_box(strain)
        if self.box is None or not bool(outside.any()):
            return
        box = self.box.to(strain)
        half = (box[1] - box[0]) / 2
        excess = ((strain - (box[0] + box[1]) / 2).abs() - half) / half
        row, component = divmod(int(excess.argmax()), strain.shape[1])
        name = VOIGT_NAMES[strain.shape[1]][component]
        raise OutOfRangeError(
            f"{int(outside.sum())} of {len(strain)} strains lie outside the trained box: strain {row} has "
            f"{name}={float(strain[row, component]):.4g} where [{float(box[0, component]):.4g}, "
            f"{float(box[1, component]):.4g}] was trained; lower the load, widen the box, or allow extrapolation."
        )
