"""Sorting gives permutations whose steps are those of the greedy rule, and changes no sample's solution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.data import sorting
from equipoise.data.sorting import METHODS, _hilbert_index, consecutive_chunks, sort_inputs
from equipoise.problems.elliptic import Darcy
from equipoise.solvers.linear import GCRODR, prepare, solve, update


def _brute_force(*parts: np.ndarray) -> list[int]:
    order, left = [0], list(range(1, len(parts[0])))
    while left:
        steps = [sum(np.linalg.norm(part[order[-1]] - part[j]) for part in parts) for j in left]
        order.append(left.pop(int(np.argmin(steps))))
    return order


def _fields(count: int, points: int, seed: int = 0) -> np.ndarray:
    """Smooth random fields `(count, points, points)`."""
    waves = np.cos(np.pi * np.outer(np.arange(6), (np.arange(points) + 0.5) / points))
    amplitude = 1 / (1 + np.add.outer(np.arange(6) ** 2, np.arange(6) ** 2))
    draw = np.random.default_rng(seed).normal(size=(count, 6, 6)) * amplitude
    return np.einsum("nij,ix,jy->nxy", draw, waves, waves, optimize=True)


@settings(max_examples=50, deadline=None)
@given(count=st.integers(1, 9), width=st.sampled_from([1, 3, 20]), seed=st.integers(0, 2**31 - 1))
def test_greedy_order_is_that_of_brute_force(count: int, width: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    inputs, extra = generator.normal(size=(count, width)), generator.normal(size=count)
    assert sort_inputs(inputs, method="greedy").order.tolist() == _brute_force(inputs)
    both = sort_inputs(inputs, method="greedy", extra=extra).order.tolist()
    assert both == _brute_force(inputs, extra[:, None])


def test_of_equally_near_inputs_the_lowest_index_comes_first() -> None:
    inputs = np.array([0.0, 5.0, 1.0, 1.0, -1.0, 1.0])[:, None]
    assert sort_inputs(inputs, method="greedy").order.tolist() == [0, 2, 3, 5, 4, 1]


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(0, 1500),
    method=st.sampled_from(METHODS),
    group=st.integers(2, 700),
    distinct=st.booleans(),
    seed=st.integers(0, 2**31 - 1),
)
def test_every_method_gives_a_permutation_that_starts_with_sample_0(
    count: int, method: str, group: int, distinct: bool, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    inputs = generator.normal(size=(count, 3)) if distinct else generator.integers(0, 2, size=(count, 3))
    result = sort_inputs(inputs, method=method, group=group)
    assert sorted(result.order.tolist()) == list(range(count))
    assert count == 0 or result.order[0] == 0


@settings(max_examples=60, deadline=None)
@given(count=st.integers(0, 300), chunks=st.integers(1, 40))
def test_chunks_are_consecutive_runs_of_nearly_equal_length(count: int, chunks: int) -> None:
    order = np.random.default_rng(0).permutation(count)
    runs = consecutive_chunks(order, chunks)
    assert np.concatenate([*runs, np.zeros(0, dtype=int)]).tolist() == order.tolist()
    lengths = [len(run) for run in runs]
    assert len(runs) == min(count, chunks)
    assert not lengths or max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("method", ["greedy", "reduced", "grouped", "tree"])
def test_sorted_fields_are_much_closer_to_one_another(method: str) -> None:
    result = sort_inputs(_fields(1000, 48), method=method, group=256)
    fields = _fields(1000, 48).reshape(1000, -1)
    step = np.linalg.norm(np.diff(fields[result.order], axis=0), axis=1).mean()
    assert result.step_after == pytest.approx(step, rel=1e-10)
    assert result.step_after < 0.4 * result.step_before
    assert result.seconds > 0
    assert f"({method}, " in str(result)


def test_low_modes_hold_the_distances_of_smooth_fields() -> None:
    fields = _fields(40, 64)
    exact = sort_inputs(fields, method="greedy")
    reduced = sort_inputs(fields, method="reduced", components=36)
    assert reduced.features == 36
    assert reduced.order.tolist() == exact.order.tolist()


def test_auto_reduces_large_fields_and_looks_for_neighbours_in_a_tree_beyond_ten_thousand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert sort_inputs(_fields(50, 16)).method == "greedy"
    with monkeypatch.context() as patch:
        patch.setattr(sorting, "_EXACT_FLOPS", 1e5)
        assert sort_inputs(_fields(50, 16)).method == "reduced"
    many = sort_inputs(np.random.default_rng(0).normal(size=(10_001, 3)))
    assert many.method == "tree"
    assert many.step_after < 0.15 * many.step_before


def test_hilbert_curve_visits_neighbouring_cells_one_after_another() -> None:
    for dim in (2, 3):
        cells = np.stack(np.meshgrid(*[np.arange(8.0)] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
        along = cells[np.argsort(_hilbert_index(cells, bits=3))]
        assert (np.abs(np.diff(along, axis=0)).sum(axis=1) == 1).all()


def test_the_order_changes_no_solution_beyond_the_tolerance() -> None:
    problem, rtol = Darcy(resolution=21, coefficient="log-normal"), 1e-10
    inputs = problem.sample(8, torch.Generator().manual_seed(0)).double()
    result = sort_inputs(inputs)
    assert result.order.tolist() != list(range(8))
    found = []
    for order in (range(8), result.order.tolist()):
        state, solutions = None, {}
        for sample in order:
            matrix, rhs = problem.assemble(inputs[sample])
            state = prepare(matrix, "ssor", method=GCRODR(20, 8)) if state is None else update(state, matrix)
            solutions[sample] = solve(state, rhs, rtol=rtol).value
        found.append(solutions)
    for sample in range(8):
        scale = float(found[0][sample].norm())
        assert float((found[0][sample] - found[1][sample]).norm()) < 1e3 * rtol * scale
        matrix, rhs = problem.assemble(inputs[sample])
        for solutions in found:
            assert np.linalg.norm(matrix @ solutions[sample].numpy() - rhs) <= 1.001 * rtol * np.linalg.norm(rhs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": np.ones((3, 2)), "method": "random"}, "use one of auto, greedy"),
        ({"inputs": np.array([[1.0], [np.nan]])}, "inputs of sample 1 holds a value that is not finite"),
        ({"inputs": np.ones((3, 2)), "extra": np.ones(2)}, "extra holds 2 samples and inputs 3"),
        ({"inputs": np.ones((3, 2)), "extra": np.array([0, np.inf, 0])}, "extra of sample 1"),
        ({"inputs": np.float64(3.0)}, "single number"),
        ({"inputs": np.ones((3, 2)), "components": 0}, "components=0"),
        ({"inputs": np.ones((3, 2)), "group": 1}, "group=1"),
    ],
)
def test_bad_input_gets_one_sentence(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sort_inputs(**options)


def test_chunks_must_be_counted_from_one() -> None:
    with pytest.raises(ValueError, match="chunks=0"):
        consecutive_chunks(np.arange(3), 0)
