"""The exceptions of Equipoise, one per kind of failure that a caller may want to tell apart.

Bad values that need no class of their own raise the built-in `ValueError` or `TypeError`.
"""

from __future__ import annotations

__all__ = ["ConvergenceError", "EquipoiseError", "FormatError", "MeshError", "OutOfRangeError", "WorkerError"]


class EquipoiseError(Exception):
    """Base class of every exception that Equipoise defines."""


class MeshError(EquipoiseError, ValueError):
    """A mesh cannot be used as asked: unknown, inverted or unmatched parts, named in the message."""


class FormatError(EquipoiseError, ValueError):
    """A file is damaged, foreign, or of another version; the message names the file."""


class OutOfRangeError(EquipoiseError, ValueError):
    """An input lies outside the range in which a learned model was trained."""


class ConvergenceError(EquipoiseError, RuntimeError):
    """A solver stopped without converging; the message names the failing batch indices and the last residuals.

    Attributes:
        solution: the flagged `Solution` with its residual history, where a solver had one to give.
    """

    solution: object | None = None


class WorkerError(EquipoiseError, RuntimeError):
    """Worker processes or a cluster could not do their share; the message names the batch or the address."""
