"""All integration points of a structure asked in chunks, and their answers and warm starts put together.

Chunks bound the memory that a micro model needs at once. Warm starts stay as the model returned them, one per chunk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from equipoise.errors import ConvergenceError
from equipoise.multiscale.micro import ErrorKind, MicroModel, Response, State, StepCertificate

__all__ = ["Answers", "PointResponses", "flatten_states", "unflatten_states"]


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers of a micro model at all integration points.

    Attributes:
        stress: MPa, `(n, v)`. tangent: MPa, `(n, v, v)`.
        error_estimate: relative gap, `(n,)`, or `None`. error_kind: what it is.
        states: warm start of each chunk.
    """

    stress: torch.Tensor
    tangent: torch.Tensor
    error_estimate: torch.Tensor | None
    error_kind: ErrorKind
    states: tuple[State, ...]


class PointResponses:
    """Asks a micro model for all points of a structure.

    Args:
        micro: the micro model.
        chunk: points asked at once.

    Attributes:
        evaluations: points answered so far, an integration point counting once per Newton iteration.
        counts: points that took a dear path so far, certificates included.

    Raises:
        ValueError: for a chunk that is not positive.
    """

    def __init__(self, micro: MicroModel, *, chunk: int = 20_000) -> None:
        if chunk < 1:
            raise ValueError(f"chunk={chunk} must be at least 1 point.")
        self.micro, self.chunk, self.evaluations = micro, chunk, 0
        self.counts: Counter[str] = Counter()

    def __call__(self, strain: torch.Tensor, states: Sequence[State] | None) -> Answers:
        """Answers for all strains `(n, v)`, from the warm starts of an earlier answer or none.

        Raises:
            ConvergenceError: where a micro model fails or answers with a value that is not finite.
        """
        count, components = strain.shape
        stress = torch.empty_like(strain)
        tangent = strain.new_empty(count, components, components)
        estimates: list[torch.Tensor] = []
        new_states: list[State] = []
        kind: ErrorKind = "none"
        for number, part in enumerate(self._parts(count)):
            state = None if states is None else states[number]
            response = self.micro.respond(strain[part], state=state)
            _check_shapes(response, strain[part])
            stress[part], tangent[part] = response.stress, response.tangent
            if response.error_estimate is not None:
                estimates.append(response.error_estimate.detach())
                kind = response.error_kind
            new_states.append(response.state)
            self.counts.update(response.counts)
        self.evaluations += count
        if not bool(torch.isfinite(stress).all()) or not bool(torch.isfinite(tangent).all()):
            raise ConvergenceError("the micro model answered with a stress or tangent that is not finite.")
        estimate = torch.cat(estimates) if estimates else None
        return Answers(stress, tangent, estimate, kind, tuple(new_states))

    def certify(self, strain: torch.Tensor, states: Sequence[State]) -> StepCertificate | None:
        """Certificate of a converged step over all points, or `None`; its state holds one warm start per chunk."""
        parts: list[StepCertificate] = []
        new_states: list[State] = []
        for number, part in enumerate(self._parts(len(strain))):
            certificate = self.micro.certify(strain[part], states[number])
            if certificate is None:
                return None
            parts.append(certificate)
            new_states.append(states[number] if certificate.state is None else certificate.state)
        counts: Counter[str] = Counter()
        for certificate in parts:
            counts.update(certificate.counts)
        self.counts.update(counts)
        return StepCertificate(
            relative_gap=torch.cat([part.relative_gap for part in parts]),
            is_bound=torch.cat([part.is_bound for part in parts]),
            counts=dict(counts),
            figures=_mean_figures(parts),
            state=tuple(new_states),
            is_final=all(part.is_final for part in parts),
        )

    def _parts(self, count: int) -> list[slice]:
        return [slice(first, min(first + self.chunk, count)) for first in range(0, count, self.chunk)]


def _check_shapes(response: Response, strain: torch.Tensor) -> None:
    count, components = strain.shape
    if response.stress.shape != strain.shape or response.tangent.shape != (count, components, components):
        raise ValueError(
            f"the micro model answered {count} strains of {components} components with stress of shape "
            f"{tuple(response.stress.shape)} and tangent of shape {tuple(response.tangent.shape)}."
        )


def _mean_figures(parts: Sequence[StepCertificate]) -> dict[str, float]:
    """Means over the chunks, weighted by their numbers of points."""
    total = sum(len(part.relative_gap) for part in parts)
    names = {name for part in parts for name in part.figures}
    return {
        name: sum(part.figures.get(name, 0.0) * len(part.relative_gap) for part in parts) / total
        for name in sorted(names)
    }


def flatten_states(states: Sequence[State]) -> dict[str, torch.Tensor]:
    """Named tensors that hold the warm starts of all chunks, for a checkpoint.

    Raises:
        TypeError: for a warm start that is neither `None`, a tensor, nor a mapping of tensors.
    """
    named: dict[str, torch.Tensor] = {}
    for number, state in enumerate(states):
        if state is None:
            continue
        if isinstance(state, torch.Tensor):
            named[f"{number}"] = state
        elif isinstance(state, Mapping) and all(isinstance(value, torch.Tensor) for value in state.values()):
            named.update({f"{number}.{name}": value for name, value in state.items()})
        else:
            raise TypeError(
                f"a warm start of type {type(state).__name__} cannot be kept in a checkpoint; a micro model's state "
                "must be None, a tensor or a mapping of tensors."
            )
    return named


def unflatten_states(named: Mapping[str, torch.Tensor], count: int) -> tuple[State, ...]:
    """Inverse of `flatten_states` for `count` chunks."""
    states: list[Any] = [None] * count
    for key, value in named.items():
        number, _, name = key.partition(".")
        if not name:
            states[int(number)] = value
        else:
            if states[int(number)] is None:
                states[int(number)] = {}
            states[int(number)][name] = value
    return tuple(states)
