"""Trained operators as files that run without Equipoise: torch's exported programs (`.pt2`) and ONNX."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

__all__ = ["SUFFIXES", "export_operator"]

SUFFIXES = (".pt2", ".onnx")


def export_operator(model: nn.Module, example: torch.Tensor, path: str | Path) -> Path:
    """Write a model as a program for inputs on the grid of the example, in batches of any size.

    Args:
        model: in evaluation mode; normalisers and all are part of the program. example: `(n, channel, *grid)`.
        path: ending in `.pt2`, read by `torch.export.load`, or in `.onnx`.

    Raises:
        ValueError: for another ending, or an operator that the format cannot hold, with the reason.
        ImportError: where ONNX is asked for and its packages are missing.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path.name} ends in {path.suffix!r}; use one of {', '.join(SUFFIXES)}.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} into.")
    # A batch of one would be taken for the only size there is.
    example = example[:1].expand(2, *example.shape[1:]).contiguous()
    shapes = ({0: torch.export.Dim.AUTO},)
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        try:
            with torch.no_grad(), _quiet():
                program = torch.export.export(model.eval(), (example,), dynamic_shapes=shapes)
                _check_batches(program, model, example)
            if path.suffix == ".pt2":
                torch.export.save(program, partial)
            else:
                with _quiet():
                    _save_onnx(program, partial)
        except (RuntimeError, TypeError, NotImplementedError, AssertionError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(f"the operator cannot be written as {path.suffix}: {reason}") from error
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _check_batches(program: torch.export.ExportedProgram, model: nn.Module, example: torch.Tensor) -> None:
    """Raise `RuntimeError` where the program takes no batch of one or three, or answers otherwise than the model."""
    for count in (1, 3):
        inputs = example[:1].expand(count, *example.shape[1:]).contiguous()
        inputs = inputs + torch.linspace(0, 1, inputs.numel(), dtype=inputs.dtype).view(inputs.shape)
        ours, theirs = model(inputs), program.module()(inputs)
        if not torch.allclose(ours, theirs, rtol=1e-5, atol=1e-5 * float(ours.abs().max())):
            raise RuntimeError(f"the program answers otherwise than the operator for {count} samples")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's remarks on packages that play no part here."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _save_onnx(program: torch.export.ExportedProgram, path: Path) -> None:
    try:
        import onnxscript  # noqa: F401 - torch asks for it late, with a longer message
    except ImportError as error:
        raise ImportError("ONNX files need two packages: pip install 'equipoise[onnx]'.") from error
    try:
        written = _translated(program, optimize=True)
    except Exception:
        # The optimiser of onnxscript stumbles over some programs that it has translated well.
        written = _translated(program, optimize=False)
    if written is None:
        raise RuntimeError("torch wrote no ONNX program")
    written.save(str(path), external_data=False)


def _translated(program: torch.export.ExportedProgram, *, optimize: bool) -> torch.onnx.ONNXProgram | None:
    return torch.onnx.export(
        program,
        dynamo=True,
        input_names=["inputs"],
        output_names=["outputs"],
        external_data=False,
        verbose=False,
        optimize=optimize,
    )
