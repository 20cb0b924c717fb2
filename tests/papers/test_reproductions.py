"""The smoke scale of the EquiNO reproduction, through the command line."""

from __future__ import annotations

import json

import pytest

from equipoise.cli.main import main


def test_smoke_scale_holds_and_prints_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        main(["reproduce", "equino", "--scale", "smoke", "--json"])
    document = json.loads(capsys.readouterr().out)
    keys = {"slug", "scale", "claim", "criterion", "held", "figures", "baseline", "paper", "seconds", "environment"}
    assert set(document) == keys
    assert document["held"] is True
    assert ending.value.code in (0, None)


def test_list_names_built_and_planned_methods(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["reproduce", "--list", "--json"])
    methods = json.loads(capsys.readouterr().out)["methods"]
    assert len(methods) == 38
    assert {"equino", "nns-to-nos"} <= {row["slug"] for row in methods if row["built"]}


def test_unknown_method_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        main(["reproduce", "equinno"])
    assert ending.value.code == 2
    assert "did you mean 'equino'" in capsys.readouterr().err
