"""The sorted-recycling reproduction: its smoke scale, its chains, and what its grid covers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from equipoise.papers import Settings, load
from equipoise.papers.skr import _by_turns
from equipoise.papers.skr_chains import Chain, gcrotmk, run_chain
from equipoise.papers.skr_grid import GRIDS, PRECONDITIONERS, PUBLISHED
from equipoise.problems.elliptic import Darcy
from equipoise.solvers.linear import CG, GCRODR, Direct


def test_smoke_scale_holds_with_every_solver_on_the_same_solutions() -> None:
    outcome = load("skr").run(Settings(scale="smoke"))
    assert outcome.held
    assert outcome.figures["largest_difference_of_solutions"] <= 1e-5
    for row in outcome.figures["rows"]:
        assert row["sorted"]["iterations"] <= row["gmres40"]["iterations"]
        assert row["direct"]["seconds"] > 0
        assert row["sorted"]["unconverged"] == row["gcrotmk"]["unconverged"] == 0
    for table in outcome.tables:
        assert all(len(row) == len(table.header) for row in table.rows)


def test_chains_count_products_that_carry_and_name_what_cannot_be_had() -> None:
    problem = Darcy(resolution=26, coefficient="smooth")
    systems = list(problem.systems(problem.sample(3, torch.Generator().manual_seed(0))))
    carried = run_chain(systems, GCRODR(restart=20, recycle=8), "ssor", rtol=1e-9)
    fresh = run_chain(systems, GCRODR(restart=20, recycle=8), "ssor", rtol=1e-9, fresh=True)
    theirs = gcrotmk(systems, "ssor", rtol=1e-9)
    direct = run_chain(systems, Direct(), rtol=1e-9)
    assert carried is not None
    assert fresh is not None
    assert theirs is not None
    assert direct is not None
    assert carried.iterations[0] == fresh.iterations[0]
    assert carried.products[1] >= carried.iterations[1] + 8
    assert carried.iterations[1] < fresh.iterations[1]
    for chain in (carried, fresh, theirs):
        assert all(chain.converged)
        for answer, exact in zip(chain.answers, direct.answers, strict=True):
            np.testing.assert_allclose(answer, exact, rtol=1e-6, atol=1e-9)
    # Restricted Schwarz is not symmetric.
    assert run_chain(systems, CG(), PRECONDITIONERS["ASM"], rtol=1e-9) is None


@pytest.mark.parametrize(("theirs", "runs"), [(1.5, 3), (1.05, 9), (0.9, 9), (0.5, 3)])
def test_chains_near_each_other_are_run_more_often_and_the_median_counts(theirs: float, runs: int) -> None:
    counts = {"sorted": 0, "gcrotmk": 0, "deflated_cg": 0}

    def method(name: str, seconds: float):
        def run() -> Chain | None:
            counts[name] += 1
            # The second run of each is disturbed.
            return Chain(seconds=[10.0 if counts[name] == 2 else seconds])

        return run

    methods = {"sorted": method("sorted", 1.0), "gcrotmk": method("gcrotmk", theirs), "deflated_cg": lambda: None}
    found = _by_turns(methods)
    assert (counts["sorted"], counts["gcrotmk"]) == (runs, runs)
    assert found["sorted"].total() == 1.0
    assert found["gcrotmk"].total() == theirs
    assert found["deflated_cg"] is None


def test_a_chain_that_takes_seconds_runs_once() -> None:
    counts = []

    def slow() -> Chain:
        counts.append(1)
        return Chain(seconds=[3.0])

    assert _by_turns({"sorted": slow, "gcrotmk": lambda: Chain(seconds=[0.1])})["sorted"].total() == 3.0
    assert len(counts) == 1


@pytest.mark.parametrize("scale", ["cpu", "gpu"])
def test_the_papers_table_is_whole(scale: str) -> None:
    grid = GRIDS[scale]
    cells = {(f"{row.family}, {row.rtol:g}", row.preconditioner) for row in grid.rows}
    assert len(cells) == len(grid.rows) == 18 * len(PRECONDITIONERS)
    assert cells >= {(line, name) for line, paper in PUBLISHED.items() for name in paper}
    assert {len(paper) for paper in PUBLISHED.values()} == {len(PRECONDITIONERS)}
    assert scale == "cpu" or {row.systems for row in grid.rows} == {100}
    # The criterion judges cells with three restarted systems only.
    assert any(row.family == "helmholtz-published" and row.restarted >= 3 for row in grid.rows)


def test_the_papers_ratios_are_those_it_quotes() -> None:
    assert PUBLISHED["helmholtz-published, 1e-07"]["ASM"] == {"time_ratio": 13.9, "iteration_ratio": 30.0}
    ratios = [(cell["time_ratio"], cell["iteration_ratio"]) for row in PUBLISHED.values() for cell in row.values()]
    assert max(time for time, _ in ratios) == 13.9
    assert max(iterations for _, iterations in ratios) == 30.0


@pytest.mark.parametrize("scale", GRIDS)
def test_every_row_has_its_family(scale: str) -> None:
    assert {row.family for row in GRIDS[scale].rows} <= set(GRIDS[scale].families)
