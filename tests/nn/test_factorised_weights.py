"""Low-rank spectral weights: ranks, initial size, contractions, joint layers, against dense tensors and TensorLy."""

from __future__ import annotations

import pytest
import torch

from equipoise.nn.factorised_weights import (
    FACTORISATIONS,
    FactorisedParameters,
    FactorisedSpectralWeight,
    JointSpectralWeights,
    chosen_contraction,
)
from equipoise.nn.initialisation import seeded
from equipoise.nn.tensor_ranks import Rank, cp_rank, factorisation_size, tensor_train_ranks, tucker_ranks


def weight(
    kind: str, *, rank: Rank = 0.3, separable: bool = False, contraction: str = "auto"
) -> FactorisedSpectralWeight:
    with seeded(0):
        return FactorisedSpectralWeight(
            kept=(6, 4),
            in_channels=5,
            out_channels=5 if separable else 7,
            factorisation=kind,
            rank=rank,
            separable=separable,
            contraction=contraction,
        )


def modes(batch: int = 3, *, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(6, 4, 2, batch, 5, generator=torch.Generator().manual_seed(1), dtype=dtype)


def product(inputs: torch.Tensor, dense: torch.Tensor) -> torch.Tensor:
    return torch.einsum("xybi,xyio->xybo", torch.complex(inputs[:, :, 0], inputs[:, :, 1]), dense).detach()


def test_ranks_are_those_of_the_published_rule() -> None:
    assert tucker_ranks((64, 64, 64, 33), 0.1) == (36, 36, 36, 19)
    assert tucker_ranks((32, 32, 16, 9), 0.1) == (18, 18, 9, 5)
    assert tucker_ranks((32, 32, 16, 9), 0.05) == (15, 15, 7, 4)
    assert tucker_ranks((24, 24, 16, 9), 0.1) == (13, 13, 9, 5)
    assert cp_rank((32, 32, 16, 9), 0.05) == 83


def test_sizes_are_those_of_the_published_tables() -> None:
    assert factorisation_size("tucker", (24, 24, 16, 9), (13, 13, 9, 5)) == 8418
    kept = factorisation_size("tucker", (32, 32, 16, 9), (18, 18, 9, 5)) / (32 * 32 * 16 * 9)
    assert kept == pytest.approx(0.108, abs=5e-4)


@pytest.mark.parametrize("shape", [(32, 32, 16, 9), (4, 24, 24, 16, 9), (40, 12), (3, 3, 3)])
@pytest.mark.parametrize("share", [0.01, 0.05, 0.42, 1.0])
def test_ranks_agree_with_tensorly(shape: tuple[int, ...], share: float) -> None:
    pytest.importorskip("tensorly")
    from tensorly.cp_tensor import validate_cp_rank
    from tensorly.tt_tensor import validate_tt_rank
    from tensorly.tucker_tensor import validate_tucker_rank

    assert list(tucker_ranks(shape, share)) == list(validate_tucker_rank(shape, share))
    assert cp_rank(shape, share) == max(validate_cp_rank(shape, share), 1)
    if len(shape) > 2:
        train = validate_tt_rank(shape, share, constant_rank=True)
        assert list(tensor_train_ranks(shape, share)) == [max(int(rank), 1) for rank in train[1:-1]]


@pytest.mark.parametrize("kind", FACTORISATIONS)
def test_dense_tensor_is_that_of_tensorly(kind: str) -> None:
    tensorly = pytest.importorskip("tensorly")
    tensorly.set_backend("pytorch")
    parameters = FactorisedParameters(kind=kind, shape=(3, 4, 5, 6), rank=0.5, deviation=1.0).double()
    parts = [torch.view_as_complex(part.detach()) for part in parameters.parts]
    if kind == "tucker":
        expected = tensorly.tucker_to_tensor((parts[0], parts[1:]))
    elif kind == "cp":
        parameters.weights.data.normal_()
        expected = tensorly.cp_to_tensor((torch.view_as_complex(parameters.weights.detach()), parts))
    else:
        expected = tensorly.tt_to_tensor(parts)
    torch.testing.assert_close(parameters.tensor().dense(), expected)


@pytest.mark.parametrize("kind", FACTORISATIONS)
@pytest.mark.parametrize("rank", [0.05, 0.4])
def test_initial_entries_have_the_deviation_asked_for(kind: str, rank: float) -> None:
    # Entries of one draw share their factors, so that it takes several draws.
    squares = []
    for seed in range(40):
        with seeded(seed):
            parameters = FactorisedParameters(kind=kind, shape=(12, 12, 10, 8), rank=rank, deviation=0.3)
        squares.append(parameters.tensor().dense().abs().square().mean())
    assert torch.stack(squares).mean().sqrt().item() == pytest.approx(0.3, rel=0.1)


@pytest.mark.parametrize("kind", FACTORISATIONS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_both_contractions_are_the_product_with_the_dense_weight(
    kind: str, dtype: torch.dtype, tolerance: float
) -> None:
    inputs = modes(dtype=dtype)
    exact = product(inputs, weight(kind).to(dtype).dense())
    for contraction in ("factored", "reconstructed", "auto"):
        found = weight(kind, contraction=contraction).to(dtype).contract(inputs)
        error = (torch.complex(found[:, :, 0], found[:, :, 1]).detach() - exact).abs().max() / exact.abs().max()
        assert float(error) < tolerance


@pytest.mark.parametrize("kind", FACTORISATIONS)
def test_separable_weight_scales_each_channel_of_each_mode(kind: str) -> None:
    single = weight(kind, separable=True).double()
    inputs = modes()
    exact = product(inputs, single.dense())
    found = single.contract(inputs)
    torch.testing.assert_close(torch.complex(found[:, :, 0], found[:, :, 1]), exact, rtol=1e-12, atol=1e-12)
    assert torch.equal(single.dense(), torch.diag_embed(single.tensor().dense()))


def test_tucker_weight_of_full_ranks_with_identity_factors_is_its_core() -> None:
    full = weight("tucker", rank=(6, 4, 5, 7), contraction="factored").double()
    assert full.own is not None
    core, *factors = full.own.parts
    for factor in factors:
        factor.data.copy_(torch.stack([torch.eye(len(factor)), torch.zeros(len(factor), len(factor))], -1))
    torch.testing.assert_close(full.dense(), torch.view_as_complex(core.detach()))
    inputs = modes()
    exact = product(inputs, torch.view_as_complex(core))
    found = full.contract(inputs)
    torch.testing.assert_close(torch.complex(found[:, :, 0], found[:, :, 1]), exact)


@pytest.mark.parametrize("kind", FACTORISATIONS)
@pytest.mark.parametrize("contraction", ["factored", "reconstructed"])
def test_gradients_of_input_and_factors_are_right(kind: str, contraction: str) -> None:
    with seeded(2):
        small = FactorisedSpectralWeight(
            kept=(3, 2), in_channels=2, out_channels=3, factorisation=kind, rank=0.4, contraction=contraction
        ).double()
    parameters = dict(small.named_parameters(prefix="of"))
    inputs = torch.randn(3, 2, 2, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def apply(inputs: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        named = dict(zip(parameters, values, strict=True))
        return torch.func.functional_call(_Contraction(small), named, (inputs,))

    arguments = (inputs, *(value.detach() for value in parameters.values()))
    assert torch.autograd.gradcheck(apply, tuple(value.requires_grad_() for value in arguments))


class _Contraction(torch.nn.Module):
    def __init__(self, of: FactorisedSpectralWeight) -> None:
        super().__init__()
        self.of = of

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.of.contract(inputs)


@pytest.mark.parametrize("kind", FACTORISATIONS)
@pytest.mark.parametrize("separable", [False, True])
def test_joint_layers_are_slices_of_one_tensor(kind: str, separable: bool) -> None:
    with seeded(3):
        joint = JointSpectralWeights(
            n_layers=4, kept=(6, 4), in_channels=5, out_channels=5, factorisation=kind, rank=0.2, separable=separable
        ).double()
    whole = joint.factors.tensor().dense()
    for index in range(4):
        layer = joint.layer(index)
        torch.testing.assert_close(layer.tensor().dense(), whole[index])
        assert not list(layer.parameters())
    joint.layer(2).contract(modes()).sum().backward()
    assert all(part.grad is not None and bool(part.grad.any()) for part in joint.factors.parts)


def test_joint_layers_compress_further_than_separate_ones() -> None:
    dense = 16 * 9 * 24 * 24
    joint = {
        rank: JointSpectralWeights(n_layers=4, kept=(16, 9), in_channels=24, out_channels=24, rank=0.1, layer_rank=rank)
        for rank in (None, 4, 2)
    }
    sizes = {rank: each.factors.size for rank, each in joint.items()}
    separate = FactorisedSpectralWeight(kept=(16, 9), in_channels=24, out_channels=24, rank=0.1).own
    assert separate is not None
    assert separate.size == 8418
    assert joint[None].factors.ranks == (3, 10, 6, 15, 15)  # the rank 2.5 of the layers is rounded to 3
    assert joint[4].factors.ranks == (4, 9, 5, 13, 13)
    assert sizes[None] / (4 * dense) == pytest.approx(0.125, abs=1e-3)
    assert sizes[4] < 4 * separate.size
    for each in joint.values():
        assert sum(part.numel() for part in each.parameters()) == 2 * each.factors.size


@pytest.mark.parametrize("kind", FACTORISATIONS)
def test_narrowed_tensor_is_a_block_of_the_dense_one(kind: str) -> None:
    tensor = weight(kind).tensor()
    torch.testing.assert_close(tensor.narrowed((slice(2, 5), slice(0, 2))).dense(), tensor.dense()[2:5, :2])


@pytest.mark.parametrize("kind", FACTORISATIONS)
@pytest.mark.parametrize("kept", [(5,), (3, 4, 2)])
def test_weights_have_one_to_three_axes_of_modes(kind: str, kept: tuple[int, ...]) -> None:
    values = torch.randn(*kept, 2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    results = []
    for contraction in ("factored", "reconstructed"):
        with seeded(0):
            each = FactorisedSpectralWeight(
                kept=kept, in_channels=4, out_channels=2, factorisation=kind, rank=0.5, contraction=contraction
            ).double()
        assert each.dense().shape == (*kept, 4, 2)
        results.append(each.contract(values))
    torch.testing.assert_close(results[0], results[1])


def test_the_faster_contraction_depends_on_the_batch() -> None:
    few = chosen_contraction(batch=4, inputs=32, outputs=32, ranks=(18, 18))
    many = chosen_contraction(batch=400, inputs=32, outputs=32, ranks=(18, 18))
    assert (few, many) == ("factored", "reconstructed")


def test_bad_options_are_named() -> None:
    with pytest.raises(ValueError, match="'svd' is unknown; use one of tucker, cp, tensor-train"):
        weight("svd")
    with pytest.raises(ValueError, match="'fast' is unknown"):
        weight("cp", contraction="fast")
    with pytest.raises(ValueError, match=r"rank=-0\.1 must be a positive share"):
        weight("cp", rank=-0.1)
    with pytest.raises(ValueError, match="must be 4 positive numbers"):
        weight("tucker", rank=(1, 2))
    with pytest.raises(ValueError, match="not 3 channels to 4"):
        FactorisedSpectralWeight(kept=(2, 2), in_channels=3, out_channels=4, separable=True)
