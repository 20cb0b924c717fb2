"""Where fields live: grids with norms, resampling and random fields; meshes, elements, built-in cells and structures.

No equation is known here. Start reading at `grid.py` and `mesh.py`; integrals are in the module
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
from equipoise.spaces.grid import Grid
from equipoise.spaces.mesh import CellBlock, FacetBlock, Mesh
from equipoise.spaces.mesh_files import read_mesh, write_mesh
from equipoise.spaces.norms import h1_norm, l2_norm, relative_error, sobolev_norm
from equipoise.spaces.periodicity import periodic_images
from equipoise.spaces.random_fields import GaussianRandomField, matern_spectrum, squared_exponential_spectrum
from equipoise.spaces.random_functions import GaussianProcess, PolynomialFunctions, wasserstein_distance
from equipoise.spaces.resampling import resample
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
    "GaussianProcess",
    "GaussianRandomField",
    "Grid",
    "Mesh",
    "PolynomialFunctions",
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
    "h1_norm",
    "homogeneous_cell",
    "l2_norm",
    "l_profile",
    "laminate_cell",
    "matern_spectrum",
    "nodes_in_box",
    "nodes_where",
    "periodic_images",
    "plate_with_hole",
    "random_fibre_cell",
    "random_sphere_cell",
    "read_mesh",
    "rectangle",
    "reference_element",
    "relative_error",
    "resample",
    "sobolev_norm",
    "split_into_simplices",
    "squared_exponential_spectrum",
    "wasserstein_distance",
    "with_facet_groups",
    "write_mesh",
]
