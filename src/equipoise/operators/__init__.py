"""Neural operators, one architecture per file; no training loops and no file formats."""

from equipoise.nn.perceptron import MultilayerPerceptron
from equipoise.operators.branch import AnchoredBranch, PlainBranch
from equipoise.operators.equino import EquiNO

__all__ = ["AnchoredBranch", "EquiNO", "MultilayerPerceptron", "PlainBranch"]
