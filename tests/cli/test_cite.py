"""`equipoise cite`: entries for everything that can be trained or reproduced, and for a run folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from equipoise.operators.registry import OPERATORS
from equipoise.papers import METHODS, is_built
from equipoise.papers.citations import CITATIONS, bibtex, citations_of
from equipoise.training.direction_runs import KIND


@pytest.mark.parametrize("name", [*OPERATORS, *filter(is_built, METHODS)])
def test_every_operator_and_reproduction_has_entries(name: str) -> None:
    for key in citations_of(name):
        assert {"author", "title", "year"} <= set(CITATIONS[key])


def test_an_entry_is_balanced_bibtex() -> None:
    for key in CITATIONS:
        text = bibtex(key)
        assert text.startswith("@")
        assert text.count("{") == text.count("}")


def test_a_run_cites_its_operator(equipoise: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"kind": "operator", "operator": "mg-tfno"}))
    assert list(equipoise("cite", str(tmp_path), "fno", "--json").document["citations"]) == [
        "kossaifi2024mgtfno",
        "li2021fno",
    ]


@pytest.mark.parametrize("kind", ["equino", "reduced", KIND])
def test_a_run_of_any_other_kind_cites_its_method(equipoise: Callable[..., Any], tmp_path: Path, kind: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"kind": kind}))
    assert equipoise("cite", str(tmp_path), "--json").document["citations"]


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(ValueError, match="Did you mean 'mgno'"):
        citations_of("mgnoo")
