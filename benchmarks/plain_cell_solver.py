"""The plain unit-cell solver that a user writes first with scikit-fem; the baseline of `full_field.py`.

Assembly by forms, a fresh SuperLU factorisation in each Newton step, the tangent by back-substitution. It shares no
code with Equipoise's solver, so that it also serves as an independent check.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spla
import skfem
from numpy.typing import NDArray

__all__ = ["PlainCellSolver"]

Array = NDArray[np.float64]
MATRIX = {"bulk": 4780.0, "alpha1": 50.0, "alpha2": 0.06}
FIBRE = {"bulk": 43452.3810, "shear": 29918.0328}


def _voigt(field):  # type: ignore[no-untyped-def]
    gradient = field.grad
    return gradient[0, 0], gradient[1, 1], gradient[0, 1] + gradient[1, 0]


@skfem.BilinearForm
def _stiffness(u, v, w):  # type: ignore[no-untyped-def]
    a, b = _voigt(u), _voigt(v)
    return sum(w[f"c{i}{j}"] * b[i] * a[j] for i in range(3) for j in range(3))


@skfem.LinearForm
def _force(v, w):  # type: ignore[no-untyped-def]
    b = _voigt(v)
    return sum(w[f"s{i}"] * b[i] for i in range(3))


class PlainCellSolver:
    """Newton's method on a mesh of 8-node quadrilaterals with tags 1 (matrix) and 2 (fibre) of the EquiNO paper.

    Args:
        points: nodes, `(p, 2)`. connectivity: `(e, 8)`, corners then mid-sides. tags: `(e,)`.
        rtol: bound on the residual relative to the summed absolute element forces.
    """

    def __init__(self, points: Array, connectivity: NDArray[np.int64], tags: NDArray[np.int64], rtol: float) -> None:
        centre = points[connectivity[:, 4:]].sum(1) / 2 - points[connectivity[:, :4]].sum(1) / 4
        nodes = np.vstack([points, centre])
        table = np.column_stack([connectivity, len(points) + np.arange(len(connectivity))])
        mesh = skfem.MeshQuad2(nodes.T.copy(), table.T.copy())
        self.rtol = rtol
        self.basis = skfem.Basis(mesh, skfem.ElementVector(skfem.ElementQuadS2()), intorder=5)
        self.fibre = np.broadcast_to((tags == 2)[:, None], self.basis.dx.shape)
        self.volume = self.basis.dx.sum()
        self.project = self._periodic(points.min(0), points.max(0))

    def _periodic(self, low: Array, high: Array) -> sp.csr_array:
        locations = self.basis.doflocs.T
        component = np.zeros(len(locations), dtype=int)
        component[self.basis.element_dofs[1::2].ravel()] = 1
        wrapped = np.where(np.abs(locations - high) < 1e-9, low, locations)
        key = np.round(np.column_stack([wrapped, component]), 8)
        unique, column = np.unique(key, axis=0, return_inverse=True)
        anchored = (np.abs(unique[:, :2] - low) < 1e-7).all(1)
        shape = (len(key), len(unique))
        full = sp.csr_array((np.ones(len(key)), (np.arange(len(key)), column.ravel())), shape=shape)
        return sp.csr_array(full.tocsc()[:, np.nonzero(~anchored)[0]])

    def _law(self, e: Array) -> tuple[Array, Array]:
        trace = e[0] + e[1]
        d = np.stack([e[0] - trace / 3, e[1] - trace / 3, e[2] / 2])
        n = np.sqrt(d[0] ** 2 + d[1] ** 2 + (trace / 3) ** 2 + 2 * d[2] ** 2) + 1e-14
        alpha1, alpha2 = MATRIX["alpha1"], MATRIX["alpha2"]
        g = np.where(self.fibre, 2 * FIBRE["shear"], alpha1 / (alpha2 + n))
        slope = np.where(self.fibre, 0.0, -alpha1 / (alpha2 + n) ** 2 / n)
        bulk = np.where(self.fibre, FIBRE["bulk"], MATRIX["bulk"])
        one = np.array([1.0, 1.0, 0.0])
        deviator = np.array([[2 / 3, -1 / 3, 0], [-1 / 3, 2 / 3, 0], [0, 0, 0.5]])
        tangent = np.einsum("i,j,eq->ijeq", one, one, bulk) + np.einsum("ij,eq->ijeq", deviator, g)
        tangent += slope * d[:, None] * d[None, :]
        return bulk * trace * one[:, None, None] + g * d, tangent

    def solve(self, macro: Array) -> tuple[Array, Array, int]:
        """Homogenised stress `(3,)`, tangent `(3, 3)` and Newton steps for one macroscopic strain `(3,)`."""
        unknowns = np.zeros(self.project.shape[1])
        scale, steps = 0.0, 0
        factor = None
        while True:
            gradient = self.basis.interpolate(self.project @ unknowns).grad
            strain = np.stack([gradient[0, 0], gradient[1, 1], gradient[0, 1] + gradient[1, 0]])
            stress, tangent = self._law(strain + macro[:, None, None])
            fields = {f"s{i}": stress[i] for i in range(3)}
            residual = self.project.T @ _force.assemble(self.basis, **fields)
            if steps == 0:
                entries = _force.coo_data(self.basis, **fields)
                absolute = np.bincount(entries.indices[0], np.abs(entries.data), self.basis.N)
                scale = float(np.linalg.norm(self.project.T @ absolute))
            if np.linalg.norm(residual) <= self.rtol * scale or steps == 25:
                break
            factor = self._factorize(tangent)
            unknowns -= factor.solve(residual)
            steps += 1
        return *self._homogenise(stress, tangent, factor or self._factorize(tangent)), steps

    def _factorize(self, tangent: Array) -> spla.SuperLU:
        coefficients = {f"c{i}{j}": tangent[i, j] for i in range(3) for j in range(3)}
        matrix = _stiffness.assemble(self.basis, **coefficients)
        return spla.splu(sp.csc_array(self.project.T @ matrix @ self.project))

    def _homogenise(self, stress: Array, tangent: Array, factor: spla.SuperLU) -> tuple[Array, Array]:
        columns = [
            self.project.T @ _force.assemble(self.basis, **{f"s{i}": tangent[i, j] for i in range(3)}) for j in range(3)
        ]
        coupling = np.stack(columns, axis=1)
        average = np.einsum("ijeq,eq->ij", tangent, self.basis.dx)
        homogenised = np.einsum("ieq,eq->i", stress, self.basis.dx) / self.volume
        return homogenised, (average - coupling.T @ factor.solve(coupling)) / self.volume
