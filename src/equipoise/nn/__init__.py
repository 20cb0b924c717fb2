"""Building blocks of networks: spectral and multigrid convolutions, factorised weights, layers on any grid.

Whole architectures stand in `operators`; nothing here knows an equation, a data set or a training loop.
"""

from equipoise.nn.initialisation import seeded

__all__ = ["seeded"]
