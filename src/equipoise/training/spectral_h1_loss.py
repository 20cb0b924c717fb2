"""The relative H1 loss of the MgNO paper's Darcy runs: by the discrete Fourier transform, with integer wavenumbers.

`losses.RelativeLoss` with order 1 is the H1 norm of the continuum; the two balance derivatives otherwise.
"""

from __future__ import annotations

import torch
from jaxtyping import Float

from equipoise.spaces.grid import Grid
from equipoise.training.losses import RelativeLoss

__all__ = ["SpectralH1Loss"]


class SpectralH1Loss(RelativeLoss):
    """Norm of `w(k) (p_k - y_k)` over that of `w(k) y_k` for each sample, `w(k) = (1 + |k|^2)^(1/2)`.

    Wavenumbers k are integers, without 2 pi, and a component of size `cutoff` or more counts as zero, so that the
    highest frequencies have weight one. The transform takes every field as periodic: where it is not, this is no
    Sobolev norm, and serves to train with only.

    Args:
        grid: of the fields. cutoff: first wavenumber without weight; `None` for none.
        relative: divide by the norm of the exact field.

    Raises:
        ValueError: for a cutoff below 1.

    Source: read off the code of He, Liu and Xu (2024), where the cutoff is 20.
    """

    def __init__(self, grid: Grid, *, cutoff: int | None = 20, relative: bool = True) -> None:
        if cutoff is not None and cutoff < 1:
            raise ValueError(f"cutoff={cutoff} must be at least 1.")
        super().__init__(grid, order=1.0, relative=relative)
        self.cutoff = cutoff
        self._weights = self._squared_weights()

    def norm(self, field: Float[torch.Tensor, "n channel *grid"]) -> Float[torch.Tensor, " n"]:
        """The weighted norm of the Fourier coefficients; without derivatives, the root of the sum of squares."""
        self.grid.check_field(field)
        coefficients = torch.fft.rfftn(field, dim=tuple(range(2, field.ndim)), norm="ortho")
        power = coefficients.real.square() + coefficients.imag.square()
        return (power * self._weights.to(power)).flatten(1).sum(1).sqrt()

    def _squared_weights(self) -> torch.Tensor:
        """`w(k)^2` in the order of the real transform, whose left-out half counts through its mirror image."""
        squared = torch.ones((), dtype=torch.float64)
        for axis, count in enumerate(self.grid.shape):
            frequencies = torch.fft.rfftfreq if axis == self.grid.dim - 1 else torch.fft.fftfreq
            wavenumbers = (count * frequencies(count, dtype=torch.float64)).round().abs()
            if self.cutoff is not None:
                wavenumbers = torch.where(wavenumbers < self.cutoff, wavenumbers, torch.zeros_like(wavenumbers))
            squared = squared[..., None] + wavenumbers.square()
        copies = torch.full_like(squared, 2.0)
        copies[..., 0] = 1.0
        if self.grid.shape[-1] % 2 == 0:
            copies[..., -1] = 1.0
        return squared * copies
