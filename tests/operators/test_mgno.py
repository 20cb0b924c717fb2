"""MgNO: the published parameter counts, what it keeps, and which inputs it takes."""

from __future__ import annotations

import json

import pytest
import torch

from equipoise.operators.mgno import MgNO

FIVE_LEVELS = [(1, 0)] * 4 + [(2, 0)]
PUBLISHED = {
    "Darcy, rough and multiscale": (572_661, {"grid": (256, 256)}),
    "Darcy, smooth": (678_093, {"grid": (211, 211), "n_layers": 5}),
    "pipe": (
        783_876,
        {"grid": (128, 128), "in_channels": 2, "n_layers": 5, "smoothing": [(1, 0)] * 4 + [(1, 1), (2, 0)]},
    ),
    "Navier-Stokes": (
        2_885_194,
        {
            "grid": (64, 64),
            "width": 32,
            "n_layers": 5,
            "smoothing": [(1, 0)] * 3 + [(2, 0)] * 2,
            "boundary": "periodic",
            "norm": "layer",
            "multigrid_bias": True,
            "pointwise": False,
            "increment": True,
        },
    ),
    "two cores": (148_132, {"grid": (64, 64), "width": 16, "n_layers": 3, "smoothing": FIVE_LEVELS}),
}


def small(**options: object) -> MgNO:
    chosen = {"grid": (17, 17), "width": 4, "n_layers": 2, "smoothing": [(1, 0), (1, 1), (2, 0)], **options}
    return MgNO(**chosen)  # type: ignore[arg-type]


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_has_the_published_number_of_parameters(name: str) -> None:
    count, options = PUBLISHED[name]
    assert sum(weight.numel() for weight in MgNO(**options).parameters()) == count  # type: ignore[arg-type]


HELMHOLTZ = {
    "boundary": "neumann",
    "transfer": "inner",
    "growing": True,
    "multigrid_bias": True,
    "activation_norm": "layer",
    "end": "multigrid",
}


def test_the_helmholtz_variant_has_the_published_levels_and_growing_channels() -> None:
    model = MgNO(grid=(101, 101), width=20, n_layers=4, smoothing=FIVE_LEVELS, **HELMHOLTZ)  # type: ignore[arg-type]
    cycle = model.multigrid[1]
    shapes, field = [], noise(1, 20, 101, 101)
    for level in range(4):
        field = cycle.restrict_feature[level](field)
        shapes.append((field.shape[1], field.shape[2]))
    assert shapes == [(40, 50), (60, 24), (80, 11), (100, 5)]
    assert [tuple(part.weight.shape[1:]) for part in cycle.prolongation] == [
        (20, 3, 3),
        (40, 4, 4),
        (60, 4, 4),
        (80, 3, 3),
    ]
    assert model.norms[0].weight.shape == (20, 101, 101)
    assert model(noise(1, 1, 101, 101)).shape == (1, 1, 101, 101)
    with pytest.raises(ValueError, match="doesn't fit activation_norm='layer'"):
        model(noise(1, 1, 133, 101))


def test_growing_channels_are_those_of_a_plain_layer_on_one_level() -> None:
    plain, growing = (small(smoothing=[(2, 0)], growing=grows) for grows in (False, True))
    inputs = noise(2, 1, 17, 17)
    assert torch.equal(plain(inputs), growing(inputs))
    counts = [sum(weight.numel() for weight in small(growing=grows).parameters()) for grows in (False, True)]
    assert counts[0] < counts[1]


def test_a_norm_before_the_activation_makes_layers_blind_to_the_size_of_their_input() -> None:
    model = small(activation_norm="group", pointwise=False).double()
    inputs = noise(2, 1, 17, 17).double()
    torch.testing.assert_close(model(inputs), model(10 * inputs), rtol=1e-3, atol=1e-3)


