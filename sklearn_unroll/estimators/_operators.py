"""The operator of an estimator for codes: the user's own, one for each sample, or an estimate."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.sparse import issparse
from scipy.sparse.linalg import LinearOperator
from torch import Tensor

from sklearn_unroll.estimators._checked import (
    check_magnitude,
    check_numbers,
    describe,
    named,
    to_computed,
)
from sklearn_unroll.estimators._tried import check_action
from sklearn_unroll.estimators._validation import estimate_dictionary
from sklearn_unroll.functional import Convolution, Dense, MaskedFourier, MatrixFree, Operator
from sklearn_unroll.functional.rows import Rows, stand_in

__all__ = [
    "check_dictionary",
    "check_operator",
    "check_operators",
    "check_operators_allowed",
    "group_operators",
    "one_of",
    "resolve_operators",
]


def resolve_operators(
    task: Any,
    est: Any,
    b: Tensor | Rows,
    codes: Tensor | Rows | None,
    weight: Tensor | None,
    operators: Any,
    keep: bool,
    visible: Tensor | None = None,
) -> tuple[Operator | None, Operator]:
    """Return the estimator's own operator, if there is one, and the one to train on."""
    own, like = est.own_operator(), stand_in(b)
    if own is not None:
        given = own
        least = 0.0 if task.any_size else torch.finfo(b.dtype).tiny ** 0.5
        if task.operator == "dictionary" and not (est.applies_operators and is_operator(own)):
            own = Dense(check_dictionary(own, like, least=least, zero_atoms=task.zero_atoms))
        else:
            own = check_operator(own, like, task.operator, least)
        if isinstance(own, Dense) and not isinstance(given, Operator):
            own = Dense(own.D.clone())  # no memory of the user's
    elif keep and (est.dictionary_ is not None or task.operator != "dictionary"):
        own = check_features(task.fitted_operator(est, like), b.shape[1], task.operator)
    elif operators is None:
        if codes is None:
            raise ValueError(
                f"{type(est).__name__} has no {task.operator}, and requires y to be passed "
                f"to estimate one, but the target y is None. Pass {task.operator}=..., or "
                f"pairs."
            )
        D = estimate_dictionary(b, codes, weight, visible)
        own = Dense(check_magnitude(D, "The dictionary", room=1.0))
    if operators is None:
        return own, own
    check_operators_allowed(task, est)
    return own, check_operators(operators, like)


def check_operators_allowed(task: Any, est: Any) -> None:
    """Raise where an operator for each sample is given to who has weights for one."""
    if not est.takes_operators:
        raise ValueError(
            f"operators={type(est).__name__}'s own are not possible: its weights are made "
            f"for one {task.operator}, and would be wrong for others. Use AdaLISTARegressor "
            f"or LISTARegressor(weights='adjoint'), which take one for each observation."
        )


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
    if is_operator(dictionary):
        raise TypeError(
            f"{name} must be a matrix of shape (n_components, n_features), got the operator "
            f"{type(dictionary).__name__}. Write it out, (A @ np.eye(n_components)).T, or use "
            f"LassoCoder, LISTARegressor(weights='adjoint'), ADMMCSNetRegressor or "
            f"MathL2OSolver, which take operators; ALISTARegressor and HyperLISTARegressor take "
            f"a Convolution."
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


def is_operator(given: Any) -> bool:
    """Return whether a dictionary is given by what it does."""
    return isinstance(given, (Operator, LinearOperator))


def check_operator(operator: Any, b: Tensor, name: str, least: float = 0.0) -> Operator:
    """Return a user's operator for all samples, with dtype and device of the observations."""
    if isinstance(operator, Operator):
        A = operator.to(b)
    elif isinstance(operator, LinearOperator) or issparse(operator):
        with named(name, operator):
            A = MatrixFree(operator).to(b)
    else:
        return Dense(check_dictionary(operator, b, name, least))
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


def one_of(operators: Any) -> Any:
    """Return the dictionary of the first sample, where there is one for each, to validate by."""
    if isinstance(operators, (Operator, LinearOperator)) or issparse(operators):
        raise TypeError(
            f"operators must be dense matrices, one for each sample, got {describe(operators)}. "
            f"Pass one operator for all samples as dictionary."
        )
    several = isinstance(operators, (list, tuple)) or np.ndim(operators) == 3
    return operators[0] if several and len(operators) and np.ndim(operators[0]) == 2 else operators


def group_operators(operators: Any, n_samples: int, like: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return the numbers of the samples of each distinct dictionary, and the dictionary.

    For those who solve the samples of a dictionary together. A list may hold one object many
    times: it is looked at once.
    """
    which = torch.arange(len(operators))
    if isinstance(operators, (list, tuple)):
        objects = {id(one): one for one in operators}
        place = {key: nth for nth, key in enumerate(objects)}
        which = torch.tensor([place[id(one)] for one in operators], dtype=torch.long)
        operators = list(objects.values())
    D = _stack(operators, like)
    if D.ndim == 2:
        return [(torch.arange(n_samples), check_dictionary(D, like, "operators", zero_atoms=True))]
    if len(which) != n_samples:
        raise ValueError(
            f"operators holds {len(which)} dictionaries, but X has {n_samples} samples: one "
            f"for each is needed, or one of shape (n_components, n_features) for all."
        )
    check_dictionary(D[0], like, "operators", zero_atoms=True)  # the others have its shape
    first = _first_equals(D)
    distinct, label = first.unique(return_inverse=True)
    label = label[which]
    rows = label.argsort(stable=True).split(label.bincount(minlength=len(distinct)).tolist())
    return [(some, D[one]) for some, one in zip(rows, distinct.tolist(), strict=True)]


def _first_equals(D: Tensor) -> Tensor:
    """Return for each dictionary the number of the first that is equal to it."""
    first, left = torch.empty(len(D), dtype=torch.long), torch.arange(len(D))
    while len(left):
        keys = torch.stack([D[left, 0].sum(1), D[left, -1].sum(1)], dim=1)
        _, label, counts = keys.unique(dim=0, return_inverse=True, return_counts=True)
        label, others = label.cpu(), []
        for same in left[label.argsort(stable=True)].split(counts.tolist()):
            first[same] = same[0]
            if len(same) > 1:  # those that only have equal keys
                equal = (D[same] == D[same[0]]).flatten(1).all(1).cpu()
                others.append(same[~equal])
        left = torch.cat(others) if others else left[:0]
    return first


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
        if isinstance(A, Convolution):
            hint = f" They are signals of shape {A.signal_shape}, (n_channels, *shape), flattened."
        raise ValueError(
            f"X has {n_features} features, but {name}, a {type(A).__name__} of "
            f"{A.n_components} components, gives {A.n_features}.{hint}"
        )
    return A
