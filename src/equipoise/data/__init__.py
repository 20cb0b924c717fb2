"""Making, storing and reading data sets; generation takes the solver as an argument and knows no equation.

Start reading at `store.py`."""

from __future__ import annotations

from equipoise.data.dask_executor import DaskExecutor
from equipoise.data.executors import Executor, ProcessExecutor, SerialExecutor
from equipoise.data.field_dataset import FieldDataset
from equipoise.data.field_plan import plan_fields
from equipoise.data.field_store import read_fields, write_fields
from equipoise.data.foreign_fields import read_foreign_fields
from equipoise.data.generate import GenerationSummary, generate_snapshots, plan_snapshots
from equipoise.data.generate_fields import generate_fields
from equipoise.data.sampling import laplace, latin_hypercube, sobol, symmetric_box, uniform
from equipoise.data.snapshot_solver import SnapshotSolver
from equipoise.data.snapshots import CellRecord, Snapshots
from equipoise.data.sorting import Sorting, consecutive_chunks, sort_inputs
from equipoise.data.split import Split
from equipoise.data.store import inspect, read_snapshots, write_snapshots
from equipoise.data.streamed_fields import open_fields, stream_fields
from equipoise.data.thread_executor import ThreadExecutor

__all__ = [
    "CellRecord",
    "DaskExecutor",
    "Executor",
    "FieldDataset",
    "GenerationSummary",
    "ProcessExecutor",
    "SerialExecutor",
    "SnapshotSolver",
    "Snapshots",
    "Sorting",
    "Split",
    "ThreadExecutor",
    "consecutive_chunks",
    "generate_fields",
    "generate_snapshots",
    "inspect",
    "laplace",
    "latin_hypercube",
    "open_fields",
    "plan_fields",
    "plan_snapshots",
    "read_fields",
    "read_foreign_fields",
    "read_snapshots",
    "sobol",
    "sort_inputs",
    "stream_fields",
    "symmetric_box",
    "uniform",
    "write_fields",
    "write_snapshots",
]
