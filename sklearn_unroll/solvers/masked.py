"""Codes of samples of which some entries are seen: each solves the problem on its own entries."""

from __future__ import annotations

import torch
from torch import Tensor

from sklearn_unroll.functional import Observation, duality_gap
from sklearn_unroll.functional._compiled import compiled, compiled_available
from sklearn_unroll.solvers._checks import check_codes, check_positive
from sklearn_unroll.solvers._masked_loops import descend_seen
from sklearn_unroll.solvers._masked_pursuit_loops import pursue_seen
from sklearn_unroll.solvers._pursuit_batch import DEPENDENT, Groups
from sklearn_unroll.solvers._samples import in_threads, ridges
from sklearn_unroll.solvers.certified import certified_lasso
from sklearn_unroll.solvers.coordinate import MAX_ATOMS, coordinate_descent
from sklearn_unroll.solvers.greedy import (
    Pursuit,
    check_limit,
    exponents,
    orthogonal_matching_pursuit,
)
from sklearn_unroll.solvers.masks import by_masks, checked, dense_parts, visible_of
from sklearn_unroll.solvers.reductions import with_ridge
from sklearn_unroll.solvers.solver import Solution, add_part

__all__ = ["masked_lasso", "masked_pursuit"]

_LASSO_FROM, _PURSUIT_FROM = 2**15, 2**18  # numbers in codes, for which numba is loaded (0.4 s)
_PASSES = 1000  # of coordinate descent, before the active set takes over


@torch.no_grad()
def masked_lasso(
    obs: Observation,
    alpha: Tensor | float,
    *,
    x0: Tensor | None = None,
    positive: bool = False,
    l2: Tensor | float = 0.0,
    tol: float = 1e-6,
    max_iter: int = 10_000,
) -> Solution:
    """Minimise ``0.5 ||m (b - A x)||^2 + alpha ||x||_1 + 0.5 l2 ||x||^2``, each sample to its gap.

    The mask m says which entries of a sample are seen. On the CPU, where numba is installed, by
    coordinate descent on the residual of these entries, at a cost of their number an update: no
    Gram matrix is made for a sample (Friedman, Hastie and Tibshirani 2010, naive updates), on the
    working sets of :func:`coordinate_descent`. Otherwise, and for what is left, by
    :func:`certified_lasso` with a dictionary for each sample, a few at a time. Samples that share
    a mask, complete ones too, share a dictionary.

    Parameters
    ----------
    obs : Observation
        Data, zero where nothing is seen, and ``Composed(Dense(D), Mask(visible))``.
    alpha : float or Tensor of shape (n_samples,)
        Weight of the l1 norm, positive.
    x0 : Tensor of shape (n_samples, n_components), default=None
        Where to start, zero by default.
    positive : bool, default=False
        Constrain codes to be nonnegative.
    l2 : float or Tensor of shape (n_components,), default=0.0
        Weight of half the squared l2 norm: the elastic net.
    tol : float, default=1e-6
        Tolerance on the relative duality gap, which is evaluated in float64.
    max_iter : int, default=10000
        Largest number of passes and iterations of a sample.

    Returns
    -------
    Solution
        Codes and gaps in float64, iterations and flags, per sample.

    Raises
    ------
    TypeError
        If the operator is not one dictionary with a mask.
    ValueError
        If data and operator do not fit, or alpha is not positive.

    References
    ----------
    Friedman, Hastie and Tibshirani, "Regularization paths for generalized linear models via
    coordinate descent", Journal of Statistical Software 33, 2010.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Composed, Dense, Mask, Observation
    >>> from sklearn_unroll.solvers import masked_lasso
    >>> A = Composed(Dense(torch.tensor([[0.6, 0.8]])), Mask([[True, True], [True, False]]))
    >>> masked_lasso(Observation(torch.tensor([[6.0, 8.0], [6.0, 0.0]]), A), alpha=0.36).x
    tensor([[9.6400],
            [9.0000]], dtype=torch.float64)
    """
    obs = checked("masked_lasso", obs)
    weight = torch.as_tensor(check_positive("alpha", alpha, obs), dtype=torch.float64)
    weight = weight.to(obs.b.device).expand(len(obs.b))
    obs = Observation(obs.b.detach().double(), obs.A.to(obs.A.like.double()))
    ridge = ridges(l2, obs.A.first.D)
    x = obs.b.new_zeros(len(obs.b), obs.A.n_components)
    if x0 is not None:
        x0 = check_codes(x0, obs)
        x.copy_(x0.relu() if positive else x0)
    found = Solution(x, x.new_ones(len(x)), x.new_zeros(len(x)).long(), x.new_zeros(len(x)).bool())

    def finish(part: Observation, rows: Tensor) -> None:
        """Solve what is not yet, over dense dictionaries."""
        open_ = (~found.converged[rows] & (found.n_iter[rows] < max_iter)).nonzero()[:, 0]
        if not len(open_):
            return
        left = rows[open_]
        start = x[left] if bool(x[left].any()) else None
        more = certified_lasso(
            with_ridge(part.take(open_), ridge), weight[left], x0=start, positive=positive,
            tol=tol, max_iter=max_iter,
        )  # fmt: skip
        add_part(found, left, more)

    compiles = _compiles(x, _LASSO_FROM)
    alike, rest = by_masks(obs)
    for rows, part in alike:
        if compiles and part.A.n_components <= MAX_ATOMS:
            solved = coordinate_descent(
                part, weight[rows], x0=x[rows], positive=positive, l2=ridge, tol=tol,
                max_passes=min(max_iter, _PASSES),
            )  # fmt: skip
            add_part(found, rows, solved)
        finish(part, rows)
    if compiles and len(rest):
        limits = (float(tol), min(max_iter, _PASSES), positive)
        add_part(found, rest, _descend(obs.take(rest), weight[rest], x[rest], limits, ridge))
    for rows, part in dense_parts(obs, rest[~found.converged[rest]]):
        finish(part, rows)
    return found


