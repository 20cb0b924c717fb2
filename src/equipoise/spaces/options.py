"""Options of built-in meshes: the text form `name:option=value,…`, and checks that name the offending value.

What the options mean is said by the functions in `cells.py` and `structures.py`.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import math
from collections.abc import Callable, Mapping
from numbers import Integral, Real

from equipoise.errors import MeshError
from equipoise.spaces.mesh import Mesh

__all__ = ["built", "check_count", "check_length", "check_share", "nearest", "parse_options"]


def built(kind: str, make: Callable[..., Mesh], options: Mapping[str, object]) -> Mesh:
    """Call a generator with options given by name, lists as tuples.

    Raises:
        MeshError: for an option that the generator lacks, naming those it has, or a value that it cannot use.
    """
    known = list(inspect.signature(make).parameters)
    for key in options:
        if key not in known:
            raise MeshError(f"{kind!r} has no option {key!r}; it takes {', '.join(known)}{nearest(key, known)}")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    try:
        return make(**values)
    except TypeError as error:
        raise MeshError(f"{kind!r} has an option of the wrong kind: {error}.") from error


def nearest(name: str, known: list[str]) -> str:
    """End of a sentence: `"; did you mean …?"`, or a full stop where no known name is near."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else "."


def parse_options(text: str) -> tuple[str, dict[str, object]]:
    """Name and options of `"name"` or `"name:option=value,option=(value, value)"`; values are numbers, tuples or words.

    Raises:
        MeshError: for a part that is not `option=value`, an empty value, or an option given twice.
    """
    kind, colon, rest = text.partition(":")
    options: dict[str, object] = {}
    for item in _split(rest) if colon else []:
        key, equals, word = (part.strip() for part in item.partition("="))
        if not (key and equals and word):
            raise MeshError(f"{text!r}: {item!r} is not of the form option=value.")
        if key in options:
            raise MeshError(f"{text!r} gives option {key!r} twice.")
        try:
            options[key] = ast.literal_eval(word)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            options[key] = word
    return kind, options


def _split(text: str) -> list[str]:
    """Parts between commas that stand outside parentheses and brackets."""
    parts, depth, start = [], 0, 0
    for place, letter in enumerate(text):
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    return [*parts, text[start:]]


def check_count(name: str, value: object, *, least: int = 1) -> None:
    """Raise `MeshError` unless a value is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise MeshError(f"{name}={value!r} must be a whole number of at least {least}.")


def check_length(name: str, value: object) -> None:
    """Raise `MeshError` unless a value is a finite positive number."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < math.inf:
        raise MeshError(f"{name}={value!r} must be a positive number.")


def check_share(name: str, value: object, *, below: float) -> None:
    """Raise `MeshError` unless a value lies strictly between 0 and `below`."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < below:
        raise MeshError(f"{name}={value!r} must lie between 0 and {below:g}.")
