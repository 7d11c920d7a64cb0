"""The one place where what an estimator is given is checked: codes, operators, weights."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import torch
from scipy.sparse import issparse
from scipy.sparse.linalg import LinearOperator
from sklearn.utils import check_array
from sklearn.utils.validation import _check_sample_weight
from torch import Tensor

from sklearn_unroll.estimators._arrays import float_dtypes, refuse_kind, to_tensor
from sklearn_unroll.functional import Dense, MaskedFourier, MatrixFree, Observation, Operator

# Share of the observations' energy from which on a residual is no noise.
UNEXPLAINED = 0.5


def check_codes(y: Any) -> None:
    """Raise for codes that scikit-learn lets through and torch cannot take."""
    refuse_kind(y, "y")
    if issparse(y):
        raise TypeError("Sparse data was passed for y, but dense codes are required: y.toarray().")


def check_numeric(y: Any, est: Any) -> None:
    """Raise for codes that are no numbers, with advice that the estimator can follow."""
    if not isinstance(y, np.ndarray) or y.dtype.kind in "biuf":
        return
    name = type(est).__name__
    if est.task.needs_pairs:
        advice = (
            f"{name} learns from pairs, and cannot stand before a classifier: use "
            f"LISTARegressor(dictionary, trainer=Trainer('lasso')), or a coder, there."
        )
    elif "trainer" in est.get_params(deep=False):
        advice = (
            "If y are labels for a later step of a Pipeline, give the dictionary and use "
            "trainer=Trainer(objective='lasso'), which ignores them."
        )
    else:
        advice = "If y are labels for a later step of a Pipeline, give the dictionary."
    raise ValueError(f"y must hold numbers, the codes of X; got dtype {y.dtype}. {advice}")


def are_labels(y: Any, n_components: int) -> bool:
    """Return whether y is one label for each sample, and no code of so many components."""
    if isinstance(y, Tensor):
        return y.ndim == 1 and n_components > 1
    labels = np.asarray(y)
    return labels.dtype.kind not in "biufc" or (labels.ndim == 1 and n_components > 1)


def check_codes_match(y: Tensor, A: Operator) -> None:
    """Raise unless codes and operator have the same number of components."""
    if y.shape[1] != A.n_components:
        known = (
            f"the dictionary has {A.n_components} atoms (shape {tuple(A.D.shape[-2:])})"
            if isinstance(A, Dense)
            else f"the operator {type(A).__name__} has {A.n_components}"
        )
        raise ValueError(
            f"y has {y.shape[1]} components per sample, but {known}. y holds the codes, of shape "
            f"(n_samples, n_components), with X ~ y @ dictionary. If y are labels for a later "
            f"step of a Pipeline, use trainer=Trainer(objective='lasso'), which ignores them."
        )


def check_weight(sample_weight: Any, X: Any, like: Tensor) -> Tensor | None:
    """Return the weights of samples, or None, with the dtype and device of a tensor."""
    if sample_weight is None:
        return None
    if isinstance(sample_weight, (list, tuple)):
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
    if weight is None:
        return float(value.mean())
    weight = weight.double()
    return float((weight * value).sum() / weight.sum())


def check_finite_codes(codes: Tensor, estimator: Any) -> Tensor:
    """Return codes, and raise if a network has made infinity or NaN of finite observations."""
    failed = int((~torch.isfinite(codes)).any(1).sum())
    if failed:
        raise ValueError(
            f"The codes that {type(estimator).__name__} gives for {failed} of {len(codes)} "
            f"observations are infinite or NaN. Their scale may be far from that of the fit: "
            f"rescale them, or fit on such data."
        )
    return codes


def check_magnitude(D: Tensor) -> Tensor:
    """Return D, and raise if the squares of its entries overflow."""
    if not bool(torch.isfinite(D.square().sum())):
        raise ValueError(
            f"The dictionary has entries too large for {D.dtype} (largest "
            f"{float(D.abs().max()):.3g}): their squares overflow. Rescale it."
        )
    return D


def check_dictionary(
    dictionary: Any,
    n_features: int,
    dtype: torch.dtype,
    device: Any,
    name: str = "dictionary",
    zero_atoms: bool = False,
) -> Tensor:
    """Return a user's dictionary as a tensor of shape (n_components, n_features).

    Zero atoms are for those who give them zero codes.
    """
    refuse_kind(dictionary, name)
    if isinstance(dictionary, Tensor):
        D = dictionary.detach()
        if D.ndim != 2:
            raise ValueError(
                f"{name} must have 2 dimensions (n_components, n_features), got {D.ndim}."
            )
        if not bool(torch.isfinite(D).all()):
            raise ValueError(f"Input {name} contains NaN or infinity.")
    else:
        try:
            D = check_array(dictionary, dtype=float_dtypes(dictionary), input_name=name)
        except (ValueError, TypeError) as error:
            raise ValueError(f"Invalid {name}: {error}") from error
    D = to_tensor(D, dtype=dtype, device=device)
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
    check_magnitude(D)
    zero = torch.nonzero((D == 0).all(1)).flatten().tolist()
    if zero and not zero_atoms:
        raise ValueError(
            f"{name} has {len(zero)} zero atom(s), at rows {zero[:5]}"
            f"{'...' if len(zero) > 5 else ''}: no code can use them. Remove these rows."
        )
    return D


def check_operator(operator: Any, b: Tensor, name: str, zero_atoms: bool = False) -> Operator:
    """Return a user's operator for all samples, with dtype and device of the observations."""
    if isinstance(operator, Operator):
        A = operator.to(b)
    elif isinstance(operator, LinearOperator) or issparse(operator):
        A = MatrixFree(operator).to(b)
    else:
        D = check_dictionary(operator, b.shape[1], b.dtype, b.device, name, zero_atoms)
        return Dense(D)
    if A.per_sample:
        raise ValueError(
            f"{name} must be one for all samples. Pass one for each as operators=... to the "
            f"methods."
        )
    return check_features(A, b.shape[1], name)


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
    return check_features(A, b.shape[1] if n_features is None else n_features, "operators")


