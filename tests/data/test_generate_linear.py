"""Linear families by every solver: the same samples in any order, and failures that cost nothing but themselves."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from equipoise.data import solver_choice
from equipoise.data.executors import ProcessExecutor, SerialExecutor
from equipoise.data.field_store import read_fields
from equipoise.data.generate_fields import draw_inputs, generate_fields, sample_numbers, sorted_order
from equipoise.data.linear_chains import SOLVERS, Chain, make_recipe
from equipoise.data.solver_choice import SolverChoice, choose_solver
from equipoise.data.thread_executor import ThreadExecutor
from equipoise.errors import ConvergenceError, FormatError
from equipoise.problems import Darcy, Helmholtz, Poisson
from equipoise.problems.registry import PROBLEMS, NamedProblem, make_problem
from equipoise.solvers.linear import pyamg_is_available

OPTIONS = {"resolution": 25}


def usable(name: str) -> str:
    if name == "amg" and not pyamg_is_available():
        pytest.skip("pyamg is not installed")
    return name


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("family", [Darcy(**OPTIONS), Helmholtz(**OPTIONS, frequency=9.0), Poisson(resolution=17)])
def test_sample_is_the_same_in_any_order_to_ten_tolerances(name: str, family: Any) -> None:
    if name in ("spectral", "amg", "gmres") and not family.is_positive_definite:
        pytest.skip(f"{name} does not solve indefinite families")
    inputs = draw_inputs(family, range(8), seed=0)
    exact = family.solve(inputs).numpy()
    order = np.array([5, 2, 7, 0, 3, 6, 1, 4])
    chain = Chain(family, make_recipe(usable(name), family), 1e-9)
    for rows in (np.arange(8), order, order[::-1].copy()):
        solved = chain(inputs[rows])
        assert solved.failures == {}
        # The residual bounds the error up to the condition; 10 tolerances hold for these families by far.
        errors = np.abs(solved.outputs - exact[rows]).max(axis=(1, 2, 3)) / np.abs(exact[rows]).max(axis=(1, 2, 3))
        assert errors.max() < 1e-8


@pytest.mark.parametrize(
    ("family", "words"),
    [
        (Darcy(**OPTIONS), "skr (DeflatedCG + ic)"),
        (Helmholtz(**OPTIONS, frequency=9.0), "skr (DeflatedMINRES + ssor)"),
        # On so few points the diagonal, 4 / h^2 - k^2, is negative.
        (Helmholtz(resolution=7, frequency=40.0), "skr (GCRODR + ilu)"),
        (make_problem("darcy-published", resolution=25), "skr (GCRODR + ilu)"),
    ],
    ids=["positive definite", "symmetric", "negative diagonal", "general"],
)
def test_recycling_suits_the_matrices(family: Any, words: str) -> None:
    assert str(make_recipe("skr", family)) == words


@pytest.mark.parametrize("executor", [SerialExecutor(), ThreadExecutor(2)], ids=["serial", "threads"])
@pytest.mark.parametrize("name", ["skr", "direct"])
def test_file_is_in_order_and_holds_the_same_whatever_solves_it(tmp_path: Path, name: str, executor: Any) -> None:
    made = generate_fields(
        "darcy", 21, tmp_path / "d.h5", options=OPTIONS, solver=name, dtype="float64", chunk_size=5, executor=executor
    )
    problem = Darcy(resolution=25)
    inputs = draw_inputs(problem, range(21), seed=0)
    data = read_fields(tmp_path / "d.h5")
    assert torch.equal(data.inputs, inputs)
    torch.testing.assert_close(data.outputs, problem.solve(inputs), rtol=1e-7, atol=1e-9)
    assert made.solver is not None
    assert made.solver["solver"] == name
    assert (made.sorting is not None) == (name == "skr")
    if made.sorting is not None:
        assert made.sorting["mean_step"] < made.sorting["mean_step_before"]
    assert data.settings["solved_by"]["recipe"].startswith(name)


def test_chunk_done_again_starts_with_an_empty_space() -> None:
    problem = Darcy(resolution=25, coefficient="log-normal")
    inputs = draw_inputs(problem, range(8), seed=0)
    chain = Chain(problem, make_recipe("skr", problem), 1e-8)
    first, second = chain(inputs), chain(inputs)
    assert np.array_equal(first.outputs, second.outputs)
    assert first.iterations[-1] < first.iterations[0], "and it learns inside the chunk"


def test_sorted_order_is_a_permutation_and_independent_of_blocks() -> None:
    order, figures = sorted_order(Darcy(resolution=9), 300, 0)
    assert sorted(order) == list(range(300))
    assert figures["mean_step"] < figures["mean_step_before"]


def test_auto_takes_the_fastest_and_says_why_not_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def tried(chain: Chain, inputs: torch.Tensor, best: float) -> tuple[float, tuple[int, str]]:
        if chain.recipe.name == "gmres":
            raise ConvergenceError("it stagnates.")
        failed = (2, "why not.") if chain.recipe.name == "skr" else (1, "nobody solves it")
        return {"direct": 3.0, "spectral": 2.0, "reuse": 1.0}.get(chain.recipe.name, 0.1), failed

    monkeypatch.setattr(solver_choice, "_tried", tried)
    monkeypatch.setattr("equipoise.data.linear_chains.pyamg_is_available", lambda: False)
    problem = Darcy(resolution=9)
    inputs = draw_inputs(problem, range(4), seed=0)
    choice = choose_solver(problem, inputs, asked="auto", tolerance=None, count=1000)
    assert (choice.solver, choice.tolerance, choice.learns) == ("reuse", 1e-8, True)
    assert choice.left_out == {
        "amg": "solver 'amg' needs pyamg; install equipoise[amg].",
        "gmres": "it stagnates.",
        "skr": "2 of the first samples failed (why not)",
    }
    words = str(choice)
    assert "auto: reuse (CG + Neighbour), tolerance 1e-08" in words
    assert "reuse 1e+03, spectral 2e+03, direct 3e+03" in words
    assert "without gmres: it stagnates" in words
    assert SolverChoice.from_document(json.loads(json.dumps(choice.document()))) == choice


def test_auto_times_nothing_more_where_nothing_can_be_gained() -> None:
    problem = Darcy(resolution=9)
    choice = choose_solver(problem, draw_inputs(problem, range(4), seed=0), asked="auto", tolerance=None, count=4)
    assert list(choice.timings) == ["direct"]
    assert choice.tolerance is None


def test_auto_leaves_out_a_factorisation_that_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solver_choice, "_free_memory", lambda: 1e3)
    problem = Darcy(resolution=9)
    choice = choose_solver(problem, draw_inputs(problem, range(4), seed=0), asked="auto", tolerance=None, count=4)
    assert choice.solver != "direct"
    assert "would take about 0 GB" in choice.left_out["direct"]


def test_first_choice_holds_when_resuming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done:
            raise Stopped

    chosen = choose_solver(Darcy(**OPTIONS), torch.ones(1), asked="spectral", tolerance=1e-10, count=9)
    module = sys.modules[generate_fields.__module__]
    monkeypatch.setattr(module, "choose_solver", lambda *a, **k: SolverChoice(**{**chosen.document(), "asked": "auto"}))
    options: dict[str, Any] = {"options": OPTIONS, "dtype": "float64", "chunk_size": 2, "executor": SerialExecutor()}
    with pytest.raises(Stopped):
        generate_fields("darcy", 9, tmp_path / "d.h5", progress=stop, **options)
    monkeypatch.setattr(module, "choose_solver", lambda *a, **k: pytest.fail("chosen again"))
    made = generate_fields("darcy", 9, tmp_path / "d.h5", resume=True, **options)
    assert made.resumed == 2
    assert made.solver is not None
    assert made.solver["solver"] == "spectral"
    with pytest.raises(FormatError, match="solver was auto and is now direct"):
        generate_fields("darcy", 9, tmp_path / "d.h5", resume=True, solver="direct", **options)


class Fragile(Poisson):
    """Samples whose number is a multiple of 5, marked by the first value of the source, have no system."""

    broken = True

    def assemble(self, inputs: torch.Tensor) -> Any:
        return next(self.systems(inputs[None]))

    def systems(self, inputs: torch.Tensor) -> Iterator[Any]:
        for row, (matrix, rhs) in zip(inputs, super().systems(inputs), strict=True):
            if self.broken and any(torch.equal(row, bad) for bad in self.bad()):
                rhs[3] = np.nan
            yield matrix, rhs

    def bad(self) -> torch.Tensor:
        return draw_inputs(self, range(0, 12, 5), seed=0)


@pytest.fixture
def fragile(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(PROBLEMS, "fragile", NamedProblem("fails at times", Fragile))
    monkeypatch.setattr(Fragile, "broken", True)
    return "fragile"


@pytest.mark.parametrize("name", ["direct", "skr"])
def test_failed_samples_are_named_and_the_others_kept(tmp_path: Path, fragile: str, name: str) -> None:
    options: dict[str, Any] = {"options": {"resolution": 9}, "solver": name, "chunk_size": 4, "dtype": "float64"}
    with pytest.raises(ConvergenceError, match=r"3 of 12 samples could not be solved: 0, 5, 10 \(sample 0: .*finite"):
        generate_fields(fragile, 12, tmp_path / "d.h5", executor=SerialExecutor(), **options)
    assert not (tmp_path / "d.h5").exists()
    lines: list[str] = []
    made = generate_fields(
        fragile,
        12,
        tmp_path / "d.h5",
        resume=True,
        skip_failed=True,
        executor=SerialExecutor(),
        report=lines.append,
        **options,
    )
    assert (made.count, made.resumed, made.left_out) == (9, 9, (0, 5, 10))
    assert any("left out what could not be solved, samples 0, 5, 10" in line for line in lines)
    data = read_fields(tmp_path / "d.h5")
    kept = [1, 2, 3, 4, 6, 7, 8, 9, 11]
    assert data.settings["left_out"] == [0, 5, 10]
    assert sample_numbers(data.settings, len(data)) == kept
    problem = Poisson(resolution=9)
    assert torch.equal(data.inputs, draw_inputs(problem, kept, seed=0))
    torch.testing.assert_close(data.outputs, problem.solve(data.inputs), rtol=1e-6, atol=1e-8)
    again = generate_fields(fragile, 12, tmp_path / "d.h5", resume=True, **options)
    assert (again.count, again.left_out) == (9, (0, 5, 10))


def test_resuming_without_skipping_tries_the_failed_again(
    tmp_path: Path, fragile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"options": {"resolution": 9}, "chunk_size": 4, "executor": SerialExecutor()}
    with pytest.raises(ConvergenceError, match="go on with --resume --skip-failed"):
        generate_fields(fragile, 12, tmp_path / "d.h5", **options)
    monkeypatch.setattr(Fragile, "broken", False)
    made = generate_fields(fragile, 12, tmp_path / "d.h5", resume=True, **options)
    assert (made.count, made.resumed, made.left_out) == (12, 9, ())
    whole = draw_inputs(Poisson(resolution=9), range(12), seed=0).float()
    assert torch.equal(read_fields(tmp_path / "d.h5").inputs, whole)


def test_unreachable_tolerance_names_every_sample(tmp_path: Path) -> None:
    with pytest.raises(ConvergenceError, match=r"2 of 2 samples could not be solved: 0, 1 .*residual"):
        generate_fields("darcy", 2, tmp_path / "d.h5", options=OPTIONS, solver="spectral", tolerance=3e-16)


@pytest.mark.parametrize(
    ("family", "options", "words"),
    [
        ("burgers", {"solver": "direct"}, "burgers takes no solver 'direct': families of linear systems do, .*darcy"),
        ("burgers", {"tolerance": 1e-8}, "burgers takes no tolerance 1e-08"),
        ("darcy", {"solver": "lu"}, "solver 'lu' is unknown; use auto or one of direct, spectral"),
        ("darcy", {"tolerance": 1e-17}, "tolerance=1e-17, which lies below round-off; it must be at least 2.2e-16"),
        ("darcy", {"tolerance": 1.0}, "tolerance=1; it must be"),
        ("helmholtz", {"solver": "spectral"}, "'spectral' is for positive definite families.* helmholtz is not one"),
    ],
)
def test_requests_that_make_no_sense_are_refused_before_work(
    tmp_path: Path, family: str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        generate_fields(family, 2, tmp_path / "d.h5", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_processes_give_the_same_file_as_threads(tmp_path: Path) -> None:
    with ProcessExecutor(2) as processes:
        for name, executor in (("a", processes), ("b", ThreadExecutor(2))):
            generate_fields(
                "darcy", 9, tmp_path / name, options=OPTIONS, solver="direct", chunk_size=2, executor=executor
            )
    assert read_fields(tmp_path / "a").fingerprint == read_fields(tmp_path / "b").fingerprint
