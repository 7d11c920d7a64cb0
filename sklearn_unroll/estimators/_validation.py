"""The one place where what an estimator is given is checked: codes, operators, weights."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from fractions import Fraction
from numbers import Number
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import _check_sample_weight
from torch import Tensor

from sklearn_unroll.estimators._arrays import refuse_kind, to_tensor
from sklearn_unroll.estimators._checked import (
    check_numbers,
    check_y,
    named,
)
from sklearn_unroll.exceptions import PairsWarning
from sklearn_unroll.functional import Dense, Observation, Operator
from sklearn_unroll.functional.rows import Rows, blocks, whole
from sklearn_unroll.training import Lasso

# Share of the observations' energy from which on a residual is no noise.
UNEXPLAINED = 0.5


def check_codes(y: Any, X: Any, est: Any) -> Any:
    """Return codes of observations; raise for what is none, with advice that can be followed."""
    y = check_y(y, X)
    if isinstance(y, np.ndarray) and y.dtype.kind not in "biuf":
        raise ValueError(
            f"y must hold numbers, the codes of X; got dtype {y.dtype}. {advice_on_labels(est)}"
        )
    return y


def advice_on_labels(est: Any) -> str:
    """Return what to do with y that are the labels of a later step of a Pipeline."""
    name, parameters = type(est).__name__, est.get_params(deep=False)
    given = "" if est.own_operator() is not None else f"give the {est.task.operator} and "
    before = "If y are labels for a later step of a Pipeline, "
    if "trainer" not in parameters:
        return f"{before}give the {est.task.operator}: fit then ignores them."
    try:
        if est.task.needs_pairs:
            raise ValueError
        est.check_objective(Lasso())
    except ValueError:
        return (
            f"{name} learns from pairs, and cannot stand before a classifier: use "
            f"LISTARegressor(dictionary, trainer=Trainer('lasso')), or a coder, there."
        )
    return f"{before}{given}use trainer=Trainer(objective='lasso'), which ignores them."


def are_labels(y: Any, n_components: int) -> bool:
    """Return whether y is one label for each sample, and no code of so many components."""
    try:
        labels = y if isinstance(y, Tensor) else np.asarray(y)
    except ValueError:  # ragged
        return False
    words = not isinstance(y, Tensor) and labels.dtype.kind not in "biufc"
    return labels.ndim == 1 and (words or n_components > 1)


def check_codes_match(codes: Tensor, A: Operator, est: Any, name: str = "y") -> None:
    """Raise unless codes and operator have the same number of components."""
    if codes.shape[1] != A.n_components:
        known = (
            f"the dictionary has {A.n_components} atoms (shape {tuple(A.D.shape[-2:])})"
            if isinstance(A, Dense)
            else f"the operator {type(A).__name__} has {A.n_components}"
        )
        raise ValueError(
            f"{name} has {codes.shape[1]} components per sample, but {known}. {name} holds codes, "
            f"of shape (n_samples, n_components). {advice_on_labels(est) if name == 'y' else ''}"
        )


def check_weight(sample_weight: Any, X: Any, like: Tensor) -> Tensor | None:
    """Return the weights of samples, or None, with the dtype and device of a tensor."""
    if sample_weight is None:
        return None
    with named("sample_weight", sample_weight):
        if isinstance(sample_weight, Number):
            number = float(check_per_sample("sample_weight", sample_weight, 1))
            sample_weight = np.full(X.shape[0], number)
        elif isinstance(sample_weight, (list, tuple)):
            sample_weight = np.asarray(sample_weight)
        refuse_kind(sample_weight, "sample_weight")
        checked = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
    weight = to_tensor(checked, dtype=None, device=like.device)
    # Only ratios matter; sums of very large or small numbers would leave the range.
    largest = weight.max()
    return (weight / torch.where(largest > 0, largest, torch.ones_like(largest))).to(like.dtype)


def weighted_mean(value: Tensor, weight: Tensor | None = None) -> float:
    """Return the mean over the samples, in float64."""
    value = value.double()
    if not bool(torch.isfinite(value).all()):
        raise ValueError(
            "The objective of the codes of X is infinite or NaN: its squares overflow, or a code "
            "is outside of the penalty's domain. Rescale X, or look at problem(X)."
        )
    if weight is None:
        return float(value.mean())
    weight = weight.double()
    return float((weight * value).sum() / weight.sum())


def check_finite_codes(codes: Tensor, estimator: Any) -> Tensor:
    """Return codes, and raise if infinity or NaN was made of finite observations."""
    if not math.isfinite(float(codes.sum())):  # a sum of large codes may be infinite
        failed = sum(count_failed(codes[rows]) for rows in blocks(codes))
        raise_if_failed(failed, len(codes), estimator)
    return codes


def count_failed(codes: Tensor) -> int:
    """Return of how many samples the codes are infinite or NaN."""
    # One sum says of most that none are, in a fraction of the time.
    if bool(torch.isfinite(codes.sum())):
        return 0
    return int((~torch.isfinite(codes)).any(1).sum())


def raise_if_failed(failed: int, n_samples: int, estimator: Any) -> None:
    """Raise if an estimator has made infinity or NaN of some finite observations."""
    if failed:
        raise ValueError(
            f"The codes that {type(estimator).__name__} gives for {failed} of {n_samples} "
            f"observations are infinite or NaN. Their scale may be far from that of the fit: "
            f"rescale X, or fit on such data."
        )


def check_per_sample(name: str, given: Any, n_samples: int) -> Tensor:
    """Return one number, or one for each sample, as a tensor in float64 that broadcasts."""
    if isinstance(given, Fraction):
        given = float(given)
    if type(given) is float:  # nothing to look at, which takes a tenth of a small problem's time
        return torch.tensor(given, dtype=torch.float64, device="cpu")
    # One number that is none has a message of its own.
    array = hasattr(given, "__len__")
    checked = check_numbers(given, name, ensure_min_samples=0, ensure_all_finite=array)
    device = given.device if isinstance(given, Tensor) else torch.device("cpu")
    tensor = to_tensor(checked, dtype=torch.float64, device=device)
    if tensor.ndim == 2 and tensor.shape == (n_samples, 1):
        tensor = tensor[:, 0]
    if tensor.shape not in ((), (1,), (n_samples,)):
        raise ValueError(
            f"{name} must be one number, or one per sample of shape ({n_samples},); got shape "
            f"{tuple(tensor.shape)}."
        )
    return tensor


def check_alpha(
    alpha: Any, n_samples: int, device: torch.device, name: str = "alpha", zero: bool = False
) -> Tensor:
    """Return the weights of samples, of shape (n_samples,); raise for anything else."""
    tensor = check_per_sample(name, alpha, n_samples)
    fits = (tensor >= 0) if zero else (tensor > 0)
    if not bool((fits & torch.isfinite(tensor)).all()):
        advice = (
            "Nonnegative least squares, alpha=0, needs positive=True"
            if name == "alpha" and not zero
            else "Use least squares where nothing is to be penalised"
        )
        raise ValueError(
            f"{name} must be positive and finite; got values from {float(tensor.min())} to "
            f"{float(tensor.max())}. {advice}."
        )
    return tensor.to(device).expand(n_samples)


def check_bound(name: str, bound: Any, n_samples: int, device: torch.device) -> Tensor:
    """Return bounds of samples, of shape (n_samples,); raise unless they are positive."""
    tensor = check_per_sample(name, bound, n_samples)
    if not bool(((tensor > 0) & torch.isfinite(tensor)).all()):
        what = "the squared norm of a residual" if name == "error" else "an l1 norm"
        raise ValueError(
            f"{name} must be positive and finite, it is the largest value of {what}; got values "
            f"from {float(tensor.min())} to {float(tensor.max())}."
        )
    return tensor.to(device).expand(n_samples)


def check_alphas(alphas: Any, device: torch.device, zero: bool = False) -> Tensor:
    """Return a path of weights, of shape (n_alphas,); raise for anything else."""
    numbers = check_numbers(alphas, "alphas", ensure_min_samples=0)
    if len(numbers.shape) > 1 or 0 in numbers.shape:
        raise ValueError(
            f"alphas must be weights of shape (n_alphas,), at least one; got shape "
            f"{tuple(numbers.shape)}."
        )
    n_alphas = numbers.shape[0] if numbers.shape else 1
    return check_alpha(alphas, n_alphas, device, "alphas", zero)


def warn_if_unexplained(obs: Observation, codes: Tensor, weight: Tensor | None, name: str) -> None:
    """Warn where the codes of pairs do not explain their observations through the operator."""

    def parts() -> Iterator[tuple[Observation, Tensor, Tensor]]:
        for rows in blocks(obs.b, codes):
            part = obs.take(rows)
            yield (
                part,
                codes[rows],
                part.b.new_ones(len(part.b)) if weight is None else weight[rows],
            )

    def unexplained(A: Operator) -> float:
        left = sum(float(w @ A.residual(p.b, z).square().sum(1)) for p, z, w in parts())
        return left / energy

    energy = sum(float(w @ p.b.square().sum(1)) for p, _, w in parts())
    if not energy > 0 or not (share := unexplained(obs.A)) > UNEXPLAINED:
        return
    A = obs.A
    square = isinstance(A, Dense) and A.n_components == A.n_features and not A.per_sample
    if square and unexplained(Dense(A.D.T)) < UNEXPLAINED:
        cause = f"Its transpose does: pass {name}={name}.T, whose rows are the atoms"
    elif name == "dictionary":
        cause = (
            "Check that y holds codes in the order of the dictionary's rows, and that both are "
            "scaled alike"
        )
    else:
        cause = (
            f"Check that y holds what the {name} is applied to, in its order (a shift of "
            f"k-space, say), and that both are scaled alike"
        )
    what = "y @ dictionary" if name == "dictionary" else f"{name} applied to y"
    warnings.warn(
        f"X and y do not fit the {name}: X - {what} has {share:.3g} times the energy of X "
        f"({10 * math.log10(share):.1f} dB). {cause}.",
        PairsWarning,
        stacklevel=5,
    )


def estimate_dictionary(
    X: Tensor | Rows, y: Tensor | Rows, weight: Tensor | None, visible: Tensor | None = None
) -> Tensor:
    """Return the ridge estimate of D in ``X ~ y D``, on the data's device, in float64.

    The ridge is 1e-6 of the mean squared activity: it only matters for atoms whose activity
    the pairs cannot tell apart. Atoms that are never active come out as zero. With a mask, each
    feature is estimated from the samples that see it, and is zero where their codes are.
    """
    if visible is not None:
        return _estimate_seen(whole(X), whole(y), weight, visible)
    # Own line of algebra instead of sklearn's Ridge: it keeps data on their device.
    gram = right = 0.0
    for rows in blocks(X, y):
        codes = y[rows].double()
        weighted = codes if weight is None else codes * weight[rows].double()[:, None]
        gram, right = gram + weighted.T @ codes, right + weighted.T @ X[rows].double()
    ridge = 1e-6 * gram.diagonal().mean()
    if not ridge > 0:
        raise ValueError(
            "y is all zero: no dictionary can be estimated from it. Pass dictionary=..., or "
            "pairs with active codes."
        )
    gram.diagonal().add_(ridge)
    return torch.linalg.solve(gram, right).to(X.dtype)


def _estimate_seen(X: Tensor, y: Tensor, weight: Tensor | None, visible: Tensor) -> Tensor:
    D = X.new_zeros(y.shape[1], X.shape[1])
    for feature, rows in enumerate(visible.T):
        some = y[rows]
        if bool(some.any()):
            own = None if weight is None else weight[rows]
            D[:, feature] = estimate_dictionary(X[rows, feature, None], some, own)[:, 0]
    if not bool(D.any()):
        raise ValueError("y is all zero where X was seen: no dictionary can be estimated from it.")
    return D
