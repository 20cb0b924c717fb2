"""One block of a Fourier neural operator: spectral convolution, skip, pointwise network, skip; channels last."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import nn

from equipoise.nn.fno_block_fused import block_tail, split_last_axis
from equipoise.nn.fno_block_norms import make_normalisation
from equipoise.nn.pointwise import PointwiseMLP, SoftGate, make_skip
from equipoise.nn.pointwise_affine import affine
from equipoise.nn.pointwise_fused import fusion_applies
from equipoise.nn.pointwise_gelu import gelu
from equipoise.nn.spectral_convolution import SpectralConvolution
from equipoise.nn.spectral_product_fused import dense_product
from equipoise.nn.spectral_weight import DenseSpectralWeight, kept_modes
from equipoise.nn.truncated_transforms import (
    analyse_outer,
    axis_matrices,
    check_resolution,
    choose_method,
    synthesise_outer,
)

__all__ = ["FNOBlock"]


class FNOBlock(nn.Module):
    """`z = gelu(norm(spectral(x)) + skip(x))`, then `gelu(norm(mlp(z) + mlp_skip(x)))`; no GELU in the last block.

    With pre-activation, `x <- norm(gelu(x))`, `z = norm(gelu(spectral(x) + skip(x)))` and `mlp(z) + mlp_skip(x)`, where
    the last block leaves out the second GELU.

    Args:
        spectral: the convolution, as many channels in as out.
        channel_mlp: hidden channels of the pointwise network; none without one.
        skip, mlp_skip: `"linear"`, `"identity"`, `"soft-gating"` or `"none"`.
        norm: `"none"`, `"instance"` or `"group"`.
        preactivation, last: see above.

    Source: Kossaifi et al. (2024), section 3 and its library.
    """

    def __init__(
        self,
        *,
        spectral: SpectralConvolution,
        channel_mlp: int | None,
        skip: str = "linear",
        mlp_skip: str = "soft-gating",
        norm: str = "none",
        preactivation: bool = False,
        last: bool = False,
    ) -> None:
        super().__init__()
        width = spectral.weight.out_channels
        self.spectral, self.preactivation, self.last = spectral, preactivation, last
        self.skip = make_skip(skip, width)
        self.channel_mlp, self.mlp_skip = None, None
        if channel_mlp is not None:
            self.channel_mlp = PointwiseMLP(in_channels=width, hidden_channels=channel_mlp, out_channels=width)
            self.mlp_skip = make_skip(mlp_skip, width)
        self.first_norm, self.second_norm = make_normalisation(norm, width), make_normalisation(norm, width)
        self.is_plain = norm == "none" and not preactivation

    def forward(self, field: Float[torch.Tensor, "batch *grid width"]) -> Float[torch.Tensor, "batch *grid width"]:
        """`(batch, *grid, width)` to the same shape."""
        if self._is_fused(field):
            return self._fused(field)
        if self.preactivation:
            return self._preactivated(field)
        out = self.first_norm(self.spectral.channels_last(field))
        if self.skip is not None:
            out = out + _skipped(self.skip, field)
        if not self.last:
            out = gelu(out)
        out = self.second_norm(self._through_mlp(out, field))
        return out if self.last else gelu(out)

    def _preactivated(self, field: torch.Tensor) -> torch.Tensor:
        field = self.first_norm(gelu(field))
        out = self.spectral.channels_last(field)
        if self.skip is not None:
            out = out + _skipped(self.skip, field)
        if not self.last:
            out = gelu(out)
        return self._through_mlp(self.second_norm(out), field)

    def _through_mlp(self, out: torch.Tensor, field: torch.Tensor) -> torch.Tensor:
        if self.channel_mlp is not None:
            out = self.channel_mlp(out)
        return out if self.mlp_skip is None else out + _skipped(self.mlp_skip, field)

    def _is_fused(self, field: torch.Tensor) -> bool:
        """Whether the usual block runs, on a processor, by products with matrices."""
        return (
            fusion_applies(field)
            and self.is_plain
            and isinstance(self.skip, nn.Linear)
            and isinstance(self.mlp_skip, SoftGate)
            and (self.spectral.method or choose_method(self.spectral.n_modes, field.device)) == "matrix"
        )

    def _fused(self, field: torch.Tensor) -> torch.Tensor:
        skip, mlp, gate = self.skip, self.channel_mlp, self.mlp_skip
        assert isinstance(skip, nn.Linear)
        assert isinstance(mlp, PointwiseMLP)
        assert isinstance(gate, SoftGate)
        grid, n_modes = field.shape[1:-1], self.spectral.n_modes
        check_resolution(grid, n_modes)
        forward, inverse = axis_matrices(grid[-1], n_modes[-1], last=True, dtype=field.dtype, device=field.device)
        halved, lines = split_last_axis(field.reshape(-1, grid[-1], field.shape[-1]), forward)
        weight, bias = self.spectral.weight, self.spectral.bias
        whole = weight.kept == kept_modes(n_modes)
        if isinstance(weight, DenseSpectralWeight) and bias is not None and whole:
            modes = dense_product(halved, weight.weight, bias, tuple(grid), n_modes)
        else:
            modes = synthesise_outer(self.spectral.multiply(analyse_outer(halved, grid, n_modes)), grid, n_modes)
        weights = (skip.weight, mlp.inner.weight, mlp.inner.bias, mlp.outer.weight, mlp.outer.bias, gate.weight)
        return block_tail(modes, lines, inverse, *weights, last=self.last).view(field.shape)


def _skipped(skip: nn.Module, field: torch.Tensor) -> torch.Tensor:
    return affine(field, skip) if isinstance(skip, nn.Linear) else skip(field)
