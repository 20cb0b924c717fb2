"""Neural operators, one architecture per file; no training loops and no file formats."""

from equipoise.nn.perceptron import MultilayerPerceptron
from equipoise.operators.branch import AnchoredBranch, PlainBranch
from equipoise.operators.deeponet import DeepONet
from equipoise.operators.equino import EquiNO
from equipoise.operators.linear_map import LinearMap
from equipoise.operators.mionet import MIONet
from equipoise.operators.modified_deeponet import ModifiedDeepONet
from equipoise.operators.pod_deeponet import PODDeepONet
from equipoise.operators.query_on_grid import QueryOnGrid

__all__ = [
    "AnchoredBranch",
    "DeepONet",
    "EquiNO",
    "LinearMap",
    "MIONet",
    "ModifiedDeepONet",
    "MultilayerPerceptron",
    "PODDeepONet",
    "PlainBranch",
    "QueryOnGrid",
]
