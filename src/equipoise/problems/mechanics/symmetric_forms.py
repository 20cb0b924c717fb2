"""Sums `sum_p w_p A_p^T C_p A_p` over points for many batches of symmetric C at once, and inverses of such C.

A few hundred points are packed into one matrix, so that all strains' Hessians are one matrix product.
"""

from __future__ import annotations

import torch

__all__ = ["SymmetricForms", "inverse_symmetric"]

_PACKED_BYTES = 2**25


class SymmetricForms:
    """The map from symmetric matrices at points to `sum_p w_p A_p^T C_p A_p`.

    Args:
        operator: A at the points, `(P, v, k)`.
        weights: `(P,)`.
    """

    def __init__(self, operator: torch.Tensor, weights: torch.Tensor) -> None:
        points, components, size = operator.shape
        self._size = size
        rows, columns = torch.triu_indices(components, components, device=operator.device)
        self._flat = rows * components + columns
        packed_bytes = 8 * points * len(rows) * size * (size + 1) // 2
        self._packed: torch.Tensor | None = None
        if packed_bytes <= _PACKED_BYTES:
            self._packed = _pack(operator, weights, rows, columns)
            self._unpack = _unpacking(size, operator.device)
        else:
            self._operator = operator.flatten(0, 1).contiguous()
            self._weighted = (weights[:, None, None] * operator).contiguous()

    def sum(self, matrices: torch.Tensor) -> torch.Tensor:
        """`(n, P, v, v)`, symmetric, to `(n, k, k)`."""
        if self._packed is not None:
            packed = matrices.flatten(2)[..., self._flat].flatten(1) @ self._packed
            return packed[:, self._unpack].view(len(matrices), self._size, self._size)
        sums = [self._operator.T @ torch.bmm(matrix, self._weighted).flatten(0, 1) for matrix in matrices]
        return torch.stack(sums) if sums else matrices.new_zeros(0, self._size, self._size)


def _pack(operator: torch.Tensor, weights: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    size = operator.shape[2]
    first, second = torch.triu_indices(size, size, device=operator.device)
    weighted = operator * weights[:, None, None]
    products = weighted[:, rows][:, :, first] * operator[:, columns][:, :, second]
    mirrored = weighted[:, columns][:, :, first] * operator[:, rows][:, :, second]
    return torch.where((rows == columns)[:, None], products, products + mirrored).flatten(0, 1).contiguous()


def _unpacking(size: int, device: torch.device) -> torch.Tensor:
    first, second = torch.triu_indices(size, size, device=device)
    position = torch.zeros(size, size, dtype=torch.int64, device=device)
    position[first, second] = position[second, first] = torch.arange(len(first), device=device)
    return position.flatten()


def inverse_symmetric(matrices: torch.Tensor) -> torch.Tensor:
    """Inverses of symmetric positive definite matrices `(..., v, v)` with v = 3 or 6, without a factorisation each.

    Written out by cofactors, and by 3 x 3 blocks for v = 6: a loop over LAPACK calls would rule the cost of the dual.
    """
    if matrices.shape[-1] == 3:
        return _inverse_3(matrices)
    if matrices.shape[-1] != 6:
        raise ValueError(f"matrices are {matrices.shape[-1]} wide; expected 3 or 6.")
    a, b, d = matrices[..., :3, :3], matrices[..., :3, 3:], matrices[..., 3:, 3:]
    a_inverse = _inverse_3(a)
    left = a_inverse @ b
    schur = _inverse_3(d - b.mT @ left)
    off = -left @ schur
    top = torch.cat([a_inverse - off @ left.mT, off], -1)
    return torch.cat([top, torch.cat([off.mT, schur], -1)], -2)


def _inverse_3(matrices: torch.Tensor) -> torch.Tensor:
    a, b, c = matrices[..., 0, 0], matrices[..., 0, 1], matrices[..., 0, 2]
    d, e, f = matrices[..., 1, 1], matrices[..., 1, 2], matrices[..., 2, 2]
    aa, bb, cc = d * f - e * e, c * e - b * f, b * e - c * d
    dd, ee, ff = a * f - c * c, b * c - a * e, a * d - b * b
    entries = torch.stack([aa, bb, cc, bb, dd, ee, cc, ee, ff], -1)
    return (entries / (a * aa + b * bb + c * cc)[..., None]).reshape(matrices.shape)
