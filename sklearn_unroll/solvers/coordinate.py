"""Coordinate descent on growing working sets, compiled by numba, one sample after another."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from sklearn_unroll.functional import Dense, Observation, duality_gap
from sklearn_unroll.solvers._checks import check_observation, check_positive
from sklearn_unroll.solvers._compiled import compiled, compiled_available
from sklearn_unroll.solvers.solver import Solution

__all__ = ["coordinate_descent"]

MAX_ATOMS = 2**12  # the Gram matrix is stored, and a working copy of it for each thread
_ROWS = 512  # rows of a thread at a time


def _descend(G, q, energy, X, passes, alpha, tol, max_passes, positive):
    """Overwrite the codes X by the lasso's; q are correlations, energy is ||b||^2."""
    n_samples, n = q.shape
    # Rows a multiple of 4096 bytes apart would share a few lines of the cache.
    part = np.empty((n, n // 8 * 8 + 8))
    members = np.empty(n, np.int64)
    inside = np.empty(n, np.bool_)
    factor = np.empty((n, n // 8 * 8 + 8))
    used = np.empty(n, np.int64)
    g, near, x, move = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    for s in range(n_samples):
        a_s, k, copied, n_passes = alpha[s], 0, 0, 0
        loose, n_inner, settled = 0.1, 6, True
        for i in range(n):
            inside[i] = X[s, i] != 0.0
            if inside[i]:
                members[k], x[k] = i, X[s, i]
                k += 1
        while True:
            for i in range(n):
                g[i] = q[s, i]
            b_x = g_x = l1 = 0.0
            for a in range(k):
                row = members[a]
                if x[a] != 0.0:
                    for i in range(n):
                        g[i] -= x[a] * G[row, i]
            for a in range(k):
                b_x += q[s, members[a]] * x[a]
                g_x += g[members[a]] * x[a]
                l1 += abs(x[a])
            peak = outside = 0.0
            for i in range(n):
                size = g[i] if positive else abs(g[i])
                peak = max(peak, size)
                if not inside[i]:
                    outside = max(outside, size)
            # The duality gap, from inner products: ||r||^2 = ||b||^2 - <q, x> - <g, x>.
            b_r, r_r = energy[s] - b_x, max(energy[s] - b_x - g_x, 0.0)
            c = a_s / max(peak, 1e-300)
            u = min(max(b_r / max(r_r, 1e-300), 0.0), c)
            gap = 0.5 * r_r + a_s * l1 - u * b_r + 0.5 * u * u * r_r
            if gap <= 0.5 * tol * 0.5 * energy[s] or n_passes >= max_passes:
                break
            before = k
            if outside > a_s * (1 + 1e-12):
                least = max(a_s * (1 + 1e-12), 0.5 * outside)
                for i in range(n):
                    size = g[i] if positive else abs(g[i])
                    if not inside[i] and size >= least:
                        members[k], x[k], inside[i] = i, 0.0, True
                        k += 1
            if k == before:
                n_inner = min(2 * n_inner, 200)
                if settled:
                    loose *= 0.03
            for a in range(copied, k):
                for b in range(a + 1):
                    part[a, b] = part[b, a] = G[members[a], members[b]]
            copied = k
            for a in range(k):
                near[a] = g[members[a]]
            for _ in range(n_inner):
                n_passes += 1
                largest = 0.0
                for a in range(k):
                    d = part[a, a]
                    if d <= 0.0:
                        continue
                    z, new = near[a] + x[a] * d, 0.0
                    if z > a_s:
                        new = (z - a_s) / d
                    elif z < -a_s and not positive:
                        new = (z + a_s) / d
                    step = new - x[a]
                    if step != 0.0:
                        x[a] = new
                        for b in range(k):
                            near[b] -= step * part[a, b]
                        largest = max(largest, abs(step) * d)
                settled = largest <= loose * a_s
                if settled or n_passes >= max_passes:
                    break
            if loose < 1e-15:
                break
            if k > before:
                continue
            # The set is complete: solve for the nonzeros, if that leaves their signs alone.
            m, solvable = 0, True
            for a in range(k):
                if x[a] != 0.0:
                    used[m] = a
                    move[m] = near[a] - (a_s if x[a] > 0.0 else -a_s)
                    m += 1
            for a in range(m):
                for b in range(a + 1):
                    total = part[used[a], used[b]]
                    for i in range(b):
                        total -= factor[a, i] * factor[b, i]
                    if a > b:
                        factor[a, b] = total * factor[b, b]
                    elif total > 1e-10 * part[used[a], used[a]]:
                        factor[a, a] = 1.0 / np.sqrt(total)  # inverted, to multiply by
                    else:
                        solvable = False
                if not solvable:
                    break
                total = move[a]
                for i in range(a):
                    total -= factor[a, i] * move[i]
                move[a] = total * factor[a, a]
            if not solvable:
                continue
            for a in range(m - 1, -1, -1):
                move[a] *= factor[a, a]
                for i in range(a):
                    move[i] -= factor[a, i] * move[a]
                solvable = solvable and (x[used[a]] + move[a]) * x[used[a]] > 0.0
            if solvable:
                for a in range(m):
                    x[used[a]] += move[a]
        passes[s] = n_passes
        for i in range(n):
            X[s, i] = 0.0
        for a in range(k):
            X[s, members[a]] = x[a]


@torch.no_grad()
def coordinate_descent(
    obs: Observation,
    alpha: Tensor | float,
    *,
    x0: Tensor | None = None,
    positive: bool = False,
    tol: float = 1e-6,
    max_passes: int = 1000,
) -> Solution:
    """Minimise ``0.5 ||b - A x||^2 + alpha ||x||_1`` by coordinate descent, compiled.

    Cycles over a working set, ``x_i <- soft(a_i^T r + ||a_i||^2 x_i, alpha) / ||a_i||^2``, on the
    inner products of its atoms (Friedman, Hastie and Tibshirani 2010, covariance updates); the
    set grows by the atoms that violate optimality most, down to half of the worst, so that the
    first sets are those of a larger alpha. Once it is complete, Cholesky on the nonzeros takes the
    codes to their minimum, if no sign changes on the way; otherwise the descent goes on.

    Parameters
    ----------
    obs : Observation
        Data ``b`` of shape (n_samples, n_features) and a shared dense operator, on the CPU.
    alpha : float or Tensor of shape (n_samples,)
        Weight of the l1 norm, positive.
    x0 : Tensor of shape (n_samples, n_components), default=None
        Where to start, zero by default.
    positive : bool, default=False
        Constrain codes to be nonnegative.
    tol : float, default=1e-6
        Tolerance on the relative duality gap. The descent stops by its value from inner products,
        which rounding keeps above about 1e-14; the one returned is that of the residual.
    max_passes : int, default=1000
        Largest number of passes over a working set, per sample.

    Returns
    -------
    Solution
        Codes and gaps in float64, passes and flags, per sample.

    Raises
    ------
    ImportError
        If numba is not installed.
    TypeError
        If the operator is not dense, shared and on the CPU.
    ValueError
        If data and operator do not fit, or alpha is not positive.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense, Observation, duality_gap
    >>> from sklearn_unroll.solvers import coordinate_descent
    >>> obs = Observation(torch.tensor([[2.0, 0.25]]), Dense(torch.eye(2)))
    >>> coordinate_descent(obs, alpha=0.5).x
    tensor([[1.5000, 0.0000]], dtype=torch.float64)
    """
    if not compiled_available():
        raise ImportError(
            "coordinate_descent is compiled by numba. Install the extra: "
            "pip install 'sklearn-unroll[fast]'"
        )
    check_observation(obs)
    if not isinstance(obs.A, Dense) or obs.A.per_sample or obs.b.device.type != "cpu":
        raise TypeError(
            "coordinate_descent needs one Dense operator for all samples, on the CPU. Use fista "
            "or certified_lasso."
        )
    alpha = check_positive("alpha", alpha, obs)
    weight = torch.as_tensor(alpha, dtype=torch.float64).expand(len(obs.b)).contiguous().numpy()
    D, b = obs.A.D.double(), obs.b
    A = Dense(D)
    x = b.new_zeros(len(b), len(D), dtype=torch.float64)
    if x0 is not None:
        x.copy_(x0.relu() if positive else x0)
    gap, passes = x.new_empty(len(b)), torch.zeros(len(b), dtype=torch.long)
    gram, descend, codes = (D @ D.T).numpy(), compiled(_descend), x.numpy()

    def run(first: int) -> None:
        rows = slice(first, first + _ROWS)
        some = b[rows].double()
        q, energy = (some @ D.T).numpy(), some.square().sum(1).numpy()
        limits = float(tol), max_passes, positive
        descend(gram, q, energy, codes[rows], passes.numpy()[rows], weight[rows], *limits)
        own = torch.from_numpy(weight[rows])
        gap[rows] = duality_gap(x[rows], Observation(some, A), own, positive=positive)

    starts, n_threads = range(0, len(b), _ROWS), torch.get_num_threads()
    if n_threads == 1 or len(starts) == 1:
        for first in starts:
            run(first)
    else:
        with ThreadPoolExecutor(n_threads) as pool:
            list(pool.map(run, starts))
    return Solution(x, gap, passes, gap <= tol)
