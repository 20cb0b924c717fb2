"""Files of a simulation, read back by other programs: fields, collection, tables, summary, report, local fields."""

from __future__ import annotations

import csv
import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import meshio
import numpy as np
import pytest
import torch
from sample_structures import Certified, Hardening, at

from equipoise.multiscale.load_stepping import Stepping
from equipoise.multiscale.localization import localize
from equipoise.multiscale.macroscale import simulate
from equipoise.multiscale.micro import MicroFields
from equipoise.multiscale.output import equivalent_stress
from equipoise.multiscale.simulation import LoadStepError, Simulation
from equipoise.multiscale.simulation_report import load_displacement_curve, write_report
from equipoise.multiscale.structure import Load, Structure, Support
from equipoise.spaces.cells import homogeneous_cell
from equipoise.spaces.structures import box, cooks_membrane


class WithFields(Certified):
    """A certified point whose homogeneous cell shows the macroscopic strain everywhere."""

    def localize(self, strain: torch.Tensor) -> MicroFields:
        mesh = homogeneous_cell(n=2)
        points = sum(len(block.connectivity) for block in mesh.blocks) * 9
        everywhere = strain[:, None, :].expand(-1, points, -1)
        nodal = torch.zeros(len(strain), mesh.n_nodes, 2, dtype=torch.float64)
        return MicroFields(nodal, nodal, everywhere, everywhere @ self.matrix.T, mesh)


def structure() -> Structure:
    return Structure(
        cooks_membrane(elements=(3, 3)),
        [Support(at(x=0.0), {"x": 0.0, "y": 0.0}, name="clamp")],
        [Load(at(x=48.0), traction=(0.0, 1.0))],
        Stepping(first_step=0.5),
        monitored={"corner": (48.0, 60.0)},
        name="Cook <test>",
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Simulation]:
    folder = tmp_path_factory.mktemp("simulation")
    model = WithFields(2)
    simulation = simulate(structure(), model, output=folder)
    local = localize(simulation, {"learned": model, "full field": model})
    write_report(folder, simulation, micro="test model", local=local, others={"reference": simulation})
    return folder, simulation


def test_fields_read_back_as_they_were(finished: tuple[Path, Simulation]) -> None:
    folder, simulation = finished
    data = meshio.read(folder / "steps" / "step-0002.vtu")
    np.testing.assert_array_equal(data.point_data["displacement"][:, :2], simulation.displacement)
    np.testing.assert_allclose(data.point_data["reaction"].sum(axis=0)[1], -16.0, atol=1e-5)
    assert data.cell_data["relative_gap"][0].max() == pytest.approx(simulation.steps[-1].largest_gap)
    assert set(np.unique(data.cell_data["gap_is_bound"][0])) <= {0.0, 1.0}
    assert data.cells[0].type == "quad8"


def test_the_collection_names_every_step_with_its_time(finished: tuple[Path, Simulation]) -> None:
    folder, simulation = finished
    entries = ElementTree.parse(folder / "steps.pvd").getroot().findall("./Collection/DataSet")
    assert [float(entry.get("timestep", "")) for entry in entries] == [step.time for step in simulation.steps]
    assert all((folder / entry.get("file", "")).is_file() for entry in entries)


