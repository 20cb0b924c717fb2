"""Equipoise: solve, learn and embed families of equilibrium problems `R(u; a) = 0`.

The rooms are `spaces`, `solvers`, `problems`, `data`, `operators`, `training`, `multiscale`, `papers` and `cli`;
imports between them go down the floors only. Start reading at `multiscale` for two-scale simulation.
"""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
