"""Laws of a user's own under a name, so that files can speak of them: materials files, snapshots, run folders.

A file holds a law's name and values, never its code. Whoever reads it says first where the code is: `register_law` in
Python, `equipoise --laws FILE.py` on the command line.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

from equipoise.problems.mechanics.material import Material

__all__ = ["OwnLaw", "load_laws", "own_law", "own_law_names", "register_law"]


class OwnLaw(NamedTuple):
    """A registered law: its class, the values that its constructor needs, and those it may be given."""

    kind: type[Material]
    needed: tuple[str, ...]
    optional: tuple[str, ...]


_OWN: dict[str, OwnLaw] = {}


def register_law(kind: type[Material], name: str | None = None) -> str:
    """Let files name a law of your own; returns its name.

    Args:
        kind: a material whose constructor takes plain values by name. Where it keeps each under an attribute of the
            same name, it needs no `config` of its own.
        name: as files say it; that of the class in snake case by default.

    Raises:
        TypeError: for something else than a subclass of `Material` that can be built, or a constructor with `*args`.
        ValueError: for the name of another law.
    """
    if not (inspect.isclass(kind) and issubclass(kind, Material)) or inspect.isabstract(kind):
        raise TypeError(f"{kind!r} is no law: give a subclass of Material that defines energy.")
    from equipoise.problems.mechanics.materials import LAWS

    name = name or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind.__name__).lower()
    if name in LAWS:
        raise ValueError(f"law {name!r} of {kind.__name__} is one of the library's own; give it another name.")
    _OWN[name] = OwnLaw(kind, *_values(kind))
    return name


def own_law(law: str) -> OwnLaw | None:
    """The registered law of this name."""
    return _OWN.get(law)


def own_law_names() -> tuple[str, ...]:
    """Names of all registered laws."""
    return tuple(_OWN)


def registered_config(material: Material) -> dict[str, Any] | None:
    """Name and values of a material of a registered law; `None` where it is not registered or hides a value."""
    for name, law in _OWN.items():
        if type(material) is law.kind:
            values = (*law.needed, *law.optional, "name")
            if all(hasattr(material, value) for value in values):
                return {"law": name, **{value: getattr(material, value) for value in values}}
    return None


def load_laws(path: str | Path) -> tuple[str, ...]:
    """Run a Python file and register every law that it defines; returns their names.

    The file becomes a module of its own name, which worker processes import again.

    Raises:
        FileNotFoundError: when there is no such file. ValueError: for a file that defines no law, or a name in use.
        ImportError: where the file itself fails.
    """
    path = Path(path).resolve()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path} with laws.")
    if not path.stem.isidentifier() or path.suffix != ".py":
        raise ValueError(f"{path.name} cannot be imported: name it as a Python module, such as my_laws.py.")
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))
    try:
        module = importlib.import_module(path.stem)
    except Exception as error:
        raise ImportError(f"{path}: {type(error).__name__}: {error}") from error
    if Path(getattr(module, "__file__", None) or "").resolve() != path:
        raise ValueError(f"{path.stem} is the name of another module; rename {path.name}.")
    kinds = [kind for _, kind in inspect.getmembers(module, inspect.isclass) if kind.__module__ == module.__name__]
    laws = [kind for kind in kinds if issubclass(kind, Material) and not inspect.isabstract(kind)]
    if not laws:
        raise ValueError(f"{path} defines no law: write a subclass of equipoise.problems.mechanics.material.Material.")
    return tuple(register_law(kind) for kind in laws)


def _values(kind: type[Material]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Values that the constructor needs and may be given, its `name` left out."""
    needed: list[str] = []
    optional: list[str] = []
    for parameter in inspect.signature(kind).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise TypeError(f"{kind.__name__} takes {parameter}; a law in files takes its values by name.")
        if parameter.name != "name":
            (needed if parameter.default is parameter.empty else optional).append(parameter.name)
    return tuple(needed), tuple(optional)
