"""`equipoise homogenize`: its document, its files, and a sentence for each kind of bad input."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import meshio
import numpy as np
import pytest
import torch

from equipoise.multiscale.full_field import FullFieldRVE
from equipoise.multiscale.micro import MicroModel, Response, State
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.cell_solver import CellSolver
from equipoise.problems.mechanics.materials import LinearIsotropic, paper_materials
from equipoise.spaces.cells import fibre_cell, homogeneous_cell
from equipoise.spaces.mesh import CellBlock, Mesh
from equipoise.spaces.mesh_files import write_mesh

CELL = "fibre:n=2"
MATERIALS = """
[materials.{tag}]
law = "linear_isotropic"
name = "steel"
bulk = 160000.0
shear = 79000.0
"""


@pytest.fixture
def steel(tmp_path: Path) -> Path:
    """Materials file for the built-in homogeneous cell."""
    path = tmp_path / "steel.toml"
    path.write_text(MATERIALS.format(tag=1))
    return path


def test_document_holds_what_the_solver_answers(equipoise: Callable[..., Any]) -> None:
    outcome = equipoise("homogenize", "--mesh", CELL, "--strain=0.02,0.01,-0.03", "--strain=-0.01,0,0.005", "--json")
    assert outcome.status == 0
    assert outcome.errors == ""
    document = outcome.document
    assert set(document) == {"results", "volume_fractions", "micro"}
    assert document["micro"] == "full"
    strain = torch.tensor([[0.02, 0.01, -0.03], [-0.01, 0.0, 0.005]], dtype=torch.float64)
    cell = PeriodicCell(fibre_cell(n=2), paper_materials())
    solution = CellSolver(cell).solve(strain)
    assert document["volume_fractions"] == pytest.approx(cell.volume_fractions)
    assert solution.tangent is not None
    for row, result in enumerate(document["results"]):
        assert set(result) == {"strain", "stress", "tangent", "error_estimate", "iterations", "seconds"}
        assert result["strain"] == strain[row].tolist()
        assert result["stress"] == pytest.approx(solution.stress[row].tolist(), rel=1e-9)
        assert np.array(result["tangent"]) == pytest.approx(solution.tangent[row].numpy(), rel=1e-6, abs=1e-6)
        assert result["error_estimate"] is None
        assert result["iterations"] == int(solution.iterations[row])
        assert result["seconds"] > 0


def test_homogeneous_cell_answers_its_materials_law(equipoise: Callable[..., Any], steel: Path) -> None:
    outcome = equipoise(
        "homogenize", "--mesh", "homogeneous", "--materials", steel, "--strain=0.001,0.002,0.003", "--json"
    )
    law = LinearIsotropic(bulk=160000.0, shear=79000.0)
    strain = torch.tensor([0.001, 0.002, 0.003], dtype=torch.float64)
    result = outcome.document["results"][0]
    assert result["stress"] == pytest.approx(law.stress(strain).tolist(), rel=1e-12)
    assert np.array(result["tangent"]) == pytest.approx(law.tangent(strain).numpy(), rel=1e-12, abs=1e-6)
    assert outcome.document["volume_fractions"] == pytest.approx({"steel": 1.0})


def test_cell_in_space_takes_six_components(equipoise: Callable[..., Any], steel: Path) -> None:
    outcome = equipoise(
        "homogenize", "--mesh", "homogeneous:dim=3", "--materials", steel, "--strain=1e-3,0,0,2e-3,0,0", "--json"
    )
    law = LinearIsotropic(bulk=160000.0, shear=79000.0)
    expected = law.stress(torch.tensor([1e-3, 0, 0, 2e-3, 0, 0], dtype=torch.float64))
    assert outcome.document["results"][0]["stress"] == pytest.approx(expected.tolist(), rel=1e-10, abs=1e-9)


def test_strains_come_from_options_first_and_then_from_a_file(equipoise: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "strains.csv"
    file.write_text("exx,eyy,gxy\n# measured\n0.01, 0, 0\n\n0,0.01,0\n")
    outcome = equipoise("homogenize", "--mesh", CELL, "--strain=0,0,0.01", "--strains", file, "--json")
    strains = [result["strain"] for result in outcome.document["results"]]
    assert strains == [[0, 0, 0.01], [0.01, 0, 0], [0, 0.01, 0]]


def test_processes_answer_like_this_process(equipoise: Callable[..., Any]) -> None:
    words = ("homogenize", "--mesh", CELL, "--strain=0.02,0.01,-0.03", "--json")
    here, there = equipoise(*words).document, equipoise(*words, "--workers", 2).document
    assert there["results"][0]["stress"] == pytest.approx(here["results"][0]["stress"], rel=1e-10)


def test_a_law_of_a_users_own_is_named_by_its_file(
    equipoise: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "")
    laws, materials = tmp_path / "springy_laws.py", tmp_path / "springy.toml"
    laws.write_text(
        "import torch\n"
        "from equipoise.problems.mechanics.material import Material\n\n\n"
        "class SpringyLaw(Material):\n"
        "    def __init__(self, modulus: float) -> None:\n"
        "        self.modulus = modulus\n\n"
        "    def energy(self, strain: torch.Tensor) -> torch.Tensor:\n"
        "        return 0.5 * self.modulus * strain.square().sum(-1)\n"
    )
    materials.write_text("".join(f'[materials.{tag}]\nlaw = "springy_law"\nmodulus = 7.0\n' for tag in (1, 2)))
    words = ["--mesh", CELL, "--materials", str(materials), "--strain=0.01,0,0.02"]
    document = equipoise("--laws", str(laws), "homogenize", *words, "--json").document
    np.testing.assert_allclose(document["results"][0]["stress"], [0.07, 0.0, 0.14], atol=1e-9)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_answers_like_the_processor(equipoise: Callable[..., Any]) -> None:
    words = ("homogenize", "--mesh", CELL, "--strain=0.02,0.01,-0.03", "--json")
    here, there = equipoise(*words).document, equipoise(*words, "--device", "cuda").document
    assert there["results"][0]["stress"] == pytest.approx(here["results"][0]["stress"], rel=1e-8)


def test_text_names_stress_tangent_and_volume_fractions(equipoise: Callable[..., Any]) -> None:
    printed = equipoise("homogenize", "--mesh", CELL, "--strain=0.02,0.01,-0.03").output
    for words in ("volume fractions: matrix 0.7", "stress  (xx,yy,xy), MPa:", "tangent, MPa:", "iterations:"):
        assert words in printed


def test_fields_are_written_one_file_for_each_strain(equipoise: Callable[..., Any], tmp_path: Path) -> None:
    strain = [0.02, 0.01, -0.03]
    words = ("homogenize", "--mesh", CELL, "--strain=" + ",".join(map(str, strain)), "--json")
    assert equipoise(*words, "--fields", tmp_path / "one.vtu").status == 0
    assert equipoise(*words, "--strain=0,0,0.01", "--fields", tmp_path / "two.vtu").status == 0
    assert {file.name for file in tmp_path.iterdir()} == {"one.vtu", "two_000.vtu", "two_001.vtu"}
    written = meshio.read(tmp_path / "one.vtu")
    assert {"displacement", "fluctuation", "stress_xx", "strain_xy"} <= set(written.point_data)
    affine = np.array([[strain[0], strain[2] / 2], [strain[2] / 2, strain[1]]])
    difference = written.point_data["displacement"] - written.point_data["fluctuation"]
    assert difference[:, :2] == pytest.approx(written.points[:, :2] @ affine, abs=1e-14)
    cell = PeriodicCell(fibre_cell(n=2), paper_materials())
    fields = FullFieldRVE(cell).localize(torch.tensor([strain], dtype=torch.float64))
    assert written.point_data["fluctuation"][:, :2] == pytest.approx(fields.fluctuation[0].numpy(), abs=1e-12)


def distorted_cell(tmp_path: Path) -> Path:
    mesh = homogeneous_cell(n=2)
    points = mesh.points.copy()
    low, high = mesh.bounds
    middle = (
        (points[:, 0] == high[0]) & (np.abs(points[:, 1] - low[1]) > 1e-9) & (np.abs(points[:, 1] - high[1]) > 1e-9)
    )
    points[np.nonzero(middle)[0][0], 1] += 0.02
    write_mesh(tmp_path / "distorted.vtu", Mesh(points, mesh.blocks))
    return tmp_path / "distorted.vtu"


def tagged_cell(tmp_path: Path) -> Path:
    mesh = homogeneous_cell(n=2)
    block = mesh.blocks[0]
    tags = block.tags.copy()
    tags[0] = 7
    write_mesh(tmp_path / "tagged.vtu", Mesh(mesh.points, (CellBlock(block.element, block.connectivity, tags),)))
    return tmp_path / "tagged.vtu"


def inverted_cell(tmp_path: Path) -> Path:
    points = np.array([[0.0, 0.0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    meshio.Mesh(points, [("quad", np.array([[0, 3, 2, 1]]))]).write(tmp_path / "inverted.vtu")
    return tmp_path / "inverted.vtu"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (distorted_cell, "node"),
        (tagged_cell, "tag 7 without a material"),
        (inverted_cell, "inverted"),
    ],
)
def test_cell_that_cannot_be_used_is_one_sentence(
    equipoise: Callable[..., Any], tmp_path: Path, make: Callable[[Path], Path], words: str
) -> None:
    outcome = equipoise("homogenize", "--mesh", make(tmp_path), "--strain=0.01,0,0", "--json")
    assert outcome.status == 2
    assert outcome.output == ""
    assert words in outcome.errors
    assert outcome.errors.startswith("error: ")
    assert len(outcome.errors.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "no strain was given; use --strain=xx,yy,xy"),
        (["--strain=0.01,0.02"], "strain 0.01,0.02 has 2 components; this cell needs 3: xx,yy,xy"),
        (["--strain=0.01,nan,0"], "nan in 0.01,nan,0 is not finite"),
        (["--strain=0.01,inf,0"], "is not finite"),
        (["--strain=0.01,half,0"], "half in 0.01,half,0 is not a number"),
        (["--strain=0.01,,0"], "an empty word in 0.01,,0 is not a number"),
        (["--strains", "missing.csv"], "there is no file missing.csv"),
        (["--strain=0,0,0", "--fields", "/no/such/folder/f.vtu"], "there is no folder /no/such/folder"),
        (["--strain=0,0,0", "--fields", "f.png"], "f.png does not end in .vtu"),
        (["--strain=0,0,0", "--device", "tpu"], "--device tpu is unknown"),
        (["--strain=0,0,0", "--workers", "2", "--cluster", "tcp://127.0.0.1:9"], "exclude each other"),
        (["--strain=0,0,0", "--micro", "no-run"], "there is no such folder"),
        (["--strain=0,0,0", "--materials", "missing.toml"], "there is no file missing.toml"),
    ],
)
def test_bad_options_are_one_sentence(equipoise: Callable[..., Any], options: list[str], words: str) -> None:
    outcome = equipoise("homogenize", "--mesh", CELL, "--json", *options)
    assert outcome.status == 2
    assert outcome.output == ""
    assert words in outcome.errors
    assert len(outcome.errors.splitlines()) == 1


@pytest.mark.parametrize("mesh", ["nothing.msh", "no/such/folder", "fibres"])
def test_mesh_that_does_not_exist_is_named(equipoise: Callable[..., Any], mesh: str) -> None:
    outcome = equipoise("homogenize", "--mesh", mesh, "--strain=0,0,0")
    assert outcome.status == 2
    assert mesh in outcome.errors


def test_missing_mesh_says_what_is_accepted(equipoise: Callable[..., Any]) -> None:
    assert "--mesh is missing" in equipoise("homogenize", "--strain=0,0,0").errors


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0.01,0,0\n0.01,0\n", "line 2: strain 0.01,0 has 2 components"),
        ("a,b,c\n0.01,0,0\n0.01,x,0\n", "line 3: x in 0.01,x,0 is not a number"),
        ("0,0,0\na,b,c\n", "line 2: a in a,b,c is not a number"),
        ("0,0,inf\n", "line 1: inf in 0,0,inf is not finite"),
        ("a,b,c\n", "holds no strains"),
        ("", "holds no strains"),
        (b"\xff\xfe\x00", "is not a text file"),
    ],
)
def test_bad_line_of_a_strain_file_is_named(
    equipoise: Callable[..., Any], tmp_path: Path, text: str | bytes, words: str
) -> None:
    file = tmp_path / "strains.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    outcome = equipoise("homogenize", "--mesh", CELL, "--strains", file)
    assert outcome.status == 2
    assert words in outcome.errors
    assert str(file) in outcome.errors


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("materials = 3", "materials"),
        ("[materials.1\n", "is not a TOML file"),
        ("[phases.1]\nlaw = 'linear_isotropic'", "expected tables such as [materials.1]"),
        ("[materials.1]\nlaw = 'linear'\nbulk = 1.0\nshear = 1.0", "[materials.1]: law 'linear' is unknown"),
        ("[materials.1]\nlaw = 'linear_isotropic'\nbulk = -1.0\nshear = 1.0", "bulk=-1.0 must be positive"),
        ("[materials.1]\nlaw = 'linear_isotropic'\nbulk = 1.0", "needs shear"),
        ("[materials.1]\nlaw = 'linear_isotropic'\nbulk = [1.0]\nshear = 1.0", "materials.1.bulk"),
        ("[materials.core]\nlaw = 'linear_isotropic'\nbulk = 1.0\nshear = 1.0", "the mesh has no group 'core'"),
        (MATERIALS.format(tag=1), "tag 2 without a material"),
    ],
)
def test_bad_materials_file_is_one_sentence(
    equipoise: Callable[..., Any], tmp_path: Path, text: str, words: str
) -> None:
    file = tmp_path / "materials.toml"
    file.write_text(text)
    outcome = equipoise("homogenize", "--mesh", CELL, "--materials", file, "--strain=0,0,0.01")
    assert outcome.status == 2
    assert words in outcome.errors
    assert len(outcome.errors.splitlines()) == 1


def test_materials_are_named_by_physical_group(
    equipoise: Callable[..., Any], shared_data: Path, tmp_path: Path
) -> None:
    file = tmp_path / "materials.toml"
    file.write_text(MATERIALS.format(tag="nowhere"))
    outcome = equipoise(
        "homogenize", "--mesh", shared_data / "meshes/internal.msh", "--materials", file, "--strain=0,0,0.01"
    )
    assert outcome.status == 2
    assert "its groups are: domain" in outcome.errors


class FakeRun(MicroModel):
    """Micro model with a linear law, a box and an error estimate."""

    n_strain, dim = 3, 2
    box = torch.tensor([[-0.04] * 3, [0.04] * 3], dtype=torch.float64)

    def __init__(self, gap: float) -> None:
        self.gap = gap
        self.cell = PeriodicCell(fibre_cell(n=2), paper_materials())

    def respond(self, strain: torch.Tensor, *, state: State = None) -> Response:
        tangent = torch.eye(3, dtype=torch.float64).expand(len(strain), 3, 3)
        gap = torch.full((len(strain),), self.gap, dtype=torch.float64)
        return Response(stress=strain, tangent=tangent, error_estimate=gap, error_kind="estimate")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], Path]:
    """Makes a run folder that loads as `FakeRun`."""

    def make(gap: float = 1e-4) -> Path:
        module = types.ModuleType("equipoise.multiscale.runs")
        module.load_micro = lambda path, *, device="cpu", certify="none": FakeRun(gap)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "equipoise.multiscale.runs", module)
        (tmp_path / "run").mkdir()
        return tmp_path / "run"

    return make


def test_trained_model_answers_with_its_error_estimate(equipoise: Callable[..., Any], run: Callable[..., Path]) -> None:
    folder = run()
    outcome = equipoise("homogenize", "--micro", folder, "--mesh", CELL, "--strain=0.01,0,0", "--json")
    assert outcome.status == 0
    result = outcome.document["results"][0]
    assert result["error_estimate"] == pytest.approx(1e-4)
    assert result["iterations"] == 0
    assert outcome.document["micro"] == str(folder)
    assert outcome.document["volume_fractions"]["matrix"] == pytest.approx(0.7, abs=0.01)


def test_strain_outside_the_trained_box_is_an_error_unless_extrapolation_is_asked_for(
    equipoise: Callable[..., Any], run: Callable[..., Path]
) -> None:
    words = ("homogenize", "--micro", run(), "--strain=0.01,0,0", "--strain=0.01,0.05,0", "--json")
    refused = equipoise(*words)
    assert refused.status == 2
    assert "yy=0.05" in refused.errors
    allowed = equipoise(*words, "--extrapolate")
    assert allowed.status == 0
    assert "1 of 2 strains lie outside the trained box, the first is strain 1" in allowed.document["warnings"][0]
    assert allowed.errors.startswith("warning: 1 of 2 strains")


def test_no_finite_bound_is_null_with_a_warning(equipoise: Callable[..., Any], run: Callable[..., Path]) -> None:
    outcome = equipoise("homogenize", "--micro", run(float("inf")), "--strain=0.01,0,0", "--json")
    assert outcome.document["results"][0]["error_estimate"] is None
    assert "no finite bound for 1 of 1 strains" in outcome.document["warnings"][0]


def test_run_of_another_cell_is_refused_naming_both_fingerprints(
    equipoise: Callable[..., Any], run: Callable[..., Path], tmp_path: Path
) -> None:
    folder = run()
    outcome = equipoise("homogenize", "--micro", folder, "--mesh", "fibre:n=3", "--strain=0,0,0")
    assert outcome.status == 2
    for mesh in (fibre_cell(n=2), fibre_cell(n=3)):
        assert mesh.fingerprint[:12] in outcome.errors
    materials = tmp_path / "materials.toml"
    materials.write_text(MATERIALS.format(tag=1) + MATERIALS.format(tag=2))
    outcome = equipoise("homogenize", "--micro", folder, "--materials", materials, "--strain=0,0,0")
    assert outcome.status == 2
    assert "materials of fingerprint" in outcome.errors


def test_workers_are_refused_for_a_trained_model(equipoise: Callable[..., Any], run: Callable[..., Path]) -> None:
    outcome = equipoise("homogenize", "--micro", run(), "--strain=0,0,0", "--workers", 2)
    assert "a trained micro model needs neither" in outcome.errors


def test_published_cell_has_the_published_volume_fraction(equipoise: Callable[..., Any], shared_data: Path) -> None:
    outcome = equipoise("homogenize", "--mesh", shared_data / "rve/RVE3", "--strain=0.02,0.01,-0.03", "--json")
    assert outcome.document["volume_fractions"]["fibre"] == pytest.approx(0.1335, abs=5e-5)
