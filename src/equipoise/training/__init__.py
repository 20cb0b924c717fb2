"""Trainer, phases and objectives, and the recipes that train each model; no architectures.

Start reading at `trainer.py`, or at `equino.py` for a whole recipe.
"""

from equipoise.training.equino import TrainedEquiNO, equino_phases, train_equino
from equipoise.training.phases import Phase
from equipoise.training.trainer import History, Objective, Trainer

__all__ = ["History", "Objective", "Phase", "TrainedEquiNO", "Trainer", "equino_phases", "train_equino"]
