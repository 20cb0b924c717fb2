"""`equipoise cite`: whose work a run or a method rests on, as BibTeX."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["cite"]


def cite(
    of: Annotated[list[str], typer.Argument(metavar="RUN|METHOD...", help="Run folders, models or reproductions.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Print BibTeX entries of the methods used."""
    from equipoise.papers.citations import CITATIONS, bibtex, citations_of

    keys = list(dict.fromkeys(key for name in of for key in citations_of(_method(name))))
    if as_json:
        print(json.dumps({"citations": {key: dict(CITATIONS[key]) for key in keys}}))
    else:
        print("\n\n".join(bibtex(key) for key in keys))


def _method(name: str) -> str:
    """The method's own name, or that of the model in a run folder."""
    if not Path(name).is_dir():
        return name
    from equipoise.data.run_folder import run_kind

    kind = run_kind(name)
    operator = json.loads((Path(name) / "config.json").read_text()).get("operator")
    return operator if isinstance(operator, str) else kind