def _compiles(codes: Tensor, least: int) -> bool:
    return codes.numel() >= least and codes.device.type == "cpu" and compiled_available()


def _descend(
    obs: Observation, weight: Tensor, x: Tensor, limits: tuple[float, int, bool], l2: Tensor
) -> Solution:
    """Return the codes of compiled coordinate descent."""
    gap, passes = torch.empty_like(weight), torch.zeros_like(weight, dtype=torch.long)
    descend_seen_all(obs, weight, x, passes, limits, l2)
    for rows, part in obs.chunks():
        gap[rows] = duality_gap(x[rows], part, weight[rows], positive=limits[2], l2=l2)
    return Solution(x, gap, passes, gap <= limits[0])


def descend_seen_all(
    obs: Observation,
    weight: Tensor,
    x: Tensor,
    passes: Tensor,
    limits: tuple[float, int, bool],
    l2: Tensor | float = 0.0,
) -> None:
    """Overwrite codes x by the lasso's, and count passes; all in float64, on the CPU.

    ``limits`` are tolerance, passes and whether codes are positive.
    """
    T, loop = obs.A.first.D.T.contiguous().numpy(), compiled(descend_seen)
    given = [t.contiguous().numpy() for t in (obs.b, visible_of(obs))]
    given += [x.numpy(), passes.numpy(), weight.contiguous().numpy()]
    ridge = ridges(l2, obs.A.first.D).numpy()
    in_threads(lambda rows: loop(T, *(a[rows] for a in given), ridge, *limits), *x.shape)


