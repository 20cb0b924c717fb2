"""Recipes for operators of branch and trunk: the anchored POD form on its coefficients, DeepONet on pairs or triples.

Both go through the trainer. Physics-informed training is an objective too: `EquationObjective`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import nn

from equipoise.operators.branch_trunk import BranchTrunk
from equipoise.operators.pod_deeponet import PODDeepONet
from equipoise.training.phases import Phase
from equipoise.training.trainer import History, Trainer

__all__ = ["EquationObjective", "QueryObjective", "TrainedPOD", "train_pod_deeponet"]


class QueryObjective:
    """Mean square error of a query operator at points; its samples are functions.

    Args:
        inputs: `(n, *sensors)`. points: shared, `(point, dim)`, or of each function its own, `(n, point, dim)`.
        targets: `(n, point, channel)`.
    """

    def __init__(self, inputs: torch.Tensor, points: torch.Tensor, targets: torch.Tensor) -> None:
        self.inputs, self.points, self.targets, self.size = inputs, points, targets, len(inputs)

    def __call__(self, model: nn.Module, samples: torch.Tensor | None) -> Mapping[str, torch.Tensor]:
        inputs, points, targets = self.inputs, self.points, self.targets
        if samples is not None:
            inputs, targets = inputs[samples], targets[samples]
            points = points[samples] if points.ndim == 3 else points
        return {"error": nn.functional.mse_loss(model(inputs, points), targets)}


class EquationObjective:
    """Mean square residual of an equation at shared points, by one forward pass of the trunk; no data.

    Args:
        inputs: `(n, *sensors)`. points: `(point, dim)`.
        residual: maps (numbers of functions or a slice, value, gradient, and Hessian for order 2) to residuals; shapes
            as `BranchTrunk.derivatives` gives them.
        order: of the derivatives that it needs, 1 or 2.

    Source: Wang, Wang and Perdikaris (2021), physics-informed DeepONets.
    """

    def __init__(
        self, inputs: torch.Tensor, points: torch.Tensor, residual: Callable[..., torch.Tensor], *, order: int = 1
    ) -> None:
        self.inputs, self.points, self.residual, self.order = inputs, points, residual, order
        self.size = len(inputs)

    def __call__(self, model: nn.Module, samples: torch.Tensor | None) -> Mapping[str, torch.Tensor]:
        if not isinstance(model, BranchTrunk):
            raise TypeError(f"{type(model).__name__} has no derivatives in space; give a branch and trunk.")
        chosen = slice(None) if samples is None else samples
        found = model.derivatives(self.inputs[chosen], self.points, self.order)
        return {"residual": self.residual(chosen, *found).square().mean()}


@dataclass(frozen=True, eq=False)
class TrainedPOD:
    """A fitted operator.

    Attributes:
        operator: ready for use. history: of the training.
        linear_error, error: mean relative L2 error on the held-out functions of the linear part alone, and of all.
        share: of the network's answer that is kept, from 0, none, to 1.
        seconds: wall time.
    """

    operator: PODDeepONet
    history: History
    linear_error: float
    error: float
    share: float
    seconds: float


class _CoefficientObjective:
    """Error of the anchored branch in the norm of the outputs, over the linear map's; functions weighted by size."""

    def __init__(self, operator: PODDeepONet, inputs: torch.Tensor, outputs: torch.Tensor, held: int) -> None:
        branch = operator.branch_net
        components = operator.components(inputs)
        left = operator.project(outputs) - components @ branch.linear[: operator.n_modes].T
        scale = branch.scale[: operator.n_modes]
        train = slice(None, len(inputs) - held)
        self.held = slice(len(inputs) - held, None)
        self.reads = branch.scaled(components).float()
        self.targets = (left / scale).float()
        size = (outputs.flatten(2) / operator.units[:, None]).square().flatten(1).mean(1)
        self.inverse = (1 / size.clamp(min=1e-12 * size.max())).float()
        # Half way between the mean square and the mean square relative error, which small functions would rule.
        weights = self.inverse[train].sqrt()
        self.weights = weights / weights.mean()
        self.modes = (scale.square() / scale.square().sum()).float()
        self.scale = scale.float()
        self.size = len(inputs) - held

    def __call__(self, model: nn.Module, samples: torch.Tensor | None) -> Mapping[str, torch.Tensor]:
        chosen = slice(None, self.size) if samples is None else samples
        reads = self.reads[chosen]
        change = model(torch.cat([reads, torch.zeros_like(reads[:1])]))
        error = (change[:-1] - change[-1] - self.targets[chosen]).square() @ self.modes
        return {"error": torch.dot(error, self.weights[chosen]) / len(error)}

    def held_out(self, model: nn.Module, share: float = 1.0) -> float:
        """Mean relative error on the held-out functions with a share of the network's answer."""
        reads = self.reads[self.held]
        change = model(reads) - model(torch.zeros_like(reads[:1]))
        error = ((share * change - self.targets[self.held]) * self.scale).square().sum(1)
        return float((error * self.inverse[self.held]).sqrt().mean())


