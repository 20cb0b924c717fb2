"""Full-field cells spread over executors answer as in one process, with warm starts, in the order asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sample_structures import at

from equipoise.data.executors import ProcessExecutor, SerialExecutor
from equipoise.multiscale.distributed_solver import DistributedCellSolver
from equipoise.multiscale.full_field import FullFieldRVE
from equipoise.multiscale.load_stepping import Stepping
from equipoise.multiscale.macroscale import simulate
from equipoise.multiscale.structure import Load, Structure, Support
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.materials import paper_materials
from equipoise.spaces.cells import fibre_cell
from equipoise.spaces.structures import rectangle

CELL = PeriodicCell(fibre_cell(n=2), paper_materials())
STRAIN = 0.03 * torch.as_tensor(np.random.default_rng(0).uniform(-1, 1, (7, 3)))


class Shuffled(SerialExecutor):
    """Finishes batches in reverse order, as a cluster may."""

    def map_batches(self, function, batches):  # type: ignore[no-untyped-def]
        yield from reversed(list(super().map_batches(function, batches)))


@pytest.mark.parametrize("executor", [SerialExecutor(), Shuffled()], ids=["serial", "shuffled"])
def test_spread_answers_equal_those_of_one_process(executor: SerialExecutor) -> None:
    alone = FullFieldRVE(CELL).respond(STRAIN)
    spread = FullFieldRVE(CELL, solver=DistributedCellSolver(CELL, executor=executor, batch=3))
    answer = spread.respond(STRAIN)
    torch.testing.assert_close(answer.stress, alone.stress, rtol=1e-9, atol=1e-9)
    scale = float(alone.tangent.abs().max())  # entries that nearly vanish are as accurate as the largest, not more
    torch.testing.assert_close(answer.tangent, alone.tangent, rtol=0, atol=1e-7 * scale)
    torch.testing.assert_close(answer.state["fluctuation"], alone.state["fluctuation"], rtol=0, atol=1e-10)
    again = spread.respond(STRAIN, state=answer.state)
    assert again.counts["cell_iterations"] < answer.counts["cell_iterations"]
    fields = spread.localize(STRAIN)
    torch.testing.assert_close(CELL.average(fields.stress), alone.stress, rtol=1e-9, atol=1e-9)


def test_a_structure_simulated_with_processes_equals_one_simulated_without() -> None:
    structure = Structure(
        rectangle(elements=(2, 1), size=(2.0, 1.0), element="quad4"),
        [Support(at(x=0.0), {"x": 0.0, "y": 0.0})],
        [Load(at(x=2.0), traction=(20.0, 5.0))],
        Stepping(first_step=1.0),
    )
    alone = simulate(structure, FullFieldRVE(CELL))
    with ProcessExecutor(2) as executor:
        solver = DistributedCellSolver(CELL, executor=executor, batch=2)
        spread = simulate(structure, FullFieldRVE(CELL, solver=solver))
    np.testing.assert_allclose(spread.displacement, alone.displacement, atol=1e-9 * np.abs(alone.displacement).max())


def test_a_batch_must_hold_a_strain() -> None:
    with pytest.raises(ValueError, match="batch=0"):
        DistributedCellSolver(CELL, executor=SerialExecutor(), batch=0)
