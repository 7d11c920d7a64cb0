"""What LassoCoder gives and takes: results, starts by others, weights of atoms."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from sklearn_unroll.estimators._arrays import to_tensor
from sklearn_unroll.estimators._checked import check_magnitude, check_numbers, describe, named
from sklearn_unroll.estimators._lasso_aim import Aim
from sklearn_unroll.estimators._lasso_solvers import APPLIED
from sklearn_unroll.estimators._missing import atoms_of
from sklearn_unroll.functional import Dense, Operator


class LassoCodes(NamedTuple):
    """What :meth:`LassoCoder.solve` found, per sample, as arrays of the kind of X.

    Parameters
    ----------
    codes : array of shape (n_samples, n_components)
        Codes, with the float dtype of X.
    gap : array of shape (n_samples,)
        Certificates, in float64: duality gaps relative to the objective at zero; with an error,
        relative to the l1 norm, see :func:`~sklearn_unroll.functional.error_gap`.
    n_iter : array of shape (n_samples,)
        Iterations, zero where the answer is zero codes.
    converged : array of shape (n_samples,)
        Whether the gap is at most the tolerance.
    alpha : array of shape (n_samples,)
        The weight of the l1 norm for which these are the lasso's codes, in float64: as given, or
        that at which the error or the l1 norm is met.
    """

    codes: Any
    gap: Any
    n_iter: Any
    converged: Any
    alpha: Any


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
    applied = any(isinstance(one, (Operator, LinearOperator)) for one in (dictionary, theirs))
    if theirs is not None and not applied and np.shape(dictionary) != np.shape(theirs):
        raise ValueError(
            f"dictionary has shape {np.shape(dictionary)}, but that of warm_start_from "
            f"has shape {np.shape(theirs)}: its codes are no start."
        )
    return dictionary


def check_applied(coder: Any, A: Operator, aim: Aim) -> None:
    """Raise where what a coder is asked for needs more of an operator than its products."""
    A = atoms_of(A)
    if isinstance(A, Dense):
        return
    asked = {"atom_weights": coder.atom_weights is not None, "l2": coder.l2 > 0}
    asked[f"solver={coder.solver!r}"] = coder.solver not in APPLIED
    asked[aim.name] = aim.name != "alpha"
    asked["alpha=0"] = bool((aim.value == 0).any())
    if any(asked.values()):
        wrong = " and ".join(name for name, needed in asked.items() if needed)
        raise ValueError(
            f"The dictionary is a {type(A).__name__}, which is only applied, but {wrong} needs a "
            f"matrix. Use alpha alone, and a solver among {APPLIED}."
        )


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


def warn_if_not_converged(found: Any, solver: str, tol: float, max_iter: int) -> None:
    """Say how many samples are above the tolerance, and how far."""
    if bool(found.converged.all()):
        return
    left = int((~found.converged).sum())
    single = found.x.dtype == torch.float32 and tol < 1e-6
    other = "" if solver == "auto" else ", or use solver='auto'"
    advice = "fit in float64" if single else f"increase max_iter{other}"
    if bool(found.gap.isinf().any()):  # of an error that is missed
        advice = "raise the error where the gap is infinite, which these atoms cannot reach"
    warnings.warn(
        f"{left} of {len(found.x)} samples did not reach a relative duality gap of tol={tol:g} "
        f"with solver={solver!r} and max_iter={max_iter}; the largest is "
        f"{float(found.gap.max()):.2g}. Their codes are the best found. Loosen tol, {advice}.",
        ConvergenceWarning,
        stacklevel=6,
    )
