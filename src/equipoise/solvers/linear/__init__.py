"""Solvers of sparse linear systems, and of families of them whose matrices resemble one another.

Start reading at `state.py`: `prepare`, `solve`, `update`. The methods are in `methods.py`, preconditioners in
`preconditioners.py`; `conjugate_gradient.py` runs many systems in lockstep, `direct.py` factorises one pattern.
"""

from equipoise.solvers.linear.conjugate_gradient import conjugate_gradient
from equipoise.solvers.linear.direct import Factorization, analyse, factorize, pardiso_is_available
from equipoise.solvers.linear.methods import (
    CG,
    GCRODR,
    GMRES,
    MINRES,
    BiCGStab,
    DeflatedCG,
    DeflatedMINRES,
    Direct,
    FlexibleGMRES,
)
from equipoise.solvers.linear.operators import Operator, as_operator
from equipoise.solvers.linear.pattern import SymmetricPattern
from equipoise.solvers.linear.preconditioners import AMG, IC, ILU, SOR, SSOR, BlockJacobi, Jacobi, Neighbour
from equipoise.solvers.linear.recycle import RecycleSpace
from equipoise.solvers.linear.sine_transform import SineTransform
from equipoise.solvers.linear.state import LinearState, prepare, solve, update
from equipoise.solvers.linear.triangular import pyamg_is_available

__all__ = [
    "AMG",
    "CG",
    "GCRODR",
    "GMRES",
    "IC",
    "ILU",
    "MINRES",
    "SOR",
    "SSOR",
    "BiCGStab",
    "BlockJacobi",
    "DeflatedCG",
    "DeflatedMINRES",
    "Direct",
    "Factorization",
    "FlexibleGMRES",
    "Jacobi",
    "LinearState",
    "Neighbour",
    "Operator",
    "RecycleSpace",
    "SineTransform",
    "SymmetricPattern",
    "analyse",
    "as_operator",
    "conjugate_gradient",
    "factorize",
    "pardiso_is_available",
    "prepare",
    "pyamg_is_available",
    "solve",
    "update",
]
