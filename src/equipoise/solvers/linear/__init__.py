"""Solvers of sparse linear systems, and of families of them that share a sparsity pattern.

Start reading at `direct.py`; `conjugate_gradient.py` runs many systems in lockstep under one preconditioner.
"""

from equipoise.solvers.linear.conjugate_gradient import conjugate_gradient
from equipoise.solvers.linear.direct import Factorization, factorize, pardiso_is_available, prepare
from equipoise.solvers.linear.pattern import SymmetricPattern

__all__ = [
    "Factorization",
    "SymmetricPattern",
    "conjugate_gradient",
    "factorize",
    "pardiso_is_available",
    "prepare",
]
