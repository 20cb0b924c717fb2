"""A user's own law under a name: in configurations, in a Python file, and what is refused."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from equipoise.problems.mechanics import own_laws
from equipoise.problems.mechanics.materials import Material, load_laws, material_from_config, register_law


class StiffQuartic(Material):
    def __init__(self, linear: float, quartic: float = 2e5) -> None:
        self.linear, self.quartic = linear, quartic

    def energy(self, strain: torch.Tensor) -> torch.Tensor:
        square = strain.square().sum(-1)
        return self.linear * square + self.quartic * square.square()


SOURCE = """
import torch
from equipoise.problems.mechanics.material import Material

class FoamLaw(Material):
    def __init__(self, modulus: float):
        self.modulus = modulus

    def energy(self, strain: torch.Tensor) -> torch.Tensor:
        return self.modulus * strain.square().sum(-1)
"""


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(own_laws, "_OWN", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "")
    yield
    for name in ("foam_laws", "empty_laws", "broken_laws"):
        sys.modules.pop(name, None)


def test_a_registered_law_is_rebuilt_from_its_configuration() -> None:
    assert register_law(StiffQuartic) == "stiff_quartic"
    law = StiffQuartic(500.0)
    config = law.config()
    assert config == {"law": "stiff_quartic", "linear": 500.0, "quartic": 2e5, "name": "material"}
    again = material_from_config({**config, "name": "core"})
    strain = torch.tensor([[0.01, 0.02, -0.01]], dtype=torch.float64)
    assert torch.equal(again.stress(strain), law.stress(strain))
    assert again.name == "core"
    assert again.fingerprint == law.fingerprint


def test_a_law_that_is_not_registered_cannot_be_stored() -> None:
    with pytest.raises(TypeError, match="register_law"):
        StiffQuartic(1.0).config()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"law": "stiff_quartic"}, "needs linear"),
        ({"law": "stiff_quartic", "linear": 1.0, "quadratic": 2.0}, "'quadratic'"),
        ({"law": "stif_quartic", "linear": 1.0}, "did you mean 'stiff_quartic'"),
    ],
)
def test_bad_values_are_named(config: dict[str, object], message: str) -> None:
    register_law(StiffQuartic)
    with pytest.raises(ValueError, match=message):
        material_from_config(config)


def test_names_of_the_library_and_abstract_laws_are_refused() -> None:
    with pytest.raises(ValueError, match="neo_hookean"):
        register_law(StiffQuartic, "neo_hookean")
    with pytest.raises(TypeError, match="subclass of Material"):
        register_law(Material)


def test_a_file_of_laws_is_run_and_registered(tmp_path: Path) -> None:
    file = tmp_path / "foam_laws.py"
    file.write_text(SOURCE)
    assert load_laws(file) == ("foam_law",)
    assert material_from_config({"law": "foam_law", "modulus": 3.0}).energy(torch.ones(1, 3)).item() == 9.0


@pytest.mark.parametrize(
    ("name", "source", "kind", "message"),
    [
        ("empty_laws.py", "x = 1\n", ValueError, "defines no law"),
        ("broken_laws.py", "import nowhere_at_all\n", ImportError, "nowhere_at_all"),
        ("bad-name.py", SOURCE, ValueError, "name it as a Python module"),
        ("json.py", SOURCE, ValueError, "another module"),
    ],
)
def test_files_without_laws_are_refused(
    tmp_path: Path, name: str, source: str, kind: type[Exception], message: str
) -> None:
    file = tmp_path / name
    file.write_text(source)
    with pytest.raises(kind, match=message):
        load_laws(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="laws_elsewhere"):
        load_laws(tmp_path / "laws_elsewhere.py")
