"""EquiNO: two branch networks give the coefficients of periodic displacement modes and self-equilibrated stress modes.

The modes belong to one unit cell and live with it; here are the networks, the homogenised stress modes, and the fast
path from strains to homogenised stress and tangent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import nn

from equipoise.nn.perceptron import MultilayerPerceptron
from equipoise.operators.branch import AnchoredBranch, PlainBranch

__all__ = ["EquiNO", "hidden_widths"]

FORMS = ("anchored", "paper")

_NARROW = 24
_FEW_MODES = 16


class EquiNO(nn.Module):
    """Equilibrium neural operator of one unit cell.

    Args:
        n_strain: Voigt components v, 3 or 6. n_displacement_modes, n_stress_modes: modes of each field.
        hidden: widths of the hidden layers of both networks; by default those of `hidden_widths`.
        form: `"anchored"`, exact at zero strain with a scale for each mode and tanh, or `"paper"`, as published, swish.
        seed: of the initial weights.
        is_odd: whether opposite strains have opposite answers, as in a cell of laws with even energies; then the
            networks of the anchored form are odd by construction, and each strain of training counts twice.

    The statistics of the coefficients are set by `fit_scales`, or come with the weights of a checkpoint.

    Source: Eivazi et al. (2026), section 3; the anchored form is Equipoise's.
    """

    homogenised_modes: torch.Tensor

    def __init__(
        self,
        *,
        n_strain: int = 3,
        n_displacement_modes: int = 16,
        n_stress_modes: int = 16,
        hidden: Sequence[int] | None = None,
        form: str = "anchored",
        seed: int = 0,
        is_odd: bool = False,
    ) -> None:
        super().__init__()
        if form not in FORMS:
            raise ValueError(f"form={form!r} is unknown; use one of {', '.join(FORMS)}.")
        if hidden is None:
            hidden = hidden_widths(form, max(n_displacement_modes, n_stress_modes), n_strain)
        if is_odd and form == "paper":
            raise ValueError("is_odd=True needs form='anchored': swish, of the published form, is not odd.")
        if n_strain not in (3, 6):
            raise ValueError(f"n_strain={n_strain} must be 3 in the plane or 6 in space.")
        if min(n_displacement_modes, n_stress_modes, *hidden) < 1:
            raise ValueError("numbers of modes and hidden widths must be positive.")
        self.config: dict[str, Any] = {
            "n_strain": n_strain,
            "n_displacement_modes": n_displacement_modes,
            "n_stress_modes": n_stress_modes,
            "hidden": tuple(hidden),
            "form": form,
            "seed": seed,
            "is_odd": is_odd,
        }
        generator = torch.Generator().manual_seed(seed)
        sizes = (n_strain, *hidden)
        self.displacement_branch = _branch((*sizes, n_displacement_modes), form, generator, is_odd)
        self.stress_branch = _branch((*sizes, n_stress_modes), form, generator, is_odd)
        self.register_buffer("homogenised_modes", torch.zeros(n_strain, n_stress_modes, dtype=torch.float64))

    @property
    def n_parameters(self) -> int:
        """Number of trained parameters."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    def set_input_scale(self, half_width: torch.Tensor) -> None:
        """Strain by which inputs are divided, `(v,)`: half the width of the training box."""
        self.displacement_branch.input_scale.copy_(half_width)
        self.stress_branch.input_scale.copy_(half_width)

    def fit_scales(
        self,
        strain: torch.Tensor,
        displacement: torch.Tensor,
        stress: torch.Tensor,
        homogenised_modes: torch.Tensor,
        *,
        slopes: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> None:
        """Set what is not learned by descent: linear parts and scales, from known coefficients.

        Args:
            strain: `(m, v)`. displacement: `(m, r_u)`. stress: `(m, r_s)`. homogenised_modes: H, `(v, r_s)`, MPa.
            slopes: derivatives of both at zero strain, `(r_u, v)` and `(r_s, v)`, for the anchored form; by default
                the least-squares fit of the known coefficients.
        """
        self.homogenised_modes.copy_(homogenised_modes)
        fitted = slopes or (None, None)
        branches = (self.displacement_branch, self.stress_branch)
        for branch, known, slope in zip(branches, (displacement, stress), fitted, strict=True):
            if isinstance(branch, PlainBranch):
                branch.scale.fill_(float(known.std()))
                branch.mean.fill_(float(known.mean()))
                continue
            linear = torch.linalg.pinv(strain) @ known if slope is None else slope.T
            branch.linear.copy_(linear.T)
            spread = (known - strain @ linear).std(0)
            # A mode that is linear to round-off keeps a scale that is small but not zero.
            branch.scale.copy_(spread.clamp(min=1e-12 * float(known.abs().max()) + 1e-300))

    def forward(
        self, strain: Float[torch.Tensor, "n v"]
    ) -> tuple[Float[torch.Tensor, "n displacement_modes"], Float[torch.Tensor, "n stress_modes"]]:
        """Coefficients of displacement `(n, r_u)` and stress `(n, r_s)` at strains `(n, v)`."""
        return self.displacement_branch(strain), self.stress_branch(strain)

    def response(
        self, strain: Float[torch.Tensor, "n v"]
    ) -> tuple[Float[torch.Tensor, "n v"], Float[torch.Tensor, "n v v"]]:
        """Homogenised stress `(n, v)` and tangent `(n, v, v)`, MPa, at strains `(n, v)`; no gradients are recorded."""
        return self.stress_branch.projected(strain, self.homogenised_modes)


def hidden_widths(form: str, modes: int, n_strain: int = 3) -> tuple[int, ...]:
    """Default widths of the hidden layers for so many modes.

    The anchored form is narrow but for its last hidden layer, three functions for each mode: the layer after it is
    solved for, see `VariableProjection`, and a wide layer that is only contracted costs little. Widths are multiples
    of 24, at which products of narrow matrices run best. The published form has four layers of 64.
    """
    if form == "paper":
        return (64,) * 4
    body = _NARROW if n_strain == 3 else 2 * _NARROW
    layers = 2 if modes <= _FEW_MODES else 3
    return (*[body] * layers, max(2 * _NARROW, _NARROW * math.ceil(3 * modes / _NARROW)))


def _branch(
    sizes: tuple[int, ...], form: str, generator: torch.Generator, is_odd: bool
) -> AnchoredBranch | PlainBranch:
    activation = "swish" if form == "paper" else "tanh"
    n_strain, modes = sizes[0], sizes[-1]
    network = MultilayerPerceptron(sizes, generator=generator, activation=activation, has_bias=not is_odd)
    ones = torch.ones(n_strain, dtype=torch.float64)
    if form == "paper":
        zero = torch.zeros((), dtype=torch.float64)
        return PlainBranch(network, mean=zero, std=zero + 1, input_scale=ones.clone())
    return AnchoredBranch(
        network,
        linear=torch.zeros(modes, n_strain, dtype=torch.float64),
        scale=torch.ones(modes, dtype=torch.float64),
        input_scale=ones.clone(),
    )
