"""Facts of the small layers that know their grid: norms by integrals, pooling, padding, coordinates, graphs."""

from __future__ import annotations

import pytest
import torch

from equipoise.nn.band_limited_pooling import BandLimitedPooling, resample_grid
from equipoise.nn.coordinates import coordinate_channels, fourier_features, rotary_embedding
from equipoise.nn.graph_kernel import GraphKernel, GridMessagePassing, neighbours_within
from equipoise.nn.grid_padding import DomainPadding, pad_field
from equipoise.nn.integral_norm import IntegralNorm
from equipoise.spaces.grid import Grid
from equipoise.spaces.norms import relative_error


def _periodic(n: int) -> Grid:
    return Grid((n, n), ((0.0, 2 * torch.pi),) * 2, True)


def _smooth(grid: Grid, channels: int = 2) -> torch.Tensor:
    x, y = grid.points().unbind(-1)
    fields = [torch.sin(x) + torch.cos(2 * y - x), 3 + torch.sin(3 * x + y), torch.cos(x - 3 * y)]
    return torch.stack(fields[:channels])[None]


def test_norm_statistics_agree_between_grids_for_band_limited_fields() -> None:
    layer = IntegralNorm(channels=2).double()
    coarse, fine = layer(_smooth(_periodic(16)), _periodic(16)), layer(_smooth(_periodic(48)), _periodic(48))
    torch.testing.assert_close(fine[..., ::3, ::3], coarse, rtol=1e-12, atol=1e-12)


def test_norm_is_torchs_on_a_periodic_grid_and_weighs_ends_on_another() -> None:
    field = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    layer = IntegralNorm(channels=4, n_groups=2).double()
    expected = torch.nn.functional.group_norm(field, 2)
    torch.testing.assert_close(layer(field, Grid((8, 8), (), True)), expected)
    ends = Grid((8, 8))
    out = IntegralNorm(channels=4, affine=False, epsilon=0.0).double()(field, ends)
    torch.testing.assert_close((out * ends.weights()).sum((2, 3)), torch.zeros(2, 4, dtype=torch.float64))
    torch.testing.assert_close((out**2 * ends.weights()).sum((2, 3)), torch.ones(2, 4, dtype=torch.float64))


def test_relative_loss_of_a_band_limited_pair_is_equal_on_two_grids() -> None:
    values = [relative_error(_smooth(g, 2)[:, :1], _smooth(g, 2)[:, 1:], g) for g in (_periodic(16), _periodic(40))]
    torch.testing.assert_close(values[0], values[1], rtol=1e-12, atol=0.0)


