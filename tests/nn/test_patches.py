"""Multigrid patches: the positions of every view, and stitching as the inverse of cutting."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.nn.patches import EDGES, crop, cut, halo_points, stitch, view_positions


def field(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("levels", "side", "channels"), [(0, 148, 1), (1, 84, 2), (2, 52, 3)])
def test_shapes_are_those_of_the_published_table(levels: int, side: int, channels: int) -> None:
    halo = halo_points((128, 128), 0.078125)
    assert halo == (10, 10)
    patches = cut(field(2, 1, 128, 128), levels, halo=halo)
    assert patches.shape == (2 * 4**levels, channels, side, side)
    assert crop(patches, halo).shape[2:] == (128 // 2**levels,) * 2


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2), st.integers(0, 4), st.integers(0, 4), st.sampled_from([(16, 32), (32, 16)]))
def test_stitching_undoes_cutting_for_every_halo(levels: int, first: int, second: int, grid: tuple[int, int]) -> None:
    values = field(3, 2, *grid)
    patches = cut(values, levels, halo=(first, second))
    assert torch.equal(stitch(crop(patches, (first, second))[:, :2], levels), values)


@pytest.mark.parametrize("levels", [0, 1, 2])
@pytest.mark.parametrize("grid", [(16,), (16, 16, 16)])
def test_stitching_undoes_cutting_in_one_and_three_dimensions(levels: int, grid: tuple[int, ...]) -> None:
    values, halo = field(2, 1, *grid), (1,) * len(grid)
    patches = cut(values, levels, halo=halo)
    assert patches.shape == (2 * 2 ** (levels * len(grid)), levels + 1, *[16 // 2**levels + 2] * len(grid))
    assert torch.equal(stitch(crop(patches, halo)[:, :1], levels), values)


@pytest.mark.parametrize(("levels", "halo"), list(itertools.product([1, 2], [0, 3])))
def test_views_hold_the_points_of_the_published_formula(levels: int, halo: int) -> None:
    side = 32
    rows = torch.arange(side, dtype=torch.float64)[:, None].expand(side, side)
    patches = cut(torch.stack([rows, rows.T])[None], levels, halo=(halo, halo))
    count = 2**levels
    p = side // count
    for row, column, level in itertools.product(range(count), range(count), range(levels + 1)):
        step = 2**level
        found = patches[row * count + column, 2 * level : 2 * level + 2]
        for k, along in ((row, found[0, :, 0]), (column, found[1, 0, :])):
            start = k * p // step - (p - p // step + 1) // 2 - halo
            expected = [step * (start + i) % side for i in range(p + 2 * halo)]
            assert along.tolist() == expected


@pytest.mark.parametrize("levels", [1, 2])
def test_coarsest_view_without_halo_holds_the_whole_domain(levels: int) -> None:
    for k in range(2**levels):
        positions = view_positions(64, levels, levels, 0)[k]
        assert sorted(positions.tolist()) == list(range(0, 64, 2**levels))


def test_patches_move_with_shifts_by_whole_patches() -> None:
    values, halo = field(1, 1, 32, 32), (3, 1)
    patches = cut(values, 2, halo=halo).view(4, 4, 3, 14, 10)
    shifted = cut(values.roll((8, 16), (2, 3)), 2, halo=halo).view(4, 4, 3, 14, 10)
    assert torch.equal(shifted, patches.roll((1, 2), (0, 1)))


def test_no_levels_is_the_field_itself() -> None:
    values = field(2, 3, 15, 10)
    assert torch.equal(cut(values, 0), values)
    assert torch.equal(stitch(values, 0), values)


def test_edges_that_do_not_wrap() -> None:
    assert view_positions(8, 0, 0, 2, "nearest").tolist() == [[0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 7, 7]]
    assert view_positions(8, 0, 0, 2, "reflect").tolist() == [[2, 1, 0, 1, 2, 3, 4, 5, 6, 7, 6, 5]]
    wide = view_positions(16, 2, 2, 4, "reflect")
    assert int(wide.min()) >= 0
    assert int(wide.max()) < 16
    values = field(1, 1, 16, 16)
    mixed = cut(values, 1, halo=(2, 2), edges=("nearest", "periodic"))
    assert torch.equal(mixed[0, 0, 0], mixed[0, 0, 2])
    assert torch.equal(mixed[0, 0, :, 0], torch.cat([values[0, 0, :1, 14].expand(2), values[0, 0, :10, 14]]))


def test_gradients_of_a_sum_over_points_are_equal_with_and_without_stitching() -> None:
    values, target = field(2, 1, 16, 16).requires_grad_(), field(2, 1, 16, 16, seed=1)
    patches = crop(cut(values, 1, halo=(2, 2))[:, :1], (2, 2))
    stitched = (stitch(patches, 1) - target).square().sum()
    apart = (patches - cut(target, 1, views=1)).square().sum()
    first, second = (torch.autograd.grad(loss, values, retain_graph=True)[0] for loss in (stitched, apart))
    torch.testing.assert_close(first, second)


def test_bad_sizes_are_named() -> None:
    with pytest.raises(ValueError, match="levels=2: sides must be multiples of 16, such as 32 x 48"):
        cut(field(1, 1, 32, 50), 2)
    with pytest.raises(ValueError, match="is unknown; use one of " + ", ".join(EDGES)):
        view_positions(8, 0, 0, 0, "zero")
    with pytest.raises(ValueError, match="not whole fields of 4 patches"):
        stitch(field(3, 1, 4, 4), 1)
    with pytest.raises(ValueError, match="take from none to its side"):
        halo_points((8, 8), -1)
    with pytest.raises(ValueError, match="has 3 axes, the grid has 2"):
        halo_points((8, 8), (1, 1, 1))
