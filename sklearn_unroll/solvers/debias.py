"""Least squares on the support that a network found, after repairing that support."""

from __future__ import annotations

import math
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn.functional import pad

from sklearn_unroll.functional.observation import Observation
from sklearn_unroll.solvers._checks import check_codes, check_dense
from sklearn_unroll.solvers._debias_loops import DETECT, REACHED, STALL, Rules
from sklearn_unroll.solvers._debias_threads import compiled_pays, debias_in_threads
from sklearn_unroll.solvers._supports import (
    GRAM,
    Atoms,
    System,
    buckets,
    chunks,
    find_places,
    groups,
    limit,
)

__all__ = ["debias"]

_LOWER = 0.8  # factor per round by which thresholds approach a known noise level
_PASSES = 3  # at most, of iterative refinement
# Inner products of the dictionary that an object's calls were about.
_KEPT: WeakKeyDictionary[object, tuple[Tensor, Atoms]] = WeakKeyDictionary()
_CHUNK = 2**20  # numbers in the codes of a chunk; a quarter of those in its dictionaries


class _Fit(NamedTuple):
    """Codes of unit atoms, with what decides about their supports. Columns are per sample."""

    x: Tensor  # (n_samples, n_components + 1); the zero atom's entry is zero
    r: Tensor  # (n_samples, n_features), the residual
    sigma: Tensor  # (n_samples, 1), the noise level, from the residual
    t: Tensor  # (n_samples, 1), what is worth a nonzero, in noise levels
    q: Tensor  # (n_samples, 1), the fraction of white noise that the residual holds
    cost: Tensor  # (n_samples, 1), the criterion


def _judge(x: Tensor, r: Tensor, b: Tensor, noise: Tensor) -> _Fit:
    """Compute the criterion in the docstring of :func:`debias` and what it is made of."""
    n, m, tiny = x.shape[1] - 1, r.shape[1], torch.finfo(x.dtype).tiny
    k = (x != 0).sum(1, keepdim=True, dtype=torch.int32).to(x.dtype)
    size = torch.linalg.vector_norm(b, dim=1, keepdim=True).clamp_min(tiny)
    error = torch.linalg.vector_norm(r, dim=1, keepdim=True)
    q = (1 - k / m).clamp_min(1 / m)
    sigma = torch.maximum(error / (m * q).sqrt(), noise)
    spread = torch.log1p((size / sigma).square() * q / k.clamp_min(1))
    # The derivative by k of the prior's terms in the cost; at least 2, as for dense codes.
    t = (2 * ((n - k) / k.clamp_min(1)).clamp_min(tiny).log() + spread).clamp_min(2).sqrt()
    v = (error / noise).square() / (m * q)
    misfit = m * (q * v.clamp_max(1) + v.clamp_min(1).log())
    rate = k / n
    entropy = -torch.xlogy(rate, rate) - torch.xlogy(1 - rate, 1 - rate)
    norm = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    cost = misfit + 2 * n * entropy + k * (spread + (norm / size).square())
    return _Fit(x, r, sigma, t, q, cost)


