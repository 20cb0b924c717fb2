"""A data set made on a cluster whose worker is killed on the way: complete, each sample once."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch

from equipoise.data.dask_executor import DaskExecutor
from equipoise.data.field_store import read_fields
from equipoise.data.generate_fields import draw_inputs, generate_fields
from equipoise.problems import Darcy


@pytest.mark.parametrize("solver", ["direct", pytest.param("skr", marks=pytest.mark.slow)])
def test_killed_cluster_worker_costs_no_sample_and_doubles_none(tmp_path: Path, solver: str) -> None:
    distributed = pytest.importorskip("distributed", reason="the extra `distributed` is not installed")
    killed: list[int] = []
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        DaskExecutor(cluster.scheduler_address) as executor,
    ):

        def kill_one(done: int, total: int) -> None:
            if done and not killed:
                killed.append(next(iter(cluster.workers.values())).pid)
                os.kill(killed[0], signal.SIGKILL)

        made = generate_fields(
            "darcy",
            40,
            tmp_path / "d.h5",
            options={"resolution": 33},
            solver=solver,
            dtype="float64",
            chunk_size=2,
            executor=executor,
            progress=kill_one,
        )
    assert killed
    assert made.count == 40
    problem = Darcy(resolution=33)
    inputs = draw_inputs(problem, range(40), seed=0)
    data = read_fields(tmp_path / "d.h5")
    assert torch.equal(data.inputs, inputs)
    torch.testing.assert_close(data.outputs, problem.solve(inputs), rtol=1e-6, atol=1e-8)
