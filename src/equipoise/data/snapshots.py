"""Snapshots of a unit cell: full-field solutions at many macroscopic strains, with the cell that they belong to.

Files are read and written in `store.py`; snapshots are made in `generate.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch

from equipoise.errors import FormatError
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.materials import Material, material_from_config
from equipoise.spaces.mesh import Mesh

__all__ = ["CellRecord", "Fingerprinted", "Snapshots", "check_same_cell", "check_same_mesh"]


@runtime_checkable
class Fingerprinted(Protocol):
    """Anything that says which mesh and which materials it belongs to: a `PeriodicCell` or a `CellRecord`."""

    @property
    def mesh(self) -> Mesh: ...

    @property
    def material_fingerprint(self) -> str: ...


@dataclass(frozen=True, eq=False)
class CellRecord:
    """A unit cell as plain data: what a file needs to keep so that the cell can be built again.

    Attributes:
        mesh: mesh of the cell.
        materials: configuration of each tag's material, plain JSON values.
        material_fingerprint: digest of the materials of the tags that the mesh uses.
    """

    mesh: Mesh
    materials: Mapping[int, Mapping[str, Any]]
    material_fingerprint: str

    @classmethod
    def of(cls, cell: PeriodicCell) -> CellRecord:
        """Record of a cell."""
        configs = {tag: material.config() for tag, material in sorted(cell.materials.items())}
        return cls(mesh=cell.mesh, materials=configs, material_fingerprint=cell.material_fingerprint)

    def periodic_cell(
        self, *, device: torch.device | str = "cpu", materials: Mapping[int, Material] | None = None
    ) -> PeriodicCell:
        """Build the cell again.

        Args:
            device: where it works. materials: of each tag, in place of those recorded; for laws of a user's own.

        Raises:
            ValueError: for a recorded law that is not one of the library's own, where no materials are given.
            FormatError: where the materials built differ from those recorded.
        """
        if materials is None:
            try:
                materials = {tag: material_from_config(dict(config)) for tag, config in self.materials.items()}
            except ValueError as error:
                reason = str(error).rstrip(".")
                raise ValueError(
                    f"{reason}; for a law of your own, name its file with equipoise --laws FILE.py, or in Python "
                    "call register_law first, or give materials={tag: material}."
                ) from error
        cell = PeriodicCell(self.mesh, materials, device=device)
        if cell.material_fingerprint != self.material_fingerprint:
            raise FormatError(
                f"the materials build a cell of materials {cell.material_fingerprint[:12]} where "
                f"{self.material_fingerprint[:12]} was recorded."
            )
        return cell


@dataclass(frozen=True, eq=False)
class Snapshots:
    """Converged solutions of one unit cell; all tensors float64 with the samples first.

    Attributes:
        cell: the cell they belong to.
        strain: macroscopic strain, `(m, v)`, Voigt order with engineering shear.
        fluctuation: periodic displacement fluctuation at the nodes, mm, `(m, nodes, dim)`.
        stress: at the quadrature points, MPa, `(m, Q, v)`.
        homogenised_stress: MPa, `(m, v)`.
        homogenised_tangent: consistent tangent, MPa, `(m, v, v)`.
        energy: effective energy density, MPa, `(m,)`.
        iterations: Newton iterations of each solve, `(m,)` int64.
        settings: how the strains were drawn, plain JSON values.
    """

    cell: CellRecord
    strain: torch.Tensor
    fluctuation: torch.Tensor
    stress: torch.Tensor
    homogenised_stress: torch.Tensor
    homogenised_tangent: torch.Tensor
    energy: torch.Tensor
    iterations: torch.Tensor
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.strain)

    @property
    def mesh(self) -> Mesh:
        """Mesh of the cell."""
        return self.cell.mesh

    @property
    def mesh_fingerprint(self) -> str:
        """Digest of the mesh."""
        return self.cell.mesh.fingerprint

    @property
    def material_fingerprint(self) -> str:
        """Digest of the materials."""
        return self.cell.material_fingerprint

    def subset(self, samples: torch.Tensor | slice) -> Snapshots:
        """The chosen samples, by slice, indices or booleans."""
        return Snapshots(
            cell=self.cell,
            strain=self.strain[samples],
            fluctuation=self.fluctuation[samples],
            stress=self.stress[samples],
            homogenised_stress=self.homogenised_stress[samples],
            homogenised_tangent=self.homogenised_tangent[samples],
            energy=self.energy[samples],
            iterations=self.iterations[samples],
            settings=self.settings,
        )

    def check_cell(self, cell: Fingerprinted, *, name: str = "the snapshots") -> None:
        """Raise `FormatError`, naming both fingerprints, where the snapshots are of another mesh or other materials."""
        check_same_cell(self.cell, cell, name=name)


def check_same_cell(made_with: Fingerprinted, given: Fingerprinted, *, name: str) -> None:
    """Raise `FormatError`, naming both fingerprints, where something was made with another mesh or other materials.

    Args:
        made_with: the cell that it was made with. given: the cell that it is to be used with.
        name: what it is, as the beginning of a sentence in the plural: "the snapshots in FILE".
    """
    check_same_mesh(made_with.mesh, given.mesh, name=name)
    if made_with.material_fingerprint != given.material_fingerprint:
        raise FormatError(
            f"{name} were made with materials of fingerprint {made_with.material_fingerprint[:12]}, those given have "
            f"{given.material_fingerprint[:12]}; use the materials they were made with, or make them anew."
        )


def check_same_mesh(made_with: Mesh, given: Mesh, *, name: str) -> None:
    """Raise `FormatError`, naming both fingerprints, where something was made with another mesh."""
    if made_with.fingerprint != given.fingerprint:
        raise FormatError(
            f"{name} were made with the mesh of fingerprint {made_with.fingerprint[:12]}, the given mesh has "
            f"{given.fingerprint[:12]}; use the mesh they were made with, or make them anew."
        )
