"""A periodic unit cell: mesh, materials, quadrature and the unknowns of its periodic fluctuation.

The cell states the problem `B^T w sigma(Ebar + B u) = 0`; `cell_solver.py` solves it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float

from equipoise.errors import MeshError
from equipoise.problems.mechanics.element_kernels import ElementGroup
from equipoise.problems.mechanics.kinematics import affine_displacement, strain_dimension, strain_displacement
from equipoise.problems.mechanics.material_field import MaterialField
from equipoise.problems.mechanics.materials import Material
from equipoise.spaces.mesh import Mesh
from equipoise.spaces.periodicity import periodic_images
from equipoise.spaces.quadrature import QuadratureBlock, quadrature

__all__ = ["PeriodicCell"]


class PeriodicCell:
    """Unit cell of a composite under a macroscopic strain, with periodic displacement fluctuation.

    Args:
        mesh: box-shaped periodic mesh; the tag of an element names its material.
        materials: material of each tag.
        device: where the tensors live, `"cpu"` by default; all are float64.

    Attributes:
        n_strain: Voigt components v. n_points: quadrature points Q. n_unknowns: periodic unknowns N.
        weights: quadrature weights `(Q,)`. volume: their sum (area in the plane). law: materials at the points.
        volume_fractions: share of each material by name. groups: batched element kernels.
        fingerprint: digest of the mesh and the materials.

    Raises:
        MeshError: for a tag without a material, an inverted element, or a mesh that is not periodic.

    Source: Eivazi et al. (2026), section 2; Kouznetsova et al. (2001) for the homogenisation.
    """

    def __init__(self, mesh: Mesh, materials: Mapping[int, Material], *, device: torch.device | str = "cpu") -> None:
        _check_tags(mesh, materials)
        self.mesh, self.materials, self.device = mesh, dict(materials), torch.device(device)
        self.dim, self.n_strain = mesh.dim, strain_dimension(mesh.dim)
        blocks = quadrature(mesh)
        self._number_unknowns(periodic_images(mesh))
        self.weights = self._tensor(np.concatenate([block.weights.ravel() for block in blocks]))
        self.volume = float(self.weights.sum())
        self.n_points = len(self.weights)
        self.positions = self._tensor(np.concatenate([block.points.reshape(-1, self.dim) for block in blocks]))
        point_tags = np.concatenate([np.repeat(block.tags, block.weights.shape[1]) for block in blocks])
        self.point_tags = torch.as_tensor(point_tags, device=self.device)
        self.law = _law(self.materials, self.point_tags)
        self.volume_fractions = self._volume_fractions()
        self.groups = self._element_groups(blocks)
        self.points = self._tensor(mesh.points)

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(array, dtype=torch.float64, device=self.device)

    def _number_unknowns(self, image: np.ndarray) -> None:
        masters = np.unique(image)
        number = np.full(len(image), -1, dtype=np.int64)
        number[masters] = np.arange(len(masters))
        node = number[image]
        held = node[_anchor(self.mesh, image)]
        order = np.delete(np.arange(len(masters)), held)
        position = np.full(len(masters), len(order), dtype=np.int64)
        position[order] = np.arange(len(order))
        self.n_unknowns = len(order) * self.dim
        base = position[node][:, None] * self.dim + np.arange(self.dim)
        self.node_dofs = np.minimum(base, self.n_unknowns)
        self._node_dofs = torch.as_tensor(self.node_dofs, device=self.device)
        first = np.full(self.n_unknowns + 1, -1, dtype=np.int64)
        first[self.node_dofs.ravel()[::-1]] = np.arange(self.node_dofs.size)[::-1]
        self._unknown_source = torch.as_tensor(first[:-1], device=self.device)

    def _volume_fractions(self) -> dict[str, float]:
        fractions: dict[str, float] = {}
        for tag, material in self.materials.items():
            share = float(self.weights[self.point_tags == tag].sum()) / self.volume
            if share > 0:
                fractions[material.name] = fractions.get(material.name, 0.0) + share
        return fractions

    def _element_groups(self, blocks: tuple[QuadratureBlock, ...]) -> tuple[ElementGroup, ...]:
        linear_tags = [tag for tag, material in self.materials.items() if material.is_linear]
        groups, start = [], 0
        for block in blocks:
            elements, points = block.weights.shape
            numbers = start + np.arange(elements * points).reshape(elements, points)
            start += elements * points
            linear = np.isin(block.tags, linear_tags)
            for is_linear in (False, True):
                chosen = np.nonzero(linear == is_linear)[0]
                if len(chosen) == 0:
                    continue
                dofs = self.node_dofs[block.connectivity[chosen]].reshape(len(chosen), -1)
                groups.append(
                    ElementGroup(
                        operator=strain_displacement(self._tensor(block.gradients[chosen])),
                        weights=self._tensor(block.weights[chosen]),
                        dofs=torch.as_tensor(dofs, device=self.device),
                        n_unknowns=self.n_unknowns,
                        points=torch.as_tensor(numbers[chosen].ravel(), device=self.device),
                        is_linear=is_linear,
                    )
                )
        return tuple(groups)

    @property
    def fingerprint(self) -> str:
        """Digest of mesh and materials; equal for cells that answer every strain alike."""
        return hashlib.sha256(f"{self.mesh.fingerprint}:{self.material_fingerprint}".encode()).hexdigest()

    @property
    def material_fingerprint(self) -> str:
        """Digest of the material of each tag that the mesh uses."""
        used = {
            tag: self.materials[tag].fingerprint
            for tag in sorted(self.materials)
            if bool((self.point_tags == tag).any())
        }
        return hashlib.sha256(json.dumps(used, sort_keys=True).encode()).hexdigest()

    def expand(self, fluctuation: Float[torch.Tensor, "n unknowns"]) -> Float[torch.Tensor, "n nodes dim"]:
        """Nodal displacement fluctuation, `(n, N)` to `(n, nodes, dim)`; periodic, zero at the anchored node."""
        return torch.nn.functional.pad(fluctuation, (0, 1))[:, self._node_dofs]

    def restrict(self, nodal: Float[torch.Tensor, "n nodes dim"]) -> Float[torch.Tensor, "n unknowns"]:
        """Unknowns of a periodic nodal field, `(n, nodes, dim)` to `(n, N)`, relative to the anchored node."""
        anchored = torch.nonzero(self._node_dofs[:, 0] == self.n_unknowns)[0, 0]
        relative = nodal - nodal[:, anchored : anchored + 1]
        return relative.reshape(len(nodal), -1)[:, self._unknown_source]

    def fluctuation_strain(self, fluctuation: Float[torch.Tensor, "n unknowns"]) -> Float[torch.Tensor, "n points v"]:
        """Strain of the fluctuation at the quadrature points, `(n, N)` to `(n, Q, v)`."""
        strain = fluctuation.new_empty(len(fluctuation), self.n_points, self.n_strain)
        for group in self.groups:
            strain[:, group.points] = group.strain(fluctuation)
        return strain

    def strain(
        self, macro: Float[torch.Tensor, "n v"], fluctuation: Float[torch.Tensor, "n unknowns"]
    ) -> Float[torch.Tensor, "n points v"]:
        """Total strain at the quadrature points, `(n, v)` and `(n, N)` to `(n, Q, v)`."""
        return self.fluctuation_strain(fluctuation) + macro[:, None, :]

    def force(self, stress: Float[torch.Tensor, "n points v"]) -> Float[torch.Tensor, "n unknowns"]:
        """Internal force `B^T w sigma`, `(n, Q, v)` to `(n, N)`; zero for a stress in equilibrium."""
        force = stress.new_zeros(len(stress), self.n_unknowns + 1)
        for group in self.groups:
            group.add_force(force, stress[:, group.points])
        return force[:, :-1]

    def force_magnitude(self, stress: Float[torch.Tensor, "n points v"]) -> Float[torch.Tensor, "n unknowns"]:
        """Sum of the absolute element forces at each unknown, the scale of `force`; `(n, Q, v)` to `(n, N)`."""
        force = stress.new_zeros(len(stress), self.n_unknowns + 1)
        magnitude = torch.zeros_like(force)
        for group in self.groups:
            group.add_force(force, stress[:, group.points], magnitude)
        return magnitude[:, :-1]

    def average(self, field: Float[torch.Tensor, "n points ..."]) -> Float[torch.Tensor, "n ..."]:
        """Volume average of a field at the quadrature points, `(n, Q, ...)` to `(n, ...)`."""
        return torch.einsum("q,nq...->n...", self.weights, field) / self.volume

    def affine_displacement(self, macro: Float[torch.Tensor, "n v"]) -> Float[torch.Tensor, "n nodes dim"]:
        """Displacement of the macroscopic strain alone, `(n, v)` to `(n, nodes, dim)`."""
        return affine_displacement(macro, self.points)


def _check_tags(mesh: Mesh, materials: Mapping[int, Material]) -> None:
    present = sorted({int(tag) for block in mesh.blocks for tag in np.unique(block.tags)})
    missing = [tag for tag in present if tag not in materials]
    if missing:
        names = ", ".join(f"{tag} ({mesh.tag_names[tag]})" if tag in mesh.tag_names else str(tag) for tag in missing)
        known = ", ".join(str(tag) for tag in materials)
        raise MeshError(f"the mesh has elements of tag {names} without a material; materials are given for {known}.")


def _anchor(mesh: Mesh, image: np.ndarray) -> int:
    """The image node nearest to the lowest corner; its displacement is held at zero."""
    distance = np.linalg.norm(mesh.points - mesh.points.min(axis=0), axis=1)
    return int(image[int(np.argmin(distance))])


def _law(materials: Mapping[int, Material], point_tags: torch.Tensor) -> MaterialField:
    tags = list(materials)
    index = torch.zeros_like(point_tags)
    for number, tag in enumerate(tags):
        index[point_tags == tag] = number
    return MaterialField([materials[tag] for tag in tags], index)
