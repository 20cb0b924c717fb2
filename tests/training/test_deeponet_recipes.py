"""Recipes for branch and trunk: the network term is kept as far as it helps, and equations train without data."""

from __future__ import annotations

import pytest
import torch

from equipoise.operators.deeponet import DeepONet
from equipoise.operators.linear_map import LinearMap
from equipoise.operators.modified_deeponet import ModifiedDeepONet
from equipoise.operators.pod_deeponet import PODDeepONet
from equipoise.problems.registry import make_problem
from equipoise.training.deeponet import EquationObjective, QueryObjective, train_pod_deeponet
from equipoise.training.phases import Phase
from equipoise.training.trainer import Trainer


def functions(name: str, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    problem = make_problem(name, resolution=40)
    inputs = problem.sample(count, torch.Generator().manual_seed(seed))
    return inputs[:, 0], problem.solve(inputs)[:, :1]


def error(operator: torch.nn.Module, inputs: torch.Tensor, exact: torch.Tensor) -> float:
    with torch.no_grad():
        found = operator(inputs, None)[..., 0]
    norms = [torch.linalg.vector_norm(part, dim=-1) for part in (found - exact[:, 0], exact[:, 0])]
    return float((norms[0] / norms[1]).mean())


def test_network_improves_on_the_linear_map_where_the_equation_is_not_linear() -> None:
    inputs, outputs = functions("nonlinear-ode", 300, 0)
    unseen, exact = functions("nonlinear-ode", 100, 1)
    operator = PODDeepONet(sensors=40, shape=(40,), branch=(32, 32)).double()
    trained = train_pod_deeponet(operator, inputs, outputs, steps=500)
    linear = LinearMap(sensors=40, shape=(40,)).double()
    linear.fit(inputs, outputs)
    assert trained.share > 0.5
    assert trained.error < trained.linear_error / 2
    assert error(operator, unseen, exact) < error(linear, unseen, exact) / 2


@pytest.mark.parametrize("steps", [0, 100])
def test_the_network_is_kept_as_far_as_it_helps_on_functions_held_out(steps: int) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(6000, 8, generator=generator, dtype=torch.float64)
    outputs = (inputs[:, :1] + 0.5 * torch.randn(6000, 12, generator=generator, dtype=torch.float64))[:, None]
    operator = PODDeepONet(sensors=8, shape=(12,), branch=(16,), n_modes=12).double()
    trained = train_pod_deeponet(operator, inputs, outputs, held_out=0.3, steps=steps)
    assert trained.error <= trained.linear_error
    if steps == 0:
        # A network of random weights helps nowhere: what is left is the linear map of all functions.
        assert trained.share == 0
        linear = LinearMap(sensors=8, shape=(12,)).double()
        linear.fit(inputs, outputs)
        assert error(operator, inputs, outputs) == pytest.approx(error(linear, inputs, outputs), rel=1e-6)


def test_equation_trains_the_antiderivative_without_data() -> None:
    inputs, outputs = functions("antiderivative", 40, 0)
    inputs, outputs = inputs.float(), outputs.float()
    points = torch.linspace(0, 1, 40)[:, None]
    model = DeepONet(sensors=40, dim=1, activation="tanh", vanishing=("low",))

    def residual(chosen: object, value: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        return gradient[..., 0, 0] - inputs[chosen]  # type: ignore[index]

    objective = EquationObjective(inputs, points, residual)
    history = Trainer(model, objective).fit([Phase("adam", steps=400, learning_rate=5e-3, batch_size=20)])
    assert history.rows[-1]["loss"] < 0.1 * history.rows[0]["loss"]
    with torch.no_grad():
        found = model(inputs, points)[..., 0]
    size = float(outputs.square().mean())
    assert float((found - outputs[:, 0]).square().mean()) < 0.05 * size
    with pytest.raises(TypeError, match="no derivatives"):
        objective(ModifiedDeepONet(sensors=40, dim=1), None)


def test_points_of_each_function_follow_its_batch() -> None:
    inputs, points = torch.randn(6, 3), torch.rand(6, 4, 1)
    model = DeepONet(sensors=3, dim=1)
    with torch.no_grad():
        targets = model(inputs, points)
    objective = QueryObjective(inputs, points, targets)
    assert float(objective(model, torch.tensor([4, 1]))["error"].detach()) < 1e-12
    assert float(objective(model, None)["error"].detach()) < 1e-12


def test_bad_use_of_the_recipe_is_refused() -> None:
    inputs, outputs = torch.randn(20, 3), torch.randn(20, 1, 5)
    with pytest.raises(ValueError, match="anchored form"):
        train_pod_deeponet(PODDeepONet(sensors=3, shape=(5,), form="paper"), inputs, outputs)
    with pytest.raises(ValueError, match="10 or more"):
        train_pod_deeponet(PODDeepONet(sensors=3, shape=(5,)), inputs[:5], outputs[:5])
