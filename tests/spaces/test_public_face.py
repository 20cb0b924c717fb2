"""The room's public face: every name leads somewhere, and importing it starts nothing heavy."""

from __future__ import annotations

import subprocess
import sys

from equipoise import spaces


def test_every_public_name_is_there_once() -> None:
    assert len(spaces.__all__) == len(set(spaces.__all__))
    assert all(hasattr(spaces, name) for name in spaces.__all__)


def test_import_brings_in_no_mesher_no_file_formats_and_no_drawing() -> None:
    code = "import sys, equipoise.spaces; print(sorted({'gmsh', 'meshio', 'skfem', 'matplotlib'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
