"""Tensorised FNO: compression, joint layers, both contractions, patches, and rebuilding from its configuration."""

from __future__ import annotations

import copy

import pytest
import torch
from safetensors.torch import save

from equipoise.operators.fno import FNO
from equipoise.operators.tfno import MGTFNO, TFNO
from equipoise.spaces.grid import Grid
from equipoise.spaces.resampling import resample

FORMS = ("tucker", "cp", "tensor-train")


def field(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def small(**options: object) -> TFNO:
    return TFNO(in_channels=2, out_channels=1, n_modes=(6, 6), width=6, n_layers=3, rank=0.3, **options)


def spectral(model: torch.nn.Module) -> int:
    return sum(p.numel() for name, p in model.named_parameters() if "weight.own" in name or "joint" in name)


def test_parameters_are_few_as_published() -> None:
    sizes = {"in_channels": 1, "out_channels": 1, "n_modes": (16, 16), "width": 24}
    dense = FNO(**sizes)
    dense_spectral = sum(block.spectral.weight.weight.numel() for block in dense.blocks)
    assert dense_spectral == 2 * 4 * 82944
    separate, joint = TFNO(**sizes), TFNO(**sizes, joint=True, layer_rank=4)
    assert spectral(separate) == 2 * 4 * 8418
    assert spectral(joint) < spectral(separate)
    for model in (separate, joint):
        assert spectral(model) <= 0.12 * dense_spectral
        assert model.n_parameters <= 0.15 * dense.n_parameters


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("options", [{}, {"joint": True}, {"separable": True}, {"joint": True, "separable": True}])
def test_contractions_agree_and_gradients_reach_every_parameter(form: str, options: dict) -> None:
    answers = []
    for contraction in ("factored", "reconstructed"):
        model = small(factorisation=form, contraction=contraction, **options).double()
        answers.append(model(field(2, 2, 12, 10)))
        answers[-1].square().sum().backward()
        assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in model.parameters())
    torch.testing.assert_close(answers[0], answers[1], rtol=1e-10, atol=1e-12)


def test_gradients_are_right_in_double_precision() -> None:
    model = TFNO(in_channels=1, out_channels=1, n_modes=(3, 3), width=3, n_layers=2, rank=0.5, joint=True).double()
    assert torch.autograd.gradcheck(model, (field(1, 1, 5, 4).requires_grad_(),))


