"""Heat conduction in a slotted plate by quadratic triangles: one matrix for all samples, data on two edges.

The triangles halve the squares of a regular raster, so that their corners and the middles of their sides are points of
a grid, and solutions are fields on it like those of any other family. Meshes that do not lie on a grid have no family.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from equipoise.problems.linear_problem import LinearProblem, System
from equipoise.spaces.grid import Grid

__all__ = ["Thermal"]

_WIDTH, _HEIGHT, _SLOT_WIDTH, _SLOT_HEIGHT = 1.0, 1.6, 0.1, 0.8


class Thermal(LinearProblem):
    """`Laplace T = 0` in the plate `(-0.5, 0.5) x (-0.8, 0.8)` less the slot `(-0.05, 0.05) x (-0.4, 0.4)`.

    The left edge has a temperature, heat flows in through the right edge, and everything else is insulated. Both data
    are numbers, kept as constant channels. Outputs are the temperatures at the nodes, and zero inside the slot.

    Args:
        resolution: points along x; `40 j + 1`, so that the slot lies on the raster. 41 and 81, with 2507 and 9879
            unknowns, come closest to the published 2755 and 11063.

    Raises:
        ValueError: for another resolution.

    Source: Wang et al. (2024); their mesh is unstructured.
    """

    name = "thermal"
    input_names, output_names = ("edge_temperature", "heat_flux"), ("temperature",)
    order = 2.0
    is_symmetric = is_positive_definite = True

    def __init__(self, *, resolution: int = 41) -> None:
        if resolution < 41 or (resolution - 1) % 40:
            raise ValueError(f"resolution={resolution} of thermal must be 1 more than a multiple of 40: 41, 81, 121.")
        across, up = (resolution - 1) // 2, 8 * (resolution - 1) // 10
        half = (_WIDTH / 2, _HEIGHT / 2)
        self.grid = Grid((2 * across + 1, 2 * up + 1), ((-half[0], half[0]), (-half[1], half[1])))
        lines = (np.linspace(-half[0], half[0], across + 1), np.linspace(-half[1], half[1], up + 1))
        stiffness, inflow, nodes = _assembled(*lines)
        place = self._places(nodes)
        order = np.argsort(place)
        stiffness, inflow, place = stiffness[order][:, order], inflow[order], place[order]
        held = place < self.grid.shape[1]
        self._free, self._held, self._nodes = place[~held], place[held], place
        self._matrix = sp.csr_array(stiffness[~held][:, ~held])
        self._matrix.sort_indices()
        # Of a unit temperature at the left edge and of a unit flux through the right one.
        self._loads = np.stack([-np.asarray(stiffness[~held][:, held].sum(axis=1)).ravel(), inflow[~held]])
        self._stiffness = stiffness[~held]

    def _places(self, nodes: NDArray[np.float64]) -> NDArray[np.int64]:
        low = np.array([axis[0] for axis in self.grid.bounds])
        index = np.rint((nodes.T - low) / np.array(self.grid.spacings)).astype(np.int64)
        return index[:, 0] * self.grid.shape[1] + index[:, 1]

    def sample(self, count: int, generator: torch.Generator) -> Float[torch.Tensor, "count 2 *grid"]:
        """Draw temperatures between 0 and 100 and fluxes between -100 and 0; see `Problem.sample`."""
        draw = 100 * torch.rand(count, 2, 1, 1, generator=generator, dtype=torch.float64, device=generator.device)
        draw[:, 1] *= -1
        return draw.expand(-1, -1, *self.grid.shape).contiguous()

    def assemble(self, inputs: Float[torch.Tensor, "inputs ..."]) -> System:
        """Matrix and right-hand side of all nodes but those of the left edge, numbered in the order of the grid."""
        self.check_inputs(inputs[None])
        return self._matrix, self._data(inputs[None])[0].numpy() @ self._loads

    def _data(self, inputs: torch.Tensor) -> torch.Tensor:
        """Temperature and flux, `(n, 2)`.

        Raises:
            ValueError: for a channel that is not constant.
        """
        flat = inputs.detach().double().cpu().flatten(2)
        varying = torch.nonzero((flat != flat[..., :1]).any(-1).any(-1)).flatten().tolist()
        if varying:
            raise ValueError(f"inputs of thermal: the channels of sample {varying[0]} must be constant.")
        return flat[..., 0]

    def embed(
        self, solution: Float[np.ndarray, " unknowns"], inputs: Float[torch.Tensor, "inputs ..."]
    ) -> Float[np.ndarray, "outputs ..."]:
        """See `LinearProblem.embed`."""
        field = np.zeros((1, *self.grid.shape))
        flat = field.reshape(-1)
        flat[self._held] = float(inputs[0].flatten()[0])
        flat[self._free] = solution
        return field

    def features(self, inputs: Float[torch.Tensor, "n inputs ..."]) -> torch.Tensor:
        """The two numbers."""
        return inputs.flatten(2)[..., 0]

    def residual(
        self, inputs: Float[torch.Tensor, "n inputs *grid"], outputs: Float[torch.Tensor, "n 1 *grid"]
    ) -> Float[torch.Tensor, "n 1 *grid"]:
        """Unbalanced heat at each node; error of the temperature at the left edge; the value itself in the slot."""
        flat, data = outputs.flatten(1), self._data(inputs).to(outputs)
        nodal = flat[:, torch.as_tensor(self._nodes)]
        s = self._stiffness.tocoo()
        places = torch.as_tensor(np.stack([s.row, s.col]))
        stiffness = torch.sparse_coo_tensor(places, torch.as_tensor(s.data), s.shape, check_invariants=False)
        unbalanced = (stiffness.to(outputs) @ nodal.T).T - data[:, 1:] * torch.as_tensor(self._loads[1]).to(outputs)
        result = flat.clone()
        result[:, torch.as_tensor(self._free)] = unbalanced
        result[:, torch.as_tensor(self._held)] = flat[:, torch.as_tensor(self._held)] - data[:, :1]
        return result.view_as(outputs)


def _assembled(
    x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[sp.csr_array, NDArray[np.float64], NDArray[np.float64]]:
    """Stiffness, load of a unit flux through the right edge, and nodes `(2, N)`, of the raster with these lines."""
    from skfem import Basis, BilinearForm, ElementTriP2, FacetBasis, LinearForm, MeshTri
    from skfem.helpers import dot, grad

    mesh = MeshTri.init_tensor(x, y)
    middle = mesh.p[:, mesh.t].mean(axis=1)
    slot = (np.abs(middle[0]) < _SLOT_WIDTH / 2) & (np.abs(middle[1]) < _SLOT_HEIGHT / 2)
    mesh = mesh.remove_elements(np.nonzero(slot)[0])
    basis = Basis(mesh, ElementTriP2())
    stiffness = sp.csr_array(BilinearForm(lambda u, v, _: dot(grad(u), grad(v))).assemble(basis))
    right = mesh.facets_satisfying(lambda point: np.isclose(point[0], _WIDTH / 2))
    inflow = LinearForm(lambda v, _: v).assemble(FacetBasis(mesh, ElementTriP2(), facets=right))
    return stiffness, inflow, basis.doflocs
