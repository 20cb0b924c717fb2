"""Regression of both optima in which the last layers are solved for, and only the layers before them are learned.

A mode that contributes little to the energy has a small gradient and takes descent thousands of steps. In the last
layer the loss is quadratic, so its best weights are the solution of a small linear system, whatever the size of the
mode. Descent is left with the functions that the modes are made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from equipoise.operators.branch import AnchoredBranch
from equipoise.operators.equino import EquiNO
from equipoise.training.objectives import CoefficientObjective

__all__ = ["VariableProjection"]

# Of the mean diagonal of the normal equations: above round-off, far below what the features resolve.
_RIDGE = 1e-11


@dataclass(frozen=True, eq=False)
class _Regression:
    """One branch: roots of the samples' weights `(n, 1)`, factor of the metric, and what is left of the weighted
    coefficients in that metric `(n, modes)` after their linear part."""

    root: torch.Tensor
    factor: torch.Tensor
    target: torch.Tensor


class VariableProjection:
    """The sum of `CoefficientObjective` as a function of all layers but the last, which are set to their optimum.

    The Hessians of the samples are taken for multiples of one, their mean over the samples: then all modes share one
    small system, and the gradient by the other layers is that at fixed last layers. Each call sets the last layers.
    After training, call `project` once, for the last step has moved the layers before them.

    Args:
        labelled: the optima and their Hessians. model: to be trained, with its linear parts and scales set.

    Raises:
        ValueError: for the published form; when called, for another model or a part of the batch.

    Source: Golub and Pereyra (1973).
    """

    def __init__(self, labelled: CoefficientObjective, model: EquiNO) -> None:
        displacement, stress = model.displacement_branch, model.stress_branch
        if not isinstance(displacement, AnchoredBranch) or not isinstance(stress, AnchoredBranch):
            raise ValueError("variable projection needs the anchored form of EquiNO.")
        self.strain, self.size, self._model = labelled.strain, labelled.size, model
        homogenised = labelled.homogenised_weight * labelled.homogenised.mT @ labelled.homogenised
        stress_hessian = labelled.stress_factor @ labelled.stress_factor.mT + homogenised
        displacement_hessian = labelled.displacement_factor @ labelled.displacement_factor.mT
        self._branches = {
            "displacement_gap": (
                displacement,
                _regression(displacement, self.strain, labelled.displacement, displacement_hessian),
            ),
            "stress_gap": (stress, _regression(stress, self.strain, labelled.stress, stress_hessian)),
        }

    def __call__(self, model: nn.Module, samples: torch.Tensor | None) -> Mapping[str, torch.Tensor]:
        if model is not self._model or samples is not None:
            raise ValueError("variable projection trains one EquiNO on the full batch; leave batch_size out.")
        return self._losses()

    @torch.no_grad()
    def project(self) -> None:
        """Set the last layers to the optimum for the layers before them."""
        self._losses()

    def _losses(self) -> dict[str, torch.Tensor]:
        losses = {}
        for name, (branch, regression) in self._branches.items():
            features = regression.root * branch.features(self.strain)
            weight = _least_squares(features.detach(), regression.target)
            branch.set_last_layer(torch.linalg.solve_triangular(regression.factor, weight, upper=False, left=False))
            losses[name] = (features @ weight - regression.target).square().sum() / self.size
        return losses


def _regression(
    branch: AnchoredBranch, strain: torch.Tensor, coefficients: torch.Tensor, hessian: torch.Tensor
) -> _Regression:
    """Weights of the samples by the mean ratio of diagonals, and the mean of the Hessians divided by them."""
    diagonal = hessian.diagonal(dim1=1, dim2=2)
    weight = (diagonal / diagonal.mean(0)).mean(1)
    factor = torch.linalg.cholesky((hessian / weight[:, None, None]).mean(0))
    root = weight.sqrt()[:, None]
    return _Regression(root, factor, root * (coefficients - strain @ branch.linear.T) @ factor)


def _least_squares(features: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    gramian = features.T @ features
    diagonal = gramian.diagonal()
    diagonal.add_(_RIDGE * diagonal.mean())
    # No exception for what is not finite: the loss is not finite then, and the trainer says so.
    solved: torch.Tensor = torch.cholesky_solve(features.T @ target, torch.linalg.cholesky_ex(gramian).L)
    return solved
