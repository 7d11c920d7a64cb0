"""The analytic weight of groups of atoms, and the block coherence that judges it.

As in :mod:`sklearn_unroll.functional.weights`, for groups in place of single atoms: rows ``W_g``
of a weight estimate the code of group g, whose atoms are the columns of ``A_g``, and
``W_g A_g = I`` takes the place of ``w_i^T a_i = 1``. Atoms of one group may be alike.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sklearn_unroll.functional.weights import in_double, pseudo_inverse, tolerance_of

__all__ = ["block_analytic_weight", "block_coherence"]


def block_analytic_weight(D: Tensor, labels: Tensor, *, rtol: float | None = None) -> Tensor:
    """Return ``W_g = (A_g^T S^+ A_g)^-1 A_g^T S^+``, ``S = A A^T``: the weight of group ALISTA.

    The minimiser of ``||W A||_F^2`` subject to ``W_g A_g = I``: what a group sees of all others,
    the squares of what :func:`block_coherence` takes the largest of. Each group is a least squares
    problem with linear constraints, ``W_g S = Lambda_g A_g^T``, hence the closed form. With one
    atom in each group it is :func:`analytic_weight`, after Liu, Chen, Wang and Yin 2019.

    ``W A`` is the same for ``A`` and ``G A`` with any invertible G; and where the atoms of groups
    are rotated, ``A_g Q_g`` with orthogonal ``Q_g``, rows become ``Q_g^T W_g``.

    Parameters
    ----------
    D : Tensor of shape (n_components, n_features)
        Dictionary, rows are atoms of any norm.
    labels : Tensor of int of shape (n_components,)
        The number of each atom's group, from 0.
    rtol : float, default=None
        Smallest singular value to keep, relative to the largest. By default the square root
        of the precision of D's dtype.

    Returns
    -------
    Tensor of shape (n_components, n_features)
        The weight. Where the atoms of a group depend on each other no W_g has ``W_g A_g = I``,
        and this is the projector on what their codes can tell, ``A_g^+ A_g``; a zero atom gets a
        zero row. A group that has directions which only left-out ones hold gets its own
        pseudo-inverse, ``A_g^+``. Computed in float64.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import block_analytic_weight
    >>> D = torch.tensor([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [0.0, 0.6, 0.8]])
    >>> W = block_analytic_weight(D, torch.tensor([0, 0, 1]))
    >>> (W[:2] @ D[:2].T).abs().round(decimals=4)
    tensor([[1., 0.],
            [0., 1.]])
    """
    A = in_double(D)
    cutoff = tolerance_of(D, rtol)
    P = pseudo_inverse(A, rtol=cutoff)
    W = torch.zeros_like(A)
    energy = A.square().sum().clamp_min(torch.finfo(A.dtype).tiny)
    labels = labels.to(A.device)
    for group in range(int(labels.max()) + 1):
        rows = (labels == group).nonzero()[:, 0]
        W[rows] = _weight_of(A[rows], P[rows], energy, cutoff)
    return W.to(D)


def block_coherence(W: Tensor, D: Tensor, labels: Tensor) -> Tensor:
    """Return ``max_{g != h} ||W_g A_h||_2 / sqrt(d_g d_h)``, with ``d_g`` the size of group g.

    Eldar, Kuppinger and Bolcskei 2010, "Block-sparse signals: uncertainty relations and efficient
    recovery", where W = D and all groups are of one size d, so that the factor is ``1 / d``; here
    of a weight, and of groups of any sizes. With one atom in each group it is
    :func:`mutual_coherence`.

    Parameters
    ----------
    W : Tensor of shape (n_components, n_features)
        Weight with ``W_g A_g = I``; or the dictionary, with orthonormal atoms in each group.
    D : Tensor of shape (n_components, n_features)
        Dictionary, rows are atoms.
    labels : Tensor of int of shape (n_components,)
        The number of each atom's group, from 0.

    Returns
    -------
    Tensor of shape ()
        The coherence; 0 for a single group.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import block_coherence
    >>> D = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.6, 0.8]])
    >>> block_coherence(D, D, torch.tensor([0, 0, 1]))  # 0.6 / sqrt(2)
    tensor(0.4243)
    """
    labels = labels.to(D.device)
    sizes = labels.bincount()
    products = W @ D.T
    largest = D.new_zeros(())
    groups = [(labels == g).nonzero()[:, 0] for g in range(len(sizes))]
    for g, rows in enumerate(groups):
        for h, columns in enumerate(groups):
            if g != h and len(rows) and len(columns):
                norm = torch.linalg.matrix_norm(products[rows][:, columns], 2)
                largest = torch.maximum(largest, norm / (sizes[g] * sizes[h]).sqrt())
    return largest


def _weight_of(atoms: Tensor, P: Tensor, energy: Tensor, cutoff: float) -> Tensor:
    """Return the rows of one group, given ``A_g^T`` and ``A_g^T S^+``."""
    U, sizes, V = torch.linalg.svd(atoms, full_matrices=False)
    rank = int((sizes > cutoff * sizes[:1]).sum())
    U, sizes, V = U[:, :rank], sizes[:rank], V[:rank]
    # In an orthonormal basis V of the group, V S^+ and its leverages, at least 1 / ||A||_2^2.
    seen = (U / sizes).T @ P
    leverages = seen @ V.T
    leverages = 0.5 * (leverages + leverages.T)
    if rank and bool(torch.linalg.eigvalsh(leverages)[0] > 0.01 / energy):
        V = torch.linalg.solve(leverages, seen)
    return (U / sizes) @ V
