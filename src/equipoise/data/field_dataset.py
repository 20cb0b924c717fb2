"""Pairs of fields on a grid, as operators learn from them; files are read elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from equipoise.errors import FormatError
from equipoise.spaces.grid import Grid

__all__ = ["FieldDataset"]


@dataclass(frozen=True, eq=False)
class FieldDataset:
    """Inputs and outputs of an operator on grids, samples first.

    Attributes:
        inputs: `(n, channel, *input_grid)`. outputs: `(n, channel, *grid)`.
        grid: of the outputs. input_grid: of the inputs; that of the outputs by default.
        input_names, output_names: of the channels; numbered by default.
        times: of the input and of each output channel, where the outputs are later states of the input; else empty.
        settings: how the samples came about, plain JSON values.

    Raises:
        FormatError: for fields that do not live on their grids, other numbers of samples, or wrong numbers of names.
    """

    inputs: torch.Tensor
    outputs: torch.Tensor
    grid: Grid
    input_grid: Grid | None = None
    input_names: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()
    times: tuple[float, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, grid in (("inputs", self.input_grid or self.grid), ("outputs", self.grid)):
            values = getattr(self, name)
            try:
                grid.check_field(values, name=f"the {name}")
            except ValueError as error:
                raise FormatError(str(error)) from error
            names = getattr(self, f"{name[:-1]}_names") or tuple(f"{name[:-1]} {i}" for i in range(values.shape[1]))
            if len(names) != values.shape[1]:
                raise FormatError(f"the {name} have {values.shape[1]} channels and {len(names)} names.")
            object.__setattr__(self, f"{name[:-1]}_names", tuple(names))
        if len(self.inputs) != len(self.outputs) or len(self.inputs) == 0:
            counts = f"{len(self.inputs)} inputs and {len(self.outputs)} outputs"
            raise FormatError(f"there are {counts}; give as many of each.")
        if self.times and len(self.times) != 1 + self.outputs.shape[1]:
            raise FormatError(f"{len(self.times)} times were given for 1 input and {self.outputs.shape[1]} outputs.")
        object.__setattr__(self, "input_grid", self.input_grid or self.grid)

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def fingerprint(self) -> str:
        """Digest of grids and values."""
        digest = hashlib.sha256(repr((self.grid, self.input_grid)).encode())
        for values in (self.inputs, self.outputs):
            digest.update(values.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def subset(self, samples: torch.Tensor | slice) -> FieldDataset:
        """The chosen samples, by slice, indices or booleans."""
        return FieldDataset(
            self.inputs[samples],
            self.outputs[samples],
            self.grid,
            self.input_grid,
            self.input_names,
            self.output_names,
            self.times,
            self.settings,
        )

    def non_finite(self) -> list[int]:
        """Numbers of the samples that hold a value that is not finite."""
        finite = torch.isfinite(self.inputs).flatten(1).all(1) & torch.isfinite(self.outputs).flatten(1).all(1)
        return torch.nonzero(~finite).flatten().tolist()

    def check_finite(self) -> None:
        """Raise `FormatError` naming the first sample with a value that is not finite."""
        bad = self.non_finite()
        if bad:
            share = f"{len(bad)} of {len(self)} samples"
            raise FormatError(f"{share} hold values that are not finite, first sample {bad[0]}.")

    def describe(self) -> dict[str, Any]:
        """Shapes, ranges and bad samples, as JSON holds them."""
        return {
            "count": len(self),
            "grid": _grid_figures(self.grid),
            "input_grid": _grid_figures(self.input_grid or self.grid),
            "inputs": _channel_figures(self.inputs, self.input_names),
            "outputs": _channel_figures(self.outputs, self.output_names),
            "non_finite_samples": self.non_finite(),
            "settings": dict(self.settings),
        }


def _grid_figures(grid: Grid) -> dict[str, Any]:
    return {"shape": list(grid.shape), "bounds": [list(ends) for ends in grid.bounds], "periodic": list(grid.wraps)}


def _channel_figures(values: torch.Tensor, names: tuple[str, ...]) -> list[dict[str, Any]]:
    rows = []
    for channel, name in enumerate(names):
        part = values[:, channel].double()
        finite = part[torch.isfinite(part)]
        rows.append(
            {
                "name": name,
                "dtype": str(values.dtype).removeprefix("torch."),
                "lowest": float(finite.min()) if len(finite) else None,
                "highest": float(finite.max()) if len(finite) else None,
                "mean": float(finite.mean()) if len(finite) else None,
                "standard_deviation": float(finite.std(correction=0)) if len(finite) else None,
            }
        )
    return rows