def _stack(operators: Any, b: Tensor) -> Tensor:
    refuse_kind(operators, "operators")
    if isinstance(operators, (list, tuple)):
        shapes = {np.shape(D) for D in operators}
        if len(shapes) > 1:
            raise ValueError(
                f"operators must all have one shape, got {sorted(shapes, key=str)[:5]}. Take the "
                f"samples of each shape on their own."
            )
    if not isinstance(operators, Tensor):
        operators = check_array(
            operators, dtype=float_dtypes(operators), allow_nd=True, ensure_2d=False,
            input_name="operators",
        )  # fmt: skip
    D = to_tensor(operators, dtype=b.dtype, device=b.device)
    if D.ndim not in (2, 3) or 0 in D.shape:
        raise ValueError(
            f"operators must have shape (n_samples, n_components, n_features), one for each "
            f"sample, or (n_components, n_features), one for all; got {tuple(D.shape)}."
        )
    if not bool(torch.isfinite(D).all()):
        raise ValueError("Input operators contains NaN or infinity.")
    return check_magnitude(D)


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
    if hasattr(given, "__len__") and not isinstance(given, Tensor):
        given = check_array(
            given, dtype=np.float64, ensure_2d=False, allow_nd=True, input_name=name
        )
    tensor = torch.as_tensor(given, dtype=torch.float64)
    if tensor.ndim == 2 and tensor.shape == (n_samples, 1):
        tensor = tensor[:, 0]
    if tensor.shape not in ((), (1,), (n_samples,)):
        raise ValueError(
            f"{name} must be one number, or one per sample of shape ({n_samples},); got shape "
            f"{tuple(tensor.shape)}."
        )
    return tensor


def check_alpha(alpha: Any, n_samples: int, device: torch.device) -> Tensor:
    """Return the weights of samples, of shape (n_samples,); raise for anything else."""
    tensor = check_per_sample("alpha", alpha, n_samples)
    if not bool(((tensor > 0) & torch.isfinite(tensor)).all()):
        raise ValueError(
            f"alpha must be positive and finite; got values from {float(tensor.min())} to "
            f"{float(tensor.max())}. Use least squares where nothing is to be penalised."
        )
    return tensor.to(device).expand(n_samples)


def warn_if_unexplained(obs: Observation, codes: Tensor, weight: Tensor | None) -> None:
    """Warn where the codes of pairs do not explain their observations through the dictionary."""
    weight = torch.ones_like(obs.b[:, 0]) if weight is None else weight
    residual = weight @ obs.A.residual(obs.b, codes).square().sum(1)
    energy = weight @ obs.b.square().sum(1)
    if residual > UNEXPLAINED * energy > 0:
        warnings.warn(
            f"X and y do not fit the dictionary: X - y @ dictionary has "
            f"{float(residual / energy):.3g} times the energy of X "
            f"({10 * math.log10(float(residual / energy)):.1f} dB). Check that y holds codes in "
            f"the order of the dictionary's rows, and that both are scaled alike.",
            stacklevel=4,
        )


def estimate_dictionary(X: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
    """Return the ridge estimate of D in ``X ~ y D``, on the data's device, in float64.

    The ridge is 1e-6 of the mean squared activity: it only matters for atoms whose activity
    the pairs cannot tell apart. Atoms that are never active come out as zero.
    """
    # Own line of algebra instead of sklearn's Ridge: it keeps data on their device.
    codes, signals = y.double(), X.double()
    weighted = codes if weight is None else codes * weight.double()[:, None]
    gram = weighted.T @ codes
    ridge = 1e-6 * gram.diagonal().mean()
    if not ridge > 0:
        raise ValueError(
            "y is all zero: no dictionary can be estimated from it. Pass dictionary=..., or "
            "pairs with active codes."
        )
    gram.diagonal().add_(ridge)
    return torch.linalg.solve(gram, weighted.T @ signals).to(X.dtype)
