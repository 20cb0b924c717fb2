"""Data sets of equations: the same bytes whatever the workers, interruptions and chunks of work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from equipoise.data.executors import ProcessExecutor
from equipoise.data.field_chunks import FieldSolver, draw_inputs
from equipoise.data.field_store import read_fields
from equipoise.data.generate_fields import generate_fields
from equipoise.errors import FormatError
from equipoise.problems.linear_problem import LinearProblem
from equipoise.problems.registry import PROBLEMS, make_problem

PERIODIC = ("advection", "burgers", "allen-cahn", "korteweg-de-vries", "kuramoto-sivashinsky", "navier-stokes")
OPTIONS: dict[str, dict[str, Any]] = {
    "navier-stokes": {"resolution": 16, "final_time": 0.05},
    "diffusion-reaction": {"resolution": 9, "n_times": 5},
    "thermal": {},
}


@pytest.mark.parametrize("family", PROBLEMS)
def test_every_family_makes_a_file_that_solves_its_equations(tmp_path: Path, family: str) -> None:
    options = OPTIONS.get(family, {"resolution": 16})
    problem = make_problem(family, **options)
    solver = "direct" if isinstance(problem, LinearProblem) else None
    generate_fields(family, 3, tmp_path / "d.h5", options=options, dtype="float64", solver=solver)
    data = read_fields(tmp_path / "d.h5")
    assert (data.grid, data.input_grid) == (problem.grid, problem.input_grid)
    assert (data.input_names, data.output_names) == (problem.input_names, problem.output_names)
    torch.testing.assert_close(problem.solve(data.inputs), data.outputs, rtol=1e-10, atol=1e-12)


def test_a_sample_depends_on_seed_and_number_alone() -> None:
    problem = make_problem("burgers", resolution=16)
    all_of_them = draw_inputs(problem, range(6), seed=3)
    assert torch.equal(draw_inputs(problem, range(4, 6), seed=3), all_of_them[4:])
    assert not torch.equal(draw_inputs(problem, range(1), seed=4), all_of_them[:1])


@pytest.mark.parametrize("family", [name for name in PROBLEMS if not name.endswith("-published")])
def test_one_seed_gives_one_input_at_two_resolutions(family: str) -> None:
    sizes = (24, 48) if family in PERIODIC else (41, 81) if family == "thermal" else (25, 49)
    coarse, fine = (draw_inputs(make_problem(family, resolution=n), range(2), seed=5) for n in sizes)
    every_second = (..., *[slice(None, None, 2)] * (coarse.ndim - 2))
    inside = (..., *[slice(1, -1)] * (coarse.ndim - 2))  # boundary values live on other points of a finer grid
    torch.testing.assert_close(fine[every_second][inside], coarse[inside])


def test_workers_give_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    shared: dict[str, Any] = {"options": {"resolution": 41}, "solver": "direct", "chunk_size": 2, "dtype": "float64"}
    generate_fields("darcy", 7, tmp_path / "a" / "d.h5", **shared)
    with ProcessExecutor(2) as executor:
        generate_fields("darcy", 7, tmp_path / "b" / "d.h5", **shared, executor=executor)
    assert read_fields(tmp_path / "a" / "d.h5").fingerprint == read_fields(tmp_path / "b" / "d.h5").fingerprint


class Stopped(Exception):
    """Stands for a kill."""


def test_interrupted_run_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared: dict[str, Any] = {"options": {"resolution": 9}, "solver": "direct"}
    whole = generate_fields("darcy", 7, tmp_path / "whole.h5", **shared, chunk_size=2)
    assert whole.resumed == 0
    solved: list[range] = []
    original = FieldSolver.__call__

    def stopping(self: Any, numbers: range) -> Any:
        if len(solved) == 2:
            raise Stopped
        solved.append(numbers)
        return original(self, numbers)

    monkeypatch.setattr(FieldSolver, "__call__", stopping)
    with pytest.raises(Stopped):
        generate_fields("darcy", 7, tmp_path / "d.h5", **shared, chunk_size=2)
    assert not (tmp_path / "d.h5").exists()
    monkeypatch.undo()
    with pytest.raises(FormatError, match="--resume"):
        generate_fields("darcy", 7, tmp_path / "d.h5", **shared)
    with pytest.raises(FormatError, match="seed was 0 and is now 1"):
        generate_fields("darcy", 7, tmp_path / "d.h5", **shared, seed=1, resume=True)
    made = generate_fields("darcy", 7, tmp_path / "d.h5", **shared, resume=True)
    assert made.resumed == 4
    assert read_fields(tmp_path / "d.h5").fingerprint == read_fields(tmp_path / "whole.h5").fingerprint
    assert not (tmp_path / "d.h5.parts").exists()
    again = generate_fields("darcy", 7, tmp_path / "d.h5", **shared, resume=True)
    assert again.resumed == 7


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("darci", 1), "'darci' is unknown; use one of antiderivative"),
        (("darcy", 0), "count=0"),
        (("darcy", 1, {"options": {"size": 3}}), "no option 'size'; it has resolution, coefficient"),
        (("darcy", 1, {"options": {"resolution": "many"}}), "must be of the kind of 65"),
        (("darcy", 1, {"dtype": "float16"}), "float32 or float64"),
    ],
)
def test_bad_requests_are_refused_before_work(tmp_path: Path, arguments: tuple, words: str) -> None:
    family, count, *rest = arguments
    with pytest.raises(ValueError, match=words):
        generate_fields(family, count, tmp_path / "d.h5", **(rest[0] if rest else {}))
    assert list(tmp_path.iterdir()) == []
