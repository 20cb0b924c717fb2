"""A mesh inside an HDF5 file: nodes, blocks of elements with tags, names of tags, groups of facets."""

from __future__ import annotations

import json

import h5py
import numpy as np

from equipoise.spaces.mesh import CellBlock, FacetBlock, Mesh

__all__ = ["read_mesh_group", "write_mesh_group"]


def write_mesh_group(group: h5py.Group, mesh: Mesh) -> None:
    """Write a mesh into an empty group."""
    group.create_dataset("points", data=np.asarray(mesh.points, dtype=np.float64))
    group.attrs["tag_names"] = json.dumps({str(tag): name for tag, name in sorted(mesh.tag_names.items())})
    group.attrs["n_blocks"] = len(mesh.blocks)
    for number, block in enumerate(mesh.blocks):
        entry = group.create_group(f"block_{number:03d}")
        entry.attrs["element"] = block.element
        entry.create_dataset("connectivity", data=np.asarray(block.connectivity, dtype=np.int64))
        entry.create_dataset("tags", data=np.asarray(block.tags, dtype=np.int64))
    # Names of facet groups may hold any character, a slash too, so that they are kept as values and not as HDF5 names.
    group.attrs["facet_groups"] = json.dumps([[name, len(blocks)] for name, blocks in mesh.facet_groups.items()])
    for place, blocks in enumerate(mesh.facet_groups.values()):
        for number, facets in enumerate(blocks):
            entry = group.create_group(f"facets_{place:03d}_{number:03d}")
            entry.attrs["element"] = facets.element
            entry.create_dataset("connectivity", data=np.asarray(facets.connectivity, dtype=np.int64))


def read_mesh_group(group: h5py.Group) -> Mesh:
    """Read what `write_mesh_group` wrote.

    Raises:
        KeyError: for a missing dataset or attribute. MeshError, ValueError: for contents that are no mesh.
    """
    blocks = []
    for number in range(int(group.attrs["n_blocks"])):
        entry = group[f"block_{number:03d}"]
        blocks.append(CellBlock(str(entry.attrs["element"]), entry["connectivity"][()], entry["tags"][()]))
    facet_groups = {}
    for place, (name, count) in enumerate(json.loads(group.attrs["facet_groups"])):
        entries = [group[f"facets_{place:03d}_{number:03d}"] for number in range(count)]
        facet_groups[name] = tuple(FacetBlock(str(e.attrs["element"]), e["connectivity"][()]) for e in entries)
    tag_names = {int(tag): name for tag, name in json.loads(group.attrs["tag_names"]).items()}
    return Mesh(group["points"][()], tuple(blocks), tag_names=tag_names, facet_groups=facet_groups)
