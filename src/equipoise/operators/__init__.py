"""Neural operators, one architecture per file; no training loops and no file formats."""

from equipoise.operators.branch import AnchoredBranch, PlainBranch
from equipoise.operators.equino import EquiNO
from equipoise.operators.perceptron import MultilayerPerceptron

__all__ = ["AnchoredBranch", "EquiNO", "MultilayerPerceptron", "PlainBranch"]
