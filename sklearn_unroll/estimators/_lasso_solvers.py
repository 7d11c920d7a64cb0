"""Between LassoCoder and the solvers: dispatch, per-sample alpha, chunks, results."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from sklearn_unroll.estimators._arrays import to_tensor
from sklearn_unroll.estimators._checked import check_magnitude, check_numbers, describe, named
from sklearn_unroll.functional import Dense, Observation, alpha_max, duality_gap, lasso_value
from sklearn_unroll.functional._compiled import compiled_available
from sklearn_unroll.functional.rows import Rows
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
_LEAST_ALPHA = 1e-13  # relative to the smallest alpha whose code is zero
_FAR = 1e8  # objective of a start relative to that of zeros, from which on it is of no use
_NUMBERS = 2**19  # in the codes that are solved at a time on the CPU: float64 stays small


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
    b: Tensor | Rows,
    A: Dense,
    alpha: Tensor,
    start: Callable[[slice], Tensor | None],
    *,
    relative: bool,
    positive: bool,
    tol: float,
    max_iter: int,
) -> Solution:
    """Solve all samples of b, whose dtype the codes get; the operator is in float64.

    Atoms and each observation are brought to size one by powers of two, which round nothing: no
    square leaves the range, and codes do not depend on units.
    """
    if solver == "auto" and _should_be_compiled(b, A):
        solver = "coordinate_descent"
    exact = b.dtype == torch.float64
    # Rounding the codes takes some of the tolerance.
    inner = tol if exact else 0.25 * tol
    n_rows = max(_NUMBERS // A.n_components, 1) * (1 if b.device.type == "cpu" else 32)
    atoms = powers_of_two(A.D.flatten()[None])[0]
    A = Dense(A.D / atoms)
    x = b.new_empty(len(b), A.n_components).zero_()
    gap = torch.zeros(len(b), dtype=torch.float64, device=b.device)
    n_iter = torch.zeros(len(b), dtype=torch.long, device=b.device)
    for first in range(0, len(b), n_rows):
        rows = slice(first, first + n_rows)
        part = b[rows].double()
        size = powers_of_two(part)
        obs = Observation(part / size, A)
        peak = alpha_max(obs, positive=positive)
        weight = alpha[rows] * peak if relative else alpha[rows] / size[:, 0] / atoms
        # Below this alpha is lost in rounding, and its inverse would be, too.
        weight = torch.maximum(weight, _LEAST_ALPHA * peak)
        live = first + (peak > weight).nonzero()[:, 0]
        if not len(live):
            continue
        here = live - first
        part, own = obs.take(here), weight[here]
        out = size[here] / atoms
        x0 = start(rows)
        x0 = None if x0 is None else near(x0[here].double() / out, part, own)
        found = solve_live(solver, part, own, x0, positive, inner, max_iter)
        x[live], n_iter[live] = (found.x * out).to(x), found.n_iter.to(n_iter)
        gap[live] = found.gap.to(gap)
        if not exact:
            # That of what is returned: its value, which rounding has moved, at the dual point.
            rounded = x[live].double() / out
            moved = lasso_value(rounded, part, own) - lasso_value(found.x, part, own)
            at_zero = 0.5 * part.b.square().sum(1)
            gap[live] = (found.gap + moved / at_zero).clamp_min(0).to(gap)
    return Solution(x, gap, n_iter, gap <= tol)


def near(x0: Tensor, obs: Observation, alpha: Tensor) -> Tensor:
    """Return starts, zero in place of those so far away that their digits hide the data."""
    far = ~(lasso_value(x0, obs, alpha) <= _FAR * obs.b.square().sum(1))
    return torch.where(far[:, None], 0.0, x0)


def powers_of_two(values: Tensor) -> Tensor:
    """Return a power of two near the largest magnitude of every row, of shape (n_rows, 1)."""
    peak = values.abs().amax(1, keepdim=True)
    peak = torch.where(peak > 0, peak, torch.ones_like(peak))
    return torch.ldexp(torch.ones_like(peak), torch.frexp(peak).exponent)


def dictionary_of(dictionary: Any, warm_start_from: Any) -> Any:
    """Return a dictionary, that of a fitted estimator where there is no other."""
    if warm_start_from is None:
        return dictionary
    if not hasattr(warm_start_from, "__sklearn_tags__"):
        raise TypeError(
            f"warm_start_from must be a fitted scikit-learn estimator, got "
            f"{describe(warm_start_from)}. Derive it from sklearn.base.BaseEstimator."
        )
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


def start_codes(warm_start_from: Any, X: Any, n_components: int, device: torch.device) -> Tensor:
    """Return the codes of another estimator, and raise unless they are codes of X."""
    name = f"warm_start_from.predict(X), of {type(warm_start_from).__name__},"
    codes = warm_start_from.predict(X)
    with named(name, codes):
        z = to_tensor(check_numbers(codes, name), dtype=torch.float64, device=device)
    shape = tuple(z.shape)
    z = z[:, None] if z.ndim == 1 else z
    if z.shape != (len(X), n_components):
        raise ValueError(
            f"{name} must give codes of shape {(len(X), n_components)} for {len(X)} samples, got "
            f"{shape}."
        )
    return check_magnitude(z, name)


def check_atom_weights(atom_weights: Any, n_components: int, D: Tensor) -> Tensor:
    """Return the weights of atoms as a tensor; raise unless they are positive."""
    weights = check_numbers(atom_weights, "atom_weights")
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
    other = "" if solver == "auto" else ", or use solver='auto'"
    advice = "fit in float64" if single else f"increase max_iter{other}"
    warnings.warn(
        f"{left} of {len(found.x)} samples did not reach a relative duality gap of tol={tol:g} "
        f"with solver={solver!r} and max_iter={max_iter}; the largest is "
        f"{float(found.gap.max()):.2g}. Their codes are the best found. Loosen tol, {advice}.",
        ConvergenceWarning,
        stacklevel=6,
    )
