"""Weights computed from the dictionary instead of learned, and the coherence that judges them.

Orientation: a weight has the shape of the dictionary, (n_components, n_features), and its row
``w_i`` estimates the code of atom ``a_i``, so a layer computes ``x + (b - A x) @ W.T``. Papers
write ``W^T`` for this matrix and ``W^T A`` for ``W @ D.T``. Every weight here obeys
``w_i^T a_i = 1``; what distinguishes them is how they keep ``w_i^T a_j``, ``j != i``, small.

Atoms need not have unit norm, but these weights depend on their norms: the criteria add up
``w_i^T a_j`` over ``j``, so a longer atom counts more. Scaling all atoms by ``c`` scales W by
``1 / c``; scaling atom ``i`` alone does that to ``w_i`` and changes the other rows in a way that
is no scaling. Normalise the atoms first where the codes' units are arbitrary, then divide row
``i`` of W by the norm of atom ``i``.

Ill-conditioned dictionaries: ``rtol`` is the singular value, relative to the largest, below
which a direction counts as absent. W magnifies the weakest direction that is kept by about
``1 / rtol``, and its rounding errors as much, hence the default: the square root of the
precision of D's dtype. ``w_i^T a_i = 1`` holds whatever is left out, but noise is magnified
too: for noisy signals and a smooth dictionary choose a larger ``rtol``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = [
    "SymmetricWeight",
    "analytic_weight",
    "minimax_weight",
    "mutual_coherence",
    "pseudo_inverse",
    "symmetric_weight",
]


class SymmetricWeight(NamedTuple):
    """The weight that :func:`symmetric_weight` found, and whether it is the symmetric one.

    Parameters
    ----------
    W : Tensor of shape (n_components, n_features)
        The weight.
    exact : bool
        Whether W solves the symmetric problem; otherwise it is :func:`analytic_weight`.
    """

    W: Tensor
    exact: bool


def pseudo_inverse(D: Tensor, *, rtol: float | None = None) -> Tensor:
    """Return ``A^+ = A^T (A A^T)^+``, so that ``A^+ r`` is ``r @ P.T`` for rows r.

    Row ``i`` is ``h_i w_i``, with ``w_i`` the analytic weight and ``h_i = a_i^T S^+ a_i`` the
    leverage of the atom: where ``W r`` is at hand, ``A^+ r`` costs no product.

    Parameters
    ----------
    D : Tensor of shape (..., n_components, n_features)
        Dictionary, rows are atoms.
    rtol : float, default=None
        Smallest singular value to keep, relative to the largest. By default the square root
        of the precision of D's dtype.

    Returns
    -------
    Tensor of shape (..., n_components, n_features)
        The pseudo-inverse of ``A = D.T``. Differentiable where the rank does not change.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional.weights import pseudo_inverse
    >>> pseudo_inverse(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
    tensor([[1.0000, 0.0000],
            [0.0000, 0.5000]])
    """
    return _pseudo_inverse(in_double(D), tolerance_of(D, rtol)).to(D)


def analytic_weight(D: Tensor, *, rtol: float | None = None) -> Tensor:
    """Return ``w_i = S^+ a_i / (a_i^T S^+ a_i)``, ``S = A A^T``: the ALISTA weight.

    The minimiser of ``||W^T A||_F^2`` subject to ``w_i^T a_i = 1`` (Liu, Chen, Wang and Yin
    2019, "ALISTA: Analytic weights are as good as learned weights in LISTA"), which their code
    finds by projected gradient. The problem is one least squares with one linear constraint
    for each atom, hence the closed form: the pseudo-inverse with its rows rescaled. The optimal
    value is ``sum_i 1 / h_i`` with the leverages ``h_i = a_i^T S^+ a_i``, and at least
    ``n_components^2 / rank(A)``, the Welch bound.

    ``W A`` is the same for ``A`` and ``G A`` with any invertible G.

    Parameters
    ----------
    D : Tensor of shape (..., n_components, n_features)
        Dictionary, rows are atoms of any norm.
    rtol : float, default=None
        Smallest singular value to keep, relative to the largest. By default the square root
        of the precision of D's dtype.

    Returns
    -------
    Tensor of shape (..., n_components, n_features)
        The weight. An atom that only left-out directions hold gets its matched filter
        ``a_i / ||a_i||^2``, a zero atom a zero row. Computed in float64; differentiable where
        the rank does not change.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional.weights import analytic_weight
    >>> D = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    >>> W = analytic_weight(D)
    >>> (W * D).sum(1)
    tensor([1., 1., 1.])
    >>> bool((W @ D.T).square().sum() < (D @ D.T).square().sum())
    True
    """
    A = in_double(D)
    return rescale(_pseudo_inverse(A, tolerance_of(D, rtol)), A).to(D)


def symmetric_weight(D: Tensor, *, rtol: float | None = None) -> SymmetricWeight:
    """Return ``W = Q A`` with ``Q = B diag(nu) B^T``: the symmetric weight of HyperLISTA.

    Here ``B = S^+ A``, ``H = A^T B`` and ``(H o H) nu = 1`` with ``o`` the elementwise product.

    Chen, Liu, Wang and Yin 2021, "Hyperparameter tuning is all you need for LISTA", ask for the
    least coherent ``W = G^T G A``, which makes ``W^T A`` symmetric, and find it by a penalty
    method. With ``Q = G^T G`` that is convex: minimise ``||A^T Q A||_F^2`` subject to
    ``a_i^T Q a_i = 1`` and Q positive semidefinite. Without the last constraint, a zero
    gradient of the Lagrangian, ``S Q S = A diag(nu) A^T``, gives Q, the constraint gives nu,
    and the optimal value is ``sum(nu)``. Where that Q is semidefinite it solves the whole
    problem; Q is unique on the range of A even where nu is not.

    The result is checked: ``diag(W^T A) = 1`` and ``W^T A`` semidefinite, both to 1e-8. Where
    the check fails the answer is :func:`analytic_weight`, which is never more coherent in the
    Frobenius norm. That happens where Q is indefinite (smooth dictionaries; small ones that are
    ill-conditioned) and where no Q exists (atoms of unequal norm, such as ``a`` and ``2 a``;
    zero atoms).

    Parameters
    ----------
    D : Tensor of shape (n_components, n_features)
        Dictionary, rows are atoms. With unit norms the problem is always feasible (``Q = I``).
    rtol : float, default=None
        Smallest singular value to keep, relative to the largest. By default the square root
        of the precision of D's dtype.

    Returns
    -------
    SymmetricWeight
        ``W`` of shape (n_components, n_features), and ``exact``, whether it is symmetric.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional.weights import symmetric_weight
    >>> D = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    >>> W, exact = symmetric_weight(D)
    >>> exact, torch.allclose(W @ D.T, D @ W.T)
    (True, True)
    """
    A = in_double(D)
    P = _pseudo_inverse(A, tolerance_of(D, rtol))
    H = A @ P.T
    for solve in (_solve_definite, _solve_semidefinite):
        nu = solve(H.square())
        W = (H * nu) @ P
        if _is_unit_gram((H * nu) @ H):
            return SymmetricWeight(W.to(D), True)
    return SymmetricWeight(rescale(P, A).to(D), False)


def minimax_weight(D: Tensor) -> Tensor:
    """Return the rows ``w_i`` that minimise ``max_{j != i} |w_i^T a_j|`` with ``w_i^T a_i = 1``.

    Liu, Chen, Wang and Yin 2019 define the generalised mutual coherence as the least value of
    that maximum over all i; they relax it to the Frobenius norm of :func:`analytic_weight`.
    This is the original: one linear program for each atom, ``2 (n_components - 1)`` inequalities
    in ``n_features + 1`` unknowns. By duality the best value for atom ``i`` is the inverse of
    the least l1 norm with which the other atoms represent ``a_i``, and 0 where they cannot.
    Its coherence is the least there is, at a larger sum of squares, and the solution need not
    be unique.

    For small dictionaries: on one core 60 x 30 takes 0.5 s, 160 x 80 takes 12 s and 500 x 250
    about 7 minutes, the fourth power of the size.

    Parameters
    ----------
    D : Tensor of shape (n_components, n_features)
        Dictionary, rows are atoms of any norm.

    Returns
    -------
    Tensor of shape (n_components, n_features)
        The weight; a zero atom gets a zero row. Not differentiable.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional.weights import minimax_weight, mutual_coherence
    >>> D = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    >>> mutual_coherence(minimax_weight(D), D) < mutual_coherence(D, D)
    tensor(True)
    """
    import numpy as np
    from scipy.optimize import linprog

    A = in_double(D).detach().cpu().numpy()
    n, m = A.shape
    norms = np.linalg.norm(A, axis=1)
    # In z = (w, t): +-w^T a_j - t <= 0.
    bounds = np.block([[A, -np.ones((n, 1))], [-A, -np.ones((n, 1))]])
    cost = np.append(np.zeros(m), 1.0)
    W = np.zeros_like(A)
    for i in np.flatnonzero(norms):
        others = np.delete(bounds, [i, n + i], axis=0)
        # The length of an atom scales only its own row: solve for the unit vector.
        unit = A[i] / norms[i]
        found = linprog(
            cost,
            A_ub=others,
            b_ub=np.zeros(len(others)),
            A_eq=np.append(unit, 0.0)[None],
            b_eq=[1.0],
            bounds=[(None, None)] * m + [(0, None)],
            method="highs-ipm",
        )
        if not found.success:
            raise RuntimeError(
                f"the linear program of atom {i} was not solved ({found.message}); "
                "use analytic_weight for this dictionary."
            )
        w = found.x[:m]
        W[i] = w / (w @ A[i])  # the solver meets the constraint to 1e-7 only
    return torch.from_numpy(W).to(D)


def mutual_coherence(W: Tensor, D: Tensor) -> Tensor:
    """Return ``max_{i != j} |w_i^T a_j|``, the generalised mutual coherence of W and A.

    Chen, Liu, Wang and Yin 2018 and Liu, Chen, Wang and Yin 2019; it sets the rate of
    LISTA-CP and ALISTA. With ``W = D`` and atoms of unit norm it is the mutual coherence.

    Parameters
    ----------
    W : Tensor of shape (..., n_components, n_features)
        Weight with ``w_i^T a_i = 1``.
    D : Tensor of shape (..., n_components, n_features)
        Dictionary, rows are atoms.

    Returns
    -------
    Tensor of shape (...)
        The coherence; 0 for a single atom.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional.weights import mutual_coherence
    >>> D = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    >>> mutual_coherence(D, D)
    tensor(0.8000)
    """
    products = W @ D.mT
    own = torch.eye(D.shape[-2], dtype=torch.bool, device=products.device)
    return products.masked_fill(own, 0).abs().amax((-2, -1))


def in_double(D: Tensor) -> Tensor:
    """Return D in float64, on the CPU where its device has no float64."""
    return (D.cpu() if D.device.type == "mps" else D).double()


def tolerance_of(D: Tensor, rtol: float | None) -> float:
    """Return rtol, or its default for the precision in which D was given."""
    return torch.finfo(D.dtype).eps ** 0.5 if rtol is None else rtol


def _pseudo_inverse(A: Tensor, rtol: float) -> Tensor:
    """Return the rows ``S^+ a_i`` in float64."""
    # From the singular values of A: the eigenvalues of S = A A^T would lose half the digits.
    # torch differentiates it by its own equation, so equal singular values do no harm.
    return torch.linalg.pinv(A, rtol=rtol).mT


def rescale(P: Tensor, A: Tensor, copies: int = 1) -> Tensor:
    """Return the analytic weight, ``S^+ a_i`` rescaled to ``w_i^T a_i = 1``.

    Of a dictionary that holds so many copies of every row, shifted.
    """
    leverage = (P * A).sum(-1, keepdim=True)
    energy = A.square().sum(-1, keepdim=True)
    # An atom in the kept directions has h_i >= ||a_i||^2 / ||A||_2^2. Far less means that the
    # cutoff removed it and that the row holds rounding errors.
    total = copies * energy.sum((-2, -1), keepdim=True)
    least = energy / total.clamp_min(torch.finfo(A.dtype).tiny)
    kept = leverage > 0.01 * least
    rows = torch.where(kept, P, A)
    scale = torch.where(kept, leverage, energy)
    return rows / torch.where(scale > 0, scale, torch.ones_like(scale))


def _solve_definite(M: Tensor) -> Tensor:
    """Return the x with ``M x = 1``; not finite or wrong where M is singular."""
    factor, _ = torch.linalg.cholesky_ex(M)
    return torch.cholesky_solve(M.new_ones(len(M), 1), factor)[:, 0]


def _solve_semidefinite(M: Tensor) -> Tensor:
    """Return the shortest x that minimises ``||M x - 1||``, four times slower."""
    return torch.linalg.pinv(M, hermitian=True).sum(1)


def _is_unit_gram(M: Tensor, tolerance: float = 1e-8) -> bool:
    """Tell whether M has a unit diagonal and no eigenvalue below ``-tolerance``."""
    M = M.detach()
    if not bool(((M.diagonal() - 1).abs() <= tolerance).all()):  # also false for nan
        return False
    shift = tolerance * torch.eye(len(M), dtype=M.dtype, device=M.device)
    return int(torch.linalg.cholesky_ex(M + shift).info) == 0