@torch.no_grad()
def _choose_share(objective: _CoefficientObjective, network: nn.Module) -> tuple[float, float]:
    shares = [step / 20 for step in range(21)]
    errors = [objective.held_out(network, share) for share in shares]
    return shares[errors.index(min(errors))], min(errors)


def train_pod_deeponet(
    operator: PODDeepONet,
    inputs: Float[torch.Tensor, "n *any values"],
    outputs: Float[torch.Tensor, "n channel *grid"],
    *,
    held_out: float = 0.1,
    steps: int = 6000,
    batch_size: int = 200,
    learning_rate: float = 5e-3,
    seed: int = 0,
) -> TrainedPOD:
    """Fit modes and linear map of the anchored form, train its network on what is left, and keep as much as helps.

    The last functions are held out; the best weights on them are kept, and then the share of the network's answer,
    including none, that is best on them. With none, modes and linear map are fitted anew to all functions. The network
    learns in single precision; everything else is computed in double precision.

    Args:
        operator: of form `"anchored"` without learned functions; changed in place, in the dtype that it has.
        inputs: of training functions. outputs: on the operator's grid.
        held_out: share of the functions to choose on.
        steps, batch_size, learning_rate: of Adam on one cycle. seed: of the batches.

    Raises:
        ValueError: for another form, fewer than ten functions, or a share outside (0, 0.5].
    """
    if operator.form != "anchored" or operator.n_learned:
        raise ValueError("this recipe trains the anchored form without learned functions; use the trainer for others.")
    if len(inputs) < 10 or not 0 < held_out <= 0.5:
        raise ValueError(
            f"{len(inputs)} functions with held_out={held_out}: give 10 or more, and hold out half at most."
        )
    dtype = operator.bias.dtype if operator.bias is not None else operator.units.dtype
    held = max(2, round(held_out * len(inputs)))
    operator.double()
    inputs, outputs = inputs.double(), outputs.double()
    operator.fit(inputs[:-held], outputs[:-held])
    network = operator.branch_net.network.float()
    with torch.no_grad():
        objective = _CoefficientObjective(operator, inputs, outputs, held)
        alone = objective.held_out(network, 0.0)
    trainer = Trainer(
        network,
        objective,
        seed=seed,
        validate=lambda model: {"held_out": objective.held_out(model)},
        validate_every=50,
    )
    phase = Phase("adam", steps=steps, batch_size=batch_size, learning_rate=learning_rate, schedule="one-cycle")
    history = trainer.fit([phase])
    if trainer.best is not None:
        network.load_state_dict(trainer.best)
    share, error = _choose_share(objective, network)
    if share == 0:
        operator.fit(inputs, outputs)
    operator.branch_net.scale *= share
    operator.to(dtype)
    return TrainedPOD(operator.eval(), history, alone, error, share, history.seconds)
