"""What the lasso's fit is off the truth, without the truth: Stein's unbiased risk estimate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from sklearn_unroll.functional.mask import without_mask
from sklearn_unroll.functional.observation import Observation
from sklearn_unroll.functional.operators import Dense, Operator

__all__ = ["degrees_of_freedom", "sure"]

_NUMBERS = 2**22  # in the active atoms of samples at a time
_ALONE = 1e-10  # squared distance of a unit atom from those before it, below which it is looked at


def sure(x: Tensor, obs: Observation, noise: Tensor | float, degrees: Tensor) -> Tensor:
    """Return ``||b - A x||^2 - m noise^2 + 2 noise^2 df`` per sample, over the m entries seen.

    Its mean is that of ``||A x - signal||^2`` where b is the signal with white Gaussian noise of
    that standard deviation (Stein 1981, "Estimation of the mean of a multivariate normal
    distribution"), for a fit that moves with b continuously and df of which is the divergence.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_components)
        Codes.
    obs : Observation
        Data and operator; entries that are not seen are zero, and behind a mask.
    noise : float or Tensor of shape (n_samples,)
        Standard deviation of the noise, in the units of b.
    degrees : Tensor of shape (n_samples,)
        Degrees of freedom df.

    Returns
    -------
    Tensor of shape (n_samples,)
        Estimates, in the units of b squared; an estimate may be negative.
    """
    noise = torch.as_tensor(noise, dtype=obs.b.dtype, device=obs.b.device)
    # In units of the noise, whose square may leave the range.
    residual = (obs.residual(x) / noise[..., None]).square().sum(-1)
    return noise * (noise * (residual - n_seen(obs) + 2 * degrees))


def n_seen(obs: Observation) -> Tensor:
    """Return how many entries of every sample are seen.

    Parameters
    ----------
    obs : Observation
        Data and operator, which has a mask where some are not.

    Returns
    -------
    Tensor of shape (n_samples,)
        Counts, in the dtype of the data.
    """
    return torch.ones_like(obs.b).mul_(_visible(obs.A)).sum(-1)


class _Active(NamedTuple):
    """Some samples: their active atoms as rows of unit norm, zeros where others have more."""

    rows: Tensor
    atoms: Tensor  # (n_rows, k, n_features)
    used: Tensor  # (n_rows, k)
    l2: Tensor  # (n_rows, k), of these atoms
    push: Tensor  # (n_rows, k), of alpha on their codes: weights with the signs of the codes


@torch.no_grad()
def degrees_of_freedom(
    x: Tensor,
    obs: Observation,
    *,
    l2: float = 0.0,
    weights: Tensor | None = None,
    fraction: Tensor | float | None = None,
    positive: bool = False,
) -> Tensor:
    """Return the divergence of the fit ``A x`` of lasso codes: ``tr(H)``, minus what alpha moves.

    With the active atoms S and ``H = D_S^T (D_S D_S^T + l2 I)^+ D_S``, codes move by ``H`` with b
    while their signs stay, which they do almost everywhere. So ``df = tr(H)``: for the lasso the
    rank of the active atoms, their number where they are independent (Zou, Hastie and Tibshirani
    2007; Tibshirani and Taylor 2012, who take any solution), also for nonnegative codes, alpha=0
    included (Meyer and Woodroofe 2000); for the elastic net ``sum d_i^2 / (d_i^2 + l2)`` over the
    singular values of ``D_S``. An alpha that is a fraction of ``max_i |(D b)_i| / w_i`` moves with
    b: if j is the maximum, ``df = tr(H) - fraction sign_j d_j / w_j . D_S^T (D_S D_S^T +
    l2 I)^+ (w s)_S``, for the lasso with an active j just ``|S| - fraction``.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_components)
        Codes.
    obs : Observation
        Data, and a dense operator or one with a mask.
    l2 : float, default=0.0
        Weight of half the squared l2 norm of the codes.
    weights : Tensor of shape (n_components,), default=None
        Factors w on alpha; one by default. Only looked at with a fraction.
    fraction : float or Tensor of shape (n_samples,), default=None
        Alpha as a share of each sample's own; None is for an alpha that does not depend on b.
    positive : bool, default=False
        Whether codes are constrained to be nonnegative. Only looked at with a fraction.

    Returns
    -------
    Tensor of shape (n_samples,)
        Degrees of freedom, in float64.

    Raises
    ------
    TypeError
        If the operator is not a dictionary.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense, Observation, degrees_of_freedom
    >>> D = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])  # the last two are the same
    >>> obs = Observation(torch.tensor([[2.0, 3.0]]), Dense(D))
    >>> degrees_of_freedom(torch.tensor([[1.0, 1.0, 1.0]]), obs)
    tensor([2.], dtype=torch.float64)
    """
    D = _dictionary(obs.A)
    w = torch.ones_like(D[..., 0]) if weights is None else weights.to(D).expand(D.shape[:-1])
    slope = None if fraction is None else _slope(obs, D, w, fraction, positive)
    out = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    for part in _active_atoms(x, D, _visible(obs.A), w, l2):
        out[part.rows], reach = _trace(part, slope is not None)
        if slope is not None:
            out[part.rows] -= (slope[part.rows] * reach).sum(-1)
    return out


def _visible(A: Operator) -> Tensor:
    """Return what is seen, as something to multiply data with."""
    _, visible = without_mask(A)
    return torch.ones((), dtype=torch.bool, device=A.like.device) if visible is None else visible


def _dictionary(A: Operator) -> Tensor:
    inner, _ = without_mask(A)
    if not isinstance(inner, Dense):
        raise TypeError(
            f"Degrees of freedom are those of the active atoms, which takes a matrix; got an "
            f"operator, {type(inner).__name__}. Pass Dense(D), or choose by cross-validation."
        )
    return inner.D.double()


def _slope(
    obs: Observation, D: Tensor, w: Tensor, fraction: Tensor | float, positive: bool
) -> Tensor:
    """Return the derivative of ``fraction max_i |(D b)_i| / w_i`` with respect to b."""
    q = obs.A.adjoint(obs.b).double() / w
    j = (q if positive else q.abs()).argmax(1)
    each = torch.arange(len(q), device=q.device)
    largest = D[each, j] / w[each, j][:, None] if D.ndim == 3 else D[j] / w[j][:, None]
    share = torch.as_tensor(fraction, dtype=torch.float64, device=q.device) * q[each, j].sign()
    return share.expand(len(q))[:, None] * largest * _visible(obs.A)


def _active_atoms(
    x: Tensor, D: Tensor, visible: Tensor, w: Tensor, l2: float
) -> Iterator[_Active]:
    """Yield samples with codes, those of many atoms first, as few at a time as memory asks for."""
    on = x != 0
    count = on.sum(1)
    order = count.argsort(descending=True, stable=True)
    order, first = order[: int((count > 0).sum())], 0
    while first < len(order):
        k = int(count[order[first]])
        rows = order[first : first + max(1, _NUMBERS // (k * D.shape[-1]))]
        first += len(rows)
        which = on[rows].byte().argsort(dim=1, descending=True, stable=True)[:, :k]
        used = on[rows].gather(1, which)
        own = (rows[:, None], which) if D.ndim == 3 else which
        atoms = D[own] * used[..., None]
        atoms = atoms * (visible[rows][:, None] if visible.ndim == 2 else visible)
        norm = atoms.norm(dim=-1)
        norm = torch.where(norm > 0, norm, 1.0)
        push = w[own] * x[rows].gather(1, which).sign() / norm
        yield _Active(rows, atoms / norm[..., None], used, l2 / norm.square(), push)


def _trace(part: _Active, reaches: bool) -> tuple[Tensor, Tensor]:
    """Return ``tr(H)``, and if asked ``D_S^T (D_S D_S^T + l2 I)^+ (w s)_S``, by Cholesky factors.

    Atoms of unit norm with ridges of their own have the same H. Where atoms depend on each other,
    by a singular value decomposition.
    """
    gram = part.atoms @ part.atoms.mT
    gram.diagonal(dim1=1, dim2=2).add_(torch.where(part.used, part.l2, 1.0))
    factor, info = torch.linalg.cholesky_ex(gram)
    alone = (info == 0) & (factor.diagonal(dim1=1, dim2=2).square() > _ALONE).all(1)
    degrees = part.used.sum(1).double()
    reach = torch.empty_like(part.atoms[:, 0])
    if bool(alone.any()):
        some = factor[alone]
        if reaches:
            move = torch.cholesky_solve(part.push[alone][..., None], some)
            reach[alone] = (part.atoms[alone].mT @ move)[..., 0]
        if bool((part.l2 > 0).any()):
            lost = torch.cholesky_inverse(some).diagonal(dim1=1, dim2=2) * part.l2[alone]
            degrees[alone] -= (lost * part.used[alone]).sum(1)
    for nth in (~alone).nonzero()[:, 0]:
        degrees[nth], reach[nth] = _dependent(part, nth)
    return degrees, reach


def _dependent(part: _Active, nth: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same for one sample, whatever its atoms are."""
    used = part.used[nth]
    ridge, push = part.l2[nth][used], part.push[nth][used]
    atoms = part.atoms[nth][used]
    # Back to atoms with one ridge for all: H = V s^2 / (s^2 + 1) V^T of atoms over sqrt(l2).
    size = torch.where(ridge > 0, ridge.rsqrt(), 1.0)
    U, s, V = torch.linalg.svd(atoms * size[:, None], full_matrices=False)
    kept = s > max(atoms.shape) * torch.finfo(s.dtype).eps * s.amax().clamp_min(1e-300)
    below = s.square() + bool((ridge > 0).any())
    share = torch.where(kept, s.square() / below, 0.0)
    along = torch.where(kept, s / below, 0.0)
    return share.sum(), (along * ((push * size) @ U)) @ V
