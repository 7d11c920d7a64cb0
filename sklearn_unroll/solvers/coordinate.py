"""Coordinate descent on growing working sets, compiled by numba, one sample after another."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sklearn_unroll.functional import Dense, Observation
from sklearn_unroll.functional._compiled import compiled, compiled_available
from sklearn_unroll.solvers._checks import check_codes, check_observation, check_positive
from sklearn_unroll.solvers._descent_loops import descend
from sklearn_unroll.solvers._samples import (
    MAX_ATOMS,
    Batch,
    Products,
    batch_of,
    in_threads,
    look_again,
    products_of,
    ridges,
)
from sklearn_unroll.solvers.solver import Solution

_SINGLE = 1e-6  # least tolerance for which float32 is faster: below, much would be done twice

__all__ = ["MAX_ATOMS", "coordinate_descent"]


@torch.no_grad()
def coordinate_descent(
    obs: Observation,
    alpha: Tensor | float,
    *,
    x0: Tensor | None = None,
    positive: bool = False,
    l2: Tensor | float = 0.0,
    tol: float = 1e-6,
    max_passes: int = 1000,
    products: Products | None = None,
    dtype: torch.dtype = torch.float64,
) -> Solution:
    """Minimise ``0.5 ||b - A x||^2 + alpha ||x||_1 + 0.5 l2 ||x||^2``, compiled.

    Coordinate descent over a working set, ``x_i <- soft(a_i^T r + ||a_i||^2 x_i, alpha) /
    (||a_i||^2 + l2)``, on the inner products of its atoms (Friedman, Hastie and Tibshirani 2010,
    covariance updates), which are looked up where samples are many, and computed otherwise; the
    set grows by the atoms that violate optimality most, down to 0.6 of the worst, so that the
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
    l2 : float or Tensor of shape (n_components,), default=0.0
        Weight of half the squared l2 norm: the elastic net.
    tol : float, default=1e-6
        Tolerance on the relative duality gap. The descent stops by its value from inner products;
        where that, with a bound on its rounding (about 1e-13), is above the tolerance, the one
        returned is that of the residual.
    max_passes : int, default=1000
        Largest number of passes over a working set, per sample.
    products : Products, default=None
        What is looked up, where another call has computed it.
    dtype : torch.dtype, default=torch.float64
        Of codes, float64 or float32; gaps are those of the codes when they are rounded.

    Returns
    -------
    Solution
        Codes, gaps in float64, passes and flags, per sample.

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
    >>> from sklearn_unroll.functional import Dense, Observation
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
    weight = torch.as_tensor(alpha, dtype=torch.float64).expand(len(obs.b))
    x0 = None if x0 is None else check_codes(x0, obs)
    # Threads do not know that there are to be no gradients.
    obs = Observation(obs.b.detach(), Dense(obs.A.D.detach().double()))
    return descent(obs, weight, x0, (float(tol), max_passes, positive), l2, products, dtype)


def descent(
    obs: Observation,
    weight: Tensor,
    x0: Tensor | None,
    limits: tuple[float, int, bool],
    l2: Tensor | float,
    products: Products | None,
    dtype: torch.dtype,
) -> Solution:
    """Do the same with what has been checked: weights of samples and atoms in float64."""
    b, D, (tol, _, positive) = obs.b, obs.A.D, limits
    weight = weight.contiguous()
    x = b.new_zeros(len(b), len(D), dtype=dtype)
    if x0 is not None:
        x.copy_(x0.relu() if positive else x0)
    gap, passes = torch.empty_like(weight), torch.zeros(len(b), dtype=torch.long)
    descend_all(b, D, weight.numpy(), x, passes, limits, l2, gap, products)
    look_again(gap, x, obs, weight, "alpha", tol, positive, ridges(l2, D))
    return Solution(x, gap, passes, gap <= tol)


def descend_all(
    b: Tensor,
    D: Tensor,
    weight: np.ndarray,
    x: Tensor,
    passes: Tensor,
    limits: tuple[float, int, bool],
    l2: Tensor | float = 0.0,
    gap: Tensor | None = None,
    products: Products | None = None,
    alone: bool = False,
) -> None:
    """Overwrite codes x by the lasso's, count passes, and measure gaps by inner products.

    All in float64 but b, and x if it is to be rounded; ``limits`` are tolerance, passes and
    whether codes are positive. In as many threads as torch has, unless ``alone``.
    """
    known = products or products_of(D, len(b), x.dtype == torch.float32)
    gap = x.new_empty(len(b), dtype=torch.float64) if gap is None else gap
    found = x.numpy(), passes.numpy(), gap.numpy()
    descend_batch(known, batch_of(b, known), weight, found, limits, ridges(l2, D).numpy(), alone)


def descend_batch(
    known: Products,
    batch: Batch,
    weight: np.ndarray,
    found: tuple[np.ndarray, np.ndarray, np.ndarray],
    limits: tuple[float, int, bool],
    ridge: np.ndarray,
    alone: bool = False,
) -> None:
    """Do the same with a batch: ``found`` are codes, passes and gaps."""
    x, passes, gap = found
    single = x.itemsize < 8 and limits[0] >= _SINGLE and known.single is not None
    loop, lookup = compiled(descend), known.single if single else known.gram

    def run(rows: slice) -> None:
        given = (part[rows] for part in (*batch, *found, weight))
        loop(known.gram, lookup, known.D, *given, ridge, *limits)

    in_threads(run, len(x), len(known.D), alone)
    if not single:
        return
    left = np.flatnonzero(~(gap <= limits[0]) & (passes < limits[1]))
    if len(left):  # what float32 cannot bring there goes on in float64
        before, part = passes[left], (x[left], np.zeros_like(passes[left]), gap[left])
        rest = limits[0], limits[1] - int(before.max()), limits[2]
        more = known._replace(single=None)
        descend_batch(more, batch.take(left), weight[left], part, rest, ridge, alone)
        x[left], passes[left], gap[left] = part[0], part[1] + before, part[2]


def descend_roughly(
    b: Tensor,
    D: Tensor,
    weight: np.ndarray,
    limits: tuple[float, int, bool],
    alone: bool = False,
) -> Tensor:
    """Return codes of the lasso in float32, without certificates: for those of a passing moment.

    ``limits`` and ``alone`` are those of ``descend_all``; float32 has room for data and alpha.
    """
    energy = b.square().sum(1).numpy()
    b, D = b.float(), D.float().contiguous()
    gram, q = (D @ D.T).numpy(), (b @ D.T).numpy()
    x = b.new_zeros(len(b), len(D))
    passes, gap = np.zeros(len(b), np.int64), np.empty(len(b))
    loop, ridge = compiled(descend), np.zeros(len(D))

    def run(rows: slice) -> None:
        data = b.numpy()[rows], q[rows], energy[rows]
        found = x.numpy()[rows], passes[rows], gap[rows]
        loop(gram, gram, D.numpy(), *data, *found, weight[rows], ridge, *limits)

    in_threads(run, len(b), len(D), alone)
    return x
