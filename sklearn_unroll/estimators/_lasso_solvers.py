"""Between LassoCoder and the solvers: dispatch, per-sample alpha, chunks, results."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from sklearn_unroll.estimators._arrays import float_dtypes, to_tensor
from sklearn_unroll.functional import Dense, Observation, alpha_max, duality_gap
from sklearn_unroll.functional._compiled import compiled_available
from sklearn_unroll.solvers import (
    ADMM,
    FISTA,
    ISTA,
    Method,
    Solution,
    certified_lasso,
    coordinate_descent,
    cvxpy_lasso,
    minimize,
)
from sklearn_unroll.solvers.coordinate import MAX_ATOMS

SOLVERS = ("auto", "ista", "fista", "admm", "active_set", "coordinate_descent", "cvxpy")
_PASSES = 200  # of coordinate descent, before the active set takes over
_COMPILED_FROM = 2**18  # numbers in the codes, for which "auto" loads numba (0.4 s)
_ROWS = 8192  # samples solved at a time on the CPU: what is in float64 stays small


class LassoCodes(NamedTuple):
    """What :meth:`LassoCoder.solve` found, per sample, as arrays of the kind of X.

    Parameters
    ----------
    codes : array of shape (n_samples, n_components)
        Codes, with the float dtype of X.
    gap : array of shape (n_samples,)
        Duality gaps of these codes relative to the objective at zero, in float64.
    n_iter : array of shape (n_samples,)
        Iterations, zero where the answer is zero codes.
    converged : array of shape (n_samples,)
        Whether the gap is at most the tolerance.
    """

    codes: Any
    gap: Any
    n_iter: Any
    converged: Any


class LassoPath(NamedTuple):
    """What :meth:`LassoCoder.path` found, as arrays of the kind of X; alpha falls.

    Parameters
    ----------
    alphas : array of shape (n_alphas,)
        The weights in decreasing order, in float64.
    codes : array of shape (n_alphas, n_samples, n_components)
        Codes, with the float dtype of X.
    gap : array of shape (n_alphas, n_samples)
        Duality gaps of these codes relative to the objective at zero, in float64.
    n_iter : array of shape (n_alphas, n_samples)
        Iterations.
    converged : array of shape (n_alphas, n_samples)
        Whether the gap is at most the tolerance.
    """

    alphas: Any
    codes: Any
    gap: Any
    n_iter: Any
    converged: Any


def solve_live(
    solver: str,
    obs: Observation,
    alpha: Tensor,
    x0: Tensor | None,
    positive: bool,
    tol: float,
    max_iter: int,
) -> Solution:
    """Solve samples whose codes are not zero, in float64."""
    if solver == "coordinate_descent":
        found = coordinate_descent(
            obs, alpha, x0=x0, positive=positive, tol=tol, max_passes=min(max_iter, _PASSES)
        )
        left = (~found.converged).nonzero()[:, 0]
        if len(left) and max_iter > _PASSES:
            more = certified_lasso(
                obs.take(left), alpha[left], x0=found.x[left], positive=positive, tol=tol,
                max_iter=max_iter - _PASSES,
            )  # fmt: skip
            found.x[left], found.gap[left] = more.x, more.gap
            found.n_iter[left] += more.n_iter
            found.converged[left] = more.converged
        return found
    if solver in ("auto", "active_set"):
        return certified_lasso(
            obs, alpha, x0=x0, positive=positive, tol=tol, max_iter=max_iter,
            first_order=solver == "auto",
        )  # fmt: skip
    if solver == "cvxpy":
        x = cvxpy_lasso(obs, alpha, positive=positive)
        gap = duality_gap(x, obs, alpha, positive=positive)
        return Solution(x, gap, torch.zeros(len(x), dtype=torch.long), gap <= tol)
    kinds = {"ista": ISTA, "fista": FISTA, "admm": ADMM}
    method: Method = kinds[solver](obs, alpha, x0=x0, positive=positive)
    return minimize(method, obs, tol=tol, max_iter=max_iter)


def _should_be_compiled(b: Tensor, A: Dense) -> bool:
    pays = len(b) * A.n_components >= _COMPILED_FROM and A.n_components <= MAX_ATOMS
    return pays and b.device.type == "cpu" and compiled_available()


def solve_chunks(
    solver: str,
    b: Tensor,
    A: Dense,
    alpha: Tensor,
    start: Callable[[slice], Tensor | None],
    *,
    relative: bool,
    positive: bool,
    tol: float,
    max_iter: int,
) -> Solution:
    """Solve all samples of b, whose dtype the codes get; the operator is in float64."""
    if solver == "auto" and _should_be_compiled(b, A):
        solver = "coordinate_descent"
    exact = b.dtype == torch.float64
    # Rounding the codes takes some of the tolerance.
    inner = tol if exact else 0.25 * tol
    n_rows = _ROWS if b.device.type == "cpu" else 8 * _ROWS
    parts = []
    for first in range(0, len(b), n_rows):
        rows = slice(first, first + n_rows)
        obs = Observation(b[rows].double(), A)
        peak = alpha_max(obs, positive=positive)
        weight = alpha[rows] * peak if relative else alpha[rows]
        n = len(peak)
        x = b.new_zeros(n, A.n_components)
        gap, n_iter = obs.b.new_zeros(n), torch.zeros(n, dtype=torch.long, device=b.device)
        live: Any = (peak > weight).nonzero()[:, 0]
        if len(live):
            live = slice(None) if len(live) == n else live  # a slice copies nothing
            x0 = start(rows)
            x0 = None if x0 is None else x0[live].double()
            part, own = obs.take(live), weight[live]
            found = solve_live(solver, part, own, x0, positive, inner, max_iter)
            x[live], n_iter[live] = found.x.to(x), found.n_iter.to(n_iter)
            # The gap of what is returned, which rounding may have moved.
            gap[live] = (
                found.gap.to(gap)
                if exact
                else duality_gap(x[live].double(), part, own, positive=positive)
            )
        parts.append(Solution(x, gap, n_iter, gap <= tol))
    return Solution(*(torch.cat(part) for part in zip(*parts, strict=True)))


def dictionary_of(dictionary: Any, warm_start_from: Any) -> Any:
    """Return a dictionary, that of a fitted estimator where there is no other."""
    if warm_start_from is None:
        return dictionary
    check_is_fitted(
        warm_start_from,
        msg="warm_start_from=%(name)s is not fitted. Fit it first, and wrap it in "
        "sklearn.frozen.FrozenEstimator so that clone and cross-validation keep the fit.",
    )
    theirs = getattr(warm_start_from, "dictionary_", None)
    if dictionary is None and theirs is None:
        raise ValueError(
            "warm_start_from has no dictionary of its own: pass dictionary=... to LassoCoder."
        )
    if dictionary is None:
        return theirs
    if theirs is not None and np.shape(dictionary) != np.shape(theirs):
        raise ValueError(
            f"dictionary has shape {np.shape(dictionary)}, but that of warm_start_from "
            f"has shape {np.shape(theirs)}: its codes are no start."
        )
    return dictionary


def check_atom_weights(atom_weights: Any, n_components: int, D: Tensor) -> Tensor:
    """Return the weights of atoms as a tensor; raise unless they are positive."""
    weights = atom_weights
    if not isinstance(weights, Tensor):
        weights = check_array(
            weights, dtype=float_dtypes(weights), ensure_2d=False, input_name="atom_weights"
        )
    weights = to_tensor(weights, dtype=D.dtype, device=D.device)
    if weights.shape != (n_components,):
        raise ValueError(
            f"atom_weights must hold one weight per atom, of shape ({n_components},); got shape "
            f"{tuple(weights.shape)}."
        )
    if not bool(((weights > 0) & torch.isfinite(weights)).all()):
        raise ValueError(
            f"atom_weights must be positive and finite; the smallest is {float(weights.min())}."
        )
    return weights


def warn_if_not_converged(found: Solution, solver: str, tol: float, max_iter: int) -> None:
    """Say how many samples are above the tolerance, and how far."""
    left = int((~found.converged).sum())
    if not left:
        return
    single = found.x.dtype == torch.float32 and tol < 1e-6
    advice = "fit in float64" if single else "increase max_iter, or use solver='auto'"
    warnings.warn(
        f"{left} of {len(found.x)} samples did not reach a relative duality gap of tol={tol:g} "
        f"with solver={solver!r} and max_iter={max_iter}; the largest is "
        f"{float(found.gap.max()):.2g}. Their codes are the best found. Loosen tol, {advice}.",
        ConvergenceWarning,
        stacklevel=4,
    )
