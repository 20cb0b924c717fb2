"""The small convolutional network that turns a residual into a search direction: deep conjugate directions.

It is fully convolutional with one level of pooling and serves any grid of even counts; its weights belong to the
spacing they were trained on. The iteration that uses it is `solvers/learned_directions.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import nn
from torch.nn import functional as F

from equipoise.nn.initialisation import seeded

__all__ = ["LAYOUTS", "DirectionNet", "deepened", "network_direction"]

_CONVOLUTIONS: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_POOLS: dict[int, Any] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_FORMATS: dict[int, Any] = {2: torch.channels_last, 3: torch.channels_last_3d}
_PRECISIONS = {"full": torch.float32, "half": torch.float16, "bfloat16": torch.bfloat16}

LAYOUTS: dict[str, tuple[int, int, int]] = {"k64": (1, 3, 2), "k128": (2, 5, 3)}
"""Repeats before the pooling, residual blocks on the coarse grid, residual blocks after it."""


class DirectionNet(nn.Module):
    """Residual to direction, `(n, 1, *grid)` each.

    Args:
        dim: axes of the grid, 1 to 3.
        layout: `"k64"` or `"k128"`, the depths published for grids of 64 and 128 cells a side.
        width: channels.
        bias: whether convolutions have biases, zero at first. Without them `f(c r) = c f(r)` for every c > 0, so that
            the scale of the residual does not matter.
        seed: of the weights, Glorot's uniform ones.

    Raises:
        ValueError: for options out of range; in the call for a grid with an odd count.

    Source: Kaneda et al. (2023), architecture of both published networks.
    """

    def __init__(
        self, *, dim: int = 2, layout: str = "k64", width: int = 16, bias: bool = False, seed: int = 0
    ) -> None:
        super().__init__()
        if layout not in LAYOUTS:
            raise ValueError(f"layout={layout!r} is unknown; use one of {', '.join(LAYOUTS)}.")
        if not 1 <= dim <= 3 or width < 1:
            raise ValueError(f"dim={dim} must be 1, 2 or 3, and width={width} positive.")
        self.config: dict[str, Any] = {"dim": dim, "layout": layout, "width": width, "bias": bias, "seed": seed}
        repeats, low, post = LAYOUTS[layout]
        with seeded(seed):
            self.first = self._convolution(1, width)
            self.pre = nn.ModuleList(self._convolution(width, width) for _ in range(2 + 2 * repeats))
            self.low = nn.ModuleList(self._convolution(width, width) for _ in range(2 * low))
            self.post = nn.ModuleList(self._convolution(width, width) for _ in range(2 * post))
            self.last = self._convolution(width, 1, size=1)
        if dim in _FORMATS:  # Channels last is 1.7 times as fast on processors, and what tensor cores want.
            self.to(memory_format=_FORMATS[dim])  # type: ignore[call-overload]  # its stub knows four axes only

    def _convolution(self, inputs: int, outputs: int, *, size: int = 3) -> nn.Module:
        config = self.config
        layer: nn.Module = _CONVOLUTIONS[config["dim"]](inputs, outputs, size, padding=size // 2, bias=False)
        nn.init.xavier_uniform_(layer.weight)  # type: ignore[arg-type]  # a tensor
        if config["bias"]:
            layer.bias = nn.Parameter(torch.zeros(outputs))
        return layer

    def forward(self, residual: Float[torch.Tensor, "n one *grid"]) -> Float[torch.Tensor, "n one *grid"]:
        """A direction for each residual; neither its scale nor its sign matters to the solver."""
        self._check(residual)
        first = self.first(residual)
        here = torch.relu_(self.pre[0](first))
        skipped = torch.relu_(self.pre[1](here))
        for number in range(2, len(self.pre), 2):
            here = torch.relu_(self.pre[number](skipped)) + here
            skipped = torch.relu_(self.pre[number + 1](here))
        hidden = _residual_blocks(_POOLS[self.config["dim"]](skipped, 2), self.low)
        hidden = F.interpolate(hidden, scale_factor=2, mode="nearest") + skipped
        return self.last(_residual_blocks(hidden, self.post))

    def _check(self, residual: torch.Tensor) -> None:
        dim = self.config["dim"]
        if residual.ndim != 2 + dim or residual.shape[1] != 1:
            raise ValueError(f"residuals have shape {tuple(residual.shape)}; expected (n, 1) and {dim} axes.")
        if any(count % 2 for count in residual.shape[2:]):
            raise ValueError(f"a grid of {tuple(residual.shape[2:])} cells can't be halved; use even counts.")


def _residual_blocks(hidden: torch.Tensor, layers: nn.ModuleList) -> torch.Tensor:
    for number in range(0, len(layers), 2):
        hidden = torch.relu_(layers[number + 1](torch.relu_(layers[number](hidden)))) + hidden
    return hidden


def deepened(network: DirectionNet, layout: str = "k128", *, share: float = 0.1) -> DirectionNet:
    """A deeper network that does nearly the same as this one, to be trained further; on the same device.

    Args:
        layout: of the new network, at least as deep in every part.
        share: size of the new blocks' output beside that of fresh ones; with 0 nothing changes, and nothing is learned.

    Raises:
        ValueError: for a layout that is shallower.
    """
    if layout not in LAYOUTS or any(
        a > b for a, b in zip(LAYOUTS[network.config["layout"]], LAYOUTS[layout], strict=True)
    ):
        raise ValueError(f"a network of layout {network.config['layout']!r} cannot be deepened to {layout!r}.")
    twin = DirectionNet(**{**network.config, "layout": layout}).to(next(network.parameters()).dtype)
    with torch.no_grad():
        # In residual blocks the second of a pair makes what is added, before the pooling the first.
        for name, scaled in (("pre", 0), ("low", 1), ("post", 1)):
            old, new = getattr(network, name), getattr(twin, name)
            for number in range(len(old), len(new)):
                if number % 2 == scaled:
                    new[number].weight.mul_(share)
                elif name == "pre":
                    new[number].load_state_dict(old[-1].state_dict())
            for source, target in zip(old, new, strict=False):
                target.load_state_dict(source.state_dict())
        for name in ("first", "last"):
            getattr(twin, name).load_state_dict(getattr(network, name).state_dict())
    return twin.to(next(network.parameters()).device)


def network_direction(
    network: DirectionNet, *, precision: str = "full", copy: bool = False
) -> Callable[[torch.Tensor], torch.Tensor]:
    """What `solvers.learned_directions` calls: fields `(n, *grid)` of any dtype to directions, without derivatives.

    Args:
        network: on the device of the fields.
        precision: `"full"` (float32), `"half"` or `"bfloat16"`. The solver keeps float64 whatever the network uses.
        copy: use the weights of now, rather than those of the time of each call; always so below full precision.

    Raises:
        ValueError: for an unknown precision.
    """
    if precision not in _PRECISIONS:
        raise ValueError(f"precision={precision!r} is unknown; use one of {', '.join(_PRECISIONS)}.")
    dtype = _PRECISIONS[precision]
    if copy or precision != "full":
        twin = DirectionNet(**network.config).to(next(network.parameters()).device)
        twin.load_state_dict(network.state_dict())
        network = twin.to(dtype).eval()

    @torch.no_grad()
    def direction(field: torch.Tensor) -> torch.Tensor:
        if not network.config["bias"]:
            # Entries of a unit vector are small for half precision; a network without biases ignores the scale.
            field = field * float(field[0].numel()) ** 0.5
        return network(field[:, None].to(dtype))[:, 0].to(field.dtype)

    return direction
