"""What generating a family of equations will cost; the model itself is in `cost_model.py`."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from equipoise.data.cost_model import GenerationPlan, plan_generation
from equipoise.data.executors import Executor
from equipoise.data.field_chunks import draw_inputs
from equipoise.data.generate_fields import chosen_solver, default_executor, generate_fields, natural_chunk
from equipoise.data.sorting import EXACT_LIMIT, sort_inputs
from equipoise.problems.linear_problem import LinearProblem
from equipoise.problems.registry import make_problem

__all__ = ["plan_fields"]


def plan_fields(
    family: str,
    count: int,
    *,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    dtype: str = "float32",
    solver: str | None = None,
    tolerance: float | None = None,
    chunk_size: int | None = None,
    executor: Executor | None = None,
) -> GenerationPlan:
    """Expected time, memory and bytes of `generate_fields` with the same arguments; nothing is written.

    Raises:
        ValueError, ConvergenceError: as `generate_fields`.
    """
    problem = make_problem(family, **dict(options or {}))
    executor = executor or default_executor(problem)
    workers = int(getattr(executor, "workers", 1))
    choice = chosen_solver(problem, family, count, seed=seed, solver=solver, tolerance=tolerance, workers=workers)
    size = chunk_size or natural_chunk(problem, choice, count, workers)
    sorting = 0.0
    if choice is not None and choice.learns and isinstance(problem, LinearProblem):
        sorting = _sorting_seconds(problem, count, seed)
    known: Any = {"solver": choice.solver, "tolerance": choice.tolerance} if choice is not None else {}
    points = len(problem.input_names) * math.prod(problem.input_grid.shape)
    points += len(problem.output_names) * math.prod(problem.grid.shape)

    def generate(samples: int, path: Path, chunk: int) -> object:
        return generate_fields(
            family,
            samples,
            path,
            options=options,
            seed=seed,
            dtype=dtype,
            chunk_size=chunk,
            executor=executor,
            skip_failed=True,
            **known,
        )

    return plan_generation(
        generate,
        count,
        chunk_size=size,
        workers=workers,
        executor=executor,
        extra_seconds=sorting + (choice.seconds if choice is not None else 0.0),
        sample_bytes=points * np.dtype(dtype).itemsize,
        notes=(str(choice),) if choice is not None else (),
    )


def _sorting_seconds(problem: LinearProblem, count: int, seed: int) -> float:
    """Of drawing all inputs first and sorting them, from a few hundred: quadratic up to the exact limit."""
    few = min(count, 64)
    began = time.perf_counter()
    features = problem.features(draw_inputs(problem, range(few), seed=seed)).numpy()
    drawing = (time.perf_counter() - began) / few * count
    tried = min(count, 512)
    sample = np.concatenate([features] * -(-tried // few))[:tried]
    seconds = sort_inputs(sample + 1e-3 * np.random.default_rng(0).standard_normal(sample.shape)).seconds
    growth = min(count, EXACT_LIMIT) / tried
    return drawing + seconds * growth**2 * max(1.0, count / EXACT_LIMIT)
