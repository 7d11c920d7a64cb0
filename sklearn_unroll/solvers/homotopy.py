"""The path of the lasso from zero codes on, compiled by numba, one sample after another."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sklearn_unroll.functional import Dense, Observation
from sklearn_unroll.functional._compiled import compiled, compiled_available
from sklearn_unroll.functional.mask import without_mask
from sklearn_unroll.solvers._checks import check_observation
from sklearn_unroll.solvers._homotopy_loops import ALPHA, ERROR, RADIUS, follow
from sklearn_unroll.solvers._masked_path_loops import follow_seen
from sklearn_unroll.solvers._samples import (
    Batch,
    Products,
    batch_of,
    in_threads,
    look_again,
    products_of,
    ridges,
)
from sklearn_unroll.solvers.masks import by_masks, checked, is_masked, visible_of

__all__ = ["PathCodes", "homotopy"]

_KINDS = {"alpha": ALPHA, "error": ERROR, "l1_radius": RADIUS}
_NUMBERS = 2**24  # in the factor of a path: longer supports are left to others


class PathCodes(NamedTuple):
    """Codes on the lasso's path.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_components) or (n_targets, n_samples, n_components)
        Codes.
    alpha : Tensor of shape (n_samples,) or (n_targets, n_samples)
        The weight of the l1 norm for which these are the lasso's.
    gap : Tensor, like alpha
        Certificates: :func:`~sklearn_unroll.functional.duality_gap`,
        :func:`~sklearn_unroll.functional.error_gap` or
        :func:`~sklearn_unroll.functional.l1_radius_gap`.
    n_iter : Tensor of shape (n_samples,)
        Corners of the path.
    converged : Tensor, like alpha
        Whether the gap is at most the tolerance.
    """

    x: Tensor
    alpha: Tensor
    gap: Tensor
    n_iter: Tensor
    converged: Tensor


@torch.no_grad()
def homotopy(
    obs: Observation,
    alpha: Tensor | float | None = None,
    *,
    error: Tensor | float | None = None,
    l1_radius: Tensor | float | None = None,
    positive: bool = False,
    l2: Tensor | float = 0.0,
    tol: float = 1e-10,
    max_iter: int = 10_000,
    products: Products | None = None,
) -> PathCodes:
    """Follow the lasso's path to a weight, to an error or to an l1 norm, exactly.

    The codes of ``0.5 ||b - A x||^2 + alpha ||x||_1`` are piecewise linear in alpha. From zero
    codes at ``alpha = ||A^T b||_inf`` on, a corner is where an atom's correlation reaches alpha,
    or a code reaches zero; between two, codes move by ``(A_S^T A_S)^-1 s`` (Osborne, Presnell and
    Turlach 2000; Efron, Hastie, Johnstone and Tibshirani 2004, LARS with the lasso's
    modification), whose Cholesky factor is updated. On such a line ``||b - A x||^2`` is quadratic
    and ``||x||_1`` linear in alpha, so a bound on either is met exactly.

    Parameters
    ----------
    obs : Observation
        Data ``b`` of shape (n_samples, n_features) and a shared dense operator, on the CPU; or
        ``Composed(Dense(D), Mask(visible))``, for the paths of what is seen of each sample.
    alpha : float or Tensor of shape (n_samples,) or (n_targets, n_samples), default=None
        Weights of the l1 norm, falling along targets; zero (least squares) with
        ``positive=True`` only.
    error : float or Tensor, like alpha, default=None
        Instead: the largest squared norm of the residual, for the least l1 norm; falling.
    l1_radius : float or Tensor, like alpha, default=None
        Instead: the largest l1 norm, for the least residual; rising.
    positive : bool, default=False
        Constrain codes to be nonnegative.
    l2 : float or Tensor of shape (n_components,), default=0.0
        Weight of half the squared l2 norm, the elastic net; with alpha only.
    tol : float, default=1e-10
        Tolerance on the certificates, for the flags.
    max_iter : int, default=10000
        Most corners.
    products : Products, default=None
        What is looked up, where another call has computed it.

    Returns
    -------
    PathCodes
        Codes in float64, their alpha, certificates, corners and flags. Samples whose path was
        lost, by ties or dependent atoms, or that cannot reach an error, have no flag.

    Raises
    ------
    ImportError
        If numba is not installed.
    TypeError
        If the operator is not dense, shared and on the CPU, or such a one with a mask.
    ValueError
        If not exactly one of alpha, error and l1_radius is given, or one is not valid.

    Notes
    -----
    Gaps of an alpha come from inner products, with a bound on their rounding, where that is within
    the tolerance; else, and for bounds, from the residual, whatever happened on the way.

    On coherent dictionaries with few nonzeros it takes microseconds where descent takes thousands
    of passes; with many nonzeros, descent on working sets is faster.

    Samples that share a mask with many share a dictionary and its inner products; every other one
    follows its path over the seen entries of the atoms, at about their number a corner.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense, Observation
    >>> from sklearn_unroll.solvers import homotopy
    >>> obs = Observation(torch.tensor([[2.0, 0.25]]), Dense(torch.eye(2)))
    >>> found = homotopy(obs, error=1.0625)
    >>> found.x, found.alpha
    (tensor([[1., 0.]], dtype=torch.float64), tensor([1.], dtype=torch.float64))
    """
    if not compiled_available():
        raise ImportError(
            "homotopy is compiled by numba. Install the extra: pip install 'sklearn-unroll[fast]'"
        )
    obs = checked("homotopy", obs) if is_masked(obs.A) else obs
    check_observation(obs)
    if not has_path(obs):
        raise TypeError(
            "homotopy needs one Dense operator for all samples, on the CPU. Use certified_lasso "
            "or bounded_lasso."
        )
    given = {"alpha": alpha, "error": error, "l1_radius": l1_radius}
    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1:
        raise ValueError(
            f"homotopy needs exactly one of alpha, error and l1_radius, got "
            f"{' and '.join(named) or 'none'}."
        )
    kind = named[0]
    obs = Observation(obs.b.detach().double(), obs.A.to(obs.A.like.double()))
    ridge = ridges(l2, without_mask(obs.A)[0].D)
    if kind != "alpha" and bool((ridge > 0).any()):
        raise ValueError(f"l2 goes with alpha only, not with {kind}.")
    targets = _check_targets(kind, given[kind], len(obs.b), positive)
    codes = paths(obs, targets, kind, (tol, max_iter, positive), ridge, products)
    if isinstance(given[kind], Tensor) and given[kind].ndim == 2:
        return codes
    first = {name: getattr(codes, name)[0] for name in ("x", "alpha", "gap", "converged")}
    return codes._replace(**first)


def has_path(obs: Observation) -> bool:
    """Return whether there are atoms that all samples share, behind a mask or not, on the CPU."""
    A, _ = without_mask(obs.A)
    return isinstance(A, Dense) and not A.per_sample and obs.b.device.type == "cpu"


def paths(
    obs: Observation,
    targets: Tensor,
    kind: str,
    limits: tuple[float, int, bool],
    ridge: Tensor,
    products: Products | None = None,
) -> PathCodes:
    """Do the same with what has been checked, in float64: targets (n_targets, n_samples)."""
    tol, max_iter, positive = limits
    x = obs.b.new_zeros(len(targets), len(obs.b), obs.A.n_components)
    alpha, gap = torch.zeros_like(targets), torch.full_like(targets, torch.inf)
    n_iter = torch.zeros(len(obs.b), dtype=torch.long)
    rest = (max_iter, positive), ridge.numpy()
    out = x.numpy(), alpha.numpy(), gap.numpy(), n_iter.numpy()
    if is_masked(obs.A):
        alike, few = by_masks(obs)
        _follow_seen(obs.take(few), targets[:, few], kind, *rest, few.numpy(), out)
    else:
        alike = []
        if products is None:  # a path has more to look up than a descent
            products = products_of(obs.A.D, 4 * len(obs.b))
        batch, goals = batch_of(obs.b, products), targets.contiguous().numpy()
        follow_batch(products, batch, goals, kind, *rest, out)
    for rows, part in alike:
        own = paths(part, targets[:, rows], kind, limits, ridge)
        x[:, rows], alpha[:, rows], gap[:, rows], n_iter[rows] = own[:4]
    for nth, target in enumerate(targets):
        look_again(gap[nth], x[nth], obs, target, kind, tol, positive, ridge)
    return PathCodes(x, alpha, gap, n_iter, gap <= tol)


def _check_targets(kind: str, value: Tensor | float, n_samples: int, positive: bool) -> Tensor:
    """Return targets of shape (n_targets, n_samples), in float64."""
    targets = torch.as_tensor(value, dtype=torch.float64)
    fits = targets.ndim <= 2 and targets.shape[-1:] in ((), (1,), (n_samples,))
    least = 0.0 if kind == "alpha" and positive else torch.finfo(torch.float64).tiny
    if not fits or not bool(((targets >= least) & targets.isfinite()).all()):
        raise ValueError(
            f"{kind} must be positive and finite, one number or one for each of {n_samples} "
            f"samples; got {value!r}."
            + (" Zero is for positive=True." if kind == "alpha" and not positive else "")
        )
    targets = targets.expand(n_samples) if targets.ndim < 2 else targets.expand(-1, n_samples)
    targets = torch.atleast_2d(targets).contiguous()
    falls = targets.diff(dim=0) * (-1 if kind == "l1_radius" else 1)
    if bool((falls > 0).any()):
        order = "rise" if kind == "l1_radius" else "fall"
        raise ValueError(f"{kind} must {order} along its first axis.")
    return targets


def follow_batch(
    known: Products,
    batch: Batch,
    targets: np.ndarray,
    kind: str,
    limits: tuple[int, bool],
    ridge: np.ndarray,
    found: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    """Overwrite codes, their alpha, gaps by inner products, and the corners of their path.

    All but corners have targets first; zeros and, for gaps, infinity stay where a path is lost.
    """
    loop, D = compiled(follow), known.D

    def run(rows: slice) -> None:
        loop(
            known.gram, D, *(part[rows] for part in batch), targets[:, rows], _KINDS[kind],
            _room(D, ridge), *limits, ridge, *_places(found, rows),
        )  # fmt: skip

    in_threads(run, len(batch.b), len(D))


def _follow_seen(
    obs: Observation, targets: Tensor, kind: str, limits: tuple[int, bool], ridge: np.ndarray,
    places: np.ndarray, out: tuple[np.ndarray, ...],
) -> None:  # fmt: skip
    """Do the same at some places, on seen entries."""
    loop, D = compiled(follow_seen), without_mask(obs.A)[0].D.detach().contiguous()
    b, seen, T, goals = (t.contiguous().numpy() for t in (obs.b, visible_of(obs), D.T, targets))
    x, alpha, gap, n_iter = out
    found = x[:, places], alpha[:, places], gap[:, places], n_iter[places]

    def run(rows: slice) -> None:
        loop(
            D.numpy(), T, b[rows], seen[rows], goals[:, rows], _KINDS[kind],
            _room(D, ridge), *limits, ridge, *_places(found, rows),
        )  # fmt: skip

    in_threads(run, len(b), len(D))
    x[:, places], alpha[:, places], gap[:, places], n_iter[places] = found


def _room(D: np.ndarray | Tensor, ridge: np.ndarray) -> int:
    """Return how many atoms a path may have at a time."""
    most = len(D) if ridge.any() else min(D.shape)
    return max(1, min(most, int(_NUMBERS**0.5)))


def _places(found: tuple[np.ndarray, ...], rows: slice) -> tuple[np.ndarray, ...]:
    """Return where to write what is found for some samples."""
    x, alpha, gap, n_iter = found
    return x[:, rows], alpha[:, rows], gap[:, rows], n_iter[rows]
