"""Any grid operator applied patch by patch: each patch sees its surroundings in coarse views, and answers are stitched.

Cutting and stitching stand in `nn.patches`. Here they wrap an operator, so that trainer, metrics and loss see whole
fields and count whole fields.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import nn

from equipoise.nn.patches import crop, cut, halo_points, stitch

__all__ = ["MultigridPatched"]


class MultigridPatched(nn.Module):
    """Patch, operator, crop, stitch: fields in, fields out, `(batch, channel, *grid)` in one to three dimensions.

    The operator sees `(batch n^dim, (L + 1) channel, *patch)` with `n = 2^L` patches along each axis, of sides
    `side / n + 2 halo`: a sample is smaller by `n^dim` less the halo, and the work in total is larger by the halo. A
    loss on whole fields trains it stitched; to compare patch by patch, use `answer_patches` and `cut_targets`.

    Args:
        operator: maps `(L + 1)` times the channels of a field to the output, on the grid of the patch and its halo.
        levels: L; none leaves the field whole, with its halo around it.
        padding: the halo, as a share of the full side (float) or in points (int), for all axes or for each.
        edges: beyond the domain is its other side (`"periodic"`), the edge (`"nearest"`) or the mirrored domain
            (`"reflect"`), for all axes or for each.
        positions: append the coordinates of the whole domain, from 0 to 1, to the channels before cutting; those that
            an operator makes for itself are coordinates of a patch, equal for all.
        patches_at_once: at most so many go through the operator together, which bounds the memory; all by default.
        random_shift: in training, move the fields along periodic axes by a random number of points before cutting, and
            the answer back. An operator on the whole torus may know that its equations are the same everywhere; one on
            patches learns it from this. Only for families that are the same everywhere, so without `positions`.
        seed: of the shifts; they follow from it and the number of steps so far, which is saved with the weights.

    Raises:
        ValueError: from `forward`, for a grid that the levels do not divide, naming one that they do, or a number of
            channels that the operator does not take.

    Source: Kossaifi, Kovachki, Azizzadenesheli and Anandkumar (2024).
    """

    def __init__(
        self,
        operator: nn.Module,
        *,
        levels: int = 1,
        padding: float | int | tuple[float | int, ...] = 0.078125,
        edges: str | tuple[str, ...] = "periodic",
        positions: bool = False,
        patches_at_once: int | None = None,
        random_shift: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if levels < 0 or (patches_at_once is not None and patches_at_once < 1):
            raise ValueError(f"levels={levels} must not be negative, and patches_at_once={patches_at_once} positive.")
        if random_shift and positions:
            raise ValueError("random_shift moves fields to other places, so that it can't be had with positions.")
        self.config: dict[str, Any] = {
            "levels": levels,
            "padding": padding,
            "edges": edges,
            "positions": positions,
            "patches_at_once": patches_at_once,
            "random_shift": random_shift,
            "seed": seed,
        }
        self.operator = operator
        if random_shift:
            self.register_buffer("shifts_made", torch.zeros((), dtype=torch.int64))

    def forward(self, inputs: Float[torch.Tensor, "batch channel *grid"]) -> Float[torch.Tensor, "batch outputs *grid"]:
        """The stitched answer to whole fields."""
        if not (self.config["random_shift"] and self.training):
            return stitch(self.answer_patches(inputs), self.config["levels"])
        shift, axes = self._next_shift(tuple(inputs.shape[2:])), tuple(range(2, inputs.ndim))
        answer = stitch(self.answer_patches(inputs.roll(shift, axes)), self.config["levels"])
        return answer.roll([-points for points in shift], axes)

    def answer_patches(
        self, inputs: Float[torch.Tensor, "batch channel *grid"]
    ) -> Float[torch.Tensor, "patches outputs *patch"]:
        """The answer on each patch, without halo; in the order of `cut_targets`."""
        views, limit = self.views(inputs), self.config["patches_at_once"]
        answers = self.operator(views) if limit is None else torch.cat(list(map(self.operator, views.split(limit))))
        return crop(answers, self.halo(tuple(inputs.shape[2:])))

    def views(self, inputs: Float[torch.Tensor, "batch channel *grid"]) -> Float[torch.Tensor, "patches views *padded"]:
        """What the operator sees of whole fields."""
        grid, levels = tuple(inputs.shape[2:]), self.config["levels"]
        if self.config["positions"]:
            inputs = torch.cat([inputs, _positions(grid, inputs).expand(inputs.shape[0], -1, *grid)], 1)
        self._check_channels(inputs.shape[1])
        return cut(inputs, levels, halo=self.halo(grid), edges=self._edges(grid))

    def cut_targets(
        self, outputs: Float[torch.Tensor, "batch outputs *grid"]
    ) -> Float[torch.Tensor, "patches outputs *patch"]:
        """Whole fields as the patches that `answer_patches` answers with."""
        return cut(outputs, self.config["levels"], views=1)

    def halo(self, grid: tuple[int, ...]) -> tuple[int, ...]:
        """Points of the halo on each side along each axis of a grid."""
        return halo_points(grid, self.config["padding"])

    def _edges(self, grid: tuple[int, ...]) -> tuple[str, ...]:
        edges = self.config["edges"]
        each = edges if isinstance(edges, tuple) else (edges,) * len(grid)
        if len(each) != len(grid):
            raise ValueError(f"edges={edges} names {len(each)} axes, the fields have {len(grid)}.")
        return each

    def _next_shift(self, grid: tuple[int, ...]) -> list[int]:
        made = self.shifts_made
        assert isinstance(made, torch.Tensor)
        # A new generator for each step, so that a resumed training makes the shifts of one that was not stopped.
        generator = torch.Generator().manual_seed(self.config["seed"] * 1_000_003 + int(made))
        made += 1
        draws = [int(torch.randint(side, (), generator=generator)) for side in grid]
        return [n if edge == "periodic" else 0 for n, edge in zip(draws, self._edges(grid), strict=True)]

    def _check_channels(self, channels: int) -> None:
        taken = getattr(self.operator, "config", {}).get("in_channels")
        views = channels * (self.config["levels"] + 1)
        if taken is not None and taken != views:
            raise ValueError(
                f"{channels} channels are {views} with their coarse views, and the operator takes {taken}."
            )


def _positions(grid: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
    axes = [torch.arange(side, dtype=like.dtype, device=like.device) / side for side in grid]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]
