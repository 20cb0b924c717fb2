"""A structure with a certified reduced model: as good as the full field where it falls back, and honest where not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sample_structures import Linear, at

from equipoise.errors import FormatError
from equipoise.multiscale.certificate import Certificate
from equipoise.multiscale.enrichment import read_enrichment, restore_enrichment, write_enrichment
from equipoise.multiscale.full_field import FullFieldRVE
from equipoise.multiscale.load_stepping import Stepping
from equipoise.multiscale.macroscale import simulate
from equipoise.multiscale.reduced_model import ReducedRVE
from equipoise.multiscale.simulation import Simulation
from equipoise.multiscale.structure import Structure, Support
from equipoise.problems.mechanics.bases import ReducedBases
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.cell_solver import CellSolver
from equipoise.problems.mechanics.materials import paper_materials
from equipoise.spaces.cells import fibre_cell
from equipoise.spaces.structures import rectangle

STRUCTURE = Structure(
    rectangle(elements=(3, 2), size=(3.0, 1.0), element="quad4"),
    [Support(at(x=0.0), {"x": 0.0, "y": 0.0}, name="wall"), Support(at(x=3.0), {"y": 0.06}, name="end")],
    stepping=Stepping(first_step=0.5),
)


@pytest.fixture(scope="module")
def cell() -> PeriodicCell:
    return PeriodicCell(fibre_cell(n=2), paper_materials())


@pytest.fixture(scope="module")
def bases(cell: PeriodicCell) -> ReducedBases:
    strain = 0.04 * (2 * torch.rand(24, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 1)
    solution = CellSolver(cell).solve(strain, tangent=False)
    stress = cell.law.stress(cell.strain(strain, solution.fluctuation))
    return ReducedBases.from_snapshots(cell, solution.fluctuation, stress, n_modes=8, strain=strain)


@pytest.fixture(scope="module")
def exact(cell: PeriodicCell) -> Simulation:
    return simulate(STRUCTURE, FullFieldRVE(cell))


def error(simulation: Simulation, exact: Simulation) -> float:
    return float(np.linalg.norm(simulation.displacement - exact.displacement) / np.linalg.norm(exact.displacement))


def test_a_reduced_cell_is_near_the_full_field_and_its_gap_says_so(
    cell: PeriodicCell, bases: ReducedBases, exact: Simulation
) -> None:
    simulation = simulate(STRUCTURE, ReducedRVE(cell, bases, certificate=Certificate(cell, bases, policy="all")))
    step = simulation.steps[-1]
    assert error(simulation, exact) < 1e-2
    assert step.gap_kind == "bound"
    assert step.largest_gap is not None
    assert 1e-8 < step.largest_gap < 0.1


def test_falling_back_everywhere_is_the_full_field_simulation(
    cell: PeriodicCell, bases: ReducedBases, exact: Simulation, tmp_path: Path
) -> None:
    certificate = Certificate(cell, bases, policy="flagged", fall_back_above=1e-12)
    model = ReducedRVE(cell, bases, certificate=certificate)
    simulation = simulate(STRUCTURE, model)
    assert error(simulation, exact) < 1e-7
    assert simulation.summary()["fallbacks"] > 0
    assert simulation.steps[-1].largest_gap == 0.0
    path = tmp_path / "enrichment.safetensors"
    assert write_enrichment(path, model) > 0
    kept = read_enrichment(path, cell_fingerprint=bases.cell_fingerprint)
    assert float(cell.force(kept.stress).abs().max()) < 1e-6
    later = ReducedRVE(cell, bases, certificate=Certificate(cell, bases, fall_back_above=1e-12))
    assert restore_enrichment(path, later) == len(kept.strain)
    assert later.certificate is not None
    assert all(map(torch.equal, later.certificate.enrichment_snapshots(), certificate.enrichment_snapshots()))
    assert restore_enrichment(tmp_path / "none.safetensors", later) == 0
    with pytest.raises(FormatError, match="another unit cell"):
        read_enrichment(path, cell_fingerprint="other")


def test_a_model_without_certificate_leaves_no_enrichment(tmp_path: Path) -> None:
    assert write_enrichment(tmp_path / "none.safetensors", Linear(2)) == 0
    assert not list(tmp_path.iterdir())


def test_a_foreign_or_damaged_enrichment_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    (tmp_path / "damaged.safetensors").write_bytes(b"1234")
    for name in ("foreign", "damaged"):
        with pytest.raises(FormatError, match=name):
            read_enrichment(tmp_path / f"{name}.safetensors")
    with pytest.raises(FileNotFoundError):
        read_enrichment(tmp_path / "missing.safetensors")
