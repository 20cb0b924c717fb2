"""Operators on patches: what the wrapper hides from trainer and loss, and what it may not change."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from equipoise.operators.multigrid_patches import MultigridPatched


class Local(nn.Module):
    """A convolution of a few points with the first level alone, so that patches must answer as the whole field does."""

    def __init__(self, channels: int = 1, points: int = 3) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.kernel = nn.Parameter(torch.randn(1, channels, points, points, generator=generator, dtype=torch.float64))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        own = inputs[:, : self.kernel.shape[1]]
        reach = self.kernel.shape[-1] // 2
        return nn.functional.conv2d(nn.functional.pad(own, (reach,) * 4, mode="circular"), self.kernel)


def field(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("levels", [0, 1, 2])
@pytest.mark.parametrize("padding", [1, 0.0625, (1, 3)])
def test_local_operator_is_the_same_on_patches_with_halo(levels: int, padding: float | int | tuple) -> None:
    values = field(2, 1, 32, 16)
    torch.testing.assert_close(MultigridPatched(Local(), levels=levels, padding=padding)(values), Local()(values))


def test_without_halo_only_the_edges_of_patches_differ() -> None:
    values = field(1, 1, 32, 32)
    difference = (MultigridPatched(Local(), levels=1, padding=0)(values) - Local()(values)).detach().abs()[0, 0]
    inner = torch.ones(32, dtype=torch.bool)
    inner[[0, 15, 16, 31]] = False
    assert float(difference[inner][:, inner].max()) < 1e-12
    assert float(difference[[0, 15, 16, 31]].min()) > 0


def test_operator_sees_patches_with_views_and_trainer_sees_fields() -> None:
    wrapped = MultigridPatched(Local(channels=2), levels=2, padding=2)
    assert wrapped.views(field(3, 2, 32, 32)).shape == (48, 6, 12, 12)
    assert wrapped.answer_patches(field(3, 2, 32, 32)).shape == (48, 1, 8, 8)
    assert wrapped(field(3, 2, 32, 32)).shape == (3, 1, 32, 32)
    assert wrapped.cut_targets(field(3, 1, 32, 32)).shape == (48, 1, 8, 8)


def test_loss_on_patches_has_the_gradient_of_the_loss_on_fields() -> None:
    wrapped = MultigridPatched(Local(), levels=1, padding=1)
    values, target = field(2, 1, 16, 16), field(2, 1, 16, 16, seed=1)
    whole = (wrapped(values) - target).square().sum()
    apart = (wrapped.answer_patches(values) - wrapped.cut_targets(target)).square().sum()
    first, second = (torch.autograd.grad(loss, wrapped.operator.kernel)[0] for loss in (whole, apart))
    torch.testing.assert_close(first, second)


def test_patches_in_groups_give_the_same_answer() -> None:
    values = field(2, 1, 16, 16)
    torch.testing.assert_close(
        MultigridPatched(Local(), patches_at_once=3, padding=1)(values), MultigridPatched(Local(), padding=1)(values)
    )


def test_positions_are_those_of_the_whole_domain() -> None:
    wrapped = MultigridPatched(Local(channels=3), levels=1, padding=0, positions=True)
    views = wrapped.views(field(1, 1, 8, 8))
    assert views.shape == (4, 6, 4, 4)
    rows = views[:, 1, :, 0]
    assert rows.tolist() == [[0, 0.125, 0.25, 0.375]] * 2 + [[0.5, 0.625, 0.75, 0.875]] * 2


def test_random_shifts_change_no_exact_answer_and_stop_with_training() -> None:
    values = field(2, 1, 32, 16)
    exact = MultigridPatched(Local(), padding=1, random_shift=True)
    torch.testing.assert_close(exact(values), Local()(values))
    rough = MultigridPatched(Local(), padding=0, random_shift=True)
    assert not torch.equal(rough(values), rough(values))
    rough.eval()
    assert torch.equal(rough(values), MultigridPatched(Local(), padding=0)(values))


def test_random_shifts_go_on_where_a_saved_training_stopped() -> None:
    values = field(2, 1, 32, 16)
    whole, stopped, resumed = (MultigridPatched(Local(), padding=0, random_shift=True, seed=3) for _ in range(3))
    answers = [whole(values) for _ in range(4)]
    for _ in range(2):
        stopped(values)
    resumed.load_state_dict(stopped.state_dict())
    assert torch.equal(resumed(values), answers[2])
    assert torch.equal(resumed(values), answers[3])


def test_random_shifts_leave_axes_alone_that_do_not_wrap() -> None:
    wrapped = MultigridPatched(Local(), random_shift=True, edges=("periodic", "nearest"))
    shifts = torch.tensor([wrapped._next_shift((64, 64)) for _ in range(10)])
    assert bool((shifts[:, 1] == 0).all())
    assert len(shifts[:, 0].unique()) > 5


def test_shares_of_padding_follow_the_resolution() -> None:
    wrapped = MultigridPatched(Local(), padding=0.078125)
    assert [wrapped.halo((side, side)) for side in (128, 64)] == [(10, 10), (5, 5)]


def test_bad_input_is_named() -> None:
    operator = Local()
    operator.config = {"in_channels": 4}  # type: ignore[assignment]
    with pytest.raises(ValueError, match="3 channels are 6 with their coarse views, and the operator takes 4"):
        MultigridPatched(operator)(field(1, 3, 16, 16))
    with pytest.raises(ValueError, match="sides must be multiples of 4, such as 16 x 16"):
        MultigridPatched(Local())(field(1, 1, 16, 17))
    with pytest.raises(ValueError, match="names 3 axes, the fields have 2"):
        MultigridPatched(Local(), edges=("periodic",) * 3)(field(1, 1, 16, 16))
    with pytest.raises(ValueError, match="can't be had with positions"):
        MultigridPatched(Local(), random_shift=True, positions=True)
    with pytest.raises(ValueError, match="levels=-1"):
        MultigridPatched(Local(), levels=-1)
