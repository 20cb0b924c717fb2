"""Runs of cells with a user's own law: kept, and read back where the law is given."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from equipoise.data.sampling import symmetric_box, uniform
from equipoise.errors import FormatError
from equipoise.multiscale.reduced_model import ReducedRVE
from equipoise.multiscale.runs import load_micro, save_micro
from equipoise.problems.mechanics.bases import ReducedBases
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.cell_solver import CellSolver
from equipoise.problems.mechanics.cubature import empirical_cubature
from equipoise.problems.mechanics.material import Material
from equipoise.problems.mechanics.materials import paper_fibre
from equipoise.spaces.cells import fibre_cell

BOX = symmetric_box(0.02, 3)


class Stiffening(Material):
    """A law that the library does not know."""

    name = "stiffening"

    def __init__(self, stiffness: float) -> None:
        self.stiffness = stiffness

    def energy(self, strain: torch.Tensor) -> torch.Tensor:
        square = strain.square().sum(-1)
        return self.stiffness * square * (1 + 100 * square)

    def config(self) -> dict[str, object]:
        return {"law": "stiffening", "stiffness": self.stiffness}


def test_a_run_with_a_law_of_the_users_own_is_read_with_that_law(tmp_path: Path) -> None:
    materials = {1: Stiffening(1000.0), 2: paper_fibre()}
    cell = PeriodicCell(fibre_cell(n=2), materials)
    solution = CellSolver(cell).solve(uniform(8, BOX, seed=0), tangent=False)
    stress = cell.law.stress(cell.strain(solution.strain, solution.fluctuation))
    bases = ReducedBases.from_snapshots(cell, solution.fluctuation, stress, strain=solution.strain, n_modes=4)
    model = ReducedRVE(cell, bases, cubature=empirical_cubature(cell, bases), box=BOX)
    save_micro(tmp_path / "run", model, cubature=empirical_cubature(cell, bases))
    again, strain = load_micro(tmp_path / "run", materials=materials), uniform(3, BOX, seed=1)
    torch.testing.assert_close(again.respond(strain).stress, model.respond(strain).stress)
    with pytest.raises(ValueError, match=r"law 'stiffening' is unknown.*or give materials="):
        load_micro(tmp_path / "run")
    with pytest.raises(FormatError, match="was recorded"):
        load_micro(tmp_path / "run", materials={**materials, 1: Stiffening(2000.0)})