def test_the_reaction_table_balances_the_load_at_each_time(finished: tuple[Path, Simulation]) -> None:
    folder, _ = finished
    with (folder / "reactions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["step"], row["support"]) for row in rows] == [("1", "clamp"), ("2", "clamp")]
    for row in rows:
        assert float(row["y_N"]) == pytest.approx(-16.0 * float(row["time"]), abs=1e-5)


def test_the_summary_is_json_with_every_promised_figure(finished: tuple[Path, Simulation]) -> None:
    folder, simulation = finished
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["steps"] == 2
    assert len(summary["newton_iterations"]) == 2
    assert summary["micro_evaluations"] == simulation.evaluations
    assert summary["fallbacks"] > 0
    assert 0 < summary["mean_gap"] <= summary["largest_gap"]
    assert summary["gap_kind"] == "mixed"
    assert {"micro", "assembly", "solve", "output", "total"} <= set(summary["seconds"])
    assert summary["peak_memory_mib"] > 50


def test_an_infinite_gap_is_written_in_words(finished: tuple[Path, Simulation]) -> None:
    _, simulation = finished
    steps = [replace(step, largest_gap=float("inf"), mean_gap=float("inf")) for step in simulation.steps]
    summary = replace(simulation, steps=steps).summary()
    assert summary["largest_gap"] == "no finite bound"
    json.dumps(summary, allow_nan=False)


def test_the_report_is_one_file_with_its_images_inside_and_its_text_escaped(finished: tuple[Path, Simulation]) -> None:
    folder, _ = finished
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 6
    assert "Cook &lt;test&gt;" in page
    assert "<test>" not in page
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_the_curve_joins_the_largest_reaction_to_the_displacement_at_the_point(
    finished: tuple[Path, Simulation],
) -> None:
    _, simulation = finished
    x, y, x_label, y_label = load_displacement_curve(simulation)
    assert x_label == "displacement y at corner / mm"
    assert y_label == "−reaction y at clamp / N"
    assert x[-1] == simulation.steps[-1].displacements["corner"][1]
    assert y == pytest.approx([0.0, 8.0, 16.0], abs=1e-5)


def test_local_fields_are_those_of_the_nearest_integration_point(finished: tuple[Path, Simulation]) -> None:
    folder, simulation = finished
    number = int(np.argmin(np.linalg.norm(simulation.positions - np.array([48.0, 60.0]), axis=1)))
    data = meshio.read(folder / "localisation" / "corner-learned.vtu")
    np.testing.assert_allclose(data.point_data["strain_xx"], float(simulation.strain[number, 0]), rtol=1e-9)
    assert (folder / "localisation" / "corner.png").stat().st_size > 5000


def test_a_stopped_simulation_leaves_its_steps_and_says_why(tmp_path: Path) -> None:
    from sample_structures import Brittle

    free = simulate(structure(), Brittle(2, jump=1.0))
    with pytest.raises(LoadStepError) as caught:
        simulate(structure(), Brittle(2, jump=1.0, largest=0.6 * free.steps[-1].largest_strain), output=tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["complete"] is False
    assert "did not converge" in summary["stop"]
    assert summary["steps"] == len(list((tmp_path / "steps").glob("*.vtu"))) >= 1
    page = write_report(tmp_path, caught.value.simulation, micro="brittle").read_text()
    assert "Stopped early" in page


def test_a_new_simulation_in_an_old_folder_leaves_no_step_of_the_old_one(tmp_path: Path) -> None:
    simulate(structure(), Hardening(2), output=tmp_path)
    whole = replace(structure(), stepping=Stepping(first_step=1.0))
    simulate(whole, Hardening(2), output=tmp_path)
    assert [path.name for path in (tmp_path / "steps").iterdir()] == ["step-0001.vtu"]


def test_a_solid_is_drawn_and_written(tmp_path: Path) -> None:
    mesh = box(elements=(2, 1, 1), size=(2.0, 1.0, 1.0), element="hex20")
    solid = Structure(
        mesh, [Support(at(x=0.0), {"x": 0.0, "y": 0.0, "z": 0.0})], [Load(at(x=2.0), traction=(0.0, 0.0, 1.0))]
    )
    simulation = simulate(solid, Hardening(3), output=tmp_path)
    write_report(tmp_path, simulation, micro="test model")
    data = meshio.read(tmp_path / "steps" / "step-0001.vtu")
    assert data.cells[0].type == "hexahedron20"
    assert data.point_data["displacement"].shape == (mesh.n_nodes, 3)


def test_equivalent_stress_of_uniaxial_tension_is_its_stress_and_of_shear_root_three_times() -> None:
    for size in (3, 6):
        stress = np.zeros((2, size))
        stress[0, 0], stress[1, -1] = 5.0, 5.0
        np.testing.assert_allclose(equivalent_stress(stress), [5.0, 5.0 * np.sqrt(3)])
