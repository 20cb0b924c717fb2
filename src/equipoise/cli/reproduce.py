"""`equipoise reproduce`: run a published method's claim and say whether it held."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from equipoise.papers.reproduction import Table

__all__ = ["reproduce"]


def reproduce(
    slug: Annotated[str | None, typer.Argument(help="Method, as `--list` names it.")] = None,
    scale: Annotated[str, typer.Option(help="smoke, cpu or gpu.")] = "smoke",
    list_all: Annotated[bool, typer.Option("--list", help="Show the methods, their claims and last results.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    data: Annotated[
        Path | None, typer.Option(help="Folder of published inputs, such as the cells RVE1, RVE2 and RVE3.")
    ] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Keep the result as the method's last measured one.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Reproduce a published claim; ends with status 0 when the criterion held and 1 when it did not."""
    from equipoise import papers

    if list_all:
        _list(as_json)
        return
    if slug is None:
        raise ValueError("name a method, or give --list.")
    if scale not in papers.SCALES:
        raise ValueError(f"scale {scale!r} is unknown; use one of {', '.join(papers.SCALES)}.")
    if data is not None and not data.is_dir():
        raise FileNotFoundError(f"there is no folder {data}.")
    method = papers.load(slug)
    from equipoise.data.run_folder import environment

    began = time.perf_counter()
    outcome = method.run(
        papers.Settings(scale=scale, seed=seed, data=data, report=lambda line: print(line, file=sys.stderr))
    )
    document = {
        "slug": slug,
        "scale": scale,
        "claim": method.claim,
        "criterion": method.criterion,
        "held": outcome.held,
        "figures": outcome.figures,
        "baseline": outcome.baseline,
        "paper": method.paper,
        "seconds": time.perf_counter() - began,
        "environment": {**environment(), "date": datetime.now(UTC).date().isoformat()},
    }
    if record:
        _record(slug, document)
    print(json.dumps(document, allow_nan=False) if as_json else _text(document, outcome.tables))
    if not outcome.held:
        raise typer.Exit(1)


def _record(slug: str, document: dict[str, Any]) -> None:
    folder = Path(__file__).resolve().parents[1] / "papers" / "results"
    folder.mkdir(exist_ok=True)
    partial = folder / f".{slug}.partial"
    partial.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n")
    partial.replace(folder / f"{slug}.json")


def _list(as_json: bool) -> None:
    from equipoise import papers

    rows = []
    for slug, title in papers.METHODS.items():
        row: dict[str, Any] = {"slug": slug, "title": title, "built": papers.is_built(slug)}
        if papers.is_built(slug):
            row["claim"], row["last_result"] = papers.load(slug).claim, papers.last_result(slug)
        rows.append(row)
    if as_json:
        print(json.dumps({"methods": rows}, allow_nan=False))
        return
    for row in rows:
        if row["built"]:
            result = row["last_result"]
            verdict = "not measured yet"
            if result is not None:
                verdict = f"{'held' if result['held'] else 'did not hold'} at scale {result['scale']}"
            print(f"{row['slug']}: {row['claim']}\n    last result: {verdict}")
    print("planned: " + ", ".join(row["slug"] for row in rows if not row["built"]))


def _text(document: dict[str, Any], tables: Sequence[Table]) -> str:
    lines = [
        f"{document['slug']} at scale {document['scale']}: {'held' if document['held'] else 'DID NOT HOLD'}",
        f"claim: {document['claim']}",
        f"criterion: {document['criterion']}",
    ]
    for table in tables:
        lines += ["", table.title, *_aligned([table.header, *table.rows])]
    for title in () if tables else ("figures", "baseline", "paper"):
        lines.append(f"{title}:")
        lines += _rows(document[title], 1)
    if tables:
        lines.append("\n--json prints every figure.")
    lines.append(f"{document['seconds']:.1f} s")
    return "\n".join(lines)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([f"{first:<{widths[0]}}", *cells]))
    return lines


def _rows(values: Any, depth: int) -> list[str]:
    lines = []
    for name, value in values.items():
        if isinstance(value, dict):
            lines += [f"{'  ' * depth}{name}:", *_rows(value, depth + 1)]
        else:
            shown = f"{value:.4g}" if isinstance(value, float) else str(value)
            lines.append(f"{'  ' * depth}{name}: {shown}")
    return lines
