"""The tables of the EquiNO reproduction: all models side by side, beside the paper's own figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from equipoise.papers.reproduction import Table

__all__ = ["PUBLISHED", "comparison_tables"]

PUBLISHED = {
    "RVE1": {"EquiNO": [0.68, 0.93, 4.64], "VPIONet": [1.89, 2.23, 10.35]},
    "RVE2": {"EquiNO": [1.41, 1.54, 6.36], "VPIONet": [3.16, 4.54, 7.71]},
    "RVE3": {"EquiNO": [0.70, 0.58, 6.35], "VPIONet": [1.44, 1.03, 8.76]},
}

_NAMES = {
    "reduced_order_model": "reduced-order model (no network)",
    "equino_paper_form": "EquiNO, published form",
    "pod_deeponet": "POD-DeepONet",
    "deeponet": "DeepONet",
    "vpionet": "VPIONet, true energy",
    "vpionet_secant": "VPIONet, published functional",
    "pinn": "PINN (2 strains)",
}


def comparison_tables(figures: Mapping[str, Any], baseline: Mapping[str, Any]) -> list[Table]:
    """One table of errors for each cell and number of modes, and one of what the learned cell is and costs."""
    return [*(_errors(label, figures[label], baseline[label]) for label in figures), _costs(figures)]


def _errors(label: str, ours: Mapping[str, Any], others: Mapping[str, Any]) -> Table:
    header = ["error, %", "learned from", "homogenised", "median", "worst", "local xx", "yy", "xy", "training, s"]
    rows = [_row("EquiNO", "physics", ours, ours["training_seconds"])]
    for key, name in _NAMES.items():
        if key in others:
            rows.append(_row(name, others[key]["learned_from"], others[key], others[key]["training_seconds"]))
    for name, values in PUBLISHED.get(label.split(",")[0], {}).items():
        rows.append([f"{name}, figures of the paper", "", "", "", "", *(f"{value:.2f}" for value in values), ""])
    return Table(f"{label}: homogenised stress (mean, median, worst), local stress (median sample)", header, rows)


def _row(name: str, learned_from: str, figures: Mapping[str, Any], seconds: float) -> list[str]:
    stress = figures["homogenised_stress"]
    shown = [f"{100 * stress[key]:.2g}" for key in ("mean", "median", "worst")]
    local = [f"{100 * value:.3g}" for value in figures["local_stress_median"]]
    return [name, learned_from, *shown, *local, f"{seconds:.0f}"]


def _costs(figures: Mapping[str, Any]) -> Table:
    header = ["EquiNO", "of floor: homogenised", "refined", "gap", "local xx, yy, xy", "bounds hold", "µs", "speed-up"]
    header += ["structure: displacement, %", "reaction, %"]
    rows = []
    for label, row in figures.items():
        structure = row.get("structure", {})
        multiples = [f"{value['multiple_of_projection']:.2f}" for value in row["local_stress"].values()]
        refined = row["refined_homogenised_stress"]
        rows.append(
            [
                label,
                f"{row['homogenised_stress']['multiple_of_floor']:.2f}",
                f"{100 * refined['mean']:.2g} % ({refined['multiple_of_floor']:.2f})",
                f"{row['relative_gap'].get('multiple_of_floor', float('nan')):.3f}",
                ", ".join(multiples),
                "yes" if row["bounds_hold"] else "no",
                f"{row['microseconds_per_strain']:.2g}",
                f"{row['micro_speed_up']:,.0f}",
                *(f"{100 * structure[k]:.2g}" if structure else "" for k in ("displacement_error", "reaction_error")),
            ]
        )
    return Table("errors as multiples of the floors of the bases, and cost of an answer with tangent", header, rows)
