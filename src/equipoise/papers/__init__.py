"""One module per published method: its claim, its baseline, its scaled experiment and its criterion.

Components live in the rooms below and are imported. The table here names every method of the mission; a method stands
once it has a module.
"""

from __future__ import annotations

import difflib
import importlib
import json
from importlib.resources import files
from typing import Any

from equipoise.papers.reproduction import SCALES, Outcome, Reproduction, Settings

__all__ = ["METHODS", "SCALES", "Outcome", "Reproduction", "Settings", "is_built", "last_result", "load"]

_BUILT = {
    "dcdm": "equipoise.papers.dcdm",
    "deeponet": "equipoise.papers.deeponet",
    "equino": "equipoise.papers.equino",
    "mg-tfno": "equipoise.papers.mg_tfno",
    "mgno": "equipoise.papers.mgno",
    "nns-to-nos": "equipoise.papers.nns_to_nos",
    "skr": "equipoise.papers.skr",
}

METHODS: dict[str, str] = {
    "bnpo": "Beta-normalised policy optimisation",
    "consensus-game": "Equilibrium ranking by a consensus game",
    "dcdm": "Deep conjugate direction method",
    "deeponet": "DeepONet",
    "dense-hebbian": "Dense Hebbian networks",
    "dgno": "Deep generative neural operator",
    "equilibrium-propagation": "Generalised holomorphic equilibrium propagation",
    "equino": "EquiNO and FE-OL",
    "hard-constraints-moe": "Hard PDE constraints by a mixture of experts",
    "homoode": "HomoODE",
    "hypino": "HyPINO",
    "lesnets": "LESnets",
    "local-regularization": "Locally regularised neural differential equations",
    "lpn": "Learned proximal networks",
    "metalic": "METALIC",
    "mg-tfno": "Multi-grid tensorised Fourier neural operator",
    "mgno": "MgNO",
    "mip-hypernetworks": "Magnitude-invariant hypernetworks",
    "monotone-dbm": "Monotone deep Boltzmann machines",
    "neural-collapse": "Neural collapse in deep linear heads",
    "neural-differential-equations": "Neural differential equations",
    "neural-memory-controllers": "Fast and slow learning of memory controllers",
    "neuralstagger": "NeuralStagger",
    "nns-to-nos": "From neural networks to neural operators",
    "pinn-symbolic-discovery": "Universal PINN with symbolic read-out",
    "poset-filters": "Poset filters",
    "prose": "PROSE",
    "qarl": "QARL",
    "reste": "Rectified straight-through estimator",
    "self-normalizing-networks": "Self-normalizing networks",
    "semilinear-no": "Neural operators with data assimilation for semilinear PDEs",
    "skr": "Sorted Krylov recycling",
    "solver-heuristic-regularization": "Regularisation by solver heuristics",
    "spectral-refiner": "Spectral-Refiner",
    "utility-probability-duality": "Utility-probability duality",
    "vr-halpern": "Variance-reduced Halpern iterations",
    "weighted-convolution": "Weighted convolution",
    "wide-deep-optimality": "Infinitely wide and deep classifiers",
}
"""Every method of the mission by its slug."""


def is_built(slug: str) -> bool:
    """Whether a method stands."""
    return slug in _BUILT


def load(slug: str) -> Reproduction:
    """The reproduction of a method.

    Raises:
        ValueError: for an unknown slug, naming the nearest, or one that is planned only.
    """
    if slug not in METHODS:
        close = difflib.get_close_matches(slug, list(METHODS), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"method {slug!r} is unknown; `equipoise reproduce --list` names all{hint}")
    if not is_built(slug):
        raise ValueError(f"method {slug!r} is planned and not built yet; built are {', '.join(_BUILT)}.")
    reproduction: Reproduction = importlib.import_module(_BUILT[slug]).REPRODUCTION
    return reproduction


def last_result(slug: str) -> dict[str, Any] | None:
    """The recorded result of a method's last measured run, or `None`."""
    record = files("equipoise.papers") / "results" / f"{slug}.json"
    return json.loads(record.read_text()) if record.is_file() else None
