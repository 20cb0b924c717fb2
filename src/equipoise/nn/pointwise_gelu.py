"""GELU, in the form that suits whoever runs it: the library's kernel, or a formula that a compiler fuses.

Compilers for processors expand GELU into the error function, which is slow, and compute it twice again for the
gradient. The formula here shares one exponential between value and gradient, computes both once, and is as exact as
single precision.
"""

from __future__ import annotations

import math
from typing import Any

import torch

__all__ = ["gelu", "is_compiled_for_processor"]


def gelu(values: torch.Tensor) -> torch.Tensor:
    """`x Phi(x)` with the normal distribution Phi, elementwise; in exported programs it stays one operation."""
    if values.dtype == torch.float32 and is_compiled_for_processor(values):
        return FormulaGELU.apply(values)
    return torch.nn.functional.gelu(values)


def is_compiled_for_processor(values: torch.Tensor) -> bool:
    """Whether a compiler for processors is at work, rather than an exporter or nobody."""
    return torch.compiler.is_compiling() and not _is_exporting() and values.device.type == "cpu"


def _is_exporting() -> bool:
    known = getattr(torch.compiler, "is_exporting", None)
    return known is not None and known()


class FormulaGELU(torch.autograd.Function):
    """GELU to an error of 3e-7, for single precision.

    Source: Abramowitz and Stegun (1964), formula 7.1.26 for the error function.
    """

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:
        below, density = _normal(values)
        ctx.save_for_backward(values, _kept(below + values * density))
        return _kept(values * below)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        values, slope = ctx.saved_tensors
        if torch.is_grad_enabled():
            # The gradient is itself differentiated: it has to be a smooth function of the values.
            bell = torch.exp(-0.5 * values * values)
            slope = torch.special.ndtr(values) + values * bell / math.sqrt(2 * math.pi)
        return gradient * slope


def _kept(values: torch.Tensor) -> torch.Tensor:
    """The values themselves, as a product of one factor each, which compilers store and never compute again."""
    return values[None].prod(0)


def _normal(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Distribution and density of the standard normal law."""
    bell = torch.exp(-0.5 * values * values)
    t = 1 / (1 + (0.3275911 / math.sqrt(2)) * values.abs())
    series = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t
    tail = 0.5 * series * bell
    return torch.where(values > 0, 1 - tail, tail), bell / math.sqrt(2 * math.pi)