def test_refining_and_coarsening_spectrally_is_the_identity() -> None:
    field = _smooth(_periodic(16))
    up = resample_grid(field, _periodic(16), (40, 40))
    torch.testing.assert_close(up, _smooth(_periodic(40)), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(resample_grid(up, _periodic(40), (16, 16)), field, rtol=1e-12, atol=1e-12)


def test_pooling_removes_what_the_coarse_grid_cannot_hold() -> None:
    grid = _periodic(16)
    x = grid.points()[..., 0]
    pool = BandLimitedPooling(factor=0.5)
    assert pool.target(grid).shape == (8, 8)
    out = pool((torch.sin(x) + torch.sin(7 * x))[None, None], grid)
    torch.testing.assert_close(out[0, 0], torch.sin(_periodic(8).points()[..., 0]), rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="15 intervals"):
        pool.target(Grid((15,), (), True))
    assert pool.target(Grid((17,))).shape == (9,)


def test_padding_is_a_fraction_of_the_domain() -> None:
    layer = DomainPadding(fraction=0.25)
    for n in (8, 16, 32):
        grid = Grid((n,), (), True)
        field = torch.sin(2 * torch.pi * grid.points()[:, 0])[None, None]
        padded = layer(field, grid)
        assert padded.shape[2] == n + n // 2
        torch.testing.assert_close(layer.remove(padded, grid), field)


@pytest.mark.parametrize("mode", ["circular", "replicate", "reflect"])
def test_continuations_agree_with_torch(mode: str) -> None:
    field = torch.randn(2, 3, 5, 6)
    expected = torch.nn.functional.pad(field, (1, 3, 2, 0), mode=mode)
    torch.testing.assert_close(pad_field(field, (2, 1), (0, 3), [mode, mode]), expected)


def test_padding_by_extrapolation_goes_on_with_the_slope_and_reflection_has_an_end() -> None:
    line = torch.arange(5.0)[None, None]
    torch.testing.assert_close(pad_field(line, [2], [3], ["extrapolate"])[0, 0], torch.arange(-2.0, 8.0))
    with pytest.raises(ValueError, match="can't be reflected"):
        pad_field(line, [5], [0], ["reflect"])
    with pytest.raises(ValueError, match="unknown"):
        pad_field(line, [1], [0], ["mirror"])


def test_coordinates_leave_out_the_end_of_a_periodic_axis() -> None:
    grid = Grid((4, 5), ((-1.0, 3.0), (0.0, 9.0)), (True, False))
    channels = coordinate_channels(grid, dtype=torch.float64)
    assert channels.shape == (1, 2, 4, 5)
    assert channels[0, 0, :, 0].tolist() == [0, 0.25, 0.5, 0.75]
    assert channels[0, 1, 0].tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_rotary_products_see_differences_of_coordinates_alone() -> None:
    tokens = torch.randn(2, 8, dtype=torch.float64)
    points = torch.rand(2, 2, dtype=torch.float64)
    products = []
    for shift in (0.0, 0.37):
        turned = rotary_embedding(tokens, points + shift)
        products.append(float(turned[0] @ turned[1]))
    assert products[0] == pytest.approx(products[1], abs=1e-9)
    with pytest.raises(ValueError, match="multiple of 4"):
        rotary_embedding(tokens[:, :6], points)
    assert fourier_features(points, n_frequencies=3).shape == (2, 12)


def test_graph_kernel_converges_to_its_integral() -> None:
    layer = GraphKernel(in_channels=1, out_channels=1, dim=2, radius=0.2, is_nonlinear=True).double()
    query = torch.tensor([[0.5, 0.5], [0.31, 0.62]], dtype=torch.float64)
    answers = []
    for n in (16, 32, 64, 256):
        grid = Grid((n, n))
        points = grid.points().view(-1, 2)
        values = torch.sin(3 * points[:, :1])[None]
        answers.append(layer(values, points, grid.weights().flatten(), query))
    errors = [float((answer - answers[-1]).abs().max() / answers[-1].abs().max()) for answer in answers[:-1]]
    assert errors[2] < errors[0]
    assert errors[2] < 0.03


def test_neighbours_are_those_of_a_distance_matrix() -> None:
    points = torch.rand(40, 2, dtype=torch.float64)
    query, point = neighbours_within(points, points, 0.3, lengths=(1.0, 1.0))
    difference = (points[:, None] - points[None]).abs()
    distance = torch.minimum(difference, 1 - difference).norm(dim=-1)
    found = torch.zeros(40, 40, dtype=torch.bool)
    found[query, point] = True
    assert torch.equal(found, distance <= 0.3)


@torch.no_grad()
def test_message_passing_within_a_radius_converges_and_starts_from_the_nearest_points() -> None:
    layer = GridMessagePassing(in_channels=1, out_channels=1).double()
    outputs, radius = [], layer.reach()
    for ratio in (2, 4, 8):
        grid = _periodic(6 * ratio)
        out = layer.within(_smooth(grid, 1), radius, [1 / ratio] * 2)
        outputs.append(out[..., ::ratio, ::ratio])
    assert float((outputs[1] - outputs[2]).norm()) < float((outputs[0] - outputs[1]).norm())
    field = _smooth(_periodic(8), 1)
    torch.testing.assert_close(layer.within(field, radius, [1.0, 1.0]), layer(field))


@pytest.mark.parametrize("name", ["norm", "graph", "messages"])
def test_gradients_are_exact(name: str) -> None:
    grid = Grid((3, 4), (), True)
    if name == "graph":
        layer = GraphKernel(in_channels=2, out_channels=1, dim=2, radius=0.4, width=4).double()
        points = grid.points().view(-1, 2)
        values = torch.randn(1, 12, 2, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda u: layer(u, points, grid.weights().flatten()), values)
        return
    field = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    if name == "norm":
        norm = IntegralNorm(channels=2).double()
        assert torch.autograd.gradcheck(lambda u: norm(u, grid), field)
    else:
        messages = GridMessagePassing(in_channels=2, out_channels=1, width=3).double()
        assert torch.autograd.gradcheck(messages, field)