def _least_squares(
    support: Tensor, b: Tensor, correlation: Tensor, atoms: Atoms, rows: Tensor, ridge: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Minimise ``||b - A x||`` on these supports, given ``A^T b``; return x, r and ``A^T r``."""
    A = atoms.A.take(rows)
    places, sizes = find_places(support, atoms.n_components)
    x, r, c = torch.zeros_like(correlation), b.clone(), correlation.clone()
    rounding = torch.finfo(x.dtype).eps * torch.linalg.vector_norm(b, dim=1)
    # On the CPU a bucket stays in the cache; products, of all its buckets at once, do not care.
    cpu = x.device.type == "cpu"
    n_features = 0 if atoms.gram is not None else b.shape[1]
    parts = buckets(sizes, n_features, 2**18 if cpu else 2**26)
    for group in groups(parts, 2**23 if cpu else 2**29):
        here = torch.cat([bucket for bucket, _ in group])
        systems = [System(atoms, rows[some], places[some, :k], ridge) for some, k in group]
        now, target, here_A = c[here], b[here], A.take(here)
        y = torch.zeros_like(now)
        # Solving for the correction, not for the codes, removes the error that comes with
        # normal equations and with the ridge (Bjorck 1987, corrected seminormal equations).
        for _ in range(_PASSES):
            split = now.split([len(some) for some, _ in group])
            y += torch.cat([system.correct(c) for system, c in zip(systems, split, strict=True)])
            left = here_A.residual(target, y)
            now = here_A.adjoint(left)
            # As good as the residual deserves: with noise the first solution is.
            enough = torch.linalg.vector_norm(left, dim=1).mul_(1e-4).clamp_min(rounding[here])
            if bool(((now * support[here]).abs().amax(1) <= enough).all()):
                break
        x[here], r[here], c[here] = y, left, now
    return x, r, c


def _debias_units(
    given: Tensor, b: Tensor, noise: Tensor, atoms: Atoms, rules: Rules, ridge: float
) -> tuple[Tensor, Tensor]:
    """Return codes of unit atoms and, per sample, whether they are to replace the given ones."""
    m, n_rounds, lower = atoms.n_features, rules.n_rounds, rules.lower
    rows = torch.arange(len(given), device=given.device)
    score = given.abs()
    start = _judge(given, atoms.A.residual(b, given), b, noise)
    level = torch.linalg.vector_norm(start.r, dim=1, keepdim=True) / m**0.5
    level = DETECT * torch.maximum(level, noise)
    level = torch.maximum(level, rules.threshold * score.amax(1, keepdim=True))
    level = torch.where(b.any(1, keepdim=True), level, math.inf)
    support = limit(score > level, score, rules.first)
    target = atoms.A.adjoint(b)
    x, r, correlation = _least_squares(support, b, target, atoms, rows, ridge)
    fit = best = _judge(x, r, b, noise)
    level = fit.sigma
    stalled = rows.new_zeros(len(rows))
    for _ in range(n_rounds):
        level = torch.where(level < REACHED * noise, noise, level)
        score, correlation = fit.x.abs(), correlation.abs_()
        stay = score > fit.t * level / fit.q.sqrt()
        enter = correlation > fit.t * level * fit.q.sqrt()
        repaired = torch.where(support, stay, enter)
        repaired = limit(repaired, torch.maximum(score, correlation), m)
        go = (repaired != support).any(1) & (stalled[rows] < STALL)
        if lower < 1:
            go |= (level > noise)[:, 0]
        go = go.nonzero()[:, 0]
        if not len(go):
            break
        rows, support, b, noise, level = rows[go], repaired[go], b[go], noise[go], level[go]
        target = target[go]
        x, r, correlation = _least_squares(support, b, target, atoms, rows, ridge)
        fit = _judge(x, r, b, noise)
        level = torch.minimum(fit.sigma, lower * level)
        better = (fit.cost < best.cost[rows])[:, 0]
        stalled[rows] = torch.where(better, 0, stalled[rows] + 1)
        for old, new in zip(best, fit, strict=True):
            old[rows[better]] = new[better]
    worse = best.cost > start.cost
    if not n_rounds:
        worse |= best.r.square().sum(1, keepdim=True) > start.r.square().sum(1, keepdim=True)
    return best.x, (~worse & best.cost.isfinite())[:, 0]


def _atoms_of(x: Tensor, obs: Observation, owner: object) -> Atoms:
    """Return the unit atoms that all samples share, with inner products if these pay."""
    n, D = obs.A.n_components, obs.A.D.detach()
    # Computing the inner products of one support costs about four times as much as looking them
    # up. Whether they are kept already must not matter: the same call, the same bits.
    sizes = (x != 0).sum(1, dtype=torch.int32).clamp_max(obs.A.n_features).double()
    if 4 * float(sizes.square().sum()) <= n * n or n * n > GRAM:
        return Atoms(D, with_gram=False)
    old, atoms = _KEPT.get(owner, (D[:0], None)) if owner is not None else (D[:0], None)
    # Compared by value: whatever training, loading or the user did in place is seen.
    if old.dtype != D.dtype or old.device != D.device or not torch.equal(old, D):
        atoms = Atoms(D, with_gram=True)
        if owner is not None:
            _KEPT[owner] = D.clone(), atoms
    return atoms


@torch.no_grad()
def debias(
    x: Tensor,
    obs: Observation,
    *,
    noise_std: Tensor | float | str | None = None,
    n_rounds: int = 10,
    threshold: float = 0.0,
    ridge: float | None = None,
    keep_for: object = None,
) -> Tensor:
    """Return ``argmin ||b - A z||`` over codes z with the support of x, repaired on demand.

    Thresholds shrink the codes of a network, and its support misses some atoms and has others
    too many. Least squares takes the first error away; where the noise is known, or may be
    estimated, the repair takes the second. Hard thresholding and least squares in turn is
    hard thresholding pursuit (Foucart 2011, HTP), here started from a network.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_components)
        Codes, of a network or of any other method. Rows that are not finite count as zero.
    obs : Observation
        Data and a :class:`Dense` operator, shared or per sample. Atoms may have any norm.
    noise_std : float, Tensor of shape () or (n_samples,), "estimate" or None, default=None
        Standard deviation of the noise in b, 0 for exact data. "estimate" takes it from the
        residual, which is as good as knowing it if the true codes have few nonzeros, far
        fewer than n_features; it fails for codes that are only compressible (patches of
        photographs), whose many small entries then count as noise. None: no repair.
    n_rounds : int, default=10
        Most rounds of repair, 0 for none. Only samples whose support changed take part in the
        next round.
    threshold : float, default=0.0
        Entries of x at most this fraction of the largest of their sample (both times the norm
        of the atom) are not part of the support to begin with.
    ridge : float or None, default=None
        Added to the diagonal of the normal equations of unit atoms; None is 10 times the
        machine precision. Iterative refinement removes its effect, so it only decides about
        atoms that are linearly dependent.
    keep_for : object, default=None
        While it lives, the inner products of the atoms are kept, for the next call with it and
        with the same dictionary: what a fitted network does that predicts many times.

    Returns
    -------
    Tensor of shape (n_samples, n_components)
        Codes with at most n_features nonzeros, without gradients. The codes of a sample are
        returned as they came where the result has a larger criterion (see Notes), or, without
        repair, a larger residual.

    Raises
    ------
    TypeError
        If the operator is not Dense.
    ValueError
        If noise_std is another string.

    Notes
    -----
    In units of the atoms' norms, so with x for ``||a|| x``, the support of the given codes
    is their entries above 1.5 times the noise, or the root mean square of their residual
    where that is larger; it has at most half of n_features entries (the largest) if it is to
    be repaired and atoms outnumber features. With r the residual of least squares on k atoms
    of n, and m the number of features, the price t of a nonzero is that of a
    Bernoulli-Gaussian code with variance ``||b||^2 / k``, in noise levels::

        q = 1 - k / m,    sigma = max(||r|| / sqrt(m q), noise_std)
        t^2 = 2 log((n - k) / k) + log(1 + q ||b||^2 / (k sigma^2))

    and the next support is that of all ``|x_i| > t sigma / sqrt(q)`` in this one and all
    ``|a_i^T r| > t sigma sqrt(q)`` outside: on average over the atoms, ``sigma / sqrt(q)`` is
    the noise of a coefficient, and q times a missing coefficient its correlation with r. If
    the noise is known, sigma is lowered by at least a fifth a round until it is reached. Of
    all solutions that one is returned where twice the negative logarithm of the likelihood
    and the prior is least, the empirical Bayes criterion of George and Foster (2000)::

        v = ||r||^2 / (m q noise_std^2)
        m q min(v, 1) + m log max(v, 1) + 2 n H(k / n)
            + k log(1 + q ||b||^2 / (k sigma^2)) + k ||x||^2 / ||b||^2

    with H the entropy of a coin. The last term keeps solutions out that fit b by large
    coefficients which cancel. If the noise is not known, noise_std is rounding here.

    On the CPU, where numba is installed, for 2^18 codes or more, of one dtype and over one
    dictionary of at most 4096 atoms (unless supports are so small that its inner products would
    not pay), the same steps are compiled for one sample after another, in as many threads as
    torch has. Supports are solved by conjugate gradients on the block of inner products, until
    the norm of the correlations with the residual is at most ``eps^(2/3) ||r||`` or, without
    noise, rounding; where 64 steps are not enough, or a direction has a curvature below
    ``eps^(1/2)``, by a Cholesky factor. Repair changes the rows of the block that belong to atoms
    that come or go, and starts from the codes before, or from zero where these needed a factor.
    Codes are those of the batched path to rounding (about 1e-5 of the noise in float32), supports
    but for ties. Of repeated atoms both find codes with the same ``A z``, here the least ones; of
    atoms that differ by less than about ``eps^(1/2)`` rounding decides which are kept, so that
    both find supports of about the same criterion.

    NOTE[DIFF]: HTP starts at zero and is told k. Thresholds in units of the residual are from
    stagewise orthogonal matching pursuit (Donoho, Tsaig, Drori and Starck 2012), which never
    drops an atom and is told t.

    References
    ----------
    Bjorck, "Stability analysis of the method of seminormal equations for linear least squares
    problems", Linear Algebra and its Applications 88, 1987: the iterative refinement.

    Donoho, Tsaig, Drori and Starck, "Sparse solution of underdetermined systems of linear
    equations by stagewise orthogonal matching pursuit", IEEE Transactions on Information
    Theory 58, 2012.

    Foucart, "Hard thresholding pursuit: an algorithm for compressive sensing", SIAM Journal on
    Numerical Analysis 49, 2011.

    George and Foster, "Calibration and empirical Bayes variable selection", Biometrika 87,
    2000.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense, Observation
    >>> from sklearn_unroll.solvers import debias
    >>> obs = Observation(torch.tensor([[3.0, 0.0, 1.0]]), Dense(torch.eye(3)))
    >>> debias(torch.tensor([[2.5, 0.0, 0.5]]), obs)
    tensor([[3., 0., 1.]])
    """
    check_dense("debias", obs.A)
    x = check_codes(x, obs, "x", finite=False)  # a bad row spoils no other
    if isinstance(noise_std, str) and noise_std != "estimate":
        raise ValueError(
            f"noise_std must be a number, one for each sample, 'estimate' or None; "
            f"got {noise_std!r}."
        )
    n, m, eps = obs.A.n_components, obs.A.n_features, torch.finfo(x.dtype).eps
    ridge = 10 * eps if ridge is None else ridge
    n_rounds, lower = (0 if noise_std is None else n_rounds), math.inf
    # Below this no residual can be told from rounding; positive, so that b = 0 is safe.
    noise = 4 * eps * torch.linalg.vector_norm(obs.b, dim=1, keepdim=True) / m**0.5
    noise = noise.clamp_min(torch.finfo(x.dtype).tiny)
    if noise_std is not None and not isinstance(noise_std, str):
        noise_std, lower = torch.as_tensor(noise_std, dtype=x.dtype, device=x.device), _LOWER
        noise = torch.maximum(noise, noise_std.reshape(-1, 1))
    # More than half of the directions would leave too little to tell a wrong support by.
    first = max(1, m // 2) if n_rounds and n > m else m
    rules = Rules(n_rounds, lower, float(threshold), torch.finfo(x.dtype).tiny, first)
    atoms = None if obs.A.per_sample else _atoms_of(x, obs, keep_for)
    result = x.detach().clone(memory_format=torch.contiguous_format)
    if atoms is not None and atoms.gram is not None and compiled_pays(x, obs):
        debias_in_threads(result, obs.b, noise, atoms, rules, float(ridge))
        return result
    for rows, part, local in chunks(obs, atoms, _CHUNK, x.dtype):
        units = pad(x[rows] * local.norm, (0, 1))
        units, better = _debias_units(units, part.b, noise[rows], local, rules, ridge)
        result[rows] = torch.where(better[:, None], units[:, :-1] * local.inverse_norm, x[rows])
    return result
