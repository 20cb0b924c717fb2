"""A GPU answers like the processor: families of equations, operators, training in full and in half precision."""

from __future__ import annotations

import pytest
import torch

from equipoise.data import FieldDataset
from equipoise.operators.registry import OPERATORS, FieldSizes, make_operator
from equipoise.problems import make_problem
from equipoise.spaces import GaussianRandomField, Grid, matern_spectrum
from equipoise.training.operators import train_operator

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

GRID = Grid((32, 32), periodic=True)


def fields(count: int = 16) -> FieldDataset:
    draw = GaussianRandomField(matern_spectrum(tau=5.0, alpha=3.0))
    inputs = draw.sample(count, GRID, torch.Generator().manual_seed(0)).float()
    return FieldDataset(inputs, inputs.roll(4, -1) * inputs, GRID)


@pytest.mark.parametrize("name", ["advection", "burgers", "kuramoto-sivashinsky", "navier-stokes"])
def test_families_are_solved_alike(name: str) -> None:
    problem = make_problem(name, resolution=32, final_time=0.05)
    inputs = problem.sample(3, torch.Generator().manual_seed(0))
    torch.testing.assert_close(problem.solve(inputs.cuda()).cpu(), problem.solve(inputs), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", list(OPERATORS))
def test_operators_answer_alike_and_keep_the_device(name: str) -> None:
    data = fields()
    operator = make_operator(name, FieldSizes(1, 1, GRID, GRID)).double()
    inputs = data.inputs.double()
    here = operator(inputs)
    there = operator.cuda()(inputs.cuda())
    assert there.is_cuda
    torch.testing.assert_close(there.cpu(), here, rtol=1e-9, atol=1e-10)
    trained = [parameter for parameter in operator.parameters() if parameter.requires_grad]
    if trained:
        there.square().mean().backward()
        assert all(bool(torch.isfinite(p.grad).all()) for p in trained if p.grad is not None)


@pytest.mark.parametrize("precision", ["full", "bf16", "fp16"])
def test_training_lowers_the_loss_in_every_precision(precision: str) -> None:
    if precision != "full":
        pytest.importorskip("accelerate")
    operator = make_operator("mgno", FieldSizes(1, 1, GRID, GRID), width=8, n_layers=2)
    trained = train_operator(
        operator, fields(), epochs=40, batch_size=8, learning_rate=5e-3, device="cuda", precision=precision
    )
    losses = [row["loss"] for row in trained.history.rows]
    assert losses[-1] < 0.7 * losses[0]
    assert next(trained.model.parameters()).is_cuda


def test_training_on_a_gpu_is_that_of_the_processor() -> None:
    weights = []
    for device in ("cpu", "cuda"):
        operator = make_operator("mgno", FieldSizes(1, 1, GRID, GRID), width=4, n_layers=1).double()
        data = fields()
        wide = FieldDataset(data.inputs.double(), data.outputs.double(), GRID)
        trained = train_operator(operator, wide, epochs=3, batch_size=8, device=device)
        weights.append([p.detach().cpu() for p in trained.model.parameters()])
    for one, other in zip(*weights, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)
