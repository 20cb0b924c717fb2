"""The learned V-cycle: exactly a classical one for classical stencils, and the facts of each boundary and geometry."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from equipoise.nn.multigrid_convolution import MgLinear
from equipoise.nn.multigrid_levels import coarse_side, default_smoothing, level_shapes, smallest_side

DOUBLE = torch.float64
FULL_WEIGHTING = np.array([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]) / 16


def cycle(smoothing: str, **options: object) -> MgLinear:
    """A layer with weights from a seed; smoothing as the paper writes it, "10 10 20"."""
    steps = [tuple(map(int, step)) for step in smoothing.split()]
    chosen = {"in_channels": 2, "channels": 3, "grid": (17, 17), "smoothing": steps, **options}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MgLinear(**chosen).double()  # type: ignore[arg-type]


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def laplacian(spacing: float) -> np.ndarray:
    return np.array([[0.0, -1.0, 0.0], [-1.0, 4.0, -1.0], [0.0, -1.0, 0.0]]) / spacing**2


def classical_cycle(before: int, after: int, n_levels: int, omega: float = 0.8) -> MgLinear:
    """The multigrid cycle of the five-point Laplace operator on the unit square, as a layer."""
    side = 2**n_levels - 1
    layer = MgLinear(
        in_channels=1,
        channels=1,
        grid=(side, side),
        smoothing=[(before, after)] * (n_levels - 1) + [(1, 0)],
        transfer="inner",
        restrict_residual=True,
    ).double()
    with torch.no_grad():

        def put(module: nn.Module, stencil: np.ndarray) -> None:
            module.weight.copy_(torch.as_tensor(stencil).expand_as(module.weight))

        pulse = np.zeros((3, 3))
        pulse[1, 1] = 1.0
        for level in range(n_levels):
            spacing = 2.0**level / (side + 1)
            # One point remains on the coarsest level, where four times its weight is the whole operator.
            share = 1.0 if level == n_levels - 1 else omega
            smoother = share * spacing**2 / 4 * pulse
            if level == 0:
                put(layer.first, smoother)
            steps = [*layer.before[level], *(layer.after[level] if level < n_levels - 1 else [])]
            for step in steps:
                put(step.operator, laplacian(spacing))
                put(step.smoother, smoother)
            if level < n_levels - 1:
                put(layer.residual[level], laplacian(spacing))
                put(layer.restrict_data[level], FULL_WEIGHTING)
                put(layer.restrict_feature[level], 0 * pulse)
                put(layer.prolongation[level], 4 * FULL_WEIGHTING)
    return layer


def hand_written_cycle(f: np.ndarray, before: int, after: int, omega: float = 0.8) -> np.ndarray:
    """The same by slices of arrays, recursively, with no convolution in it."""
    side = len(f)
    spacing = 1 / (side + 1)
    u = np.zeros_like(f)

    def residual() -> np.ndarray:
        v = np.pad(u, 1)
        return f - (4 * u - v[:-2, 1:-1] - v[2:, 1:-1] - v[1:-1, :-2] - v[1:-1, 2:]) / spacing**2

    if side == 1:
        return f * spacing**2 / 4
    for _ in range(before):
        u = u + omega * spacing**2 / 4 * residual()
    r = residual()
    rows = (r[:-2:2] + 2 * r[1::2] + r[2::2]) / 4
    coarse = hand_written_cycle((rows[:, :-2:2] + 2 * rows[:, 1::2] + rows[:, 2::2]) / 4, before, after, omega)
    m = len(coarse)
    padded = np.pad(coarse, 1)
    along = np.zeros((side, m + 2))
    along[1::2], along[::2] = padded[1:-1], (padded[:-1] + padded[1:]) / 2
    correction = np.zeros((side, side))
    correction[:, 1::2], correction[:, ::2] = along[:, 1:-1], (along[:, :-1] + along[:, 1:]) / 2
    u = u + correction
    for _ in range(after):
        u = u + omega * spacing**2 / 4 * residual()
    return u


@pytest.mark.parametrize(("before", "after"), [(1, 0), (1, 1), (2, 1)])
def test_with_classical_stencils_it_is_exactly_a_hand_written_v_cycle(before: int, after: int) -> None:
    f = noise(1, 1, 31, 31)
    ours = classical_cycle(before, after, 5)(f)[0, 0].detach().numpy()
    np.testing.assert_allclose(ours, hand_written_cycle(f[0, 0].numpy(), before, after), rtol=0, atol=1e-13)


@pytest.mark.parametrize("n_levels", [4, 5])
@pytest.mark.parametrize(("before", "after", "measured"), [(1, 0, 0.57), (1, 1, 0.35), (2, 1, 0.22)])
def test_the_cycle_contracts_as_multigrid_does(before: int, after: int, measured: float, n_levels: int) -> None:
    layer = classical_cycle(before, after, n_levels)
    error, stencil = noise(1, 1, *layer.grid), torch.as_tensor(laplacian(1 / (layer.grid[0] + 1)))[None, None]
    with torch.no_grad():
        for _ in range(25):
            size = error.norm()
            error = error - layer(nn.functional.conv2d(error, stencil, padding=1))
    contraction = float(error.norm() / size)
    assert contraction == pytest.approx(measured, abs=0.02)
    assert contraction <= {(1, 0): 0.6, (1, 1): 0.40, (2, 1): 0.26}[before, after]


@pytest.mark.parametrize("boundary", ["dirichlet", "periodic", "neumann"])
@pytest.mark.parametrize("restrict_residual", [False, True])
def test_it_is_linear(boundary: str, restrict_residual: bool) -> None:
    layer = cycle("10 11 20", boundary=boundary, restrict_residual=restrict_residual)
    f, g = noise(2, 2, 2, 17, 17)
    torch.testing.assert_close(layer(2 * f - 3 * g), 2 * layer(f) - 3 * layer(g), rtol=1e-12, atol=1e-12)
    assert torch.equal(layer(torch.zeros_like(f)), torch.zeros_like(layer(f)))


@pytest.mark.parametrize("transfer", ["parity", "centred"])
def test_a_periodic_cycle_commutes_with_shifts_by_a_coarse_cell_and_with_no_smaller_ones(transfer: str) -> None:
    layer = cycle("10 11 20", boundary="periodic", transfer=transfer, grid=(24, 16))
    f = noise(1, 2, 24, 16)
    for axis in (2, 3):
        torch.testing.assert_close(layer(f.roll(4, axis)), layer(f).roll(4, axis), rtol=1e-12, atol=1e-13)
        for shift in (1, 2):
            assert (layer(f.roll(shift, axis)) - layer(f).roll(shift, axis)).abs().max() > 1e-3


def test_a_mirrored_cycle_of_symmetric_stencils_is_a_periodic_one_of_the_mirrored_field() -> None:
    mirrored, periodic = (
        cycle("10 11 20", boundary=name, grid=grid, transfer="centred", in_channels=1)
        for name, grid in (("neumann", (17,)), ("periodic", (32,)))
    )
    with torch.no_grad():
        for ours, theirs in zip(mirrored.parameters(), periodic.parameters(), strict=True):
            theirs.copy_((ours + ours.flip(-1)) / 2)
            ours.copy_(theirs)
    f = noise(2, 1, 17)
    unfolded = torch.cat([f, f[..., 1:-1].flip(-1)], -1)
    torch.testing.assert_close(mirrored(f), periodic(unfolded)[..., :17], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("boundary", ["dirichlet", "periodic", "neumann"])
@pytest.mark.parametrize("transfer", ["parity", "centred", "inner"])
def test_every_side_from_17_to_130_gives_its_own_shape_back(boundary: str, transfer: str) -> None:
    if (boundary, transfer) == ("periodic", "inner"):
        pytest.skip("a periodic axis has no end points to leave out")
    smoothing = "10 10 20" if transfer == "inner" else "10 10 10 10 20"
    for side in range(17, 131):
        layer = cycle(smoothing, grid=(side, 147 - side), boundary=boundary, transfer=transfer, channels=1)
        assert layer(noise(1, 2, side, 147 - side)).shape == (1, 1, side, 147 - side)


@pytest.mark.parametrize("grid", [(40,), (20, 23), (9, 10, 12)])
@pytest.mark.parametrize("boundary", ["dirichlet", "periodic", "neumann"])
def test_gradients_in_one_to_three_dimensions(grid: tuple[int, ...], boundary: str) -> None:
    layer = cycle("10 11 20", grid=grid, boundary=boundary, restrict_residual=True, norm="group", bias=True)
    f = noise(1, 2, *grid).requires_grad_()
    weights = tuple(layer.parameters())
    assert torch.autograd.gradcheck(lambda *_: layer(f), (f, *weights), fast_mode=True)


def test_each_axis_may_have_its_own_boundary() -> None:
    layer = cycle("10 20", boundary=("periodic", "dirichlet"), grid=(12, 12))
    f = noise(1, 2, 12, 12)
    torch.testing.assert_close(layer(f.roll(2, 2)), layer(f).roll(2, 2), rtol=1e-12, atol=1e-13)
    assert (layer(f.roll(2, 3)) - layer(f).roll(2, 3)).abs().max() > 1e-3


def test_one_level_with_one_step_is_one_convolution() -> None:
    layer = cycle("10")
    f = noise(2, 2, 17, 17)
    assert sum(1 for _ in layer.parameters()) == 1
    expected = nn.functional.conv2d(f, next(layer.parameters()), padding=1)
    torch.testing.assert_close(layer(f), expected, rtol=1e-13, atol=1e-13)


def test_restricting_the_residual_of_no_operator_is_restricting_the_data() -> None:
    plain, residual = cycle("10 11 20"), cycle("10 11 20", restrict_residual=True)
    assert residual.load_state_dict(plain.state_dict(), strict=False).unexpected_keys == []
    f = noise(1, 2, 17, 17)
    assert (residual(f) - plain(f)).abs().max() > 1e-3
    with torch.no_grad():
        for convolution in residual.residual:
            convolution.weight.zero_()
    torch.testing.assert_close(residual(f), plain(f), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("side", [16, 17])
@pytest.mark.parametrize("boundary", ["dirichlet", "periodic"])
def test_a_centred_prolongation_is_the_transpose_of_the_restriction(side: int, boundary: str) -> None:
    if (side, boundary) == (17, "periodic"):
        pytest.skip("the last cell of an odd period is shorter on the coarse level")
    layer = cycle("10 20", grid=(side, side), boundary=boundary, transfer="centred")
    restrict, prolong = layer.restrict_feature[0], layer.prolongation[0]
    with torch.no_grad():
        prolong.weight.copy_(restrict.weight)
    fine, coarse = noise(1, 3, side, side), noise(1, 3, coarse_side(side, "centred"), coarse_side(side, "centred"))
    left = (restrict(fine) * coarse).sum()
    torch.testing.assert_close(left, (fine * prolong(coarse, (side, side))).sum(), rtol=1e-12, atol=1e-12)


def test_the_same_weights_take_a_larger_domain_and_answer_alike_far_from_its_ends() -> None:
    layer = cycle("10 10 20", transfer="parity", grid=(33, 33))
    f = torch.zeros(1, 2, 65, 65, dtype=DOUBLE)
    f[..., 16:49, 16:49] = noise(1, 2, 33, 33)
    answer = layer(f)
    assert answer.shape == (1, 3, 65, 65)
    # A cycle of three levels sees 21 points far, so that another 16 points on each side change nothing in the middle.
    wide = torch.zeros(1, 2, 97, 97, dtype=DOUBLE)
    wide[..., 16:81, 16:81] = f
    torch.testing.assert_close(layer(wide)[..., 40:57, 40:57], answer[..., 24:41, 24:41], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("transfer", ["parity", "inner"])
def test_sides_of_the_same_chain_of_parities_are_taken_and_others_named(transfer: str) -> None:
    layer = cycle("10 10 20", transfer=transfer, grid=(27, 27))
    for side in range(7 if transfer == "inner" else 5, 60):
        if (side - 27) % 4 == 0:
            assert layer(noise(1, 2, side, 27)).shape == (1, 3, side, 27)
        else:
            with pytest.raises(ValueError, match=rf"\({side}, 27\).*7 \+ 4 k"):
                layer(noise(1, 2, side, 27))


def test_centred_transfers_take_any_grid_that_is_large_enough() -> None:
    layer = cycle("10 10 20", transfer="centred", grid=(27, 27))
    for side, other in itertools.product((5, 6, 31), (8, 27)):
        assert layer(noise(1, 2, side, other)).shape == (1, 3, side, other)
    with pytest.raises(ValueError, match=r"\(4, 27\) is too small for 3 levels; give at least 5 points"):
        layer(noise(1, 2, 4, 27))


def test_levels_are_those_of_the_published_configurations() -> None:
    sides = {
        ("parity", 256): (256, 128, 64, 32, 16, 8),
        ("parity", 211): (211, 106, 53, 27, 14, 7),
        ("inner", 101): (101, 50, 24, 11, 5),
    }
    for (transfer, side), expected in sides.items():
        shapes = level_shapes((side,), len(expected), transfer)
        assert tuple(shape[0] for shape in shapes) == expected
    assert default_smoothing((256, 256)) == ((1, 0),) * 5 + ((2, 0),)
    assert len(default_smoothing((17, 300))) == 5
    assert smallest_side(5, "parity", 2) == 17


def test_kernels_of_transposed_convolutions_follow_the_parity_of_each_axis() -> None:
    layer = cycle("10 10 10 10 10 20", grid=(211, 64))
    kernels = [tuple(module.weight.shape[2:]) for module in layer.prolongation]
    assert kernels == [(3, 4), (4, 4), (3, 4), (3, 4), (4, 4)]


def test_a_norm_by_channel_takes_other_grids_and_one_by_point_does_not() -> None:
    f = noise(1, 2, 33, 33)
    group, layer = cycle("10 20", norm="group"), cycle("10 20", norm="layer")
    normalised = nn.functional.layer_norm(f, f.shape[1:])
    torch.testing.assert_close(cycle("10 20", norm="group", channels=2).norms[0](f), normalised, rtol=1e-10, atol=1e-10)
    assert group(f).shape == (1, 3, 33, 33)
    torch.testing.assert_close(layer(f[..., :17, :17]), group(f[..., :17, :17]), rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match=r"\(33, 33\) doesn't fit norm='layer', whose weights are those of \(17, 17\)"):
        layer(f)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"boundary": "robin"}, "boundary='robin' is unknown; use one of dirichlet, periodic, neumann"),
        ({"transfer": "spectral"}, "transfer='spectral' is unknown"),
        ({"norm": "batch"}, "norm='batch' is unknown"),
        ({"grid": (16, 17)}, r"grid \(16, 17\) is too small for 5 levels; give at least 17 points"),
        ({"grid": (17,) * 4}, "one to three axes"),
        ({"boundary": ("periodic",)}, "names 1 axes, and the grid .* has 2"),
        ({"boundary": "periodic", "transfer": "inner"}, "leaves out end points"),
        ({"channels": 0}, "channels=0 must be at least 1"),
        ({"smoothing": [(0, 1), (1, 0)]}, "start with a step before"),
        ({"smoothing": [(1, 0), (1, 1)]}, "none after the last"),
    ],
)
def test_options_out_of_range_are_refused_in_one_sentence(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        cycle(**{"smoothing": "10 10 10 10 20", **options}) if "smoothing" not in options else MgLinear(
            in_channels=1,
            channels=1,
            grid=(17, 17),
            **options,  # type: ignore[arg-type]
        )


@pytest.mark.parametrize("shape", [(1, 3, 17, 17), (2, 17, 17), (1, 2, 17)])
def test_an_input_of_another_rank_or_channel_count_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \(batch, 2, points, points\)"):
        cycle("10 20")(noise(*shape))
