"""Strains on the command line: `--strain=xx,yy,xy`, `--strains FILE.csv`, and boxes to draw them in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch

from equipoise.data.sampling import symmetric_box

__all__ = ["VOIGT", "parse_box", "parse_strain", "read_strains_csv", "strains_of"]

VOIGT = {3: "xx,yy,xy", 6: "xx,yy,zz,yz,xz,xy"}
"""Order of the components as a user writes them; shear is engineering shear."""


def strains_of(given: Sequence[str], file: Path | None, n_strain: int) -> torch.Tensor:
    """Strains of all `--strain` options, then those of the `--strains` file, `(n, v)` float64.

    Raises:
        ValueError: where there are none, or one cannot be read. FileNotFoundError: when there is no such file.
    """
    rows = [parse_strain(text, n_strain) for text in given]
    if file is not None:
        rows += read_strains_csv(file, n_strain)
    if not rows:
        raise ValueError(f"no strain was given; use --strain={VOIGT[n_strain]} (numbers) or --strains FILE.csv.")
    return torch.tensor(rows, dtype=torch.float64)


def parse_strain(text: str, n_strain: int) -> list[float]:
    """Numbers of one strain such as `0.02,0.01,-0.03`.

    Raises:
        ValueError: for a wrong number of components, words that are no numbers, and numbers that are not finite.
    """
    words = text.split(",")
    if len(words) != n_strain:
        raise ValueError(
            f"strain {text.strip()} has {len(words)} components; this cell needs {n_strain}: {VOIGT[n_strain]}."
        )
    return [_number(word, text) for word in words]


def read_strains_csv(path: Path, n_strain: int) -> list[list[float]]:
    """Strains of a CSV file, one in a line; a heading and lines that begin with # are skipped.

    Raises:
        FileNotFoundError: when there is no such file. ValueError: naming the first line that cannot be read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}.")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file.") from error
    rows: list[list[float]] = []
    is_first = True
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if is_first and _is_heading(line):
            is_first = False
            continue
        is_first = False
        try:
            rows.append(parse_strain(line, n_strain))
        except ValueError as error:
            raise ValueError(f"{path} line {number}: {error}") from error
    if not rows:
        raise ValueError(f"{path} holds no strains.")
    return rows


def parse_box(text: str, n_strain: int) -> torch.Tensor:
    """Box of strains from half widths such as `0.04` or `0.04,0.04,0.02`, `(2, v)`.

    Raises:
        ValueError: for words that are no numbers, and as `symmetric_box`.
    """
    return symmetric_box([_number(word, text) for word in text.split(",")], n_strain)


def _is_heading(line: str) -> bool:
    """Whether no word of a line is a number."""
    return not any(_as_number(word) is not None for word in line.split(","))


def _as_number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _number(word: str, text: str) -> float:
    value = _as_number(word)
    if value is None:
        raise ValueError(f"{word.strip() or 'an empty word'} in {text.strip()} is not a number.")
    if not math.isfinite(value):
        raise ValueError(f"{word.strip()} in {text.strip()} is not finite; every component must be.")
    return value
