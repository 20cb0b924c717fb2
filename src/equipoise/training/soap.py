"""SOAP: Adam in the slowly rotating eigenbasis of Shampoo's preconditioner, for small networks trained to the end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

__all__ = ["Soap"]


class Soap(torch.optim.Optimizer):
    """Optimiser for matrices and vectors.

    On regressions of smooth maps it reaches in hundreds of full-batch steps what Adam reaches in many thousands; each
    step costs a few products of the size of a weight matrix more.

    Args:
        parameters: to optimise; each of one or two axes.
        lr: learning rate. betas: decay of the mean gradient and of second moments. eps: added to the root.
        frequency: steps between updates of the eigenbases.

    Source: Vyas et al. (2024), algorithm 3.
    """

    def __init__(
        self,
        parameters: Iterable[torch.Tensor],
        *,
        lr: float = 3e-3,
        betas: tuple[float, float] = (0.95, 0.98),
        eps: float = 1e-12,
        frequency: int = 10,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps, "frequency": frequency})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step; `closure` re-evaluates the loss where given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)
        return loss

    def _update(self, parameter: torch.Tensor, group: dict[str, Any]) -> None:
        gradient = parameter.grad.reshape(-1, parameter.shape[-1]) if parameter.grad is not None else parameter
        first, second = group["betas"]
        state = self.state[parameter]
        is_new = "step" not in state
        if is_new:
            state["step"] = 0
            state["mean"], state["square"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
            state["left"] = gradient.new_zeros(len(gradient), len(gradient))
            state["right"] = gradient.new_zeros(gradient.shape[1], gradient.shape[1])
        state["step"] += 1
        state["left"].lerp_(gradient @ gradient.T, 1 - second)
        state["right"].lerp_(gradient.T @ gradient, 1 - second)
        if is_new:
            state["left_basis"] = _eigenvectors(state["left"])
            state["right_basis"] = _eigenvectors(state["right"])
            return
        left, right = state["left_basis"], state["right_basis"]
        state["mean"].lerp_(gradient, 1 - first)
        state["square"].lerp_((left.T @ gradient @ right).square(), 1 - second)
        mean = (left.T @ state["mean"] @ right) / (1 - first ** state["step"])
        root = (state["square"] / (1 - second ** state["step"])).sqrt_().add_(group["eps"])
        parameter.sub_((left @ (mean / root) @ right.T).view_as(parameter), alpha=group["lr"])
        if state["step"] % group["frequency"] == 0:
            self._rotate(state, "left", 0)
            self._rotate(state, "right", 1)

    @staticmethod
    def _rotate(state: dict[str, Any], side: str, axis: int) -> None:
        """One step of subspace iteration towards the eigenvectors, ordered by their eigenvalues."""
        matrix, basis = state[side], state[f"{side}_basis"]
        order = (basis * (matrix @ basis)).sum(0).argsort(descending=True)
        state["square"] = state["square"].index_select(axis, order)
        state[f"{side}_basis"] = torch.linalg.qr(matrix @ basis[:, order]).Q.contiguous()


def _eigenvectors(matrix: torch.Tensor) -> torch.Tensor:
    # In rows, as a checkpoint restores them: the layout decides the last bit of later products.
    vectors: torch.Tensor = torch.linalg.eigh(matrix).eigenvectors
    return vectors.contiguous()
