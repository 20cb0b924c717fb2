"""Adam for small networks on CPUs: the arithmetic of PyTorch's fused Adam with a fraction of its overhead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

__all__ = ["Adam"]


class Adam(torch.optim.Adam):
    """`torch.optim.Adam(fused=True)`, or AdamW with `decoupled`, whose steps cost little beside the kernel.

    PyTorch keeps a counter of steps for every parameter and raises them one by one, which for a network of ten small
    tensors takes longer than the arithmetic. Here all parameters share one counter. Values, and the form of the state,
    are those of PyTorch's class; wherever sharing is not sound (a parameter without a gradient, several groups, another
    device than the CPU, scaled gradients) its own step is taken.

    Args:
        params: of one floating-point dtype and device each. lr: learning rate. weight_decay: added to the gradient, or
            with `decoupled` subtracted from the parameter.
    """

    def __init__(self, params: Any, *, lr: float = 1e-3, weight_decay: float = 0.0, decoupled: bool = False) -> None:
        super().__init__(params, lr=lr, weight_decay=weight_decay, fused=True, decoupled_weight_decay=decoupled)
        self._kernel = torch._fused_adamw_ if decoupled else torch._fused_adam_
        self._shared: tuple[list[torch.Tensor], ...] | None = None

    def load_state_dict(self, state_dict: Any) -> None:
        """See `torch.optim.Optimizer.load_state_dict`."""
        super().load_state_dict(state_dict)
        self._part()

    def state_dict(self) -> dict[str, Any]:
        """See `torch.optim.Optimizer.state_dict`; each parameter has a counter of its own."""
        self._part()
        return super().state_dict()

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; with a closure, which gives the loss, by PyTorch's own step."""
        group = self.param_groups[0]
        gradients = [parameter.grad for parameter in group["params"]]
        if closure is not None or hasattr(self, "grad_scale") or any(gradient is None for gradient in gradients):
            self._part()
            return super().step(closure)
        if self._shared is None and not self._share(group):
            return super().step()
        assert self._shared is not None
        means, squares, counters = self._shared
        counters[0].add_(1)
        beta1, beta2 = group["betas"]
        self._kernel(
            group["params"],
            gradients,
            means,
            squares,
            [],
            counters,
            lr=group["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )
        return None

    def _part(self) -> None:
        """Give each parameter its own counter again; they may have been copied as one."""
        self._shared = None
        for state in self.state.values():
            if "step" in state:
                state["step"] = state["step"].clone()

    def _share(self, group: dict[str, Any]) -> bool:
        """Give all parameters one counter, once they have a state; whether that is sound."""
        parameters = group["params"]
        first = parameters[0]
        if len(self.param_groups) > 1 or first.device.type != "cpu" or isinstance(group["lr"], torch.Tensor):
            return False
        if any(parameter.dtype != first.dtype or parameter.device != first.device for parameter in parameters):
            return False
        states = [self.state[parameter] for parameter in parameters]
        if not all("step" in state for state in states):
            return False
        counter = states[0]["step"]
        if any(float(state["step"]) != float(counter) for state in states):
            return False
        for state in states:
            state["step"] = counter
        self._shared = (
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [counter] * len(states),
        )
        return True
