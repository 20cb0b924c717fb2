"""What the sorted-recycling reproduction shows to a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from equipoise.papers.reproduction import Table
from equipoise.papers.skr_grid import PRECONDITIONERS, PUBLISHED

__all__ = ["skr_tables"]


def _ratios(row: dict[str, Any]) -> str:
    if "iteration_ratio" not in row:
        return "none to be had"
    sign = ">" if row["gmres40"]["unconverged"] else ""
    return f"{sign}{row['time_ratio']:.1f} / {sign}{row['iteration_ratio']:.1f}"


def _paper_table(rows: Sequence[dict[str, Any]]) -> Table:
    """The paper's table, each line followed by the published one where there is one."""
    lines: dict[tuple[str, float], dict[str, str]] = {}
    for row in rows:
        lines.setdefault((row["family"], row["rtol"]), {})[row["preconditioner"]] = _ratios(row)
    shown: list[Sequence[str]] = []
    for (family, rtol), cells in lines.items():
        shown.append([family, f"{rtol:g}", "ours", *(cells.get(name, "") for name in PRECONDITIONERS)])
        paper = PUBLISHED.get(f"{family}, {rtol:g}")
        if paper is not None:
            ratios = (f"{one['time_ratio']:g} / {one['iteration_ratio']:g}" for one in paper.values())
            shown.append(["", "", "paper", *ratios])
    title = "GMRES(40) over SKR, time / iterations (> where GMRES stopped at 10^4 iterations)"
    return Table(title, ["family", "rtol", "whose", *PRECONDITIONERS], shown)


def _cell(summary: dict[str, Any] | None, *, of: str = "products") -> str:
    if not summary:
        return ""
    count = f" ({summary[of]:.0f}{'!' if summary['unconverged'] else ''})" if of in summary else ""
    return f"{1e3 * summary['seconds']:.0f}{count}"


def _first(row: dict[str, Any], keys: Sequence[str]) -> dict[str, Any] | None:
    return next((row[key] for key in keys if row.get(key)), None)


def skr_tables(figures: dict[str, Any]) -> list[Table]:
    """The paper's table, the figures behind it, the rivals on inclusions, and the targets.

    Args:
        figures: of `skr.run`.
    """
    columns: dict[str, tuple[str, ...]] = {
        "GMRES(40)*": ("gmres40",),
        "GMRES(400)*": ("gmres400",),
        "GCRO-DR fresh": ("fresh",),
        "carried": ("unsorted",),
        "carried, sorted": ("sorted",),
        "SciPy gcrotmk": ("gcrotmk",),
        "CG/MINRES": ("cg", "minres"),
        "deflated": ("deflated_cg", "deflated_minres"),
        "AMG-CG": ("amg_cg",),
        "neighbour": ("neighbour",),
        "direct": ("direct",),
    }
    head = ["family", "preconditioner", "rtol"]
    ratios: list[Sequence[str]] = []
    times: list[Sequence[str]] = []
    for row in figures["rows"]:
        if "iteration_ratio" not in row:
            continue
        name = [row["family"], row["preconditioner"], f"{row['rtol']:g}"]
        ratios.append(
            [
                *name,
                _ratios(row),
                f"{row['carried_over_fresh']:.2f}",
                f"{row['unsorted']['products'] / row['sorted']['products']:.2f}",
                f"{'>' * (row['gcrotmk_unconverged_beyond_recycling'] > 0)}{row['gcrotmk_over_recycling']:.2f}",
                f"{row['sorted']['systems']} ({row['gmres40']['systems']})",
                f"{1e3 * row['sorted']['seconds']:.0f}",
                f"{1e3 * row['direct']['seconds']:.0f}",
            ]
        )
        times.append([*name, *(_cell(_first(row, keys)) for keys in columns.values())])
    titles = [
        "GMRES/SKR time / iterations",
        "carried/fresh products",
        "unsorted/sorted",
        "gcrotmk/ours",
        "systems (GMRES)",
        "SKR, ms",
    ]
    tables = [
        _paper_table(figures["rows"]),
        Table("ratios, beside the time of a direct solve", [*head, *titles, "direct, ms"], ratios),
        Table(
            "ms a system (products; ! not all converged; * mean of the first few systems stands for all)",
            [*head, *columns],
            times,
        ),
    ]
    if "inclusions" in figures:
        rival_rows = [[name, _cell(one), str(one["systems"])] for name, one in figures["inclusions"]["methods"].items()]
        title = f"inclusions, {figures['inclusions']['unknowns']} unknowns, 1e-7: ms a system (products)"
        tables.append(Table(title, ["method", "ms", "systems"], rival_rows))
    verdicts = [
        [name, _short(one["value"]), one["wanted"], str(one["held"])] for name, one in figures["targets"].items()
    ]
    tables.append(Table("targets", ["what", "found", "wanted", "held"], verdicts))
    return tables


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return "; ".join(value) or "none" if isinstance(value, list) else str(value)
