"""Proven bounds of ``||D||_2^2``, cheaper than the eigenvalues of the Gram matrix.

Lanczos' method guesses the largest eigenvalue from below. That a little more is an upper bound
is proved: ``s I - G`` has a Cholesky factorisation. Rounding is paid for by the error bounds of
Higham 2002, "Accuracy and stability of numerical algorithms", Eq. 3.13 and Theorem 10.3, with
``n u`` for ``n u / (1 - n u)`` and a hundredth more. Where there is no proof, as for the zero
matrix or a start orthogonal to the largest eigenvector, the eigenvalue is computed.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["norm_bound", "squared_norm"]

_SMALL = 128  # side of a Gram matrix up to which eigenvalues cost no more than a proof
_STEPS = 24  # of Lanczos' method: one random matrix in a hundred is left without proof
_MARGIN = 0.005  # what is added to the guess
_ROUNDING = 0.01  # what may be added for rounding errors
_GRID = 2**10  # steps in a factor of two, up to which bounds are rounded
_NUMBERS = 2**18, 2**26  # entries of Gram matrices at a time, in the CPU's cache and elsewhere


def squared_norm(D: Tensor) -> Tensor:
    """Return ``||D||_2^2`` of matrices, by the eigenvalues of the smaller Gram matrix.

    Parameters
    ----------
    D : Tensor of shape (..., n_components, n_features)
        Matrices.

    Returns
    -------
    Tensor of shape (...)
        Squared norms.
    """
    # In float32 LAPACK fails on some matrices with rows of zeros, those of unseen features.
    return torch.linalg.eigvalsh(_gram(D).double())[..., -1].clamp_min(0).to(D)


@torch.no_grad()
def norm_bound(D: Tensor) -> Tensor:
    """Return numbers that are at least ``||D||_2^2``, and at most 1.02 times it.

    They are rounded up to a grid, relative to ``||D||_F^2``: the last digits of products, which
    depend on units, threads and machines, hardly ever move them.

    Parameters
    ----------
    D : Tensor of shape (..., n_components, n_features)
        Matrices.

    Returns
    -------
    Tensor of shape (...)
        Bounds; small matrices get ``||D||_2^2`` itself.
    """
    side = min(D.shape[-2:])
    if side <= _SMALL or not D.numel():
        return squared_norm(D)
    kind = torch.float32 if _is_single_enough(D, side) else torch.float64
    matrices = D.reshape(-1, *D.shape[-2:])
    n_rows = max(_NUMBERS[D.device.type != "cpu"] // side**2, 1)
    return torch.cat([_bounds(part, kind) for part in matrices.split(n_rows)]).view(D.shape[:-2])


def _gram(D: Tensor) -> Tensor:
    """Return the smaller Gram matrices; both have the same largest eigenvalue."""
    return D.mT @ D if D.shape[-2] > D.shape[-1] else D @ D.mT


def _is_single_enough(D: Tensor, side: int) -> bool:
    """Return whether float32, which is twice as fast on the CPU, leaves room for its errors."""
    unit = torch.finfo(torch.float32).eps / 2
    honest = torch.backends.mkldnn.matmul.fp32_precision in ("none", "ieee")
    return D.device.type == "cpu" and honest and 2 * side * (side + 4) * unit <= _ROUNDING


def _bounds(D: Tensor, kind: torch.dtype) -> Tensor:
    """Return bounds of a few matrices, with Gram matrices of that dtype."""
    limits, gram = torch.finfo(kind), _gram(D.to(kind))
    side, unit, tiny = gram.shape[-1], limits.eps / 2, limits.tiny**0.4
    whole = torch.linalg.vector_norm(D, dim=(1, 2), dtype=torch.float64).square()
    least = (1 + _MARGIN) * _ritz_value(gram).double()
    shifted = gram.neg_()
    shifted.diagonal(dim1=1, dim2=2).add_(least.to(kind)[:, None])
    _, failed = torch.linalg.cholesky_ex(shifted)
    rounding = unit * ((side + 4) * side * least + (max(D.shape[1:]) + 4) * whole)
    proved = (failed == 0) & (rounding <= _ROUNDING * least) & (whole > tiny) & (whole < 1 / tiny)
    bound = least + 1.01 * rounding
    if not bool(proved.all()):
        bound[~proved] = squared_norm(D[~proved]).double()
    share = torch.exp2(torch.ceil(torch.log2(bound / whole) * _GRID) / _GRID)
    bound = torch.where(bound > 0, whole * share, bound)
    return (bound * (1 + torch.finfo(D.dtype).eps)).to(D)


def _ritz_value(G: Tensor) -> Tensor:
    """Return what Lanczos' method finds of the largest eigenvalues, from below but for rounding.

    Golub and Van Loan 2013, "Matrix computations", Algorithm 10.1.1; a vector that vanishes, where
    the others span an invariant space, adds a zero.
    """
    n, tiny = G.shape[-1], torch.finfo(G.dtype).tiny
    # Flat in space and in frequency: orthogonal to little.
    q = torch.cos(torch.arange(n, device=G.device, dtype=torch.float64).square()).to(G.dtype)
    q = (q / q.norm()).expand(len(G), -1)
    old, diagonal, beside = torch.zeros_like(q), [], []
    for _ in range(_STEPS):
        # As a row: batches of columns go a tenth as fast on the CPU.
        w = torch.baddbmm(old[:, None], q[:, None], G, beta=-1)[:, 0]
        alpha = (w * q).sum(1, keepdim=True)
        w = torch.addcmul(w, alpha, q, value=-1)
        beta = torch.linalg.vector_norm(w, dim=1, keepdim=True)
        old, q = beta * q, w / beta.clamp_min(tiny)
        diagonal.append(alpha)
        beside.append(beta)
    T = torch.diag_embed(torch.cat(diagonal, 1).double())
    T = T + torch.diag_embed(torch.cat(beside[:-1], 1).double(), -1)  # its lower half is enough
    return torch.linalg.eigvalsh(T.nan_to_num(0, 0, 0))[:, -1].clamp_min(0)
