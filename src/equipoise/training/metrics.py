"""Errors of predicted fields: over samples, by channel or time, and by band of wavenumbers."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float

from equipoise.spaces.grid import Grid
from equipoise.spaces.norms import l2_norm, relative_error
from equipoise.spaces.transforms import series_coefficients, squared_wavenumber

__all__ = ["FieldErrors", "error_summary", "sample_errors"]


def sample_errors(
    prediction: Float[torch.Tensor, "n channel *grid"],
    exact: Float[torch.Tensor, "n channel *grid"],
    grid: Grid,
    *,
    order: float = 0.0,
) -> Float[torch.Tensor, " n"]:
    """Relative error of each sample in the Sobolev norm of the given order, in float64.

    Raises:
        ValueError: for an exact field that is zero, naming the sample.
    """
    return relative_error(prediction.double(), exact.double(), grid, order=order)


def error_summary(errors: Float[torch.Tensor, " n"]) -> dict[str, Any]:
    """Mean, median, 95th percentile, and the worst with its sample number; `non_finite` counts lost samples."""
    finite = errors[torch.isfinite(errors)]
    lost = len(errors) - len(finite)
    if len(finite) == 0:
        return {
            "mean": None,
            "median": None,
            "percentile_95": None,
            "worst": None,
            "worst_sample": 0,
            "non_finite": lost,
        }
    worst = torch.where(torch.isfinite(errors), errors, torch.full_like(errors, torch.inf)).argmax()
    return {
        "mean": float(finite.mean()),
        "median": float(finite.quantile(0.5)),
        "percentile_95": float(finite.quantile(0.95)),
        "worst": float(finite.max()),
        "worst_sample": int(worst),
        "non_finite": lost,
    }


class FieldErrors:
    """Errors summed up part by part, in float64: by channel or time, and by mode.

    Args:
        grid: of the fields.
    """

    def __init__(self, grid: Grid) -> None:
        self.grid, self._count = grid, 0
        self._sums = [torch.zeros((), dtype=torch.float64)] * 4

    def add(
        self, prediction: Float[torch.Tensor, "n channel *grid"], exact: Float[torch.Tensor, "n channel *grid"]
    ) -> None:
        """Count some samples in."""
        error, exact = prediction.double() - exact.double(), exact.double()
        parts = [*(self._channels(field) for field in (error, exact)), *(_power(f, self.grid) for f in (error, exact))]
        self._count += len(exact)
        self._sums = [whole + part.cpu() for whole, part in zip(self._sums, parts, strict=True)]

    def _channels(self, field: torch.Tensor) -> torch.Tensor:
        norms = l2_norm(field.flatten(0, 1)[:, None], self.grid).unflatten(0, field.shape[:2])
        return norms.square().sum(0)

    def by_channel(self, names: Sequence[str]) -> dict[str, float]:
        """Error of each channel, or time, in L2, relative to its root-mean-square size over all samples."""
        found = {}
        for name, error, size in zip(names, *self._sums[:2], strict=True):
            found[name] = float((error / (size if float(size) > 0 else self._count)).sqrt())
        return found

    def by_wavenumber(self, *, bands: int = 4) -> list[Mapping[str, float]]:
        """Error by band of wavenumbers, from the series of the fields: Fourier along periodic axes, cosines elsewhere.

        Bands are octaves below the highest wavenumber that the grid resolves along every axis; the last holds all
        above.

        Returns:
            For each band its ends (angular wavenumbers), the energy of the error over that of the exact field in the
            band (`relative_error`, a root), and the band's share of the energy of the whole error.
        """
        grid, (error, truth) = self.grid, self._sums[2:]
        size = squared_wavenumber(grid, dtype=torch.float64, device=torch.device("cpu")).sqrt()
        top = min(float(grid.wavenumbers(axis).abs().max()) for axis in range(grid.dim))
        ends = [0.0, *(top / 2 ** (bands - 1 - i) for i in range(bands - 1)), float("inf")]
        total = float(error.sum())
        found: list[Mapping[str, float]] = []
        for low, high in itertools.pairwise(ends):
            inside = (size >= low) & (size < high)
            wrong, right = float(error[inside].sum()), float(truth[inside].sum())
            found.append(
                {
                    "from": low,
                    "to": high if high < float("inf") else float(size.max()),
                    "relative_error": (wrong / right) ** 0.5 if right > 0 else 0.0,
                    "share_of_error": wrong / total if total > 0 else 0.0,
                }
            )
        return found


def _power(field: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Energy of each mode, over samples and channels; the halves of cosines don't change ratios within a band."""
    coefficients = series_coefficients(field, grid)
    return (coefficients.real.square() + coefficients.imag.square()).sum((0, 1))
