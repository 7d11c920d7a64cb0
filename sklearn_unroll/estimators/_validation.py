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
from scipy.sparse import issparse
from scipy.sparse.linalg import LinearOperator
from sklearn.utils.validation import _check_sample_weight
from torch import Tensor

from sklearn_unroll.estimators._arrays import refuse_kind, to_tensor
from sklearn_unroll.estimators._checked import (
    check_magnitude,
    check_numbers,
    check_y,
    describe,
    named,
    to_computed,
)
from sklearn_unroll.estimators._tried import check_action
from sklearn_unroll.exceptions import PairsWarning
from sklearn_unroll.functional import Dense, MaskedFourier, MatrixFree, Observation, Operator
from sklearn_unroll.functional.rows import Rows, blocks
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
    """Return codes, and raise if a network has made infinity or NaN of finite observations."""
    failed = sum(int((~torch.isfinite(codes[rows])).any(1).sum()) for rows in blocks(codes))
    if failed:
        raise ValueError(
            f"The codes that {type(estimator).__name__} gives for {failed} of {len(codes)} "
            f"observations are infinite or NaN. Their scale may be far from that of the fit: "
            f"rescale X, or fit on such data."
        )
    return codes


def check_dictionary(
    dictionary: Any,
    b: Tensor,
    name: str = "dictionary",
    least: float = 0.0,
    zero_atoms: bool = False,
) -> Tensor:
    """Return a user's dictionary of observations, of shape (n_components, n_features).

    Zero atoms are for those who give them zero codes.
    """
    if isinstance(dictionary, (Operator, LinearOperator)):
        raise TypeError(
            f"{name} must be a matrix of shape (n_components, n_features), got the operator "
            f"{type(dictionary).__name__}. Write it out, (A @ np.eye(n_components)).T, or use "
            f"ADMMCSNetRegressor or MathL2OSolver, which take operators."
        )
    D = check_numbers(dictionary, name)
    if D.ndim != 2:
        raise ValueError(
            f"{name} must have 2 dimensions (n_components, n_features), got {D.ndim}, "
            f"{describe(dictionary)}."
        )
    D, n_features = to_computed(D, b, name), b.shape[1]
    if D.shape[1] != n_features:
        hint = (
            f" It looks transposed: rows must be atoms, so pass {name}.T."
            if D.shape[0] == n_features
            else ""
        )
        raise ValueError(
            f"{name} has shape {tuple(D.shape)}, but X has {n_features} features; expected "
            f"shape (n_components, {n_features}).{hint}"
        )
    if not len(D):
        raise ValueError(f"{name} has no atoms, its shape is {tuple(D.shape)}.")
    check_magnitude(D, name, room=1.0, least=least)
    zero = torch.nonzero((D == 0).all(1)).flatten().tolist()
    if zero and not zero_atoms:
        raise ValueError(
            f"{name} has {len(zero)} zero atom(s), at rows {zero[:5]}"
            f"{'...' if len(zero) > 5 else ''}: no code can use them. Remove these rows."
        )
    return D


def check_operator(
    operator: Any, b: Tensor, name: str, least: float = 0.0, zero_atoms: bool = False
) -> Operator:
    """Return a user's operator for all samples, with dtype and device of the observations."""
    if isinstance(operator, Operator):
        A = operator.to(b)
    elif isinstance(operator, LinearOperator) or issparse(operator):
        with named(name, operator):
            A = MatrixFree(operator).to(b)
    else:
        return Dense(check_dictionary(operator, b, name, least, zero_atoms))
    if A.per_sample:
        raise ValueError(
            f"{name} must be one for all samples. Pass one for each as operators=... to the "
            f"methods."
        )
    return check_action(check_features(A, b.shape[1], name), b, name)


