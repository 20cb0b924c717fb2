"""Where fields live: meshes, reference elements, quadrature, periodic images and built-in cells and structures.

No equation is known here. Start reading at `mesh.py`; integrals are in the module
`quadrature`, whose function of the same name is not repeated here."""

from __future__ import annotations

from equipoise.spaces.boundary import facets_of_nodes, nodes_in_box, nodes_where, with_facet_groups
from equipoise.spaces.cells import (
    builtin_cell,
    builtin_cells,
    fibre_cell,
    homogeneous_cell,
    laminate_cell,
    random_fibre_cell,
    random_sphere_cell,
)
from equipoise.spaces.elements import ELEMENT_NAMES, ReferenceElement, reference_element
from equipoise.spaces.gmsh_cells import conforming_fibre_cell
from equipoise.spaces.mesh import CellBlock, FacetBlock, Mesh
from equipoise.spaces.mesh_files import read_mesh, write_mesh
from equipoise.spaces.periodicity import periodic_images
from equipoise.spaces.simplices import split_into_simplices
from equipoise.spaces.structures import (
    box,
    bracket,
    builtin_structure,
    cooks_membrane,
    l_profile,
    plate_with_hole,
    rectangle,
)

__all__ = [
    "ELEMENT_NAMES",
    "CellBlock",
    "FacetBlock",
    "Mesh",
    "ReferenceElement",
    "box",
    "bracket",
    "builtin_cell",
    "builtin_cells",
    "builtin_structure",
    "conforming_fibre_cell",
    "cooks_membrane",
    "facets_of_nodes",
    "fibre_cell",
    "homogeneous_cell",
    "l_profile",
    "laminate_cell",
    "nodes_in_box",
    "nodes_where",
    "periodic_images",
    "plate_with_hole",
    "random_fibre_cell",
    "random_sphere_cell",
    "read_mesh",
    "rectangle",
    "reference_element",
    "split_into_simplices",
    "with_facet_groups",
    "write_mesh",
]
