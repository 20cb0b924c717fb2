"""Full-field solutions that fall-backs of a simulation have left, kept in a file for enriching a model's bases.

Training reads them; here they are only kept. Loading runs no code.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from equipoise.data.whole_files import write_whole
from equipoise.errors import FormatError
from equipoise.multiscale.certified_model import CertifiedModel
from equipoise.multiscale.micro import MicroModel

__all__ = ["ENRICHMENT_NAME", "Enrichment", "read_enrichment", "restore_enrichment", "write_enrichment"]

ENRICHMENT_NAME = "enrichment.safetensors"
_KIND = "equipoise enrichment 1"


@dataclass(frozen=True, eq=False)
class Enrichment:
    """Full-field solutions of one unit cell.

    Attributes:
        strain: macroscopic strains, `(k, v)`. fluctuation: periodic unknowns, `(k, N)`.
        stress: at the quadrature points, MPa, `(k, Q, v)`.
        cell_fingerprint: of the cell they belong to.
    """

    strain: torch.Tensor
    fluctuation: torch.Tensor
    stress: torch.Tensor
    cell_fingerprint: str


def write_enrichment(path: Path, model: MicroModel) -> int:
    """Write the solutions that a model's certificate kept, and return how many; without any, nothing is written."""
    if not isinstance(model, CertifiedModel) or model.certificate is None or not model.certificate.enrichment:
        return 0
    from safetensors.torch import save

    strain, fluctuation, stress = (part.cpu().contiguous() for part in model.certificate.enrichment_snapshots())
    tensors = {"strain": strain, "fluctuation": fluctuation, "stress": stress}
    write_whole(path, save(tensors, {"kind": _KIND, "cell_fingerprint": model.bases.cell_fingerprint}))
    return len(strain)


def restore_enrichment(path: Path, model: MicroModel) -> int:
    """Give a model's certificate the solutions of an interrupted simulation back, and return how many.

    Nothing happens where there is no file, or no certificate.

    Raises:
        FormatError: as `read_enrichment`.
    """
    if not path.is_file() or not isinstance(model, CertifiedModel) or model.certificate is None:
        return 0
    kept = read_enrichment(path, cell_fingerprint=model.bases.cell_fingerprint)
    for strain, fluctuation in zip(kept.strain, kept.fluctuation, strict=True):
        model.certificate.enrichment[strain.numpy().tobytes()] = (strain, fluctuation)
    return len(kept.strain)


def read_enrichment(path: Path, *, cell_fingerprint: str | None = None) -> Enrichment:
    """Read the solutions of a file.

    Args:
        path: the file. cell_fingerprint: of the cell that they are meant for, if it is to be checked.

    Raises:
        FileNotFoundError: if there is none. FormatError: if it is damaged, foreign, or of another cell.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("kind") != _KIND:
                raise FormatError(f"{path} holds no full-field solutions of a simulation.")
            parts = [file.get_tensor(name) for name in ("strain", "fluctuation", "stress")]
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{path} is damaged: {error}.") from error
    if cell_fingerprint is not None and metadata["cell_fingerprint"] != cell_fingerprint:
        raise FormatError(f"{path} belongs to another unit cell or other materials.")
    return Enrichment(parts[0], parts[1], parts[2], metadata["cell_fingerprint"])