def check_operators(
    operators: Any, b: Tensor, n_features: int | None = None, n_components: int | None = None
) -> Operator:
    """Return the operators of samples: one for each, or one for all.

    Of as many features as b has by default, where b are observations, not codes.
    """
    if isinstance(operators, Operator):
        A: Operator = operators.to(b)
    else:
        A = Dense(_stack(operators, b))
    if A.per_sample and isinstance(A, Dense) and len(A.D) != len(b):
        raise ValueError(
            f"operators holds {len(A.D)} operators, but X has {len(b)} samples: one for each is "
            f"needed, or one of shape (n_components, n_features) for all."
        )
    if n_components is not None and A.n_components != n_components:
        raise ValueError(
            f"operators have {A.n_components} components, but {n_components} were seen in fit."
        )
    A = check_features(A, b.shape[1] if n_features is None else n_features, "operators")
    return check_action(A, b, "operators") if isinstance(operators, Operator) else A


def _stack(operators: Any, b: Tensor) -> Tensor:
    if isinstance(operators, (list, tuple)):
        if any(issparse(D) or isinstance(D, (Operator, LinearOperator)) for D in operators):
            raise TypeError(
                "operators must be dense matrices, one array of shape (n_samples, n_components, "
                "n_features); got a list of sparse matrices or operators. Write them out, "
                "np.stack([D.toarray() for D in operators])."
            )
        shapes = {np.shape(D) for D in operators}
        if len(shapes) > 1:
            raise ValueError(
                f"operators must all have one shape, got {sorted(shapes, key=str)[:5]}. Take the "
                f"samples of each shape on their own."
            )
    D = to_computed(check_numbers(operators, "operators"), b, "operators")
    if D.ndim not in (2, 3) or 0 in D.shape:
        raise ValueError(
            f"operators must have shape (n_samples, n_components, n_features), one for each "
            f"sample, or (n_components, n_features), one for all; got {tuple(D.shape)}."
        )
    return check_magnitude(D, "operators", room=1.0)


def check_features(A: Operator, n_features: int, name: str) -> Operator:
    """Return an operator, and raise unless it gives as many features as the samples have."""
    if A.n_features != n_features:
        hint = " It looks transposed." if A.n_components == n_features else ""
        if isinstance(A, MaskedFourier):
            hint = f" They are [Re | Im] of the {len(A.entries)} entries that the mask samples."
        raise ValueError(
            f"X has {n_features} features, but {name}, a {type(A).__name__} of "
            f"{A.n_components} components, gives {A.n_features}.{hint}"
        )
    return A


def check_per_sample(name: str, given: Any, n_samples: int) -> Tensor:
    """Return one number, or one for each sample, as a tensor in float64 that broadcasts."""
    if isinstance(given, Fraction):
        given = float(given)
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


def check_alpha(alpha: Any, n_samples: int, device: torch.device, name: str = "alpha") -> Tensor:
    """Return the weights of samples, of shape (n_samples,); raise for anything else."""
    tensor = check_per_sample(name, alpha, n_samples)
    if not bool(((tensor > 0) & torch.isfinite(tensor)).all()):
        raise ValueError(
            f"{name} must be positive and finite; got values from {float(tensor.min())} to "
            f"{float(tensor.max())}. Use least squares where nothing is to be penalised."
        )
    return tensor.to(device).expand(n_samples)


def check_alphas(alphas: Any, device: torch.device) -> Tensor:
    """Return a path of weights, of shape (n_alphas,); raise for anything else."""
    numbers = check_numbers(alphas, "alphas", ensure_min_samples=0)
    if len(numbers.shape) > 1 or 0 in numbers.shape:
        raise ValueError(
            f"alphas must be weights of shape (n_alphas,), at least one; got shape "
            f"{tuple(numbers.shape)}."
        )
    return check_alpha(alphas, numbers.shape[0] if numbers.shape else 1, device, "alphas")


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


def estimate_dictionary(X: Tensor | Rows, y: Tensor | Rows, weight: Tensor | None) -> Tensor:
    """Return the ridge estimate of D in ``X ~ y D``, on the data's device, in float64.

    The ridge is 1e-6 of the mean squared activity: it only matters for atoms whose activity
    the pairs cannot tell apart. Atoms that are never active come out as zero.
    """
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
