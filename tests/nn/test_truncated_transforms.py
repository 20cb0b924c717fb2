import pytest
import torch

from equipoise.nn.spectral_weight import kept_modes
from equipoise.nn.truncated_transforms import (
    analyse,
    check_resolution,
    choose_method,
    mean_mode,
    smallest_grid,
    synthesise,
)

CASES = [((12,), (8,)), ((9,), (7,)), ((8,), (8,)), ((12, 10), (8, 6)), ((7, 9), (7, 8)), ((6, 7, 8), (4, 5, 6))]


def _field(grid, channels=2):
    return torch.randn(3, *grid, channels, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("method", ["matrix", "fft"])
@pytest.mark.parametrize(("grid", "n_modes"), CASES)
def test_modes_are_those_of_the_full_transform(grid, n_modes, method):
    field = _field(grid)
    axes = tuple(range(1, 1 + len(grid)))
    full = torch.fft.rfftn(field, dim=axes, norm="forward")
    for axis, (points, modes) in enumerate(zip(grid[:-1], n_modes[:-1], strict=True)):
        index = torch.arange(-(modes // 2), modes - modes // 2) % points
        full = full.index_select(1 + axis, index)
    full = full.narrow(len(grid), 0, kept_modes(n_modes)[-1]).movedim(0, -2)
    found = analyse(field, n_modes, method=method)
    torch.testing.assert_close(torch.complex(*found.unbind(-3)), full)


@pytest.mark.parametrize(("grid", "n_modes"), CASES)
def test_both_methods_give_the_same_field(grid, n_modes):
    modes = torch.randn(*kept_modes(n_modes), 2, 3, 2, dtype=torch.float64)
    matrix, fast = (synthesise(modes, grid, n_modes, method=method) for method in ("matrix", "fft"))
    torch.testing.assert_close(matrix, fast)


@pytest.mark.parametrize("method", ["matrix", "fft"])
def test_a_field_of_few_waves_is_recovered_and_has_the_same_modes_on_every_grid(method):
    found = []
    for points in (11, 16, 40):
        x, y = torch.meshgrid(*[torch.arange(points, dtype=torch.float64) / points] * 2, indexing="ij")
        wave = 1 + torch.sin(2 * torch.pi * (x - 2 * y)) + torch.cos(2 * torch.pi * (2 * x + y))
        field = wave[None, ..., None]
        found.append(analyse(field, (5, 5), method=method))
        torch.testing.assert_close(synthesise(found[-1], (points, points), (5, 5), method=method), field)
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(found[0], found[2])
    assert float(found[0][(*mean_mode((5, 5)), 0)]) == pytest.approx(1)


@pytest.mark.parametrize("method", ["matrix", "fft"])
def test_transforms_have_derivatives(method):
    field = torch.randn(2, 5, 6, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda u: analyse(u, (3, 4), method=method), (field,))
    modes = torch.randn(3, 3, 2, 2, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda m: synthesise(m, (5, 6), (3, 4), method=method), (modes,))


def test_more_modes_than_the_grid_resolves_name_the_smallest_grid():
    assert smallest_grid((16, 16)) == (16, 16)
    assert smallest_grid((7, 7)) == (7, 6)
    check_resolution((16, 16), (16, 16))
    with pytest.raises(ValueError, match=r"15 x 16 points does not resolve.*16 x 16"):
        analyse(_field((15, 16)), (16, 16))


def test_many_modes_are_left_to_the_fast_transform():
    assert choose_method((16, 16), torch.device("cpu")) == "matrix"
    assert choose_method((512,), torch.device("cpu")) == "fft"


def test_matrices_made_without_gradients_serve_a_training_step_later():
    with torch.inference_mode():
        analyse(_field((13, 13)), (6, 6), method="matrix")
    field = _field((13, 13)).requires_grad_()
    analyse(field, (6, 6), method="matrix").square().sum().backward()
    assert field.grad is not None