@torch.no_grad()
def masked_pursuit(
    obs: Observation,
    n_nonzero: Tensor | int | None = None,
    tol: Tensor | float | None = None,
    *,
    groups: Tensor | int | None = None,
) -> Pursuit:
    """Pursue the seen entries of samples: :func:`orthogonal_matching_pursuit` on each one's own.

    On the CPU, where numba is installed, compiled for one sample after another, on an orthonormal
    basis of the chosen atoms' seen entries that grows by Gram and Schmidt's method, taken twice;
    otherwise with a dictionary for each sample, a few at a time. Samples that share a mask share
    a dictionary. An atom is chosen by its angle to the residual on the seen entries.

    Parameters
    ----------
    obs : Observation
        Data, zero where nothing is seen, and ``Composed(Dense(D), Mask(visible))``.
    n_nonzero : int or Tensor of shape (n_samples,), default=None
        Most atoms of a sample, which has at most as many as seen entries.
    tol : float or Tensor of shape (n_samples,), default=None
        Largest squared norm of a residual on the seen entries: of so many the energy of the noise.
    groups : int or Tensor of int of shape (n_components,), default=None
        Groups of atoms that are added together, as there.

    Returns
    -------
    Pursuit
        Codes, numbers of atoms, squared norms of residuals, and flags.

    Raises
    ------
    TypeError
        If the operator is not one dictionary with a mask.
    ValueError
        If neither n_nonzero nor tol is given, or one is negative or has another shape.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Composed, Dense, Mask, Observation
    >>> from sklearn_unroll.solvers import masked_pursuit
    >>> A = Composed(Dense(torch.tensor([[0.6, 0.8]])), Mask([[True, True], [True, False]]))
    >>> masked_pursuit(Observation(torch.tensor([[6.0, 8.0], [6.0, 0.0]]), A), 1).x
    tensor([[10.],
            [10.]])
    """
    obs = checked("masked_pursuit", obs)
    if n_nonzero is None and tol is None:
        raise ValueError("masked_pursuit needs n_nonzero, tol or both to know an end.")
    b, A = obs.b.detach(), obs.A
    asked = A.n_features if n_nonzero is None else n_nonzero
    asked = check_limit("n_nonzero", asked, obs, torch.long)
    limit = None if tol is None else check_limit("tol", tol, obs, torch.float64)
    sets = Groups(groups, A.n_components)
    x = b.new_zeros(len(b), A.n_components)
    found = Pursuit(x, torch.zeros_like(asked), b.new_zeros(len(b)), asked < 0)

    def pursue(rows: Tensor, part: Observation) -> None:
        own = None if limit is None else limit[rows]
        solved = orthogonal_matching_pursuit(part, asked[rows], own, groups=groups)
        for whole, some in zip(found, solved, strict=True):
            whole[rows] = some

    alike, rest = by_masks(obs)
    for rows, part in alike:
        pursue(rows, part)
    if _compiles(x, _PURSUIT_FROM):
        if len(rest):
            own = None if limit is None else limit[rest]
            _pursue(obs.take(rest), asked[rest], own, sets, found, rest)
    else:
        for rows, part in dense_parts(obs, rest):
            pursue(rows, part)
    return found


def _pursue(
    obs: Observation, asked: Tensor, limit: Tensor | None, groups: Groups, found: Pursuit,
    places: Tensor,
) -> None:  # fmt: skip
    """Put what compiled pursuit finds into these places."""
    b, seen = obs.b, visible_of(obs)
    exponent = exponents(b)
    unit = torch.ldexp(b, -exponent[:, None])
    goal = torch.full_like(unit[:, 0], -1.0)
    if limit is not None:
        goal = torch.ldexp(torch.ldexp(limit, -exponent), -exponent).to(b.dtype)
    most = torch.minimum(asked, seen.sum(1)).clamp_max(len(groups.sizes))
    x, energy = b.new_zeros(len(b), obs.A.n_components), torch.zeros_like(goal)
    count, reached = torch.zeros_like(asked), torch.zeros_like(asked, dtype=torch.bool)
    D = obs.A.first.D
    size = D.abs().amax().clamp_min(torch.finfo(D.dtype).tiny)
    T, loop = (D / size).T.contiguous().numpy(), compiled(pursue_seen)
    eps = T.dtype.type(torch.finfo(D.dtype).eps)
    before = [t.contiguous().numpy() for t in (unit, seen, goal, most)]
    after = [t.numpy() for t in (x, count, energy, reached)]

    def run(rows: slice) -> None:
        given = (a[rows] for a in before)
        loop(T, *given, eps, DEPENDENT * eps, *groups.arrays(), *(a[rows] for a in after))

    in_threads(run, *x.shape)
    found.x[places] = torch.ldexp(x / size, exponent[:, None])
    found.residual[places] = torch.ldexp(torch.ldexp(energy, exponent), exponent)
    found.n_nonzero[places] = count
    found.converged[places] = reached | (limit is None and count >= asked)