def test_its_configuration_survives_json_and_gives_the_same_operator() -> None:
    first = small(boundary=("periodic", "neumann"), norm="group", seed=5)
    second = MgNO(**json.loads(json.dumps(first.config)))
    assert second.config == first.config
    inputs = noise(2, 1, 17, 17)
    assert torch.equal(first(inputs), second(inputs))
    assert not torch.equal(small(seed=4).multigrid[0].first.weight, small(seed=5).multigrid[0].first.weight)


def test_without_biases_it_answers_nothing_with_nothing() -> None:
    model = small(pointwise=False)
    assert torch.equal(model(torch.zeros(1, 1, 17, 17)), torch.zeros(1, 1, 17, 17))


@pytest.mark.parametrize("grid", [(21,), (12, 17), (9, 10, 11)])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"norm": "layer", "multigrid_bias": True, "pointwise": False},
        {"growing": True, "multigrid_bias": True, "activation_norm": "layer", "end": "multigrid"},
    ],
)
def test_gradients_in_one_to_three_dimensions(grid: tuple[int, ...], options: dict[str, object]) -> None:
    model = small(grid=grid, in_channels=2, out_channels=2, width=2, increment=True, **options).double()
    inputs = noise(1, 2, *grid).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda *_: model(inputs), (inputs, *model.parameters()), fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda field: model(field), (inputs,), fast_mode=True)


@pytest.mark.parametrize("grid", [(21,), (17, 17), (9, 10, 11)])
def test_batches_and_layouts_in_memory_change_nothing(grid: tuple[int, ...]) -> None:
    model = small(grid=grid, in_channels=3).double()
    inputs = noise(3, 3, *grid).double()
    together = model(inputs)
    one_by_one = torch.cat([model(sample[None]) for sample in inputs])
    torch.testing.assert_close(together, one_by_one, rtol=1e-12, atol=1e-13)
    other_layout = inputs.movedim(1, -1).contiguous().movedim(-1, 1)
    torch.testing.assert_close(together, model(other_layout), rtol=1e-12, atol=1e-13)


def test_an_increment_is_added_to_the_input_and_leaves_it_alone() -> None:
    whole, part = small(increment=True), small()
    inputs = noise(2, 1, 17, 17)
    kept = inputs.clone()
    torch.testing.assert_close(whole(inputs), inputs + part(inputs))
    assert torch.equal(inputs, kept)


def test_other_grids_of_the_same_chain_are_taken_and_others_refused() -> None:
    model = small()
    assert model(noise(1, 1, 33, 21)).shape == (1, 1, 33, 21)
    with pytest.raises(ValueError, match=r"the grid \(18, 17\) doesn't fit .* give sides of 5 \+ 4 k, 5 \+ 4 k points"):
        model(noise(1, 1, 18, 17))
    assert small(transfer="centred")(noise(1, 1, 18, 17)).shape == (1, 1, 18, 17)


def test_learning_reduces_the_error_of_a_smooth_map() -> None:
    model, inputs = small(grid=(16, 16), boundary="periodic", seed=1), noise(8, 1, 16, 16)
    target = (inputs + inputs.roll(1, 2) + inputs.roll(1, 3)) / 3
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss = (model(inputs) - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.25 * losses[0]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"width": 0}, "width=0 and n_layers=2 must be at least 1"),
        ({"increment": True, "out_channels": 2}, "adds 2 output channels to 1 input channels"),
        ({"end": "nothing"}, "end='nothing' is unknown; use one of matrix, multigrid"),
        ({"activation_norm": "batch"}, "activation_norm='batch' is unknown"),
        ({"grid": (4, 17)}, "too small for 3 levels"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        small(**options)


@pytest.mark.parametrize("shape", [(1, 2, 17, 17), (1, 1, 17), (1, 1, 17, 17, 17)])
def test_inputs_of_another_rank_or_channel_count_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \(batch, 1, points, points\)"):
        small()(noise(*shape))
