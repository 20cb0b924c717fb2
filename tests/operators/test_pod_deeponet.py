"""POD-DeepONet and the linear map: exact on linear operators, orthonormal modes, saved whole."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from equipoise.operators.linear_map import LinearMap, fit_ridge, principal_components
from equipoise.operators.pod_deeponet import PODDeepONet, pod
from equipoise.operators.query_on_grid import QueryOnGrid
from equipoise.problems import make_problem
from equipoise.spaces.grid import Grid


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def relative(found: torch.Tensor, exact: torch.Tensor) -> float:
    size = torch.linalg.vector_norm(exact.flatten(1), dim=1)
    return float((torch.linalg.vector_norm((found - exact).flatten(1), dim=1) / size).mean())


def test_modes_are_orthonormal_in_the_mean_square_and_whole_at_full_number() -> None:
    outputs = drawn(8, 30)
    mean, modes = pod(outputs, 7)
    torch.testing.assert_close(modes.T @ modes / 30, torch.eye(7, dtype=torch.float64), rtol=1e-12, atol=1e-12)
    again = mean + (outputs - mean) @ modes @ modes.T / 30
    torch.testing.assert_close(again, outputs, rtol=1e-12, atol=1e-12)
    # More modes than samples hold nothing.
    assert float(pod(outputs, 10)[1][:, 7:].abs().max()) == 0


def test_modes_are_the_eigenvectors_of_the_covariance() -> None:
    outputs = drawn(50, 6)
    values, vectors = torch.linalg.eigh(torch.cov(outputs.T))
    parts = principal_components(outputs)
    torch.testing.assert_close(parts.spread.square(), values.flip(0))
    overlap = (parts.directions.T @ vectors.flip(1)).abs()
    torch.testing.assert_close(overlap, torch.eye(6, dtype=torch.float64), rtol=1e-9, atol=1e-9)


def test_ridge_without_strength_is_least_squares_and_with_it_the_normal_equations() -> None:
    inputs, outputs = drawn(40, 5), drawn(40, 3, seed=1)
    plain = fit_ridge(inputs, outputs, strengths=(0.0,))
    design = torch.cat([inputs, torch.ones(40, 1, dtype=torch.float64)], 1)
    exact = design @ torch.linalg.lstsq(design, outputs).solution
    torch.testing.assert_close(plain(inputs), exact)
    strong = fit_ridge(inputs, outputs, strengths=(0.3,))
    centred = inputs - inputs.mean(0)
    variance = torch.linalg.eigvalsh(torch.cov(inputs.T))[-1]
    matrix = centred.T @ centred + 0.3 * variance * 39 * torch.eye(5, dtype=torch.float64)
    exact = centred @ torch.linalg.solve(matrix, centred.T @ outputs) + outputs.mean(0)
    exact += centred.mean(0) @ torch.linalg.solve(matrix, centred.T @ outputs)
    torch.testing.assert_close(strong(inputs), exact)


def test_ridge_chooses_more_strength_for_noisier_data() -> None:
    inputs, weight = drawn(60, 30), drawn(30, 4, seed=1)
    clean, noisy = (inputs @ weight + size * drawn(60, 4, seed=2) for size in (0.0, 20.0))
    assert fit_ridge(inputs, clean).strength < 1e-8 < 1e-2 <= fit_ridge(inputs, noisy).strength


def test_linear_map_solves_the_antiderivative() -> None:
    problem = make_problem("antiderivative", resolution=100)
    inputs = problem.sample(170, torch.Generator().manual_seed(0))
    outputs = problem.solve(inputs)
    operator = LinearMap(sensors=100, shape=(100,)).double()
    operator.fit(inputs[:150], outputs[:150])
    found = QueryOnGrid(operator=operator, shape=(100,))(inputs[150:])
    assert relative(found, outputs[150:]) < 1e-7


def test_a_linear_branch_on_modes_reproduces_a_linear_operator() -> None:
    # Branch without hidden layers, trunk of POD modes, fitted by least squares: exact to round-off.
    inputs, kernel = drawn(40, 9), drawn(9, 25, seed=1)
    outputs = (inputs @ kernel)[:, None]
    operator = PODDeepONet(sensors=9, shape=(25,), n_modes=9, branch=(), form="paper").double()
    coefficients = operator.fit(inputs, outputs)
    design = torch.cat([inputs, torch.ones(40, 1, dtype=torch.float64)], 1)
    solution = torch.linalg.lstsq(design, coefficients / operator.branch_net.scale).solution
    with torch.no_grad():
        operator.branch_net.network.weights[0].copy_(solution[:9])
        operator.branch_net.network.biases[0].copy_(solution[9])
    unseen = drawn(5, 9, seed=2)
    torch.testing.assert_close(operator(unseen, None)[..., 0], unseen @ kernel, rtol=1e-10, atol=1e-10)


def test_anchored_form_is_the_linear_map_before_training() -> None:
    inputs, kernel = drawn(40, 9), drawn(9, 50, seed=1)
    outputs = (inputs @ kernel).view(40, 2, 25)
    operator = PODDeepONet(sensors=9, shape=(25,), out_channels=2, n_modes=9).double()
    operator.fit(inputs, outputs)
    # What is left over is round-off, so that the network's scale is too.
    unseen = drawn(5, 9, seed=2)
    torch.testing.assert_close(
        operator(unseen, None).transpose(1, 2), (unseen @ kernel).view(5, 2, 25), rtol=1e-9, atol=1e-9
    )


def test_answer_at_the_mean_input_is_the_mean_output_for_any_network() -> None:
    inputs, outputs = drawn(40, 9), drawn(40, 1, 25, seed=1)
    operator = PODDeepONet(sensors=9, shape=(25,), n_modes=5).double()
    operator.fit(inputs, outputs)
    with torch.no_grad():
        for parameter in operator.parameters():
            parameter += 0.3
    mean = operator(inputs.mean(0, keepdim=True), None)[0, :, 0]
    torch.testing.assert_close(mean, outputs.mean(0)[0], rtol=1e-10, atol=1e-10)


def test_published_form_starts_near_the_mean_of_the_outputs() -> None:
    outputs = 3 + drawn(40, 1, 25, seed=1)
    operator = PODDeepONet(sensors=9, shape=(25,), n_modes=30, form="paper").double()
    operator.fit(drawn(40, 9), outputs)
    with torch.no_grad():
        operator.branch_net.network.weights[-1].zero_()
    found = operator(drawn(3, 9, seed=3), None)[..., 0]
    torch.testing.assert_close(found, outputs.mean(0).expand(3, -1), rtol=1e-12, atol=1e-12)


def test_answers_between_grid_points_converge_at_fourth_order() -> None:
    errors = []
    points = torch.rand(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for count in (17, 33):
        grid = Grid((count, count - 1), periodic=(False, True))
        t, x = grid.points().unbind(-1)
        outputs = torch.stack([a * torch.sin(3 * t) * torch.cos(2 * torch.pi * x) for a in (1.0, 2.0, 3.0)])[:, None]
        operator = PODDeepONet(sensors=1, shape=grid.shape, periodic=grid.wraps, n_modes=1, form="paper").double()
        operator.fit(torch.ones(3, 1, dtype=torch.float64), outputs)
        with torch.no_grad():
            operator.branch_net.network.weights[-1].zero_()
        exact = 2 * torch.sin(3 * points[:, 0]) * torch.cos(2 * torch.pi * points[:, 1])
        errors.append(
            float((operator(torch.ones(1, 1, dtype=torch.float64), points)[0, :, 0] - exact).detach().abs().max())
        )
    assert math.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.6)


def test_grid_points_give_the_table_itself() -> None:
    inputs, outputs = drawn(20, 4), drawn(20, 2, 6, 5, seed=1)
    operator = PODDeepONet(sensors=4, shape=(6, 5), out_channels=2, n_modes=3).double()
    operator.fit(inputs, outputs)
    points = operator.grid.points().flatten(0, 1)
    assert torch.equal(operator(inputs, points), operator(inputs, None))
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(operator(inputs, points[order]), operator(inputs, None)[:, order])


def test_saved_and_loaded_operator_answers_with_the_same_bits(tmp_path: Path) -> None:
    inputs, outputs = drawn(20, 4), drawn(20, 1, 6, seed=1)
    for made in (
        PODDeepONet(sensors=4, shape=(6,), n_modes=3, n_learned=2, trunk=(4,)),
        LinearMap(sensors=4, shape=(6,)),
    ):
        made.fit(inputs, outputs)
        save_file(made.state_dict(), tmp_path / "weights.safetensors")
        again = type(made)(**made.config)
        again.load_state_dict(load_file(tmp_path / "weights.safetensors"))
        assert torch.equal(again(inputs.float(), None), made(inputs.float(), None))


def test_learned_functions_join_the_modes() -> None:
    operator = PODDeepONet(sensors=4, shape=(6,), n_modes=3, n_learned=2, trunk=(4,), seed=1).double()
    operator.fit(drawn(20, 4), drawn(20, 1, 6, seed=1))
    points = operator.grid.points()
    with torch.no_grad():
        operator.bias.fill_(0.7)
    assert operator.trunk(points).shape == (6, 1, 1 + 3 + 2)
    torch.testing.assert_close(operator(drawn(2, 4), points), operator(drawn(2, 4), None))
    assert torch.autograd.gradcheck(lambda u: operator(u, points), (drawn(2, 4).requires_grad_(),))


def test_query_on_grid_answers_on_the_grid_and_on_others_when_resampling() -> None:
    options = {"sensors": (1, 16), "dim": 1, "seed": 2}
    wrapped = QueryOnGrid(operator={"name": "DeepONet", "options": options}, shape=(16,), resample=True).double()
    again = QueryOnGrid(**wrapped.config).double()
    again.load_state_dict(wrapped.state_dict())
    x = Grid((16,)).axis(0)
    fields = torch.sin(2 * x)[None, None]
    values = wrapped(fields)
    assert values.shape == (1, 1, 16)
    assert torch.equal(again(fields), values)
    points = Grid((31,)).points()
    fine = wrapped(torch.sin(2 * points[:, 0])[None, None])
    assert fine.shape == (1, 1, 31)
    torch.testing.assert_close(fine[..., ::2], values, rtol=1e-5, atol=1e-5)
    strict = QueryOnGrid(operator={"name": "DeepONet", "options": options}, shape=(16,))
    with pytest.raises(ValueError, match=r"live on 31 points; this operator's sensors are 16"):
        strict(torch.zeros(1, 1, 31))
    with pytest.raises(ValueError, match=r"expected \(batch, channel, 16\)"):
        strict(torch.zeros(1, 1, 4, 4))


def test_query_on_grid_can_answer_in_another_box() -> None:
    operator = {"name": "DeepONet", "options": {"sensors": 8, "dim": 2}}
    wrapped = QueryOnGrid(operator=operator, shape=(8,), output_shape=(5, 6), output_bounds=((0.0, 2.0), (0.0, 1.0)))
    assert wrapped(torch.zeros(3, 1, 8)).shape == (3, 1, 5, 6)
    with pytest.raises(ValueError, match="same box"):
        QueryOnGrid(operator=operator, shape=(8,), output_shape=(5, 6), resample=True)
    with pytest.raises(ValueError, match="DeepONet, LinearMap"):
        QueryOnGrid(operator={"name": "Oracle"}, shape=(8,))


def test_bad_input_is_named() -> None:
    operator = PODDeepONet(sensors=4, shape=(6,))
    with pytest.raises(ValueError, match="expected"):
        operator.fit(torch.zeros(3, 4), torch.zeros(3, 1, 7))
    with pytest.raises(ValueError, match="2 channels; this operator gives 1"):
        operator.fit(torch.zeros(3, 4), torch.zeros(3, 2, 6))
    with pytest.raises(ValueError, match="reads 4 sensors"):
        operator(torch.zeros(3, 5), None)
    with pytest.raises(ValueError, match="outside"):
        operator(torch.zeros(3, 4), torch.tensor([[1.5]]))
    with pytest.raises(ValueError, match="no derivatives"):
        operator.derivatives(torch.zeros(3, 4), torch.tensor([[0.5]]))
    with pytest.raises(ValueError, match="anchored, paper"):
        PODDeepONet(sensors=4, shape=(6,), form="loose")
    with pytest.raises(ValueError, match="at least 2"):
        principal_components(torch.zeros(1, 3))
