"""The structure problem as a TOML file: checked here once, then turned into plain objects of `multiscale`.

Every message names the place in the file; an unknown key names the nearest known one.
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from equipoise.errors import FormatError
from equipoise.multiscale.load_stepping import Stepping
from equipoise.multiscale.structure import History, Load, Region, Structure, Support

__all__ = ["CellSettings", "MicroSettings", "OutputSettings", "ProblemSettings", "read_problem"]

Numbers = list[float]


class _Settings(BaseModel):
    """A table of the file; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _name_nearest_key(cls, data: Any) -> Any:
        if isinstance(data, dict):
            known = {field.alias or name for name, field in cls.model_fields.items()}
            for key in data:
                if key not in known:
                    close = difflib.get_close_matches(str(key), known, n=1, cutoff=0.4)
                    hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(known))}."
                    raise ValueError(f"unknown key {key!r}; {hint}")
        return data


class MeshSettings(_Settings):
    """A mesh file, or a built-in mesh with its parameters."""

    file: str | None = None
    builtin: str | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_source(self) -> MeshSettings:
        if (self.file is None) == (self.builtin is None):
            raise ValueError("give exactly one of file and builtin.")
        if self.file is not None and self.parameters:
            raise ValueError("parameters belong to a built-in mesh, not to a file.")
        return self


class _Placed(_Settings):
    on: str | None = None
    at: dict[str, float | Numbers] | None = None
    point: Numbers | None = None
    history: str | list[Numbers] | None = None
    name: str = ""

    def region(self) -> Region:
        where = None
        if self.at is not None:
            where = {axis: _range(axis, value) for axis, value in self.at.items()}
        return Region(group=self.on, where=where, nearest=None if self.point is None else tuple(self.point))


class SupportSettings(_Placed):
    """Where a structure is held, and how."""

    x: float | None = None
    y: float | None = None
    z: float | None = None
    symmetric: bool = False


class LoadSettings(_Placed):
    """Where a structure is loaded, and how."""

    traction: Numbers | None = None
    pressure: float | None = None
    force: Numbers | None = None
    body_force: Numbers | None = None


class TimeSettings(_Settings):
    """Pseudo-time and its steps; see `Stepping`."""

    end: float = 1.0
    first_step: float = 0.25
    smallest_step: float = 1e-3
    largest_step: float | None = None
    max_iterations: int = 25
    rtol: float = 1e-8


class CellSettings(_Settings):
    """The unit cell: a mesh file or folder, or a built-in cell with its parameters."""

    file: str | None = None
    builtin: str | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_source(self) -> CellSettings:
        if (self.file is None) == (self.builtin is None):
            raise ValueError("give exactly one of file and builtin.")
        return self


class MicroSettings(_Settings):
    """What the integration points ask when the command line does not say."""

    use: Literal["full", "run", "constitutive"] = "full"
    cell: CellSettings | None = None
    materials: dict[str, dict[str, Any]] = Field(default_factory=dict)
    run: str | None = None
    law: dict[str, Any] | None = None
    plane: Literal["strain", "stress"] = "strain"

    @model_validator(mode="after")
    def _complete(self) -> MicroSettings:
        if self.use == "run" and self.run is None:
            raise ValueError('use = "run" needs run = "path of a run folder".')
        for tag in self.materials:
            if not tag.lstrip("-").isdigit():
                raise ValueError(f"material {tag!r} must be named by the tag of its elements, a whole number.")
        return self


class OutputSettings(_Settings):
    """Where results go, and what is shown."""

    folder: str | None = None
    report: bool = True
    compare_full: bool = False


class ProblemSettings(_Settings):
    """A whole structure problem."""

    name: str = "structure"
    thickness: float = 1.0
    mesh: MeshSettings
    supports: list[SupportSettings]
    loads: list[LoadSettings] = Field(default_factory=list)
    time: TimeSettings = Field(default_factory=TimeSettings)
    histories: dict[str, list[Numbers]] = Field(default_factory=dict)
    points: dict[str, Numbers] = Field(default_factory=dict)
    micro: MicroSettings = Field(default_factory=MicroSettings)
    output: OutputSettings = Field(default_factory=OutputSettings)

    def structure(self, folder: Path) -> Structure:
        """The structure described; relative paths start at `folder`.

        Raises:
            ValueError, MeshError, FormatError: for what cannot be used.
        """
        from equipoise.spaces.mesh_files import read_mesh
        from equipoise.spaces.structures import builtin_structure

        if self.mesh.file is not None:
            mesh = read_mesh(folder / self.mesh.file)
        else:
            mesh = builtin_structure(str(self.mesh.builtin), **self.mesh.parameters)
        return Structure(
            mesh=mesh,
            supports=[self._support(settings) for settings in self.supports],
            loads=[self._load(settings) for settings in self.loads],
            stepping=Stepping(**self.time.model_dump()),
            thickness=self.thickness,
            monitored={name: tuple(place) for name, place in self.points.items()},
            name=self.name,
        )

    def _support(self, settings: SupportSettings) -> Support:
        held = {axis: value for axis in ("x", "y", "z") if (value := getattr(settings, axis)) is not None}
        return Support(
            region=settings.region(),
            displacement=held,
            is_symmetric=settings.symmetric,
            history=self._history(settings.history),
            name=settings.name,
        )

    def _load(self, settings: LoadSettings) -> Load:
        placed = settings.on is not None or settings.at is not None or settings.point is not None
        return Load(
            region=settings.region() if placed else None,
            traction=_tuple(settings.traction),
            pressure=settings.pressure,
            force=_tuple(settings.force),
            body_force=_tuple(settings.body_force),
            history=self._history(settings.history),
            name=settings.name,
        )

    def _history(self, history: str | list[Numbers] | None) -> History:
        if history is None:
            return History(times=(0.0, self.time.end), factors=(0.0, 1.0))
        if isinstance(history, str):
            if history not in self.histories:
                known = ", ".join(map(repr, sorted(self.histories))) or "none"
                raise ValueError(f"history {history!r} is not in [histories]; there are {known}.")
            history = self.histories[history]
        if any(len(row) != 2 for row in history):
            raise ValueError(f"a history is a list of [time, factor] pairs, got {history}.")
        return History(times=tuple(row[0] for row in history), factors=tuple(row[1] for row in history))


def _tuple(values: Numbers | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(values)


def _range(axis: str, value: float | Numbers) -> tuple[float, float]:
    if isinstance(value, list):
        if len(value) != 2 or value[0] > value[1]:
            raise ValueError(f"the range of {axis} must be [lowest, highest], got {value}.")
        return value[0], value[1]
    return value, value


def read_problem(path: Path) -> ProblemSettings:
    """Settings of a problem file.

    Raises:
        FileNotFoundError: if there is no such file. FormatError: for text that is no TOML, or settings that do not fit,
            in one sentence that names the place.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; give a TOML file or one of the names that `equipoise problems` lists."
        )
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"{path} is not TOML: {error}.") from error
    try:
        return ProblemSettings.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = (
            ".".join(str(part) for part in first["loc"] if not str(part).startswith(("list[", "dict["))) or "top level"
        )
        message = str(first["msg"]).removeprefix("Value error, ").rstrip(".?")
        mark = "?" if str(first["msg"]).endswith("?") else "."
        raise FormatError(f"{path}: {place}: {message}{mark}") from error
