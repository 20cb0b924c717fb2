"""The Python blocks of the README and the docs run as pasted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("quickstart", "extending", "equations", "structures", "operators")
PAGES = [ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in NAMES)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run_as_pasted(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, str(page), "exec"), {"__name__": "pasted"})
    assert capsys.readouterr().out


def test_readme_names_every_method_of_the_mission() -> None:
    from equipoise.papers import METHODS

    text = (ROOT / "README.md").read_text()
    assert len(METHODS) == 38
    assert [slug for slug in METHODS if f"`{slug}`" not in text] == []
