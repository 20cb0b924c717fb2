"""The laws of the library by the name that files use, and the materials of the EquiNO paper.

What a material is stands in `material.py`, each law in its own file.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from equipoise.problems.mechanics.conjugate import Conjugate
from equipoise.problems.mechanics.isotropic import LinearIsotropic
from equipoise.problems.mechanics.material import Material
from equipoise.problems.mechanics.neo_hookean import NeoHookean
from equipoise.problems.mechanics.own_laws import OwnLaw, load_laws, own_law, own_law_names, register_law
from equipoise.problems.mechanics.plane_stress import PlaneStress
from equipoise.problems.mechanics.saturating_shear import SaturatingShear

__all__ = [
    "LAWS",
    "Conjugate",
    "LinearIsotropic",
    "Material",
    "NeoHookean",
    "PlaneStress",
    "SaturatingShear",
    "load_laws",
    "material_from_config",
    "paper_fibre",
    "paper_materials",
    "paper_matrix",
    "register_law",
]

_YOUNG = ("young", "poisson")
LAWS: dict[str, tuple[type[Material], tuple[str, ...], tuple[str, ...]]] = {
    "linear_isotropic": (LinearIsotropic, ("bulk", "shear"), ()),
    "saturating_shear": (SaturatingShear, ("bulk", "alpha1", "alpha2"), ("norm",)),
    "neo_hookean": (NeoHookean, ("shear", "lame"), ()),
    "plane_stress": (PlaneStress, ("material",), ()),
}
"""The library's laws: class, values that the law needs, and those that it may be given."""


def material_from_config(config: Mapping[str, Any]) -> Material:
    """Rebuild a material from plain values, as in a run folder or a TOML file.

    Args:
        config: `law` with the values of that law, and a `name` if wanted. `linear_isotropic` takes `bulk` and `shear`
            or `young` and `poisson`; `plane_stress` takes the configuration of its `material`. Laws of a user's own
            are known after `register_law`.

    Raises:
        ValueError: for an unknown law or key, naming the nearest known one, a missing value or a bad one.
    """
    if not isinstance(config, Mapping):
        raise ValueError(f"a material is a table with a law and its values, got {config!r}.")
    law = config.get("law")
    if law is None:
        raise ValueError(f"a material needs a law; use one of {', '.join(LAWS)}.")
    own = own_law(law) if isinstance(law, str) else None
    if own is not None:
        return _own_material(law, own, {key: value for key, value in config.items() if key != "law"})
    known = (*LAWS, *own_law_names())
    if not isinstance(law, str) or law not in LAWS:
        raise ValueError(f"law {law!r} is unknown; use one of {', '.join(known)}{_nearest(law, known)}")
    kind, needed, optional = LAWS[law]
    values = {key: value for key, value in config.items() if key != "law"}
    if law == "plane_stress":
        # Its name follows from that of its law.
        values.pop("name", None)
    is_young = law == "linear_isotropic" and any(key in values for key in _YOUNG)
    if is_young and not {"bulk", "shear"} & set(values):
        needed = _YOUNG
    _check_keys(law, values, needed, optional)
    if law == "plane_stress":
        return PlaneStress(material_from_config(values["material"]))
    return LinearIsotropic.from_young(**values) if needed == _YOUNG else kind(**values)


def _own_material(law: str, own: OwnLaw, values: dict[str, Any]) -> Material:
    known = (*own.needed, *own.optional, "name")
    for key in values:
        if key not in known:
            raise ValueError(f"law {law!r} has no value {key!r}; it takes {', '.join(known)}{_nearest(key, known)}")
    for key in own.needed:
        if key not in values:
            raise ValueError(f"law {law!r} needs {key}.")
    name = values.pop("name", None)
    material = own.kind(**values)
    if name is not None:
        material.name = name
    return material


def _check_keys(law: str, values: Mapping[str, Any], needed: tuple[str, ...], optional: tuple[str, ...]) -> None:
    known = (*needed, *optional, "name")
    for key, value in values.items():
        if key not in known:
            raise ValueError(f"law {law!r} has no value {key!r}; it takes {', '.join(known)}{_nearest(key, known)}")
        if key == "name" and not isinstance(value, str):
            raise ValueError(f"law {law!r}: name={value!r} must be a text.")
        if key in needed and key != "material" and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ValueError(f"law {law!r}: {key}={value!r} must be a number.")
    for key in needed:
        if key not in values:
            raise ValueError(f"law {law!r} needs {key}.")


def _nearest(given: object, known: Mapping[str, Any] | tuple[str, ...]) -> str:
    close = difflib.get_close_matches(str(given), list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else "."


def paper_matrix() -> SaturatingShear:
    """Matrix of the EquiNO paper, MPa."""
    return SaturatingShear(bulk=4780.0, alpha1=50.0, alpha2=0.06, name="matrix")


def paper_fibre() -> LinearIsotropic:
    """Fibre of the EquiNO paper, MPa."""
    return LinearIsotropic(bulk=43452.3810, shear=29918.0328, name="fibre")


def paper_materials() -> dict[int, Material]:
    """Materials of the EquiNO paper by tag: 1 matrix, 2 fibre."""
    return {1: paper_matrix(), 2: paper_fibre()}
