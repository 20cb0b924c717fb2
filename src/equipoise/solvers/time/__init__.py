"""Time integration: exponential integrators for stiff linear parts."""

from equipoise.solvers.time.exponential import ExponentialRungeKutta

__all__ = ["ExponentialRungeKutta"]
