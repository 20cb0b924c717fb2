"""Self-contained HTML reports: text, tables and inlined figures in one file that any browser opens offline.

What a report says is decided by its caller; here it is only laid out and escaped.
"""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["Report"]

_STYLE = """
:root { --ink: #1c2733; --soft: #5b6878; --line: #e1e6ec; --accent: #0072b2; --ground: #f6f8fa; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 20px 64px; }
header { border-bottom: 3px solid var(--accent); margin-bottom: 24px; }
h1 { font-size: 28px; margin: 0 0 4px; } h2 { font-size: 19px; margin: 36px 0 12px; }
header p { color: var(--soft); margin: 0 0 14px; }
.notice { background: #fff4e5; border-left: 4px solid #d55e00; padding: 10px 14px; margin: 12px 0; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); gap: 18px; }
figure { margin: 0; background: #fff; border: 1px solid var(--line); border-radius: 8px; padding: 12px; }
figure.wide { grid-column: 1 / -1; } figure img { display: block; max-width: 100%; margin: 0 auto; }
figcaption { color: var(--soft); font-size: 13px; margin-top: 8px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; }
.card { background: #fff; border: 1px solid var(--line); border-radius: 8px; padding: 10px 14px; }
.card b { display: block; font-size: 20px; } .card span { color: var(--soft); font-size: 13px; }
.scroll { overflow-x: auto; background: #fff; border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 6px 12px; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; } th:first-child, td:first-child { text-align: left; }
tr:last-child td { border-bottom: 0; }
"""


class Report:
    """A page that grows from top to bottom.

    Args:
        title: heading. subtitle: one line below it.
    """

    def __init__(self, title: str, *, subtitle: str = "") -> None:
        self._title, self._parts = title, [f"<header><h1>{_text(title)}</h1><p>{_text(subtitle)}</p></header>"]

    def heading(self, text: str) -> None:
        """Start a section."""
        self._parts.append(f"<h2>{_text(text)}</h2>")

    def paragraph(self, text: str) -> None:
        """Add a paragraph."""
        self._parts.append(f"<p>{_text(text)}</p>")

    def notice(self, text: str) -> None:
        """Add a paragraph that must not be missed."""
        self._parts.append(f'<p class="notice">{_text(text)}</p>')

    def cards(self, figures: Mapping[str, str]) -> None:
        """Add large single figures, by what they mean."""
        cards = "".join(f'<div class="card"><b>{_text(v)}</b><span>{_text(k)}</span></div>' for k, v in figures.items())
        self._parts.append(f'<div class="cards">{cards}</div>')

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Add a table; the first column is set left, the others right."""
        head = "".join(f"<th>{_text(cell)}</th>" for cell in header)
        body = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        self._parts.append(f'<div class="scroll">{table}</div>')

    def figures(self, images: Mapping[Path, str], *, wide: bool = False) -> None:
        """Add PNG files side by side, each with its caption.

        Args:
            images: caption of each file. wide: give every figure the whole width.

        Raises:
            FileNotFoundError: for a file that does not exist.
        """
        shown = []
        for path, caption in images.items():
            data = base64.b64encode(path.read_bytes()).decode("ascii")
            kind = ' class="wide"' if wide else ""
            shown.append(
                f'<figure{kind}><img alt="{_text(caption)}" src="data:image/png;base64,{data}">'
                f"<figcaption>{_text(caption)}</figcaption></figure>"
            )
        self._parts.append(f'<div class="figures">{"".join(shown)}</div>')

    def write(self, path: Path) -> Path:
        """Write the page under a temporary name, then rename it."""
        page = (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{_text(self._title)}</title><style>{_STYLE}</style></head>"
            f"<body><main>{''.join(self._parts)}</main></body></html>"
        )
        temporary = path.with_name(f".{path.name}.part")
        temporary.write_text(page, encoding="utf-8")
        os.replace(temporary, path)
        return path


def _text(value: str) -> str:
    return html.escape(str(value), quote=True)
