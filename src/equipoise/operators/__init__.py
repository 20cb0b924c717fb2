"""Neural operators, one architecture per file; no training loops and no file formats.

Start reading at `fno.py` and `deeponet.py`; `registry.py` names them all, and `conversion.py` makes operators of
ordinary networks.
"""

from equipoise.nn.perceptron import MultilayerPerceptron
from equipoise.operators.branch import AnchoredBranch, PlainBranch
from equipoise.operators.conversion import to_operator
from equipoise.operators.deeponet import DeepONet
from equipoise.operators.equino import EquiNO
from equipoise.operators.fno import FNO
from equipoise.operators.linear_map import LinearMap
from equipoise.operators.local_fno import LocalFNO
from equipoise.operators.mgno import MgNO
from equipoise.operators.mionet import MIONet
from equipoise.operators.modified_deeponet import ModifiedDeepONet
from equipoise.operators.multigrid_patches import MultigridPatched
from equipoise.operators.normalisation import NormalisedOperator, Normaliser
from equipoise.operators.pod_deeponet import PODDeepONet
from equipoise.operators.query_on_grid import QueryOnGrid
from equipoise.operators.registry import OPERATORS, FieldSizes, make_operator
from equipoise.operators.tfno import MGTFNO, TFNO
from equipoise.operators.unet import UNet

__all__ = [
    "FNO",
    "MGTFNO",
    "OPERATORS",
    "TFNO",
    "AnchoredBranch",
    "DeepONet",
    "EquiNO",
    "FieldSizes",
    "LinearMap",
    "LocalFNO",
    "MIONet",
    "MgNO",
    "ModifiedDeepONet",
    "MultigridPatched",
    "MultilayerPerceptron",
    "NormalisedOperator",
    "Normaliser",
    "PODDeepONet",
    "PlainBranch",
    "QueryOnGrid",
    "UNet",
    "make_operator",
    "to_operator",
]
