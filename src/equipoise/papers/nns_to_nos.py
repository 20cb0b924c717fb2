"""From neural networks to neural operators: the same weights on another grid, with and without conversion."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from equipoise.papers.nns_to_nos_gaps import untrained_gaps
from equipoise.papers.nns_to_nos_models import FORMS, Sizes, errors, make_bench, train
from equipoise.papers.reproduction import Outcome, Reproduction, Settings, Table

__all__ = ["REPRODUCTION", "run"]

_ORIGINALS = ("U-Net", "attention")
_OPERATORS = ("FNO", "FNO + finite differences", "FNO + local integrals")

_SIZES: dict[str, Sizes] = {
    "smoke": Sizes(
        train=64,
        test=16,
        solver=32,
        grids=(16, 32),
        training=16,
        max_step=0.025,
        epochs={"fno": 4, "unet": 4},
        width=12,
        n_modes=8,
        unet_taps=3,
    ),
    "cpu": Sizes(
        train=512,
        test=128,
        solver=64,
        grids=(16, 32, 64),
        training=32,
        max_step=0.025,
        epochs={"fno": 8, "fno_fd": 8, "fno_local": 4, "unet": 8, "unet_multi": 3, "attention": 12},
    ),
    "gpu": Sizes(
        train=10_000,
        test=1000,
        solver=256,
        grids=(64, 128, 256),
        training=128,
        max_step=0.0025,
        epochs={"fno": 500, "fno_fd": 500, "fno_local": 500, "unet": 300, "unet_multi": 100, "attention": 300},
        batch=16,
        width=62,
        n_modes=64,
        unet_width=84,
        unet_taps=9,
        unet_blocks=2,
        multipliers=(1, 2, 2, 3),
        seeds=3,
    ),
}


def run(settings: Settings) -> Outcome:
    """Train each model at one resolution and ask it at all; see `REPRODUCTION.criterion`."""
    sizes = _SIZES[settings.scale]
    settings.report("untrained networks at two resolutions")
    gaps = untrained_gaps(seed=settings.seed)
    settings.report(f"{sizes.train} + {sizes.test} flows at {sizes.solver} x {sizes.solver}")
    bench = make_bench(sizes, seed=settings.seed)
    rows: dict[str, dict[str, Any]] = {}
    for kind, forms in FORMS.items():
        if kind not in sizes.epochs:
            continue
        models = [train(kind, bench, seed=settings.seed + number) for number in range(sizes.seeds)]
        for name, method in forms:
            found = [errors(model, bench, method) for model in models]
            rows[name] = _row(found, sizes)
            rows[name]["parameters"] = models[0].parameters
            rows[name]["training_seconds"] = statistics.median(model.seconds for model in models)
            settings.report(f"  {name}: {_shown(rows[name]['error'])}")
    figures = {
        "models": {name: row for name, row in rows.items() if name not in _ORIGINALS},
        "untrained": gaps,
        "aliased_share_of_targets": bench.aliased,
        "seeds": sizes.seeds,
    }
    baseline = {name: rows[name] for name in _ORIGINALS if name in rows}
    held = _held_untrained(gaps) and (_held_smoke(rows, sizes) if settings.scale == "smoke" else _held(rows))
    return Outcome(figures, baseline, held, _tables(rows, gaps, sizes))


def _row(found: list[dict[int, float]], sizes: Sizes) -> dict[str, Any]:
    finest = sizes.grids[-1]
    ratios = [errors[finest] / errors[sizes.training] for errors in found]
    median = {str(n): statistics.median(errors[n] for errors in found) for n in sizes.grids}
    return {"error": median, "ratio": statistics.median(ratios)}


def _held_untrained(gaps: Mapping[str, Any]) -> bool:
    gap, distance = gaps["gap"], gaps["distance_to_point_values"]
    differences, pixels = gap["finite differences"], distance["pixel convolutions"]
    converted = distance["pixel convolutions, converted"]
    return (
        gap["FNO"][0] <= 1e-2
        and gap["local integrals"][0] <= 1e-2
        and differences[2] / differences[1] <= 0.7
        and pixels[2] < pixels[1] / 1.4
        and min(converted) > 0.5 * converted[0]
        and all(gap[f"{name}, converted"][0] < gap[name][0] / 2 for name in _ORIGINALS)
    )


def _held_smoke(rows: Mapping[str, Mapping[str, Any]], sizes: Sizes) -> bool:
    finest = str(sizes.grids[-1])
    return rows["U-Net, fixed offsets"]["error"][finest] < rows["U-Net"]["error"][finest]


def _held(rows: Mapping[str, Mapping[str, Any]]) -> bool:
    ratio = {name: row["ratio"] for name, row in rows.items()}
    converted = all(
        rows[f"{name}, fixed offsets"]["error"][n] < rows[name]["error"][n]
        for name in _ORIGINALS
        for n in rows[name]["error"]
        if n != _training(rows[name]["error"])
    )
    return (
        all(ratio[name] <= 1.3 for name in _OPERATORS)
        and ratio["U-Net"] >= 3
        and ratio["U-Net, kernels interpolated"] <= 0.5 * ratio["U-Net"]
        and ratio["U-Net, input and output resampled"] <= 1.3
        and converted
    )


def _training(error: Mapping[str, float]) -> str:
    """The resolution in the middle, which is that of the training."""
    return sorted(error, key=int)[len(error) // 2]


def _shown(error: Mapping[str, float]) -> str:
    return ", ".join(f"{100 * value:.1f} % at {n}" for n, value in error.items())


def _tables(rows: Mapping[str, Mapping[str, Any]], gaps: Mapping[str, Any], sizes: Sizes) -> list[Table]:
    header = ["error, %", *(f"{n} x {n}" for n in sizes.grids), "finest / training", "parameters", "training, s"]
    shown = [
        [
            name,
            *(f"{100 * value:.1f}" for value in row["error"].values()),
            f"{row['ratio']:.2f}",
            f"{row['parameters']:,}",
            f"{row['training_seconds']:.0f}",
        ]
        for name, row in rows.items()
    ]
    untrained = []
    for name, values in gaps["gap"].items():
        distances = gaps["distance_to_point_values"].get(name, [])
        cells = [[f"{value:.2g}" for value in found] + [""] * (3 - len(found)) for found in (values, distances)]
        untrained.append([name, *cells[0], *cells[1]])
    return [
        Table(f"trained at {sizes.training} x {sizes.training}, asked on other grids", header, shown),
        Table(
            "untrained: gap to twice the resolution, and distance from a map of point values",
            ["network", "gap at 32", "64", "128", "distance at 32", "64", "128"],
            untrained,
        ),
    ]


REPRODUCTION = Reproduction(
    slug="nns-to-nos",
    title="Principled Approaches for Extending Neural Architectures to Function Spaces for Operator Learning",
    source=(
        "Berner, Liu-Schiaffini, Kossaifi, Duruisseaux, Bonev, Azizzadenesheli and Anandkumar (2025), arXiv 2506.10973"
    ),
    claim=(
        "Layers of fixed physical reach and Fourier layers keep their error on grids other than that of the training, "
        "pixel layers do not, and a trained network is converted without retraining."
    ),
    criterion=(
        "R is the error at twice the training resolution over that at it. R of the FNO, with finite differences and "
        "with local integrals, at most 1.3; R of the U-Net at least 3, with interpolated kernels at most half of that, "
        "with input and output resampled at most 1.3; U-Net and attention converted at fixed offsets below their "
        "originals at every other resolution. Untrained: gap at 32 at most 0.01 for FNO and local integrals; that of "
        "finite differences falls to 0.7 or less from 64 to 128; the distance of pixel convolutions from a map of "
        "point values falls by 1.4 or more, that of their conversion does not; converted U-Net and attention have less "
        "than half the gap. At scale smoke: the untrained tests, and the converted U-Net below the original."
    ),
    run=run,
    paper={
        "published form": "curves of error against resolution; no numbers are given in tables",
        "statement": "fixed receptive fields and Fourier layers generalise across resolutions",
    },
)
"""The reproduction of the NNs-to-NOs paper."""
