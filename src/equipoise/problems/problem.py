"""The seam of a family of equations: draw inputs, solve them for reference, and say by how much an answer fails.

One object is one family on one grid. Samplers take a generator, so that a sample is a function of its seed alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float

from equipoise.spaces.grid import Grid

__all__ = ["Problem"]


class Problem(ABC):
    """Family of equations `R(u; a) = 0` on a grid.

    Attributes:
        name: as the command line knows it. grid: of the outputs, and of the inputs too but for `input_grid`.
        input_names, output_names: of the channels.
        times: of the outputs, where they are later states of the input at time zero; else empty.
        order: at which the reference solution converges in its steps or spacings.
    """

    name: str
    grid: Grid
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    times: tuple[float, ...] = ()
    order: float

    @property
    def input_grid(self) -> Grid:
        """Where inputs live, where that is another grid than that of the outputs."""
        return self.grid

    @abstractmethod
    def sample(self, count: int, generator: torch.Generator) -> Float[torch.Tensor, "count inputs *grid"]:
        """Draw inputs; float64 on the generator's device."""

    @abstractmethod
    def solve(self, inputs: Float[torch.Tensor, "n inputs *grid"]) -> Float[torch.Tensor, "n outputs *grid"]:
        """Reference solutions, in the dtype and on the device of the inputs.

        Raises:
            ValueError: for inputs of another shape, or not finite (the sample is named).
            ConvergenceError: where a solution is not reached.
        """

    @abstractmethod
    def residual(
        self, inputs: Float[torch.Tensor, "n inputs *grid"], outputs: Float[torch.Tensor, "n outputs *grid"]
    ) -> Float[torch.Tensor, "n residuals *grid"]:
        """By how much outputs fail the discrete equations, differentiable in them; zero for `solve(inputs)`."""

    def check_inputs(self, inputs: torch.Tensor) -> None:
        """Raise `ValueError` for inputs of another shape, or with a value that is not finite, naming the sample."""
        self.input_grid.check_field(inputs, name=f"the input of {self.name}")
        names = self.input_names
        if inputs.shape[1] != len(names):
            raise ValueError(
                f"inputs have {inputs.shape[1]} channels; {self.name} has {len(names)}: {', '.join(names)}."
            )
        bad = torch.nonzero(~torch.isfinite(inputs).flatten(1).all(1)).flatten().tolist()
        if bad:
            raise ValueError(f"inputs of {self.name}: sample {bad[0]} holds a value that is not finite.")
