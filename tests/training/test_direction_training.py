"""What direction networks minimise, their curriculum, their run folders and their comparison with other solvers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from equipoise.errors import FormatError
from equipoise.operators.direction_net import DirectionNet
from equipoise.problems.obstacles import domain, empty_box
from equipoise.problems.pressure import PressurePoisson
from equipoise.solvers.learned_directions import conjugate_directions
from equipoise.solvers.ritz import ritz_vectors
from equipoise.training.direction_evaluation import FORMS, RIVALS, compare_solvers
from equipoise.training.direction_runs import load_direction_run, save_direction_run
from equipoise.training.learned_directions import (
    DirectionObjective,
    Stage,
    TrainedDirections,
    curriculum,
    residual_after_line_search,
    train_directions,
    within_seconds,
)

TINY = Stage(8, 4, batch_size=4, ritz=20, vectors=16, validations=2)


@pytest.fixture(scope="module")
def trained() -> TrainedDirections:
    return train_directions(DirectionNet(width=2), [TINY, Stage(16, 2, batch_size=2, ritz=20, vectors=8)])


def test_the_loss_is_the_squared_residual_after_the_first_step_of_the_solver() -> None:
    system = PressurePoisson(domain("disc", (12, 12))[None])
    network = DirectionNet(width=3).double()
    residual = system.project(torch.randn(4, 12, 12, dtype=torch.float64))
    residual = residual / residual.flatten(1).norm(dim=1)[:, None, None]
    with torch.no_grad():
        direction = system.project(network(residual[:, None])[:, 0])
    loss = residual_after_line_search(residual, direction, system.apply(direction))
    solution = conjugate_directions(
        system.apply,
        residual,
        lambda unit: network(unit[:, None])[:, 0].detach(),
        safeguard=False,
        project=system.project,
        maxiter=1,
        throw=False,
    )
    torch.testing.assert_close(loss, solution.residual.square())
    for factor in (-1.0, 1e-5):
        scaled = factor * direction
        torch.testing.assert_close(residual_after_line_search(residual, scaled, system.apply(scaled)), loss)
    perfect = torch.linalg.solve(torch.from_numpy(system.matrix().toarray()), torch.ones(128, 1).double())
    exact = system.prolong(perfect.T.numpy())
    ones = system.project(torch.ones(1, 12, 12, dtype=torch.float64))
    assert float(residual_after_line_search(ones, exact, system.apply(exact))) < 1e-18


def test_the_gradient_of_the_loss_goes_through_the_step() -> None:
    system = PressurePoisson(empty_box((6, 6))[None])
    residual = torch.randn(2, 6, 6, dtype=torch.float64)
    direction = torch.randn(2, 6, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda f: residual_after_line_search(residual, f, system.apply(f)), (direction,), atol=1e-6
    )


def test_the_objective_is_a_mean_over_its_samples() -> None:
    system = PressurePoisson(empty_box((8, 8))[None])
    ritz = ritz_vectors(system.apply, (8, 8), 20, torch.Generator().manual_seed(0), dtype=torch.float32)
    objective, network = DirectionObjective(system, ritz, count=6), DirectionNet(width=2)
    every = [float(objective(network, torch.tensor([n]))["residual"].detach()) for n in range(6)]
    assert float(objective(network, None)["residual"].detach()) == pytest.approx(sum(every) / 6, rel=1e-5)


def test_stages_double_from_the_least_size_or_from_the_start() -> None:
    assert [stage.size for stage in curriculum(128, dim=2)] == [32, 64, 128]
    assert [stage.size for stage in curriculum(64, dim=3)] == [16, 32, 64]
    assert [stage.size for stage in curriculum(128, dim=2, start=32)] == [64, 128]
    assert [stage.size for stage in curriculum(64, dim=2, start=64)] == [64]
    assert [stage.size for stage in curriculum(90, dim=2)] == [90]
    assert [stage.layout for stage in curriculum(128, dim=2)] == [None, None, "k128"]
    assert [stage.layout for stage in curriculum(128, dim=2, deepen=False)] == [None] * 3
    assert curriculum(64, dim=2, generous=True)[0].steps > curriculum(64, dim=2)[0].steps
    with pytest.raises(ValueError, match="size=9 must be even"):
        Stage(9, 10)
    with pytest.raises(ValueError, match="layout='k9' is unknown"):
        Stage(8, 10, layout="k9")


def test_each_stage_leaves_the_weights_that_solved_fastest(trained: TrainedDirections) -> None:
    assert sorted(trained.networks) == sorted(trained.iterations) == [8, 16]
    final = trained.network.state_dict()
    assert all(torch.equal(final[name], value) for name, value in trained.networks[16].state_dict().items())
    for size in (8, 16):
        measured = [row["iterations"] for row in trained.rows if row["size"] == size and "iterations" in row]
        assert min(measured) == trained.iterations[size]
    again = train_directions(DirectionNet(width=2), [TINY])
    first = again.networks[8].state_dict()
    assert all(torch.equal(first[name], value) for name, value in trained.networks[8].state_dict().items())


def test_a_short_training_halves_the_residual_that_a_step_leaves() -> None:
    stage = Stage(16, 60, batch_size=8, learning_rate=5e-3, ritz=64, vectors=200, validations=1)
    trained = train_directions(DirectionNet(width=8), [stage])
    losses = [row["loss"] for row in trained.rows if "loss" in row]
    assert losses[-1] < 0.5 * losses[0]


def test_more_time_gives_more_steps() -> None:
    network = DirectionNet(width=2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    few, many = (within_seconds(network, [TINY, TINY], seconds)[0].steps for seconds in (0.001, 100))
    assert few == 10 < many
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_run_folder_holds_the_weights_of_every_size(tmp_path: Path, trained: TrainedDirections) -> None:
    save_direction_run(tmp_path / "run", trained, settings={"seed": 0})
    run = load_direction_run(tmp_path / "run")
    assert run.sizes == (8, 16)
    assert [run.trained_at(size) for size in (6, 10, 12, 64)] == [8, 8, 16, 16]
    field = torch.randn(1, 1, 8, 8)
    for size in (8, 16):
        assert torch.equal(run.network(size)(field), trained.networks[size](field))
    assert torch.equal(run.network()(field), trained.network(field))
    with pytest.raises(FileExistsError):
        save_direction_run(tmp_path / "run", trained)
    deeper = Stage(32, 1, batch_size=2, ritz=10, vectors=4, validations=1, layout="k128")
    further = train_directions(run.network(16), [deeper])
    save_direction_run(tmp_path / "run", further, earlier=run.networks, overwrite=True)
    again = load_direction_run(tmp_path / "run")
    assert again.sizes == (8, 16, 32)
    assert [again.network(size).config["layout"] for size in again.sizes] == ["k64", "k64", "k128"]
    assert torch.equal(again.network(16)(field), trained.networks[16](field))
    weights = tmp_path / "run" / "size-8.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(FormatError, match=r"size-8\.safetensors"):
        load_direction_run(tmp_path / "run")


def test_a_run_of_another_kind_is_refused(tmp_path: Path) -> None:
    from equipoise.data.run_folder import write_run_folder

    write_run_folder(tmp_path / "other", config={"kind": "grid operator"}, tensors={})
    with pytest.raises(FormatError, match="kind 'grid operator'"):
        load_direction_run(tmp_path / "other")
    write_run_folder(tmp_path / "odd", config={"kind": "search directions", "networks": {"8": {}}}, tensors={})
    with pytest.raises(FormatError, match="don't fit each other"):
        load_direction_run(tmp_path / "odd")


def test_all_solvers_reach_the_tolerance_on_the_same_systems() -> None:
    network = DirectionNet(width=4)
    directions = {"safeguarded": (network, FORMS["safeguarded"])}
    found = compare_solvers(directions, "random", (16, 16), count=2, maxiter=300)
    assert set(found) >= {"safeguarded", *RIVALS[:4]}
    assert all(figures.converged and len(figures.each) == 2 for figures in found.values())
    assert found["IC(0)-CG"].iterations < 0.6 * found["CG"].iterations
    # After 300 steps of Lanczos on fewer than 256 cells the Ritz vectors are eigenvectors.
    assert found["deflated CG, 64"].iterations < found["deflated CG, 16"].iterations < 0.5 * found["CG"].iterations
    with pytest.raises(ValueError, match="solver 'gmres' is unknown"):
        compare_solvers({}, "empty", (16, 16), rivals=["gmres"])
