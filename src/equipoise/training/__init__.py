"""Trainer, phases, losses and objectives, and the recipes that train each model; no architectures.

Start reading at `trainer.py`, or at `operators.py` and `equino.py` for whole recipes.
"""

from equipoise.training.equino import TrainedEquiNO, equino_phases, train_equino
from equipoise.training.losses import RelativeLoss, ResidualLoss, field_loss
from equipoise.training.operators import TrainedOperator, train_operator
from equipoise.training.phases import Phase
from equipoise.training.trainer import History, Objective, Trainer

__all__ = [
    "History",
    "Objective",
    "Phase",
    "RelativeLoss",
    "ResidualLoss",
    "TrainedEquiNO",
    "TrainedOperator",
    "Trainer",
    "equino_phases",
    "field_loss",
    "train_equino",
    "train_operator",
]
