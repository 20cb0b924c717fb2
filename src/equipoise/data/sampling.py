"""Drawing macroscopic strains in a box: Latin hypercube, Sobol, uniform, and the Laplace law of the EquiNO paper.

Every draw is a function of the count, the box and the seed alone, so that sample `i` never depends on batches, workers
or an interruption. Random fields and initial conditions are drawn elsewhere.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from scipy.stats import qmc

__all__ = ["laplace", "latin_hypercube", "sobol", "symmetric_box", "uniform"]


def symmetric_box(half_width: float | list[float] | tuple[float, ...], n_strain: int) -> torch.Tensor:
    """Box `[-h, h]` of every component, `(2, v)`, from one half width for all components or one for each.

    Raises:
        ValueError: for a half width that is not finite and positive, or a wrong number of them.
    """
    widths = [half_width] * n_strain if isinstance(half_width, int | float) else list(half_width)
    if len(widths) == 1:
        widths = widths * n_strain
    if len(widths) != n_strain:
        raise ValueError(f"the box has {len(widths)} half widths; give 1 or {n_strain}, one for each strain component.")
    for width in widths:
        if not (np.isfinite(width) and width > 0):
            raise ValueError(f"box half width {width} must be finite and greater than 0.")
    half = torch.tensor(widths, dtype=torch.float64)
    return torch.stack([-half, half])


def latin_hypercube(count: int, box: torch.Tensor, *, seed: int) -> torch.Tensor:
    """Latin-hypercube points: each of `count` slices of each component holds exactly one, `(count, v)` float64.

    Args:
        count: number of points, at least 1.
        box: lowest and highest value of each component, `(2, v)`.
        seed: non-negative integer.

    Raises:
        ValueError: for a count below 1, a negative seed, or a box that is not `(2, v)`, finite and increasing.

    Source: McKay, Beckman and Conover (1979).
    """
    low, high = _checked(count, box, seed)
    return _scaled(qmc.LatinHypercube(len(low), rng=np.random.default_rng(seed)).random(count), low, high)


def sobol(count: int, box: torch.Tensor, *, seed: int) -> torch.Tensor:
    """Scrambled Sobol points, `(count, v)` float64; arguments and errors as `latin_hypercube`.

    A shorter draw with the same seed is the beginning of a longer one.

    Source: Sobol (1967); scrambling of Owen (1995).
    """
    low, high = _checked(count, box, seed)
    engine = qmc.Sobol(len(low), scramble=True, rng=np.random.default_rng(seed))
    with warnings.catch_warnings():
        # SciPy warns of counts that are no power of two; balance is then slightly worse, and that is the user's choice.
        warnings.simplefilter("ignore", UserWarning)
        points = engine.random(count)
    return _scaled(points, low, high)


def uniform(count: int, box: torch.Tensor, *, seed: int) -> torch.Tensor:
    """Independent uniform points, `(count, v)` float64; arguments and errors as `latin_hypercube`.

    A shorter draw with the same seed is the beginning of a longer one.
    """
    low, high = _checked(count, box, seed)
    return _scaled(np.random.default_rng(seed).random((count, len(low))), low, high)


def laplace(count: int, box: torch.Tensor, *, seed: int, scale: float = 0.01) -> torch.Tensor:
    """Strains that crowd about zero: Latin-hypercube quantiles of Laplace(0, `scale`), `(count, v)` float64.

    A value beyond an end of the box is mirrored at that end, at either end alike, until it lies within.

    Args:
        count, box, seed: as in `latin_hypercube`; the box must contain zero.
        scale: scale of the Laplace law, the mean absolute value before mirroring; 0.01 as in the paper.

    Raises:
        ValueError: as `latin_hypercube`, for a scale that is not positive, and for a box without zero.

    Source: Eivazi et al. (2026), collocation strains; the mirroring at the lower end is ours.
    """
    low, high = _checked(count, box, seed)
    if not (np.isfinite(scale) and scale > 0):
        raise ValueError(f"scale={scale} must be finite and greater than 0.")
    if (low > 0).any() or (high < 0).any():
        raise ValueError("the box must contain zero, about which the Laplace law is centred.")
    centred = qmc.LatinHypercube(len(low), rng=np.random.default_rng(seed)).random(count) - 0.5
    # The open interval keeps the logarithm finite.
    centred = np.clip(centred, -0.5 + 1e-16, 0.5 - 1e-16)
    values = -scale * np.sign(centred) * np.log1p(-2 * np.abs(centred))
    return torch.from_numpy(_mirrored(values, low, high))


def _mirrored(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Fold values into the box by reflection at both ends: a triangle wave of period twice the width."""
    width = high - low
    phase = np.mod(values - low, 2 * width)
    folded = low + np.minimum(phase, 2 * width - phase)
    inside = (values >= low) & (values <= high)
    return np.where(inside, values, np.clip(folded, low, high))


def _checked(count: int, box: torch.Tensor, seed: int) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(count, bool) or not isinstance(count, int):
        raise TypeError(f"count is {type(count).__name__}; expected an integer.")
    if count < 1:
        raise ValueError(f"count={count} must be at least 1.")
    if seed < 0:
        raise ValueError(f"seed={seed} must not be negative.")
    bounds = torch.as_tensor(box, dtype=torch.float64).cpu().numpy()
    if bounds.ndim != 2 or bounds.shape[0] != 2:
        raise ValueError(f"box has shape {tuple(bounds.shape)}; expected (2, v): lowest and highest values.")
    if not np.isfinite(bounds).all() or (bounds[0] >= bounds[1]).any():
        raise ValueError(f"box {bounds.tolist()} must be finite, and each lowest value below its highest.")
    return bounds[0], bounds[1]


def _scaled(unit: np.ndarray, low: np.ndarray, high: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.clip(low + unit * (high - low), low, high))
