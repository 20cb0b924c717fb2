"""A network watched at work: calls of functions with sizes in points, parameters used outside layers, failing layers.

It runs on the training grid and on one twice as fine, so that a size that follows the input is told from one that is
written down, and what only works on the training grid fails here, under its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from equipoise.nn.resolution import Resolution
from equipoise.operators.function_calls import FunctionCall, FunctionCalls, described
from equipoise.operators.grid_picks import GridPick, described_pick
from equipoise.operators.grid_reshapes import GridReshape, described_reshape

__all__ = ["ModulePath", "Watch"]

_BY_POINTS = {
    **{f"conv{dim}d": "its taps are counted in points; use a layer of torch.nn" for dim in (1, 2, 3)},
    **{f"conv_transpose{dim}d": "its taps are counted in points; use a layer of torch.nn" for dim in (1, 2, 3)},
    **dict.fromkeys(("unfold", "fold", "im2col", "col2im"), "it cuts the grid into blocks of points"),
    **dict.fromkeys(("embedding", "embedding_bag"), "it reads an index"),
    **dict.fromkeys(("roll",), "it shifts by points"),
    **{f"lp_pool{dim}d": "it has no rule" for dim in (1, 2, 3)},
}
"""Functions that count points, and have no rule."""

_MIXING = ("einsum", "matmul", "__matmul__", "__rmatmul__", "bmm", "mm", "addmm", "baddbmm", "tensordot", "dot", "mv")
"""Functions by which a parameter outside a known layer may mix points, unknown to us."""


class ModulePath:
    """The path of the module at work, kept by hooks; after an error, that of the innermost module that was at work."""

    def __init__(self, network: nn.Module) -> None:
        self.network, self.stack = network, [""]

    @property
    def current(self) -> str:
        """Path of the innermost module."""
        return self.stack[-1]

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Follow the modules of the network for a while."""
        handles = []
        for path, module in self.network.named_modules():

            def enter(_module: nn.Module, _inputs: Any, path: str = path) -> None:
                self.stack.append(path)

            def leave(_module: nn.Module, _inputs: Any, _outputs: Any) -> None:
                self.stack.pop()

            handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
        self.stack = [""]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


class Watch(TorchFunctionMode):
    """Records what a network calls, and names what can't be converted.

    Args:
        resolution: shared with the network. path: of the module at work.
        owned: parameters of modules that the table of layers does not know, by identity, with their names.
        kept: paths of modules that are left as they are; what they do inside is their own.
        calls: that training makes, once they are known; they are converted then.
    """

    def __init__(
        self,
        resolution: Resolution,
        path: ModulePath,
        owned: dict[int, str],
        calls: list[FunctionCall] | None = None,
        kept: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.resolution, self.path, self.owned, self.kept = resolution, path, owned, kept
        self.reshapes: list[GridReshape] = []
        self.picks: list[GridPick] = []
        self.calls: list[FunctionCall] = []
        self.converting = None if calls is None else FunctionCalls(resolution, calls)
        self.refusals: dict[str, str] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Torch's hook: looks at the call, and lets it happen."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if not self.resolution.is_inside:
            self._look(name, args)
        if name == "linear" and self.converting is not None and args[0].shape[-1] != args[1].shape[-1]:
            found, wanted = args[0].shape[-1], args[1].shape[-1]
            self.refusals[self.path.current] = f"takes {wanted} values and gets {found}: it is tied to one grid"
            return args[0].new_zeros(*args[0].shape[:-1], args[1].shape[0])
        if self.converting is not None:
            result = self.converting.__torch_function__(func, types, args, kwargs)
        else:
            call = described(name, args, kwargs, self.resolution, path=self.path.current)
            if call is not None:
                self.calls.append(call)
            result = func(*args, **kwargs)
        if not self.resolution.is_inside and not self._is_kept():
            reshape = described_reshape(name, args, result, path=self.path.current)
            if reshape is not None:
                self.reshapes.append(reshape)
            pick = described_pick(name, args, kwargs, path=self.path.current)
            if pick is not None:
                self.picks.append(pick)
        return result

    def _is_kept(self) -> bool:
        return any(self.path.current == path or self.path.current.startswith(f"{path}.") for path in self.kept)

    def _look(self, name: str, args: tuple[Any, ...]) -> None:
        if name in _BY_POINTS and not _is_pointwise(name, args):
            self.refusals[self.path.current] = f"calls {name}: {_BY_POINTS[name]}"
        if name in _MIXING:
            used = [self.owned[id(value)] for value in _tensors(args) if id(value) in self.owned]
            if used:
                self.refusals[self.path.current] = (
                    f"calls {name} on its own parameter {used[0]}, which may mix points; name its class in `keep` if "
                    "it acts on channels"
                )


def _is_pointwise(name: str, args: tuple[Any, ...]) -> bool:
    if not name.startswith("conv") or len(args) < 2 or not isinstance(args[1], torch.Tensor):
        return False
    return all(size == 1 for size in args[1].shape[2:])


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