def test_answer_is_the_same_on_a_finer_grid() -> None:
    # Linear skips and pointwise networks act point by point; only the activation makes frequencies that alias.
    model = TFNO(in_channels=1, out_channels=1, n_modes=(4, 4), width=6, rank=0.5, grid_embedding=False).double()
    grid = Grid((32, 32), periodic=True)
    values = resample(field(1, 1, 8, 8), Grid((8, 8), periodic=True), grid.shape)
    fine = resample(values, grid, (64, 64))
    torch.testing.assert_close(model(fine)[..., ::2, ::2], model(values), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("joint", [False, True])
def test_rebuilt_copied_and_saved_models_are_whole(joint: bool) -> None:
    model = small(joint=joint)
    values = field(1, 2, 12, 12, dtype=torch.float32)
    rebuilt = TFNO(**model.config)
    assert torch.equal(rebuilt(values), model(values))
    save(model.state_dict())  # refuses tensors under two names
    copied = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.mul_(1.5)
    assert not torch.equal(copied(values), model(values))
    rebuilt.load_state_dict(copied.state_dict())
    assert torch.equal(rebuilt(values), copied(values))


def test_joint_layers_differ_but_share_their_factors() -> None:
    model = small(joint=True)
    first, second = (model.blocks[i].spectral.weight.dense() for i in (0, 1))
    assert float((first - second).detach().abs().max()) > 0
    factors = model.joint_weights.factors
    assert {id(p) for p in model.parameters()} >= {id(p) for p in factors.parameters()}
    assert [name for name, _ in model.named_parameters() if "blocks" in name and "weight.own" in name] == []


@pytest.mark.parametrize("dim", [1, 3])
def test_one_and_three_dimensions(dim: int) -> None:
    model = TFNO(in_channels=1, out_channels=2, n_modes=(4,) * dim, width=4, n_layers=2, rank=0.5, joint=True)
    assert model(torch.zeros(2, 1, *[8] * dim)).shape == (2, 2, *[8] * dim)
    patched = MGTFNO(in_channels=1, out_channels=2, n_modes=(4,) * dim, width=4, n_layers=2, rank=0.5, padding=1)
    assert patched(torch.zeros(2, 1, *[16] * dim)).shape == (2, 2, *[16] * dim)


@pytest.mark.parametrize("levels", [0, 1, 2])
def test_patched_model_is_its_network_on_patches(levels: int) -> None:
    model = MGTFNO(
        in_channels=2, out_channels=1, n_modes=(4, 4), width=4, n_layers=2, rank=0.5, levels=levels, padding=0.0625
    )
    values = field(2, 2, 32, 32, dtype=torch.float32)
    assert model.operator.config["in_channels"] == 2 * (levels + 1)
    assert model(values).shape == (2, 1, 32, 32)
    rebuilt = MGTFNO(**model.config)
    assert torch.equal(rebuilt(values), model(values))
    # Shifts by whole patches move the answer, which patches on a torus must not notice.
    step = 32 // 2**levels
    torch.testing.assert_close(model(values.roll(step, 2)), model(values).roll(step, 2))


def test_positions_enter_before_cutting() -> None:
    model = MGTFNO(in_channels=1, out_channels=1, n_modes=(4, 4), width=4, n_layers=1, rank=0.5, positions=True)
    assert model.operator.config["in_channels"] == 6
    values = field(1, 1, 32, 32, dtype=torch.float32)
    assert float((model(values.roll(16, 2)) - model(values).roll(16, 2)).detach().abs().max()) > 1e-4


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="layer_rank=2 needs joint=True"):
        small(layer_rank=2)
    with pytest.raises(ValueError, match="3 channels are 6 with their coarse views, and the operator takes 2"):
        MGTFNO(in_channels=1, out_channels=1, n_modes=(4, 4), width=4)(torch.zeros(1, 3, 32, 32))
    with pytest.raises(ValueError, match="multiples of 4"):
        MGTFNO(in_channels=1, out_channels=1, n_modes=(4, 4), width=4)(torch.zeros(1, 1, 30, 32))


@pytest.mark.parametrize("kind", ["dense", "separate", "joint", "patched"])
def test_modes_can_start_few_and_be_raised(kind: str) -> None:
    sizes = {"in_channels": 1, "out_channels": 1, "width": 4, "n_layers": 2}
    kinds = {"dense": (FNO, {}), "separate": (TFNO, {}), "joint": (TFNO, {"joint": True}), "patched": (MGTFNO, {})}
    make, options = kinds[kind]
    model = make(**sizes, **options, n_modes=(6, 6)).double()
    values = field(2, 1, 16, 16)
    full = model(values)
    model.use_modes((3, 4))
    few = model(values)
    assert float((few - full).detach().abs().max()) > 1e-6
    # The weight in use is the block of the lowest modes, -1 to 1 of -3 to 2 along the first axis.
    network = model.operator if kind == "patched" else model
    weight = network.blocks[0].spectral.weight
    dense = weight.dense()[2:5, :3]
    modes = field(3, 3, 2, 5, 4)
    answer = weight.contract(modes)
    exact = torch.einsum("xybi,xyio->xybo", torch.complex(modes[:, :, 0], modes[:, :, 1]), dense)
    torch.testing.assert_close(torch.complex(answer[:, :, 0], answer[:, :, 1]), exact)
    rebuilt = make(**model.config).double()
    torch.testing.assert_close(rebuilt(values), few)
    model.use_modes((6, 6))
    assert torch.equal(model(values), full)
    with pytest.raises(ValueError, match=r"stores \(8, 4\) modes; the weight has \(6, 4\)"):
        model.use_modes((8, 6))
